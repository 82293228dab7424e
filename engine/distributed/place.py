"""Which of several processes this one is, as torchrun says it in the environment; imports nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from ..errors import InputError

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")

LOST = "process lost"
"""The event of a run that failed since one of its processes did; such a run can be resumed."""


class ProcessLost(RuntimeError):
    """Another process of the run has ended, or cannot be reached any more."""


class Place(NamedTuple):
    """One of `size` processes, counted from 0 over all machines (`rank`) and on this one (`local_rank`)."""

    rank: int
    size: int
    local_rank: int
    local_size: int


def place_here(environment: Mapping[str, str] = os.environ) -> Place | None:
    """The place of this process; None for one that trains alone. InputError where torchrun's variables do not fit."""
    said = {name: environment[name] for name in NAMES if name in environment}
    if not {"RANK", "WORLD_SIZE"} & set(said) or said.get("WORLD_SIZE") == "1":
        return None
    try:
        place = Place(*(int(said[name]) for name in NAMES))
        fits = 0 <= place.rank < place.size and 0 <= place.local_rank < place.local_size <= place.size
    except (KeyError, ValueError):
        fits = False
    if not fits:
        shown = ", ".join(f"{name}={said.get(name, 'not set')[:20]}" for name in NAMES)
        raise InputError(
            f"{shown} are not a process and their number, as torchrun sets them; start the run with torchrun, or "
            "unset them"
        )
    return place


def is_worker(environment: Mapping[str, str] = os.environ) -> bool:
    """Is this a process that only helps the first one of its run? InputError as for `place_here`."""
    place = place_here(environment)
    return place is not None and place.rank > 0
