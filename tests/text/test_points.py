"""The small models on a handful of numbers, against arithmetic done by hand and by numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.config import LiveSettings, RunConfig, changed
from engine.errors import InputError
from engine.presets import preset
from engine.stream.messages import Observation, Scalars
from engine.text.points import Points, read_points, write_points
from engine.training.trainer import Trainer


def trained(name: str, steps: int, **changes):
    """A trainer of preset `name` after `steps` steps, and what it emitted."""
    start = preset(name)
    config = changed(start.config, **changes)
    told = []
    trainer = Trainer(config, start.settings, Points.of(config), told.append)
    for _ in range(steps):
        trainer.advance()
    return trainer, told


def test_document_002_the_line_goes_down_the_slope_that_the_formula_gives() -> None:
    trainer, told = trained("document-002-line", 3)
    x, y, lr, a, b = np.array([1.0, 2, 3]), np.array([3.0, 5, 7]), 0.05, 0.0, 0.0
    losses = []
    for _ in range(3):
        error = a * x + b - y
        losses.append((error**2).mean())
        a, b = a - lr * (2 * error * x).mean(), b - lr * (2 * error).mean()
    assert [t.loss for t in told if isinstance(t, Scalars)] == pytest.approx(losses, rel=1e-6)
    assert (trainer.model.a.item(), trainer.model.b.item()) == pytest.approx((a, b), rel=1e-6)
    shown = [t for t in told if isinstance(t, Observation)][-1].scalars
    assert (shown["parameter/a"], shown["parameter/b"]) == pytest.approx((a, b), rel=1e-6)
    assert {"gradient/a", "gradient/b", "update_ratio"} <= shown.keys()


def test_document_002_the_line_arrives_at_two_and_one() -> None:
    trainer, _ = trained("document-002-line", 1000)
    assert (trainer.model.a.item(), trainer.model.b.item()) == pytest.approx((2, 1), abs=1e-3)


def test_document_002_gradients_of_the_5_to_3_layer() -> None:
    trainer, _ = trained("document-002", 4)
    for _ in range(5):
        trainer.stage()  # batch, forward, loss, backward, measure
    w, b = trainer.model.w, trainer.model.b
    by_hand = torch.sigmoid(torch.ones(5) @ w + b) / 3
    torch.testing.assert_close(b.grad, by_hand)
    assert all(torch.equal(row, b.grad) for row in w.grad)


@pytest.mark.parametrize("text", ["1", "1,2 x,3", "1,nan", "1,2,3", "1e9,0", "   "])
def test_what_is_no_set_of_points_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(InputError) as error:
        read_points(text)
    assert "\n" not in str(error.value)


def test_points_are_read_as_they_are_written() -> None:
    pairs = [(1.0, 3.0), (2.5, -5.0), (4.0, 8.0)]
    assert read_points(write_points(pairs)) == pairs


def test_a_single_point_can_be_learnt() -> None:
    config = RunConfig(model="line", points="2,4", optimizer="sgd")
    trainer = Trainer(config, LiveSettings(lr=0.05, weight_decay=0), Points.of(config), lambda _: None)
    for _ in range(200):
        trainer.advance()
    assert 2 * trainer.model.a.item() + trainer.model.b.item() == pytest.approx(4, abs=1e-3)
