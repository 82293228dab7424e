"""What can be taken away from a stored run: its numbers as a pandas table, its weights as one safetensors file.

Nothing imports this while training: pandas takes a second to load.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from safetensors.torch import save

from ..progress import Report, unheard
from ..stream.messages import Scalars
from . import reader, resume_point
from .reader import StoredRun

if TYPE_CHECKING:
    import pandas as pd

ROWS_AT_ONCE = 20_000
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def metrics_table(stored: StoredRun, report: Report = unheard) -> pd.DataFrame:
    """One row a step: loss, grad_norm, lr, seconds, and each channel measured now and then, empty elsewhere.

    `report` is told how many steps are read; what it raises ends it.
    """
    import pandas as pd

    def told() -> Iterator[Scalars]:
        for count, record in enumerate(reader.scalars(stored)):
            if count % ROWS_AT_ONCE == 0:
                report("reading the steps", count, stored.step)
            yield record

    steps = pd.DataFrame(told(), columns=["step", "loss", "grad_norm", "lr", "seconds"])
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


def metrics_csv(stored: StoredRun, report: Report = unheard) -> bytes:
    """`metrics_table` as a CSV file in UTF-8; `report` is told how many rows are read, then how many are written."""
    table = metrics_table(stored, report)
    parts = []
    for first in range(0, max(1, len(table)), ROWS_AT_ONCE):
        report("writing the table", first, len(table))
        parts.append(table[first : first + ROWS_AT_ONCE].to_csv(index=False, header=first == 0))
    return "".join(parts).encode()


def plain_cell(cell: str) -> str:
    """A text cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


def weights_file(stored: StoredRun, report: Report = unheard) -> bytes:
    """The newest snapshot's weights by parameter name, as safetensors; run, step, settings and text are its metadata.

    InputError where the run has no whole snapshot, or no model of ours. `report` is told what it does now.
    """
    config, _ = reader.configuration(stored)
    report("reading the snapshot", 0, 0)
    snapshot, _ = resume_point.newest_snapshot(stored)
    metadata: dict[str, Any] = {
        "format": "pt",
        "run": stored.id,
        "step": str(snapshot.step),
        "config": config.model_dump_json(),
        "settings": snapshot.settings.model_dump_json(),
        "environment": json.dumps((stored.about or {}).get("environment") or {}),
    }
    report("writing the weights", 0, 0)
    return save({name: tensor.contiguous() for name, tensor in snapshot.weights.items()}, metadata=metadata)
