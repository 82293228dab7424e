"""What the lanes of a race differ in, their names, and the runs that they are made of."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from ...config import LiveSettings, RunConfig, changed
from ...errors import InputError
from ...formatting import format_setting
from ...paths import home
from ..divergence import KNOBS
from ..forks import ForkPoint
from ..run import Run
from ..training_thread import TrainingThread

MIN_LANES, MAX_LANES = 2, 8
FEW_LANES = 4
"""Lanes up to which their tables and samples are shown; of more, the losses alone."""
STRUCTURE = ("optimizer", "momentum")
LANE_FIELDS = (*KNOBS, *STRUCTURE)
"""What a lane may have for itself; of STRUCTURE only from a fresh start."""

Change = Mapping[str, Any]
"""A lane's own values, by the names of LANE_FIELDS."""


def lane_names(changes: Sequence[Change]) -> list[str]:
    """Each lane is called what it changes. InputError unless there are two to eight lanes that can race."""
    if not MIN_LANES <= len(changes) <= MAX_LANES:
        raise InputError(f"{len(changes)} lanes are not possible; choose {MIN_LANES} to {MAX_LANES}")
    names: list[str] = []
    for change in changes:
        if foreign := [name for name in change if name not in LANE_FIELDS]:
            raise InputError(f"lanes cannot differ in {foreign[0]!r}; choose among {', '.join(LANE_FIELDS)}")
        words = [value if name == "optimizer" else f"{name} {format_setting(value)}" for name, value in change.items()]
        name = ", ".join(words) or "unchanged"
        count = sum(other.split(" (")[0] == name for other in names)
        names.append(f"{name} ({count + 1})" if count else name)
    return names


def lane_config(config: RunConfig, change: Change) -> RunConfig:
    """The structure of a lane from a fresh start."""
    own = {name: change[name] for name in STRUCTURE if name in change}
    return changed(config, **own) if own else config


def lane_settings(settings: LiveSettings, change: Change) -> LiveSettings:
    """The knobs of a lane; InputError for a value that is not possible."""
    return changed(settings, **{name: value for name, value in change.items() if name not in STRUCTURE})


def forked_lanes(
    point: ForkPoint, changes: Sequence[Change], shared: Mapping[str, Any], thread: TrainingThread
) -> list[Run]:
    """A run on `thread` for each of the `changes`, all waiting at `point`; `shared` settings hold for all of them.

    Where one cannot be made, none leaves a folder behind.
    """
    lanes: list[Run] = []
    try:
        for change in changes:
            lanes.append(point.new_run(thread))
            lanes[-1].tune(lane_settings(changed(lanes[-1].settings, **shared), change))
    except BaseException:
        for lane in lanes:
            shutil.rmtree(home() / "runs" / lane.id, ignore_errors=True)
        raise
    return lanes
