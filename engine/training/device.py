"""Which device a model is trained on, how its matrices are multiplied there, and with how many threads.

CUDA is what `auto` takes. Apple's GPU (`mps`) is for those who ask for it: it has every operation that a step needs,
and its numbers are read by the host at each step as the CPU's are, but nobody has measured it.
"""

from __future__ import annotations

import psutil  # type: ignore[import-untyped]
import torch

from ..config import DeviceName, Precision
from ..errors import InputError

THREADS = torch.get_num_threads()
SMALL = 100_000  # parameters
LARGE = 1_000_000
"""Parameters above which `auto` multiplies in bfloat16 on CUDA."""


def present_devices() -> tuple[DeviceName, ...]:
    """The names of devices that mean something on this machine."""
    here: list[DeviceName] = ["auto", "cpu"]
    if torch.cuda.is_available():
        here.append("cuda")
    if torch.backends.mps.is_available():
        here.append("mps")
    return tuple(here)


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where present, else the CPU; InputError if a GPU was asked for that is not there."""
    here = present_devices()
    if name not in here:
        *others, last = [one for one in here if one != "auto"] + ["auto"]
        raise InputError(f"device {name!r} is not available here; choose {', '.join(others)} or {last}")
    if name == "auto":
        return torch.device("cuda" if "cuda" in here else "cpu")
    return torch.device(name)


def in_bfloat16(precision: Precision, parameters: int, device: torch.device) -> bool:
    """Does a model of so many parameters train under autocast to bfloat16?

    All of its products are bfloat16 then, so there is no float32 product left that TF32 could speed up. Devices that
    only emulate bfloat16 have no TF32 either.
    """
    if precision == "auto":
        large = device.type == "cuda" and parameters > LARGE
        return large and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bfloat16"


def wait_for(device: torch.device) -> None:
    """Return when `device` has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def free_memory(device: torch.device) -> int | None:
    """Bytes that a program can still have on `device`; None where the system does not say (it has to open a file).

    Apple's GPU shares the memory of the CPU.
    """
    try:
        free: int = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    except (OSError, RuntimeError):
        return None
    return free


def threads_for(parameters: int, device: torch.device) -> int:
    """How many of torch's threads a model is worth: a small one is faster alone, and leaves the rest to the server."""
    return 1 if device.type == "cpu" and parameters < SMALL else THREADS
