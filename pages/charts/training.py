"""The panels of the Train page: which ones a run has depends on its model."""

from __future__ import annotations

from dataclasses import replace

from engine.training.probes import QUANTITIES
from pages.charts import language_model, points
from pages.charts.line import line_panels
from pages.charts.live_figures import gauge, learning_rate, table
from pages.charts.panel import Panel, RunInfo
from pages.charts.recorded import recorded_panels


def training_panels(info: RunInfo) -> list[Panel]:
    """The panels of the Train page for one run, in reading order."""
    if info.model is None:
        return recorded_panels(info)
    tables = [] if info.model.heatmap is None else [table(info, info.model.heatmap)]
    gradients = [
        replace(panel, engine_room=True)
        for panel in (
            language_model.gradient_norm(info),
            language_model.update_ratio(info),
            *([learning_rate()] if info.scheduled else []),
            *(gauge(one) for one in QUANTITIES.values()),
        )
    ]
    if info.model.learns_from == "points":
        loss = points.loss(info.model)
        if not (pictures := line_panels(info)):
            return [loss, *tables, *gradients]
        line, surface, _ = pictures  # the line itself says more than its loss
        return [line, replace(loss, area="side"), replace(surface, engine_room=True), *tables, *gradients]
    return [language_model.loss(info), *tables, *gradients, language_model.samples(info)]
