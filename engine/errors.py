"""The error for wrong input from people."""

from __future__ import annotations

import traceback
from contextlib import suppress

OUT_OF_MEMORY = "out of memory"


class InputError(ValueError):
    """Something a person entered is wrong. The message is one sentence with the value, the bound and the remedy."""


def print_error(error: BaseException) -> None:
    """The traceback of `error` on stderr; nothing where that is closed."""
    with suppress(OSError, ValueError):
        traceback.print_exception(error)


def machine_trouble(error: Exception) -> str | None:
    """What this machine ran out of, or refused, in a few words without file names; None where the program is at fault.

    Such trouble passes, so that what is not the training itself goes without, says so and is tried again.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return OUT_OF_MEMORY
    if isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error):
        return OUT_OF_MEMORY
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return None
