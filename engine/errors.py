"""The error for wrong input from people."""

from __future__ import annotations


class InputError(ValueError):
    """Something a person entered is wrong. The message is one sentence with the value, the bound and the remedy."""
