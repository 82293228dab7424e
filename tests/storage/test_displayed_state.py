"""Going back in time without holding up the run: what is read is what was on show then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.config import LiveSettings, RunConfig
from engine.storage.displayed_state import displayed_state, displayed_step_before, displayed_steps
from engine.storage.writer import RunWriter
from engine.stream.messages import Event, Observation, Sample, Scalars

START = {"run": "r", "config": RunConfig().model_dump(), "settings": LiveSettings().model_dump(), "environment": {}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Steps 1 to 9,000 with a look at each 100th: its number in the tables; still open for writing."""
    store = RunWriter(tmp_path / "run", START)
    store.put(Scalars(step, step / 1024, step / 512, 1e-3, 0.0) for step in range(1, 9001))
    for step in range(0, 9001, 100):
        tables = {"weights/a": np.full((2, 3), step / 100, np.float32)}
        if step % 300 == 0:
            tables["projection/a"] = np.full((4, 2), step / 100, np.float32)
        scalars = {"update_ratio": step / 64} if step % 200 else {"val/loss": step / 32}
        store.put([Observation(step, scalars, tables), Event(step, "speed", "")])
    store.put([Sample(1000, "one", 1, "-99"), Sample(5000, "two", 1, "-99"), Sample(5000, "three", 1, "-9999")])
    assert store.flush()
    yield tmp_path / "run"
    store.close()


def test_a_moment_is_what_was_on_show(folder: Path) -> None:
    steps = displayed_steps(folder)
    assert steps == list(range(0, 9001, 100))
    for asked in (0, 99, 100, 4999, 5000, 8999, 123_456):
        step = displayed_step_before(folder, asked)
        assert step == min(asked // 100 * 100, 9000)
        moment = displayed_state(folder, step)
        assert (moment.tables["weights/a"] == step / 100).all()
        assert (moment.tables["projection/a"] == step // 300 * 3).all()
        assert moment.tables["projection/a"].shape == (4, 2)
        text = None if step < 1000 else "one" if step < 5000 else "three"
        assert (moment.sample.text if moment.sample else None) == text
        if step:
            assert (moment.scalars["train/loss"], moment.scalars["grad_norm"]) == (step / 1024, step / 512)
        if step >= 200:
            assert moment.scalars["update_ratio"] == (step if step % 200 else step - 100) / 64
            assert moment.scalars["val/loss"] == step // 200 * 200 / 32


def test_before_anything_is_stored_there_is_nothing(tmp_path: Path) -> None:
    store = RunWriter(tmp_path / "run", START)
    store.put([Scalars(1, 1.0, 1.0, 1e-3, 0.0)])
    assert store.flush()
    assert displayed_steps(tmp_path / "run") == [] and displayed_step_before(tmp_path / "run", 5) is None
    moment = displayed_state(tmp_path / "run", 5)
    assert (moment.tables, moment.sample) == ({}, None)
    store.close()
