"""A stored run as a pandas table. Nothing imports this while training: pandas takes a second to load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import reader
from .reader import StoredRun

if TYPE_CHECKING:
    import pandas as pd

RISKY = ("=", "+", "-", "@", "\t", "\r")


def metrics(stored: StoredRun) -> pd.DataFrame:
    """One row a step: loss, grad_norm, lr, seconds, and each channel of the looks, empty where it was not measured."""
    import pandas as pd

    steps = pd.DataFrame(reader.scalars(stored), columns=["step", "loss", "grad_norm", "lr", "seconds"])
    rows: dict[int, dict[str, float]] = {}
    for step, channels in reader.looks(stored):
        rows.setdefault(step, {}).update(channels)
    if not rows:
        return steps
    looks = pd.DataFrame.from_dict(rows, orient="index").rename_axis("step").reset_index()
    table = steps.merge(looks, on="step", how="outer").sort_values("step")
    return table.rename(columns={name: plain(name) for name in table.columns})


def plain(cell: str) -> str:
    """A text cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(RISKY) else cell
