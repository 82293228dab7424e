"""What a run showed at an earlier step, read from its folder while it may be being written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..stream.messages import Floats, Sample
from .metrics.reader import open_metrics


@dataclass(frozen=True, eq=False)
class DisplayedState:
    """The tables stored at or before a step, and the scalars and the sample that were the newest then."""

    step: int
    scalars: dict[str, float]
    tables: dict[str, Floats]
    sample: Sample | None


def displayed_steps(folder: Path) -> list[int]:
    """The steps that a table is stored of, in order. MetricsError."""
    with open_metrics(folder) as metrics:
        return metrics.table_steps()


def displayed_step_before(folder: Path, step: int) -> int | None:
    """The newest step at or before `step` that a table is stored of; None if there is none. MetricsError."""
    with open_metrics(folder) as metrics:
        return metrics.table_step_before(step)


def displayed_state(folder: Path, step: int) -> DisplayedState:
    """What was shown when `step` updates were made, as far as it is stored. MetricsError, ValueError where damaged."""
    with open_metrics(folder) as metrics:
        return DisplayedState(
            step, metrics.scalars_before(step), metrics.tables_before(step), metrics.sample_before(step)
        )
