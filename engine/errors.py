"""Errors that name the value, the bound and the remedy."""

from __future__ import annotations


class InputError(ValueError):
    """Something a person gave us is wrong; one sentence that names the value, the bound and the remedy."""
