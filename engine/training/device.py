"""Which device a model is trained on, and with how many threads."""

from __future__ import annotations

import torch

from ..errors import InputError

THREADS = torch.get_num_threads()
SMALL = 100_000  # parameters


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where present, else the CPU; InputError if CUDA was asked for and is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' is not available here; choose cpu or auto (Apple's GPU is not used)")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def threads_for(parameters: int, device: torch.device) -> int:
    """How many of torch's threads a model is worth: a small one is faster alone, and leaves the rest to the server."""
    return 1 if device.type == "cpu" and parameters < SMALL else THREADS
