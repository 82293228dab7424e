"""What can be taken away from a stored run: its numbers as a pandas table, its weights as one safetensors file.

Nothing imports this while training: pandas takes a second to load.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from safetensors.torch import save

from . import reader, resume_point
from .reader import StoredRun

if TYPE_CHECKING:
    import pandas as pd

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def metrics_table(stored: StoredRun) -> pd.DataFrame:
    """One row a step: loss, grad_norm, lr, seconds, and each channel measured now and then, empty elsewhere."""
    import pandas as pd

    steps = pd.DataFrame(reader.scalars(stored), columns=["step", "loss", "grad_norm", "lr", "seconds"])
    rows: dict[int, dict[str, float]] = {}
    for record in reader.observations(stored):
        rows.setdefault(record.step, {}).update(record.scalars)
    if not rows:
        return steps
    measured = pd.DataFrame.from_dict(rows, orient="index").rename_axis("step").reset_index()
    # A recorded loop may tell its lr between two losses too: one column, the step's own number first.
    table = steps.set_index("step").combine_first(measured.set_index("step")).sort_index()
    columns = [*steps.columns, *(name for name in measured.columns if name not in steps.columns)]
    table = table.reset_index()[columns]
    return table.rename(columns={name: plain_cell(name) for name in table.columns})


def plain_cell(cell: str) -> str:
    """A text cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


def weights_file(stored: StoredRun) -> bytes:
    """The newest snapshot's weights by parameter name, as safetensors; run, step, settings and text are its metadata.

    InputError where the run has no whole snapshot, or no model of ours.
    """
    config, _ = reader.configuration(stored)
    snapshot, _ = resume_point.newest_snapshot(stored)
    metadata: dict[str, Any] = {
        "format": "pt",
        "run": stored.id,
        "step": str(snapshot.step),
        "config": config.model_dump_json(),
        "settings": snapshot.settings.model_dump_json(),
        "environment": json.dumps((stored.about or {}).get("environment") or {}),
    }
    return save({name: tensor.contiguous() for name, tensor in snapshot.weights.items()}, metadata=metadata)
