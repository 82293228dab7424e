"""Which device a model is trained on, and with how many threads."""

from __future__ import annotations

import psutil  # type: ignore[import-untyped]
import torch

from ..errors import InputError

THREADS = torch.get_num_threads()
SMALL = 100_000  # parameters


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where present, else the CPU; InputError if CUDA was asked for and is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' is not available here; choose cpu or auto (Apple's GPU is not used)")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def free_memory(device: torch.device) -> int | None:
    """Bytes that a program can still have on `device`; None where the system does not say (it has to open a file)."""
    try:
        free: int = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    except (OSError, RuntimeError):
        return None
    return free


def threads_for(parameters: int, device: torch.device) -> int:
    """How many of torch's threads a model is worth: a small one is faster alone, and leaves the rest to the server."""
    return 1 if device.type == "cpu" and parameters < SMALL else THREADS
