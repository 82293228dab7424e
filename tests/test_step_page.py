"""The Step page as a session sees it: stages made by hand, looked back at, finished, for every kind of model."""

from __future__ import annotations

import pytest
import torch
from streamlit.testing.v1 import AppTest

from engine.runner import Run, State
from engine.trainer import STAGES, Trainer
from tests.test_page import SHELL, click, opened, studio, words  # noqa: F401

MODELS = ["bigram", "gpt-tiny", "document-002-line", "document-002"]


@pytest.fixture
def page(studio) -> AppTest:  # noqa: F811
    """The Step page."""
    shown = AppTest.from_file(SHELL, default_timeout=60).run()
    shown.switch_page("step.py").run()
    assert not shown.exception
    return shown


def choose(page: AppTest, name: str) -> None:
    (control,) = [one for one in page.button_group if (one.key or "").startswith("step_through")]
    control.set_value(name).run()
    assert not page.exception


def lane(studio) -> Run:  # noqa: F811
    return studio.lanes["step"]


def weights(run: Run) -> list[torch.Tensor]:
    kept = run.moment().snapshot
    moments = [t for name in kept.weights for _, t in sorted(kept.optimizer.get(name, {}).items())]
    return [*kept.weights.values(), *moments]


@pytest.mark.parametrize("name", MODELS)
def test_stages_on_the_page_are_ordinary_steps(page, studio, name) -> None:  # noqa: F811
    if name != "bigram":
        choose(page, name)
    run = lane(studio)
    assert run.config.preset == name
    for made in range(1, 2 * len(STAGES) + 1):
        click(page, "step_next")
        assert (run.step, run.stage) == (run.step, made % len(STAGES))
        assert f"{(made - 1) % 9 + 1} {STAGES[(made - 1) % 9]}" in [title.value for title in page.subheader]
    plain = Trainer(run.config, run.settings, run.dataset, lambda _: None)
    plain.advance()
    plain.advance()
    kept = plain.snapshot()
    moments = [t for name in kept.weights for _, t in sorted(kept.optimizer.get(name, {}).items())]
    assert run.step == 2
    assert all(torch.equal(a, b) for a, b in zip(weights(run), [*kept.weights.values(), *moments], strict=True))
