"""Which panels each page's live board shows: the one list to which a new chart is added."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pages.charts.bigram_table import inside_panels
from pages.charts.embeddings import embedding_panels
from pages.charts.line import line_panels
from pages.charts.panel import Panel, RunInfo
from pages.charts.race import race_panels
from pages.charts.training import training_panels


def no_panels(_: RunInfo) -> list[Panel]:
    """Only the board's header line."""
    return []


PANELS: Mapping[str, Callable[[RunInfo], list[Panel]]] = {
    "train": training_panels,
    "step": no_panels,
    "inside": no_panels,
    "inside-table": inside_panels,
    "first-steps": line_panels,
    "embeddings": embedding_panels,
    "race": race_panels,
    "data": no_panels,
    "compare": no_panels,
    "frame": no_panels,
}
"""By the name under which a page places its board: what makes the panels of a run for it."""
