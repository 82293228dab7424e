from __future__ import annotations

import json
import math
import random
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.presets import preset
from engine.stream.downsampling import downsample
from engine.stream.history import DELTA_POINTS, MAX_ENTRIES, MAX_POINTS, SLOW, SLOW_POINTS, Frame, History
from engine.stream.messages import EACH_STEP, Event, Observation, Queue, Record, Sample, Scalars, drain_queue
from engine.stream.pump import Frames, Pump
from engine.stream.series import LARGEST, MEAN, Series, SeriesPoints
from engine.stream.status import RunStatus, State, status_of_no_run

HEADER: dict[str, Any] = {"run": "r", "state": "running", "step": 0}
Wait = Callable[..., None]


def decoded(message: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """A frame taken apart as the contract says, with nothing of the engine."""
    (length,) = struct.unpack_from("<I", message)
    assert length % 4 == 0
    header = json.loads(message[4 : 4 + length].decode("utf-8"))
    arrays, at = {}, 4 + length
    for entry in header["arrays"]:
        count = math.prod(entry["shape"])
        numbers = struct.unpack_from(f"<{count}f", message, at)
        at += 4 * count
        arrays[entry["name"]] = np.array(numbers, np.float64).reshape(entry["shape"])
    assert at == len(message), "nothing follows the last array"
    return header, arrays


def rows(first: int, last: int, seed: int = 0) -> list[Record]:
    draws = random.Random(seed)
    return [Scalars(step, draws.gauss(3, 1), draws.random(), 1e-3, 2e-4) for step in range(first, last + 1)]


def filled(series: Series, count: int, block: int, seed: int = 0) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).normal(size=count).astype(np.float32)
    for at in range(0, count, block):
        part = values[at : at + block]
        series.extend(SeriesPoints.whole(np.arange(at + 1, at + 1 + len(part), dtype=np.uint32), part))
    return values


# ---------------------------------------------------------------- thinning

floats = st.floats(-(2.0**99), 2.0**99, width=32)


@given(st.lists(floats, max_size=300), st.integers(3, 120))
def test_thinning_keeps_the_ends_and_only_real_points(values: list[float], points: int) -> None:
    column = np.array(values, np.float32)
    steps = np.arange(10, 10 + 3 * len(values), 3, dtype=np.uint32)
    kept_steps, kept = downsample(steps, column, points)
    assert len(kept_steps) == len(kept) <= points
    assert (np.diff(kept_steps.astype(np.int64)) > 0).all()
    assert all(column[(step - 10) // 3] == value for step, value in zip(kept_steps.tolist(), kept, strict=True))
    if len(values) <= points:
        np.testing.assert_array_equal(kept, column)
    if values:
        assert kept_steps[0] == steps[0] and kept_steps[-1] == steps[-1]


@given(st.integers(2, 4998), st.sampled_from([-40.0, 40.0]), st.sampled_from([8, 32, 500]))
def test_one_spike_among_thousands_is_still_seen(at: int, height: float, points: int) -> None:
    values = np.random.default_rng(1).uniform(-1, 1, 5000).astype(np.float32)
    values[at] = height
    assert height in downsample(np.arange(5000, dtype=np.uint32), values, points)[1]


# ---------------------------------------------------------------- a series


def test_a_short_series_keeps_every_point() -> None:
    series = Series()
    values = filled(series, 5000, 137)
    steps, seen, means = series.view(5000)
    assert np.array_equal(seen, means)
    assert steps.tolist() == list(range(1, 5001))
    np.testing.assert_array_equal(seen, values)


@given(st.integers(64, 400), st.lists(st.integers(0, 60), max_size=60))
def test_a_series_is_bounded_and_in_order(capacity: int, blocks: list[int]) -> None:
    series, at = Series(capacity), 0
    for block in blocks:
        new = np.arange(at + 1, at + 1 + block, dtype=np.uint32)
        series.extend(SeriesPoints.whole(new, np.sin(new).astype(np.float32)))
        at += block
        assert series.count <= capacity + 60
    steps, values, _ = series.view(10_000)
    assert len(steps) == series.count and (np.diff(steps.astype(np.int64)) > 0).all()
    np.testing.assert_array_equal(values, np.sin(steps).astype(np.float32))
    if at:
        assert steps[0] == 1 and steps[-1] == at


def test_a_long_series_stays_within_its_memory() -> None:
    series = Series(capacity=10_000)
    filled(series, 400_000, 500)
    assert series.count <= 10_000 and len(series._steps) == len(series._values) == 10_000
    steps = series.view(20_000).steps
    assert steps[0] == 1 and steps[-1] == 400_000
    recent = steps[steps > 396_000]
    assert len(recent) == 4000, "the newest part is whole"


@pytest.mark.parametrize("steps", [20_000, 100_000, 1_000_000])
def test_the_beginning_of_a_long_run_is_as_dense_as_the_rest(steps: int) -> None:
    series = Series(capacity=10_000)
    filled(series, steps, 500)
    kept = series.view(20_000)[0].astype(np.int64)
    assert np.diff(kept).max() < steps / 200
    shown = series.view(2000)[0].astype(np.int64)
    assert np.diff(shown).max() < steps / 50


def test_an_old_spike_survives_every_thinning() -> None:
    series = Series(capacity=1000)
    for at in range(0, 100_000, 100):
        values = np.zeros(100, np.float32)
        if at == 300:
            values[50] = 99.0
        series.extend(SeriesPoints.whole(np.arange(at, at + 100, dtype=np.uint32), values))
    assert 99.0 in series.view(1000)[1]
    assert 99.0 in series.view(50)[1]


@given(st.integers(64, 400), st.lists(st.integers(0, 60), max_size=40), st.integers(3, 100))
def test_thinned_points_carry_the_mean_of_what_they_stand_for(capacity: int, blocks: list[int], points: int) -> None:
    series, numbers = Series(capacity), np.random.default_rng(len(blocks)).normal(3, 1, 1 + sum(blocks))
    at = 0
    for block in blocks:
        series.extend(
            SeriesPoints.whole(np.arange(at + 1, at + 1 + block, dtype=np.uint32), numbers[at + 1 : at + 1 + block])
        )
        at += block
    steps, _, means = series.view(points)
    before = 0
    for step, mean in zip(steps.tolist(), means.tolist(), strict=True):
        assert mean == pytest.approx(numbers[before + 1 : step + 1].mean(), rel=1e-4)
        before = step
    assert before == at


def test_an_average_of_a_thinned_curve_is_that_of_all_its_steps() -> None:
    rng = np.random.default_rng(4)
    losses = 2.3 + rng.gamma(2.0, 0.05, 20_000)  # more often low than high, as losses of batches are
    series = Series()
    series.extend(SeriesPoints.whole(np.arange(1, 20_001, dtype=np.uint32), losses))
    steps, values, means = series.view(2000)
    gaps = np.diff(steps.astype(np.int64), prepend=0)
    late = steps > 10_000
    assert np.average(means[late], weights=gaps[late]) == pytest.approx(losses[10_000:].mean(), abs=1e-3)
    assert np.average(values[late], weights=gaps[late]) > losses[10_000:].mean() + 0.01, "peaks and valleys alone"


@given(st.integers(64, 400), st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 200), st.data())
def test_the_mean_of_the_last_steps_does_not_know_how_points_were_thinned(
    capacity: int, blocks: list[int], window: int, data: st.DataObject
) -> None:
    thinned, whole = Series(capacity), Series()
    losses = np.random.default_rng(window).normal(3, 1, sum(blocks))
    at = 0
    for block in blocks:
        points = SeriesPoints.whole(np.arange(at + 1, at + 1 + block, dtype=np.uint32), losses[at : at + block])
        thinned.extend(points)
        whole.extend(points)
        at += block
    step = data.draw(st.integers(1, at))
    assert whole.mean_before(step, window) == pytest.approx(losses[max(0, step - window) : step].mean(), rel=1e-5)
    recent = min(window, capacity // 4)  # what is thinned has no single steps left
    assert thinned.mean_before(None, recent) == pytest.approx(whole.mean_before(at, recent), rel=1e-6)
    assert Series().mean_before(None, window) is None


def test_the_headline_s_loss_is_the_mean_of_the_last_hundredth_of_the_steps() -> None:
    history = History()
    assert history.recent_loss() is None
    history.add(rows(1, 3000))
    losses = [row.loss for row in rows(1, 3000) if isinstance(row, Scalars)]
    assert history.recent_loss() == pytest.approx(np.mean(losses[-30:]), rel=1e-6)
    assert history.recent_loss(1000) == pytest.approx(np.mean(losses[990:1000]), rel=1e-6)
    assert history.recent_loss(7) == pytest.approx(np.mean(losses[2:7]), rel=1e-6)
    assert history.recent_loss(scatters=False) == pytest.approx(losses[-1], rel=1e-6)
    assert history.recent_loss(0) is None


def test_means_go_along_where_they_differ() -> None:
    history = History()
    history.add(rows(1, 20))
    assert not any(name.endswith(MEAN) for name in decoded(history.delta(HEADER).encode())[1])
    history.add(rows(21, 1020))
    for frame in (history.delta(HEADER), history.snapshot(HEADER)):
        _, arrays = decoded(frame.encode())
        if frame.header["kind"] == "delta":
            np.testing.assert_array_equal(arrays["train/loss" + MEAN][0], arrays["train/loss"][0])
            gaps = np.diff(arrays["train/loss" + MEAN][0], prepend=-1)
            mean = np.average(arrays["train/loss" + MEAN][1], weights=gaps)
            assert mean == pytest.approx(np.mean([r.loss for r in rows(21, 1020)]), rel=1e-5)  # type: ignore[union-attr]
        else:
            assert "train/loss" + MEAN not in arrays, "all 1,020 points are there"
    recorded = History(averaged=lambda _: True)
    recorded.add(Observation(step, {"accuracy": step % 7}, {}) for step in range(1, 100))
    assert "accuracy" + MEAN in decoded(recorded.delta(HEADER).encode())[1]


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(3, 600))
def test_a_view_is_a_stretch(first: int, last: int, points: int) -> None:
    series = Series()
    values = filled(series, 2500, 400)
    steps, seen, _ = series.view(points, first, last)
    inside = range(max(first, 1), min(last, 2500) + 1)
    assert len(steps) == min(points, len(inside))
    assert all(step in inside for step in steps.tolist())
    assert all(values[step - 1] == value for step, value in zip(steps.tolist(), seen, strict=True))
    if inside:
        assert steps[0] == inside[0] and steps[-1] == inside[-1]


# ---------------------------------------------------------------- frames

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
shapes = st.tuples(st.integers(0, 5), st.integers(0, 5)) | st.tuples(st.just(2), st.integers(0, 40))


@given(
    st.dictionaries(st.sampled_from(["run", "message", "x"]), st.none() | st.integers(-(2**53), 2**53) | names),
    st.dictionaries(names, shapes, max_size=5),
    st.integers(0, 2**31),
)
def test_a_frame_reads_back(header: dict[str, Any], wanted: dict[str, tuple[int, int]], seed: int) -> None:
    draws = np.random.default_rng(seed)
    arrays = [(name, draws.normal(size=shape).astype(np.float32)) for name, shape in wanted.items()]
    head, seen = decoded(Frame(header, arrays).encode())
    assert {key: head[key] for key in header} == header
    assert [(entry["name"], tuple(entry["shape"])) for entry in head["arrays"]] == list(wanted.items())
    for name, array in arrays:
        np.testing.assert_array_equal(seen[name], array.astype(np.float64))


def test_arrays_that_do_not_lie_in_a_row_are_sent_right() -> None:
    table = np.arange(12, dtype=np.float32).reshape(3, 4)
    _, seen = decoded(Frame({}, [("t", table.T), ("r", table[:, ::-1])]).encode())
    assert seen["t"].tolist() == table.T.tolist() and seen["r"].tolist() == table[:, ::-1].tolist()


def test_the_first_delta_and_the_snapshot_hold_the_same() -> None:
    history = History()
    table = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    history.add(
        [
            Observation(0, {"val/loss": 4.5}, {"weights/token_embedding": table}),
            *rows(1, 20),
            Event(3, "lr", "lr 0.1 → 0.2"),
            Sample(20, "ab\n", 1, "-73", 2),
        ]
    )
    for frame in (history.snapshot(HEADER), history.delta(HEADER)):
        head, arrays = decoded(frame.encode())
        assert head["run"] == "r" and head["base_step"] == 0
        assert list(arrays) == [*EACH_STEP, "val/loss", "weights/token_embedding"]
        assert arrays["val/loss"].tolist() == [[0], [4.5]]
        assert arrays["train/loss"][0].tolist() == list(range(1, 21))
        np.testing.assert_allclose(arrays["train/loss"][1], [r.loss for r in rows(1, 20)], rtol=1e-6)  # type: ignore[union-attr]
        np.testing.assert_allclose(arrays["lr"][1], 1e-3)
        np.testing.assert_array_equal(arrays["weights/token_embedding"], table)
        assert head["events"] == [{"step": 3, "name": "lr", "text": "lr 0.1 → 0.2"}]
        assert head["samples"] == [{"step": 20, "text": "ab\n", "prompt": 1, "confidence": "-73", "lane": 2}]
    empty, arrays = decoded(history.delta(HEADER).encode())
    assert empty["kind"] == "delta" and empty["events"] == empty["samples"] == [] and arrays == {}


def test_steps_beyond_float32_come_through_exactly() -> None:
    history, start = History(), 900_000_001
    history.add(rows(start, start + 30))
    for frame in (history.snapshot(HEADER), history.delta(HEADER)):
        head, arrays = decoded(frame.encode())
        assert head["base_step"] == start
        assert (arrays["train/loss"][0] + head["base_step"]).tolist() == list(range(start, start + 31))


@given(st.lists(st.tuples(st.integers(0, 200), st.booleans()), max_size=12), st.integers(0, 2**31))
def test_deltas_are_small_and_lose_no_spike(blocks: list[tuple[int, bool]], seed: int) -> None:
    history, at, spikes, seen, ends = History(), 1, 0, 0, []
    for count, spike in blocks:
        block = rows(at, at + count - 1, seed)
        if spike and count:
            block[count // 2] = block[count // 2]._replace(loss=1000.0)  # type: ignore[call-arg]
            spikes += 1
        history.add(block)
        head, arrays = decoded(history.delta(HEADER).encode())
        thinned = {"train/loss" + MEAN, "grad_norm" + MEAN} if count > DELTA_POINTS else set()
        assert head["kind"] == "delta" and set(arrays) == ({*EACH_STEP, *thinned} if count else set())
        for name, array in arrays.items():
            most = SLOW_POINTS if name in SLOW else DELTA_POINTS
            assert array.shape[0] == 2 and array.shape[1] == min(count, most)
            assert head["base_step"] == at
        if count:
            ends.append(arrays["train/loss"][0][-1] + head["base_step"])
            seen += int((arrays["train/loss"][1] == 1000.0).sum())
        at += count
    assert seen == spikes
    assert ends == sorted(ends) and (not ends or ends[-1] == at - 1)


def test_what_is_not_finite_is_not_drawn_and_what_is_too_large_is_the_largest() -> None:
    history = History()
    history.add([Scalars(1, 2.0, 1.0, 1e-3, 1e-4), Scalars(2, math.nan, math.inf, 1e-3, 1e-4)])
    history.add([Scalars(3, 1e300, 1.0, 1e-3, 1e-4)])
    _, arrays = decoded(history.delta(HEADER).encode())
    assert arrays["train/loss"].tolist() == [[0, 2], [2.0, LARGEST]]
    assert arrays["grad_norm"][0].tolist() == [0, 2]
    history.add([Scalars(4, math.nan, 1.0, 1e-3, 1e-4)])
    _, arrays = decoded(history.delta(HEADER).encode())
    assert arrays["train/loss"].shape == (2, 0)
    assert decoded(history.snapshot(HEADER).encode())[1]["train/loss"].tolist() == [[0, 2], [2.0, LARGEST]]


def test_a_value_that_is_not_finite_leaves_the_means_of_its_neighbours() -> None:
    history = History()
    values, means = np.array([1.0, math.inf, 3.0], np.float32), np.array([1.5, math.inf, 3.5], np.float32)
    history.add_points("train/loss", SeriesPoints(np.array([4, 8, 12], np.uint32), values, means))
    read = history.points_between("train/loss", 0, 12)
    assert read is not None
    assert [column.tolist() for column in read] == [[4, 12], [1.0, 3.0], [1.5, 3.5]]


def test_tables_of_one_step_are_sent_together_and_at_most_twice_a_second() -> None:
    now = [100.0]
    history = History(clock=lambda: now[0])
    sent = []
    for tick in range(40):
        tables = {name: np.full((2, 2), tick, np.float32) for name in ("weights", "gradients")}
        history.add([Observation(tick, {}, tables)])
        header, arrays = decoded(history.delta(HEADER | {"state": "running"}).encode())
        assert ("tables_step" in header) == bool(arrays)
        sent += [(tick, header["tables_step"], name, array[0, 0]) for name, array in arrays.items()]
        now[0] += 0.125
    assert [tick for tick, *_ in sent[::2]] == list(range(0, 40, 4))
    assert [name for _, _, name, _ in sent] == ["weights", "gradients"] * 10
    assert all(value == step == tick for tick, step, _, value in sent), "the newest, not those of when it was due"


def test_tables_of_a_step_come_no_sooner_than_its_numbers() -> None:
    now = [100.0]
    history = History(clock=lambda: now[0])
    history.add([Observation(0, {}, {"weights/x": np.zeros((2, 2), np.float32)})])
    history.delta(HEADER)
    now[0] += 50
    history.add(rows(1, 9))
    history.add([Observation(10, {"update_ratio": 1e-3}, {"weights/x": np.zeros((2, 2), np.float32)})])
    early = history.delta(HEADER)  # drained between the two records of step 10
    assert "tables_step" not in early.header and "weights/x" not in dict(early.arrays)
    history.add(rows(10, 500))
    frame = history.delta(HEADER)
    steps = dict(frame.arrays)["train/loss"][0] + frame.header["base_step"]
    assert frame.header["tables_step"] == 10 and 10 in steps and "weights/x" in dict(frame.arrays)
    history.add([Observation(600, {}, {"weights/x": np.zeros((2, 2), np.float32)})])
    now[0] += 9
    assert "tables_step" not in history.delta(HEADER).header
    now[0] += 10
    assert history.delta(HEADER).header["tables_step"] == 600, "they do not wait for ever"


def test_every_channel_keeps_its_point_of_the_step_of_the_tables() -> None:
    history = History(clock=lambda: 0.0)
    history.add(rows(1, 700))
    history.add([Observation(650, {"update_ratio": 0.1}, {"weights": np.zeros((2, 2), np.float32)})])
    header, arrays = decoded(history.delta(HEADER).encode())
    late = decoded(history.snapshot(HEADER).encode())
    for seen, channels in ((header, arrays), late):
        for name in ("train/loss", "grad_norm", "lr", "update_ratio"):
            assert 650 - seen["base_step"] in channels[name][0], name


def test_tables_of_a_run_that_stands_still_are_sent_at_once() -> None:
    history = History(clock=lambda: 0.0)
    for step in (1, 2):
        history.add([Observation(step, {}, {"weights": np.zeros((2, 2), np.float32)})])
        header, arrays = decoded(history.delta(HEADER | {"state": "paused"}).encode())
        assert (header["tables_step"], list(arrays)) == (step, ["weights"])
    history.add([Observation(3, {}, {"weights": np.zeros((2, 2), np.float32)})])
    assert not decoded(history.delta(HEADER | {"state": "running"}).encode())[1]
    assert decoded(history.snapshot(HEADER).encode())[0]["tables_step"] == 3


# ---------------------------------------------------------------- the snapshot's budget


def heavy(steps: int) -> History:
    """A long run of a large model: 20 layers, full tables, 200 long samples and events of many scripts."""
    history, draws = History(), np.random.default_rng(0)
    for first in range(1, steps - 999, 20_000):  # in blocks, past the queue: a million records take too long to make
        numbers = np.arange(first, min(first + 20_000, steps - 999), dtype=np.uint32)
        for name in EACH_STEP:
            history._extend(name, SeriesPoints.whole(numbers, draws.normal(size=len(numbers))))
    history.add(rows(steps - 999, steps))
    layers = [f"block_{i}" for i in range(20)]
    for step in range(0, steps, max(1, steps // 3000)):
        scalars = {f"{kind}/{layer}": draws.random() for layer in layers for kind in ("grad_norm", "update_ratio")}
        history.add([Observation(step, {**scalars, "update_ratio": 1.0, "val/loss": 2.0}, {})])
    table = draws.normal(size=(96, 96)).astype(np.float32)
    tables = {"weights/token_embedding": table, "gradients/token_embedding": table}
    history.add([Observation(steps, {}, tables)])
    text = 'жук 龍 🐉 "\n\\ \x01' * 40
    history.add(Sample(step, text, 3, "-" * len(text)) for step in range(200))
    history.add(Event(step, "lr", f"lr {step} → {'ü' * 150}") for step in range(300))
    return history


@pytest.mark.parametrize("steps", [1_000, 100_000, 1_000_000])
def test_a_snapshot_fits_its_budget(steps: int) -> None:
    history = heavy(steps)
    header = {**HEADER, "error": "Traceback\n" + "  line\n" * 300, "message": "x" * 300}
    message = history.snapshot(header).encode()
    assert len(message) <= 256_000
    head, arrays = decoded(message)
    means = {name for name in arrays if name.endswith(MEAN)}
    assert means == {"train/loss" + MEAN, "grad_norm" + MEAN}, "of what is drawn with its moving average"
    assert len(arrays) == 4 + 42 + 2 + 2
    series = {name: array for name, array in arrays.items() if "embedding" not in name}
    for name, array in series.items():
        assert 50 <= array.shape[1] <= MAX_POINTS, name
    assert head["base_step"] + arrays["train/loss"][0][0] == 1
    assert head["base_step"] + arrays["train/loss"][0][-1] == steps
    assert arrays["weights/token_embedding"].shape == (96, 96)
    assert head["samples"][-1]["step"] == 199 and head["events"][-1]["step"] == 299, "the newest are there"
    for items in (head["samples"], head["events"]):
        assert [item["step"] for item in items] == sorted(item["step"] for item in items)
        assert 0 < len(items) <= MAX_ENTRIES


def test_a_small_model_gets_all_the_points_there_are() -> None:
    history = History()
    history.add(rows(1, 10_000))
    _, arrays = decoded(history.snapshot(HEADER).encode())
    assert {array.shape for array in arrays.values()} == {(2, MAX_POINTS)}
    few = History()
    few.add(rows(1, 700))
    assert decoded(few.snapshot(HEADER).encode())[1]["grad_norm"].shape == (2, 700)


def test_a_stretch_shows_its_detail() -> None:
    history = History()
    history.add(rows(1, 50_000))
    stretch = history.points_between("train/loss", 20_000, 20_500)
    assert stretch is not None
    assert stretch[0].tolist() == list(range(20_000, 20_501))
    np.testing.assert_allclose(stretch[1][0], rows(1, 20_000)[-1].loss, rtol=1e-6)  # type: ignore[union-attr]
    whole = history.points_between("train/loss", 0, None)
    assert whole is not None and len(whole[0]) == MAX_POINTS
    assert history.points_between("nothing", 0, None) is None


def test_the_last_two_hundred_are_kept() -> None:
    history = History()
    history.add(Event(step, "lr", "x") for step in range(500))
    history.add(Sample(step, "x", 0, "1") for step in range(500))
    head, _ = decoded(history.snapshot(HEADER).encode())
    for items in (head["events"], head["samples"]):
        assert [item["step"] for item in items] == list(range(300, 500))


def test_hundreds_of_epochs_push_no_turned_knob_out() -> None:
    history = History()
    history.add([Event(5, "lr", "lr 0.1 → 0.2"), *(Event(step, "epoch", "") for step in range(6, 6 + 2 * MAX_ENTRIES))])
    kept = list(history.events)
    assert len(kept) == MAX_ENTRIES and kept[0].name == "lr"
    assert [event.step for event in kept[1:]] == list(range(7 + MAX_ENTRIES, 6 + 2 * MAX_ENTRIES))


def test_records_come_out_of_a_queue_in_order() -> None:
    queue: Queue = SimpleQueue()
    assert drain_queue(queue) == []
    for record in rows(1, 5):
        queue.put(record)
    assert drain_queue(queue) == rows(1, 5) and queue.empty()


# ---------------------------------------------------------------- the pump


class Quiet:
    """A run that says only what it is told to."""

    def __init__(self, name: str = "r") -> None:
        self.id = name
        self.queue: Queue = SimpleQueue()
        self.history = History()
        self.drain_lock = threading.Lock()
        self.store = None
        self.state = State.RUNNING

    def status(self) -> RunStatus:
        return replace(status_of_no_run(preset("bigram").settings), run=self.id, state=self.state)

    def say(self, records: list[Record]) -> None:
        for record in records:
            self.queue.put(record)


def test_a_quiet_run_sends_nothing_but_a_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr("engine.stream.pump.time.monotonic", lambda: now[0])
    run = Quiet()
    pump = Pump(lambda: [run])

    def sent() -> bool:
        pump.drain()
        ((source, frame),) = pump.frames()
        assert source is run
        return frame is not None

    assert sent() and not sent()
    run.say(rows(1, 1))
    assert sent() and not sent()
    run.state = State.PAUSED
    assert sent() and not sent()
    now[0] += Pump.HEARTBEAT_SECONDS - 0.1
    assert not sent()
    now[0] += 0.2
    assert sent() and not sent()


def test_a_new_run_gets_its_frame_and_an_old_one_is_forgotten() -> None:
    runs = [Quiet("a")]
    pump = Pump(lambda: list(runs))
    pump.frames()
    runs.append(Quiet("b"))
    assert [frame is not None for _, frame in pump.frames()] == [False, True]
    del runs[0]
    pump.frames()
    runs.insert(0, Quiet("a"))
    assert [frame is not None for _, frame in pump.frames()] == [True, False]


def test_every_subscriber_gets_the_same_frames_in_order(wait_until: Wait) -> None:
    run = Quiet()
    pump = Pump(lambda: [run], hertz=400)
    received: list[list[Frame]] = [[] for _ in range(3)]

    def subscriber(place: int) -> Callable[[Frames], None]:
        return lambda frames: received[place].extend(frame for _, frame in frames if frame)

    for place in range(3):
        pump.subscribe(subscriber(place))
    pump.start()
    pump.start()
    assert sum(thread.name == "pump" for thread in threading.enumerate()) == 1
    for first in range(1, 2001, 20):
        run.say([*rows(first, first + 19), Event(first, "lr", str(first))])
    wait_until(lambda: sum(len(frame.header["events"]) for frame in received[2]) == 100)
    pump.stop()
    assert [id(f) for f in received[0]] == [id(f) for f in received[1]] == [id(f) for f in received[2]]
    said = [event["step"] for frame in received[0] for event in frame.header["events"]]
    assert said == list(range(1, 2001, 20))
    steps = run.history.series["train/loss"].view(5000)[0]
    assert steps.tolist() == list(range(1, 2001))


def test_stopping_drains_what_is_left_and_can_begin_again(wait_until: Wait) -> None:
    run, before = Quiet(), threading.active_count()
    pump = Pump(lambda: [run], hertz=0.01)
    pump.stop()
    pump.start()
    run.say(rows(1, 500))
    pump.stop()
    assert threading.active_count() == before and run.queue.empty()
    assert run.history.series["train/loss"].count == 500
    quick = Pump(lambda: [run], hertz=400)
    for first in (501, 601):
        quick.start()
        run.say(rows(first, first + 99))
        wait_until(lambda last=first + 99: run.history.series["train/loss"].count == last)
        quick.stop()
    assert threading.active_count() == before


def test_a_snapshot_may_be_taken_at_any_moment(wait_until: Wait) -> None:
    """Viewers come while the pump writes: every snapshot is a whole one."""
    run = Quiet()
    pump = Pump(lambda: [run], hertz=1000)
    pump.start()
    lengths = []
    for first in range(1, 3001, 100):
        run.say(rows(first, first + 99))
        _, arrays = decoded(run.history.snapshot(run.status().header()).encode())
        assert len({array.shape for array in arrays.values()}) <= 1
        lengths.append(run.history.series["lr"].count if "lr" in run.history.series else 0)
    wait_until(run.queue.empty)
    pump.stop()
    assert lengths == sorted(lengths)


def test_where_a_loss_is_no_number_is_marked_and_since_when_is_told() -> None:
    history = History()
    history.add([Scalars(1, 2.0, 1.0, 1e-3, 1e-4), Scalars(2, math.nan, 1.0, 1e-3, 1e-4)])
    header, arrays = decoded(history.delta(HEADER).encode())
    assert header["not_finite"] == {"train/loss": 2} and arrays["train/loss:nan"].tolist() == [[1], [2.0]]
    history.add([Scalars(step, math.nan, 1.0, 1e-3, 1e-4) for step in (3, 4)])
    assert decoded(history.snapshot(HEADER).encode())[0]["not_finite"] == {"train/loss": 2}
    history.add([Scalars(5, 1.0, 1.0, 1e-3, 1e-4)])
    header, arrays = decoded(history.snapshot(HEADER).encode())
    assert header["base_step"] == 1 and arrays["train/loss"].tolist() == [[0, 4], [2.0, 1.0]]
    assert header["not_finite"] == {} and arrays["train/loss:nan"].tolist() == [[1, 2, 3], [2.0, 2.0, 2.0]]


def test_every_second_value_that_is_no_number_has_its_mark() -> None:
    history = History()
    history.add([Scalars(step, math.inf if step % 2 else step / 8, 1.0, 1e-3, 1e-4) for step in range(1, 101)])
    header, arrays = decoded(history.snapshot(HEADER).encode())
    assert header["not_finite"] == {}
    assert header["base_step"] == 1
    assert arrays["train/loss:nan"].tolist() == [list(range(0, 100, 2)), [step / 8 for step in range(0, 100, 2)]]
