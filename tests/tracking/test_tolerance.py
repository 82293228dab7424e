"""Observing never ends what it observes: whatever a loop logs or was set to, the rest is kept and it is told once."""

from __future__ import annotations

import decimal
import math
import pathlib
import sqlite3
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import record
from engine.errors import InputError
from engine.storage import export, reader
from engine.storage.metrics.loop_parser import ALIASES, MOST_CHANNELS, LoopParser, refuse
from engine.storage.metrics.recorded import Recorded
from engine.stream.history import Frame, History
from engine.stream.messages import Observation, Scalars
from engine.stream.series import LARGEST


class Rude:
    """Answers every question with an error."""

    def __getattr__(self, name: str) -> Any:
        raise OSError(name)

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __float__ = __index__ = __array__ = __repr__


ODD = st.sampled_from(
    [
        *(True, None, 0, -1, 10**400, -(10**400), 1e39, -1e300, math.nan, math.inf, 1.5),
        *("3", "", b"4", "\ud83d", "x" * 30_000, (1, 2), [0.5], {"a": {"b": 1}}, {1, 2}, object(), Rude(), print),
        *(3 + 4j, decimal.Decimal("1.25"), pathlib.Path("x"), [[1, 2], [3]], [["a"]]),
        *(np.float16(1), np.array([1.0]), np.array([1, 2]), np.ones((2, 2)), np.array("x"), np.datetime64("2020")),
        *(np.zeros((0, 3)), np.full((3, 200), np.nan), np.ones(5000)),
        *(torch.tensor(1.0, requires_grad=True), torch.ones(3), torch.tensor(2), torch.ones(2, 3, 4)),
        *(torch.device("cpu"), torch.float32, torch.zeros(0)),
    ]
)
NAMES = st.text(max_size=5) | st.sampled_from(
    [
        *("loss", "train/loss", "val_loss", "val/loss", "grad_norm", "lr", "seconds", "step_time", "step", "samples"),
        *("update_ratio", "table/x", "a:mean", "a:nan", "", "a\nb", "\udcff", "x" * 500, "ü", "accuracy"),
    ]
)
STEPS = st.integers(-2, 5) | st.integers(10**9 - 1, 10**9 + 1) | ODD
TOLD = st.one_of(
    st.tuples(st.just("numbers"), STEPS, st.dictionaries(NAMES, ODD | st.floats(), max_size=5)),
    st.tuples(st.just("table"), NAMES | ODD, ODD),
    st.tuples(st.sampled_from(["sample", "event"]), ODD),
)


def kept(log: Any) -> tuple[History, list[str]]:
    """What is there of a run, closed by now, and what was told about it."""
    history = reader.read_history(reader.open_run(log.id))
    return history, [event.text for event in history.events if event.name == "warning"]


def points(history: History, channel: str) -> dict[int, float]:
    steps, values, _ = history.series[channel].view(10_000)
    return dict(zip(steps.tolist(), values.tolist(), strict=True))


# ---------------------------------------------------------------- the whole kind


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(NAMES, ODD, max_size=6), st.lists(TOLD, max_size=12), ODD, ODD, ODD)
def test_nothing_that_is_logged_or_set_ever_raises(
    config: dict[str, Any], told: list[Any], name: Any, max_steps: Any, live: Any
) -> None:
    log = record(name, {**config, "after": 1}, max_steps=max_steps, live=live)
    for what, *words in told:
        if what == "numbers":
            step, numbers = words
            log(step, numbers)
        else:
            getattr(log, what)(*words)
    last = log.step
    log(last + 1, loss=0.25, after=5)
    log.close()
    run = reader.open_run(log.id)
    assert run.state == "done" and run.recorded is not None and run.recorded.settings["after"] == 1
    history, _ = kept(log)
    if last < 10**9:
        assert points(history, "train/loss")[last + 1] == 0.25
    Frame({"settings": dict(run.recorded.settings), "name": run.recorded.name}).encode()
    assert len(history.snapshot({}).encode()) < 256_000


@given(st.lists(st.tuples(STEPS, st.dictionaries(NAMES, ODD | st.floats(), max_size=5)), max_size=30))
def test_steps_always_rise_and_names_stay_within_their_bounds(told: list[Any]) -> None:
    complaints: list[tuple[str, str]] = []
    parser = LoopParser(lambda *words: complaints.append(words))
    losses, before = [-1], 0
    for step, numbers in told:
        for found in parser.numbers(step, numbers):
            assert found.step >= before
            before = found.step
            if isinstance(found, Scalars):
                losses.append(found.step)
            elif isinstance(found, Observation):
                assert all(0 < len(name) <= 64 and name.isprintable() for name in found.scalars)
                assert all(type(value) is float for value in found.scalars.values())
    assert losses == sorted(set(losses)) and len(parser._channels) <= MOST_CHANNELS
    assert all("\n" not in sentence and len(sentence) < 300 for _, sentence in complaints)


@given(st.dictionaries(NAMES, ODD, max_size=6), ODD, ODD)
def test_settings_are_converted_or_refused_by_name_and_never_both(config: dict[str, Any], name: Any, most: Any) -> None:
    told: list[str] = []
    fields = {"name": name, "settings": config, "max_steps": most}
    found = Recorded.converted(fields, lambda _, sentence: told.append(sentence))
    assert Recorded.of(found.model_dump()) == found
    Frame(found.model_dump()).encode()
    if not told:
        assert set(found.settings) == set(config) or any(isinstance(value, dict) for value in config.values())
    else:
        with pytest.raises(InputError) as refused:
            Recorded.converted(fields, refuse)
        assert str(refused.value) == told[0]


# ---------------------------------------------------------------- one by one


@pytest.mark.parametrize("name", [name for name, key in ALIASES.items() if key == "loss"])
def test_names_of_the_loss_mean_loss(name: str) -> None:
    with record("a", lr=0.5) as log:
        log(1, {name: 2.0})
    history, told = kept(log)
    assert points(history, "train/loss") == {1: 2.0} and points(history, "lr") == {1: 0.5} and not told


@pytest.mark.parametrize("name", [name for name, key in ALIASES.items() if key == "val/loss"])
def test_names_of_the_validation_loss_mean_val_loss(name: str) -> None:
    with record("a") as log:
        log(1, {name: 2.0})
    history, told = kept(log)
    assert points(history, "val/loss") == {1: 2.0} and not told


@pytest.mark.parametrize(
    ("do", "words"),
    [
        (
            lambda log: [log(step, loss="high", x=1) for step in (2, 3)],
            "'loss' 'high' is a str, not a number; log one number a name",
        ),
        (lambda log: log(2, loss=[1.0], x=1), "'loss' [1.0] is a list, not a number; log one number a name"),
        (lambda log: log(2, loss=(1, 2), x=1), "'loss' (1, 2) is a tuple, not a number; log one number a name"),
        (lambda log: log(2, samples=3, x=1), "'samples' has a meaning here; it is kept as 'own/samples'"),
        (lambda log: log(2.5, x=0) or log(2, x=1), "step 2.5 is not possible"),
        (lambda log: log(-1, x=0) or log(2, x=1), "step -1 is not possible"),
        (lambda log: log("2", x=0) or log(2, x=1), "step '2' is not possible"),
        (lambda log: log(2, x=1, **{"a\nb": 1}), "is no name; choose 1 to 60 printable characters"),
        (lambda log: log(2, x=1, loss=1, train_loss=2), "'train_loss' is another name of loss"),
        (lambda log: log.table("w", [["a"]]) or log(2, x=1), "table 'w' is not one of numbers"),
        (lambda log: log.table("w", []) or log(2, x=1), "table 'w' has shape (1, 0); give a cell"),
        (lambda log: log.table("w", np.ones((2, 2, 2))) or log(2, x=1), "table 'w' has shape (2, 2, 2)"),
        (lambda log: log.table("w", [[1, math.nan]]) or log(2, x=1), "has 1 of 2 cells that are not finite"),
        (lambda log: log.sample(5) or log(2, x=1), "a sample 5 is an int, not a text"),
        (lambda log: log.event("x" * 30_000) or log(2, x=1), "an event of 30,000 characters is too long"),
        (lambda log: log(2, 5) or log(2, x=1), "5 is an int; log numbers by their names"),
    ],
)
def test_what_is_not_possible_is_told_once_and_the_rest_is_kept(do: Callable, words: str, capsys: Any) -> None:
    with record("a") as log:
        log(1, loss=1.0)
        do(log)
    history, told = kept(log)
    assert len(told) == 1 and words in told[0]
    assert capsys.readouterr().err == f"warning: 'a': {told[0]}\n"
    assert points(history, "x")[2] == 1


def test_one_channel_too_many_and_one_table_too_many_leave_the_others() -> None:
    with record("a") as log:
        for step in range(1, 4):
            log(step, loss=1.0, **{f"x{place}": place for place in range(MOST_CHANNELS + 6)})
            for place in range(6):
                log.table(f"t{place}", [[place, 1]])
    history, told = kept(log)
    assert points(history, f"x{MOST_CHANNELS - 1}") == dict.fromkeys((1, 2, 3), MOST_CHANNELS - 1)
    assert sorted(history.tables) == ["table/t0", "table/t1", "table/t2", "table/t3"]
    assert [words.split(";")[0] for words in told] == ["'x64' is one name too many", "table 't4' is one too many"]


def test_a_table_of_any_shape_is_pooled_and_blank_where_it_is_not_finite() -> None:
    wide = np.arange(3 * 9000, dtype=np.float64).reshape(3, 9000)
    wide[1, :] = np.inf
    with record("a") as log:
        log.table("row", torch.arange(5))
        log.table("wide", wide)
        log.table("deep", np.ones((2, 3, 4)))
    tables = kept(log)[0].tables
    assert tables["table/row"].tolist() == [[0, 1, 2, 3, 4]] and tables["table/deep"].shape == (2, 12)
    assert tables["table/wide"].shape == (3, 96) and np.isnan(tables["table/wide"][1]).all()
    assert tables["table/wide"][2] == pytest.approx(
        np.add.reduceat(wide[2], np.arange(96) * 9000 // 96) / 93.75, rel=0.01
    )


def test_steps_that_go_back_are_told_and_an_epoch_that_counts_anew_is_counted_on() -> None:
    with record("a") as log:
        for epoch in range(3):
            for batch in range(4):
                log(batch, loss=10 * epoch + batch)
        log(3, loss=99)  # twice
        log(2, loss=99, accuracy=0.5)  # behind, and no beginning
        log(4, loss=42)
    history, told = kept(log)
    expected = dict(enumerate([0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23, 42]))
    assert points(history, "train/loss") == expected and points(history, "accuracy") == {11: 0.5}
    assert told == [
        "step 0 is behind step 3; steps are counted on from there",
        "step 3 has its loss already; log each step once: the first is kept",
        "step 2 is behind step 3; steps never go back: its loss is left out",
    ]


def test_a_step_may_come_as_a_keyword_in_a_dictionary_or_not_at_all() -> None:
    with record("a") as log:
        log({"loss": 1.0, "step": 3})
        log({"loss": 2.0}, step=4)
        log(loss=3.0)
        log(torch.tensor(6), loss=4.0)
        log(7.0, {"loss": 5.0}, accuracy=True)
    history, told = kept(log)
    assert points(history, "train/loss") == {3: 1, 4: 2, 5: 3, 6: 4, 7: 5} and points(history, "accuracy") == {7: 1}
    assert not told


def test_odd_settings_are_kept_as_far_as_they_go(capsys: Any) -> None:
    config = {
        "name": "inner",
        "betas": (0.9, 0.999),
        "optimizer": {"lr": 0.1, "eps": 1e-8},
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "width": np.int64(8),
        "text": "x" * 1000,
        **{f"s{place}": place for place in range(70)},
    }
    with record("n" * 200, config, max_steps=-1, live=("lr", "stop", "dance")) as log:
        log(1, loss=1.0)
    run = reader.open_run(log.id)
    assert run.recorded is not None and len(run.recorded.name) == 80 and run.recorded.max_steps is None
    found = run.recorded.settings
    assert (found["name"], found["betas"], found["optimizer.lr"]) == ("inner", "(0.9, 0.999)", 0.1)
    assert (found["device"], found["dtype"], found["width"]) == ("cpu", "torch.float32", 8)
    assert len(str(found["text"])) == 300 and len(found) == 64
    _, told = kept(log)
    assert len(told) == len(set(told)) == capsys.readouterr().err.count("warning: ") == 9
    assert "setting 'betas' is a tuple, give a number, a text, true or false" in told
    assert "max_steps -1 is not possible; choose a whole number from 1 to 1,000,000,000, or leave it out" in told
    assert "live 'lr' has no value to begin with; write lr=…" in told


def test_a_recording_that_is_closed_takes_nothing_more_and_says_so(capsys: Any) -> None:
    log = record("a")
    log(1, loss=1.0)
    log.close()
    log(2, loss=1.0)
    log.sample("late")
    log.close()
    assert capsys.readouterr().err.count("is closed; record a new one") == 1
    assert reader.open_run(log.id).step == 1


def test_a_finite_number_beyond_float32_is_told_and_drawn_at_the_largest() -> None:
    with record("a") as log:
        log(1, loss=1e39, x=-1e300)
        log(2, loss=1e40)
    run = reader.open_run(log.id)
    history, _ = kept(log)
    assert points(history, "train/loss") == {1: LARGEST, 2: LARGEST} and points(history, "x") == {1: -LARGEST}
    assert [event.text for event in history.events if event.name == "too large"] == [
        "loss 1e+39 at step 1 is beyond what a chart can draw, and drawn as 3.4e+38",
        "x -1e+300 at step 1 is beyond what a chart can draw, and drawn as 3.4e+38",
    ]
    assert [one.scalars for one in reader.observations(run)] == [{"x": -1e300}]


def test_warnings_come_to_an_end(capsys: Any) -> None:
    with record("a") as log:
        for step in range(1, 100):
            log(step, {f"x{step}": "no number"})
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 41 and told[-1].endswith("there is more that is not possible; it is not told")


def test_a_stop_from_the_page_then_close_is_stopped() -> None:
    log = record("a", live=("stop",))
    log(1, loss=1.0)
    log.stopped = True
    log.close()
    assert reader.open_run(log.id).state == "stopped"


def test_an_lr_that_is_told_twice_is_one_column_of_the_export() -> None:
    with record("a", lr=0.5) as log:
        log(1, loss=1.0, accuracy=0.25)
        log(1, lr=0.25)
        log(2, lr=0.125, grad_norm=3)
        log(3, loss=2.0)
    table = export.metrics_table(reader.open_run(log.id))
    assert table.columns.tolist() == ["step", "loss", "grad_norm", "lr", "seconds", "accuracy"]
    assert table["lr"].tolist() == [0.5, 0.125, 0.5] and table["step"].tolist() == [1, 2, 3]
    assert table["grad_norm"].tolist() == pytest.approx([math.nan, 3, math.nan], nan_ok=True)


def test_a_database_that_refuses_to_begin_ends_no_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("engine.storage.metrics.schema.connect", refuse)
    with record("a") as log:
        log(1, loss=1.0)
    assert log.problem is not None
