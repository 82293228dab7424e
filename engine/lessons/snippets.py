"""Pieces of code that are shown and really run."""

from __future__ import annotations

import torch

from .results import CodeOutput


def run_code(code: str, names: dict[str, object]) -> CodeOutput:
    """Run a line or two of PyTorch and return the exception or its absence. Only for this package's own code."""
    try:
        exec(code, {"torch": torch}, names)
    except Exception as error:
        return CodeOutput(code, type(error).__name__, str(error))
    return CodeOutput(code, "no error", "")
