"""The panels of the Train page: which ones a run has depends on its model."""

from __future__ import annotations

from pages.charts import language_model, points
from pages.charts.panel import LOSS_UNITS, RECORDED, Panel, RunInfo
from pages.charts.recorded import recorded_panels


def training_panels(info: RunInfo) -> list[Panel]:
    """The panels of the Train page for one run, in reading order."""
    if info.model == RECORDED:
        return recorded_panels(info)
    gradients = [language_model.gradient_norm(info), language_model.update_ratio(info)]
    if info.model in LOSS_UNITS:
        table = [points.weights()] if info.model == "logistic" else []
        return [points.loss(info), *table, *gradients]
    return [language_model.loss(info), language_model.embedding(info), *gradients, language_model.samples(info)]
