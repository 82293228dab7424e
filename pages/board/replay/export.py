"""One run as one HTML file that replays it with no server and no network: to hand out after a workshop.

Plotly and the run's data lie inside, gzipped and written in base64; a script opens them. Text from people and models
is data in there and becomes text on the page, never markup.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.formatting import SPOKEN_VALUES
from engine.models import registry
from engine.progress import Report, unheard
from engine.runs.datasets import stored_dataset
from engine.storage import reader
from engine.storage.curves import Curves, Floats, curves
from engine.storage.index import Overview
from engine.storage.metrics.reader import open_metrics
from engine.stream.series import SeriesPoints
from engine.text.baselines import Baselines
from engine.text.corpus import Corpus
from pages.board.vendor import PLOTLY
from pages.charts.language_model import ladder
from pages.charts.palette import Theme, colours
from pages.charts.panel import unit_of
from pages.charts.recorded import KNOWN

HERE = Path(__file__).resolve().parent
BOARD = HERE.parent
MODULES = ("charts/palette.js", "charts/theme.js", "charts/series.js", "format.js", "dom.js")
MOST_BYTES = 8_000_000
FRAME_BYTES = 3_500_000  # tables, a byte a cell: at their worst gzip saves nothing, and base64 adds a third
TEXT_BYTES = 300_000  # of samples, and of events
MOST_POINTS = 4000
BLOCK = 1 << 18
LEVELS = 127
STILL = "projection/"  # small companions of a table, not tables to look at


def page_of(one: Overview, report: Report = unheard) -> bytes:
    """The whole file, at most MOST_BYTES; MetricsError where the run's metrics cannot be read.

    `report` is told how far it is; what it raises ends it.
    """
    report("reading the curves", 0, 0)
    filled = (HERE / "replay.html").read_text(encoding="utf-8")
    for mark, content in (
        ("@dark@", _properties("dark")),
        ("@light@", _properties("light")),
        ("@script@", _script()),
        ("@plotly@", _packed(PLOTLY.read_bytes(), "packing the charts", report)),
        ("@data@", _packed(_data(one, report), "packing the run", report)),
    ):
        filled = filled.replace(mark, content)
    return filled.encode()


def _script() -> str:
    """The board's modules that it needs and its own, as one script without imports and exports."""
    modules = [BOARD / name for name in MODULES] + [HERE / "replay.js"]
    lines = [line for module in modules for line in module.read_text(encoding="utf-8").splitlines()]
    return "\n".join(line.removeprefix("export ") for line in lines if not line.startswith("import "))


def _properties(theme: Theme) -> str:
    """The palette as custom properties for the style sheet."""
    names = ("background", "panel", "text", "baseline", "grid", "train")
    return " ".join(f"--{name}: {colours(theme)[name]};" for name in names)


def _data(one: Overview, report: Report) -> bytes:
    """u32 length of the header, the header as JSON padded to a multiple of 4, then its arrays back to back."""
    found = curves(one)
    arrays: dict[str, NDArray[Any]] = {
        "train": _points(found.steps, found.loss),
        "grad_norm": _points(found.steps, found.grad_norm),
        "val": np.stack((found.val_steps, found.val_loss)).astype("<f4"),
    }
    corpus = _corpus(one)
    own = _own_channels(one)
    arrays |= {f"own/{place}": points for place, points in enumerate(own.values())}
    views, tables = _frames(one, corpus, report)
    header = {
        **_facts(one, found),
        "levels": _levels(one, corpus),
        "own": list(own),
        "views": views,
        "samples": _samples(one),
        "arrays": [
            {"name": name, "kind": array.dtype.kind, "shape": array.shape} for name, array in (arrays | tables).items()
        ],
    }
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 4)
    parts = [array.tobytes() for array in (arrays | tables).values()]
    return b"".join((len(head).to_bytes(4, "little"), head, *parts))


def _facts(one: Overview, found: Curves) -> dict[str, Any]:
    """What the run is, what happened in it, and what people wrote about it."""
    events = [[event.step, event.text] for event in found.events]
    while len(json.dumps(events)) > TEXT_BYTES:
        events = events[len(events) // 4 + 1 :]
    return {
        "id": one.run.id,
        "name": one.name,
        "standing": one.run.status,
        "unit": unit_of(one.run.config),
        "settings": {name: written(value) for name, value in one.settings.items() if name not in _idle(one)},
        "last": float(found.steps[-1]) if len(found.steps) else 0.0,
        "notes": [[note.step, note.text] for note in one.notes.notes],
        "events": events,
    }


def _idle(one: Overview) -> tuple[str, ...]:
    """The settings that this run makes no use of and whose values would mislead."""
    return ("vocab_size",) if one.settings.get("tokenizer") in ("char", "gpt2") else ()


def _levels(one: Overview, corpus: Corpus | None) -> list[tuple[float, str, str]]:
    """The dashed lines of the loss chart, as on the stage: value, words, side."""
    if corpus is None:
        return []
    config = one.run.config
    above_floor = config is not None and "pairs" in registry.find(config.model).features
    lines = ladder(Baselines.of(corpus), corpus.tokenizer.labels, above_floor)
    return [line for line in lines if math.isfinite(line[0])]


def _points(steps: Floats, values: Floats, most: int = MOST_POINTS) -> NDArray[np.float32]:
    """[3, n] with n at most `most`: steps, values with their peaks and valleys, means since the point before."""
    finite = np.isfinite(values)
    curve = SeriesPoints.whole(steps[finite].astype(np.uint32), values[finite]).thinned(most)
    return np.stack([column.astype("<f4") for column in curve])


def _own_channels(one: Overview) -> dict[str, NDArray[np.float32]]:
    """Of a recorded run each number that it has a name of its own for: [3, n] as `_points` has it."""
    if not one.run.recorded:
        return {}
    told: dict[str, list[tuple[int, float]]] = {}
    for record in reader.observations(one.run):
        for name, value in record.scalars.items():
            if name not in KNOWN:
                told.setdefault(name, []).append((record.step, value))
    most = max(3, MOST_POINTS // max(1, len(told)))
    columns = {name: np.array(points, np.float64) for name, points in told.items()}
    return {name: _points(points[:, 0], points[:, 1], most) for name, points in columns.items()}


def _frames(
    one: Overview, corpus: Corpus | None, report: Report
) -> tuple[list[dict[str, Any]], dict[str, NDArray[np.int8]]]:
    """Tables over time, as many as fit: each view's steps and limits, and its cells (frames, rows, cols) in LEVELS."""
    views: list[dict[str, Any]] = []
    tables: dict[str, NDArray[np.int8]] = {}
    with open_metrics(one.run.folder) as metrics:
        shapes = [shape for shape in metrics.table_shapes() if not shape[0].startswith(STILL)]
        for name, rows, cols in shapes:
            steps = _spread(metrics.table_steps(name), FRAME_BYTES // len(shapes) // (rows * cols))
            cells, limits = [], []
            for place, step in enumerate(steps):
                report(f"reading the tables of {name}", place, len(steps))
                table = np.nan_to_num(metrics.table(name, step))
                limits.append(float(np.abs(table).max(initial=0)) or 1.0)
                cells.append(np.round(table / limits[-1] * LEVELS).astype(np.int8))
            if cells:
                views.append({"name": name, "steps": steps, "limits": limits, "tokens": _tokens(corpus, rows)})
                tables[name] = np.stack(cells)
    return views, tables


def _samples(one: Overview) -> list[tuple[int, str, int]]:
    """Step, text, and how many characters of it were given; evenly chosen where there are too many."""
    with open_metrics(one.run.folder) as metrics:
        samples = [(sample.step, sample.text, sample.prompt) for sample in metrics.samples()]
    while len(json.dumps(samples)) > TEXT_BYTES:
        samples = _spread(samples, len(samples) // 2)
    return samples


def _corpus(one: Overview) -> Corpus | None:
    """What the run learnt from; None where that is no text, or the text is no longer here."""
    try:
        dataset = stored_dataset(one.run)
    except InputError:
        return None
    return dataset if isinstance(dataset, Corpus) else None


def _tokens(corpus: Corpus | None, rows: int) -> list[str]:
    """The visible names of a table's rows; none where they are not tokens, or not known."""
    return list(corpus.tokenizer.labels) if corpus is not None and corpus.vocab_size == rows else []


def _spread(items: list[Any], most: int) -> list[Any]:
    """At most `most` of `items`, evenly, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[int(place)] for place in np.linspace(0, len(items) - 1, max(0, most)).round()]


def _packed(content: bytes, what: str, report: Report) -> str:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9, mtime=0) as file:
        for first in range(0, len(content), BLOCK):
            report(what, first, len(content))
            file.write(content[first : first + BLOCK])
    return base64.b64encode(packed.getvalue()).decode()


def written(value: object) -> str:
    """A setting's value as people write it."""
    if value is None:
        return "off"
    return f"{value:,}" if type(value) is int else SPOKEN_VALUES.get(str(value), str(value))
