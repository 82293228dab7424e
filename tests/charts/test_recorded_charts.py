"""The panels of a recorded run: what it has, and nothing for what it has not."""

from __future__ import annotations

from pages.charts.panel import Panel, RunInfo
from pages.charts.recorded import recorded_panels


def panels(*channels: str) -> list[Panel]:
    return recorded_panels(RunInfo("r", "r", None, (), None, (), channels=channels))


def test_samples_without_probabilities_have_no_legend_of_likelihood() -> None:
    (_, samples) = panels("train/loss", "samples")
    assert samples.kind == "samples" and samples.as_json()["shaded"] is False


def test_what_a_run_does_not_have_is_in_no_legend() -> None:
    named = [trace.name for trace in panels("train/loss")[0].figure.data if trace.showlegend is not False]
    assert named == ["train"]
    assert "validation" in [trace.name for trace in panels("train/loss", "val/loss")[0].figure.data]


def test_each_number_of_its_own_has_one_panel() -> None:
    names = [f"x{place}" for place in range(64)]
    keys = [panel.key for panel in panels("train/loss", "grad_norm", "lr", "step_time", *names)]
    assert keys == ["loss", "grad_norm", *(f"own/{name}" for name in names)]
