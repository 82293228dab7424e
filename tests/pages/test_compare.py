"""The Compare page: the list of runs, curves laid over each other, and the way back onto the stage."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from engine import record
from engine.config import changed
from engine.errors import InputError
from engine.paths import home
from engine.presets import preset
from engine.progress import Cancelled, Report
from engine.runs.manager import RunManager
from engine.storage import export, manifest, notes, reader, trash
from engine.storage.curves import curves
from engine.storage.index import overview, overviews
from engine.storage.lock import acquire_lock
from engine.storage.writer import RunWriter
from engine.stream.messages import Event, Observation, Scalars, Turn
from engine.stream.status import State
from pages.board.replay.export import page_of
from pages.views.compare.overlays import counts_tokens
from pages.widgets import waiting

Visit = Callable[[str], AppTest]
HOSTILE = "<img src=x onerror=alert(1)> $x$ :red[a] **b** &amp;"


def words(page: AppTest) -> str:
    return "\n".join(text.value for text in page.text)


def chart(page: AppTest, title: str) -> dict[str, Any]:
    (found,) = [one.proto for one in page.get("plotly_chart") if one.proto.alt == title]
    return dict(json.loads(found.spec))


def stored(name: str, last: int = 3000, live: Any = None, **config: Any) -> str:
    """A run in the run folder of that name: `last` steps and three looks."""
    start = preset("bigram")
    about = {
        "run": name,
        "config": changed(start.config, **config).model_dump(),
        "settings": changed(start.settings, **(live or {})).model_dump(),
        "environment": {},
    }
    store = RunWriter(home() / "runs" / name, about)
    store.put([Event(0, "started", "started")])
    store.put(Scalars(step, 4 - step / last, 1.0, 1e-3, 0.5) for step in range(1, last + 1))
    store.put(Observation(step, {"val/loss": loss}, {}) for step, loss in ((0, 4.2), (1000, 2.5), (2000, 2.75)))
    store.put([Turn(1500, 0, {"batch_size": 64}), Event(1500, "batch_size", "batch_size 32 → 64")])
    store.put([Event(last, "done", f"done at step {last:,}")])
    assert store.close()
    return name


def diverged(name: str) -> str:
    """A run like those, whose loss leaves every scale in its last ten steps."""
    stored(name)
    store = RunWriter(home() / "runs" / name, {})
    store.put(Scalars(3000 + step, 10.0 ** (3 * step), 1.0, 1e6, 0.5) for step in range(1, 11))
    assert store.close()
    return name


def label(run: str) -> str:
    """What people call a run."""
    return overview(home() / "runs" / run).label


def choose(page: AppTest, *names: str) -> None:
    """Select these runs in the table."""
    (table,) = [one for one in page.dataframe if "state" in one.value.columns]
    cells = table.value[["id", "name"]].values.tolist()
    rows = [next(place for place, both in enumerate(cells) if name in both) for name in names]
    page.session_state[table.key] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    page.run()
    assert not page.exception


def test_without_a_run_it_says_how_to_make_one(visit: Visit, house: RunManager) -> None:
    assert "No runs yet" in words(visit("compare.py"))


def test_the_table_tells_what_each_run_is(visit: Visit, house: RunManager) -> None:
    stored("20260101-000000-aaaaaa", live={"lr": 0.01})
    stored("20260102-000000-bbbbbb", live={"lr": 0.1, "speed": "unlimited"})
    (home() / "runs" / "20260103-000000-cccccc").mkdir()
    run = house.start(preset("bigram").config, preset("bigram").settings)
    page = visit("compare.py")
    table = page.dataframe[0].value.set_index("id")
    assert list(table.index) == [run.id, "20260103-000000-cccccc", "20260102-000000-bbbbbb", "20260101-000000-aaaaaa"]
    assert table.loc[run.id, "state"] == "running"
    assert "config.json is missing" in table.loc["20260103-000000-cccccc", "state"]
    first = table.loc["20260101-000000-aaaaaa"]
    assert (first["state"], first["model"], first["corpus"], first["steps"]) == ("done", "bigram", "lamplighters", 3000)
    assert (first["lowest validation loss"], first["at step"], first["time, s"], first["lr"]) == (2.5, 1000, 1500, 0.01)
    assert list(table["speed"].tail(2)) == ["max", "100"], "in words that people use"
    assert "seed" not in table.columns, "it is the same in all"


def test_a_fork_is_listed_with_what_it_went_on_with(
    visit: Visit, house: RunManager, wait_until: Callable[..., None]
) -> None:
    start = preset("bigram")
    parent = house.prepare(start.config, changed(start.settings, speed="unlimited"))
    parent.tune(changed(parent.settings, batch_size=16))  # before its first step: it began with that
    parent.make_steps(60)
    wait_until(lambda: parent.step == 60 and parent.state is State.PAUSED)
    parent.tune(changed(parent.settings, lr=0.5))
    fork = house.fork(30, lr=0.05, weight_decay=0.0)
    wait_until(lambda: fork.catch_up is None)
    fork.make_steps(5)
    wait_until(lambda: fork.step == 35 and fork.state is State.PAUSED)
    fork.tune(changed(fork.settings, lr=7.0))
    house.undo()
    for run in (fork, parent):
        run.paused_state()
        house.flush(run)
    shown = {one.run.id: one for one in overviews()}
    assert [(one.settings["lr"], one.settings["batch_size"]) for one in (shown[fork.id], shown[parent.id])] == [
        (0.05, 16),
        (0.001, 16),
    ]
    page = visit("compare.py")
    table = page.dataframe[0].value.set_index("id")
    assert table.loc[fork.id, "changed there"] == "lr 0.001 → 0.05, weight_decay 0.01 → 0"
    assert (table.loc[fork.id, "lr"], table.loc[fork.id, "parent"]) == (0.05, f"{parent.id} at step 30")
    assert fork.close(30)
    assert page.run().dataframe[0].value.set_index("id").loc[fork.id, "state"] == "paused"


def test_the_step_at_which_a_run_diverged_is_no_update(
    visit: Visit, house: RunManager, wait_until: Callable[..., None]
) -> None:
    start = preset("bigram")
    run = house.start(start.config, changed(start.settings, lr=1e6, weight_decay=0.1, speed="unlimited"))
    wait_until(lambda: run.state is State.DIVERGED)
    house.flush(run)
    assert visit("compare.py").dataframe[0].value["steps"].tolist() == [run.step]


def test_losses_lie_over_each_other(visit: Visit, house: RunManager) -> None:
    one, other = stored("20260101-000000-aaaaaa"), stored("20260102-000000-bbbbbb", 30_000, live={"lr": 0.1})
    page = visit("compare.py")
    choose(page, one, other)
    train = chart(page, "Training loss")["data"]
    assert {line["name"] for line in train} == {"bigram · 00:00:00", "bigram, lr 0.1 · 00:00:00"}
    assert all(len(line["x"]) <= 2000 for line in train)
    assert [line["x"][-1] for line in train if line["name"] == label(other)] == [30_000, 30_000]
    val = chart(page, "Validation loss")["data"]
    assert [(line["x"], line["y"]) for line in val] == [([0, 1000, 2000], [4.2, 2.5, 2.75])] * 2
    assert val[0]["line"]["color"] != val[1]["line"]["color"]
    page.checkbox(key="compare_log_y").check().run()
    assert chart(page, "Training loss")["layout"]["yaxis"]["type"] == "log"
    (differ,) = [table.value for table in page.dataframe if "setting" in table.value.columns]
    assert differ.values.tolist() == [["lr", "0.001", "0.1"]]
    (events,) = [table.value for table in page.dataframe if "step" in table.value.columns]
    assert events["step"].tolist() == [0, 0, 1500, 1500, 3000, 30_000]


def test_recorded_runs_have_no_empty_axes_and_their_own_numbers_lie_over_each_other(
    visit: Visit, house: RunManager
) -> None:
    for name in ("one", "other"):
        with record(name) as log:
            for step in range(1, 4):
                log(step, {"loss": 1.0, HOSTILE: step / 4, name: 1.0})
    with record("bare") as log:
        log(1, accuracy=0.5)
    page = visit("compare.py")
    choose(page, "one", "other", "bare")
    assert [one.proto.alt for one in page.get("plotly_chart")] == ["Training loss", "A number of their own"]
    drawn = chart(page, "A number of their own")
    assert [(line["name"], line["x"], line["y"]) for line in drawn["data"]] == [
        (name, [1, 2, 3], [0.25, 0.5, 0.75]) for name in ("one", "other")
    ]
    assert "<img" not in drawn["layout"]["yaxis"]["title"]["text"]
    (numbers,) = page.multiselect
    numbers.set_value(["accuracy"]).run()
    assert [line["y"] for line in chart(page, "A number of their own")["data"]] == [[0.5]]
    choose(page, "bare")
    assert [one.proto.alt for one in page.get("plotly_chart")] == []


def test_axes_count_steps_tokens_or_seconds(house: RunManager) -> None:
    found = curves(overview(home() / "runs" / stored("20260101-000000-aaaaaa")))
    at = np.array([0.0, 1000.0, 1500.0, 3000.0])
    assert found.along("steps", at).tolist() == at.tolist()
    assert found.along("tokens", at).tolist() == [0, 1000 * 256, 1500 * 256, 1500 * 256 + 1500 * 512]
    assert found.along("seconds", at).tolist() == [0, 500, 750, 1500]


def test_tokens_are_those_that_the_run_counted(manager: RunManager, wait_until: Callable[..., None]) -> None:
    start = preset("bigram")
    run = manager.start(
        changed(start.config, corpus="tiny"), changed(start.settings, speed="unlimited", max_steps=5000)
    )
    wait_until(lambda: run.step > 300)
    run.tune(changed(run.settings, batch_size=7))
    wait_until(lambda: run.state is State.DONE)
    seen = run.status().tokens_seen
    manager.close(30)
    assert curves(overview(home() / "runs" / run.id)).along("tokens", np.array([5000.0])).tolist() == [seen]


def test_a_run_on_points_counts_no_tokens(manager: RunManager, wait_until: Callable[..., None]) -> None:
    start = preset("document-002")
    run = manager.start(start.config, changed(start.settings, speed="unlimited"))
    wait_until(lambda: run.state is State.DONE)
    manager.close(30)
    shown = overview(home() / "runs" / run.id)
    assert np.isnan(curves(shown).along("tokens", np.array([1.0, 5.0]))).all()
    assert not counts_tokens(shown)


def test_a_list_is_read_again_only_where_something_changed(house: RunManager, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = stored("20260101-000000-aaaaaa"), stored("20260102-000000-bbbbbb")
    read: list[str] = []
    read_run = reader.read_run
    monkeypatch.setattr(reader, "read_run", lambda folder: read.append(folder.name) or read_run(folder))
    overviews()
    overviews()
    assert sorted(read) == [one, other]
    store = RunWriter(home() / "runs" / one, {})
    store.put([Scalars(3001, 1.0, 1.0, 1e-3, 0.5)])
    assert store.close()
    assert [shown.run.step for shown in overviews()] == [3000, 3001]
    assert read[2:] == [one]


def test_a_damaged_block_is_left_out_and_counted(visit: Visit, house: RunManager) -> None:
    name = stored("20260101-000000-aaaaaa", 10_000)
    database = sqlite3.connect(home() / "runs" / name / "metrics.db")
    with database:
        database.execute("UPDATE steps SET data = x'00ff' WHERE first = (SELECT MAX(first) FROM steps)")
    database.close()
    page = visit("compare.py")
    choose(page, name)
    assert "1 blocks of steps are damaged and left out" in words(page)


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO looks VALUES (5, 'nonsense \"val/loss\"')",
        'INSERT INTO looks VALUES (5, \'{"val/loss": "x"}\')',
        "INSERT INTO events VALUES (5, 'batch_size', 'batch_size')",
        "INSERT INTO steps VALUES (9000, 'x', 'y')",
    ],
)
def test_whatever_lies_in_one_folder_the_others_are_listed(visit: Visit, house: RunManager, change: str) -> None:
    bad, good = stored("20260101-000000-aaaaaa"), stored("20260102-000000-bbbbbb")
    folder = home() / "runs" / bad
    manifest.write(folder, {**manifest.read(folder), "parent": {"run": 3, "step": "x"}})
    database = sqlite3.connect(home() / "runs" / bad / "metrics.db")
    with database:
        database.execute(change)
    database.close()
    page = visit("compare.py")
    assert page.dataframe[0].value["id"].tolist() == [good, bad]
    choose(page, bad, good)
    assert label(good) in {line["name"] for line in chart(page, "Training loss")["data"]}


def test_a_fork_names_its_parent(visit: Visit, house: RunManager) -> None:
    parent, fork = stored("20260101-000000-aaaaaa"), stored("20260102-000000-bbbbbb")
    folder = home() / "runs" / fork
    manifest.write(folder, {**manifest.read(folder), "parent": {"run": parent, "step": 1000}})
    page = visit("compare.py")
    assert page.dataframe[0].value["parent"].tolist() == [f"{parent} at step 1,000", ""]
    choose(page, parent)
    assert f"Forked from it, and going back before the fork only with it: {fork}." in words(page)


def test_a_stored_run_goes_on_on_train(visit: Visit, house: RunManager, wait_until: Callable[..., None]) -> None:
    start = preset("bigram")
    run = house.start(start.config, changed(start.settings, speed="unlimited", max_steps=500))
    wait_until(lambda: run.state is State.DONE)
    house.close(30)
    house.current = house.previous = None
    house.open()
    page = visit("compare.py")
    choose(page, run.id)
    page.button(key="continue").click().run()
    assert not page.exception
    assert house.current is not None and (house.current.id, house.current.step) == (run.id, 500)
    assert page.button(key="play")  # Train is open


def test_a_run_under_way_is_asked_about_first(visit: Visit, house: RunManager, wait_until: Callable[..., None]) -> None:
    start = preset("bigram")
    first = house.start(start.config, changed(start.settings, speed="unlimited", max_steps=500))
    wait_until(lambda: first.state is State.DONE)
    house.close(30)
    house.current = house.previous = None
    house.open()
    second = house.start(start.config, start.settings)
    page = visit("compare.py")
    choose(page, first.id)
    page.button(key="continue").click().run()
    assert "Stop it and continue this one?" in words(page)
    page.button(key="resume_no").click().run()
    assert house.current is second and second.state is State.RUNNING
    page.button(key="continue").click().run()
    page.button(key="resume_yes").click().run()
    assert not page.exception
    assert house.current is not None and house.current.id == first.id
    wait_until(lambda: second.state is State.STOPPED)


def test_a_run_of_another_process_is_left_alone(visit: Visit, house: RunManager) -> None:
    name = stored("20260101-000000-aaaaaa")
    with acquire_lock(home() / "runs" / name):
        page = visit("compare.py")
        assert page.dataframe[0].value["state"].tolist() == ["done, in another process"]
        choose(page, name)
        assert "Another process is writing this run" in words(page)
        assert "continue" not in [button.key for button in page.button]


def test_a_run_without_a_snapshot_says_so(visit: Visit, house: RunManager) -> None:
    name = stored("20260101-000000-aaaaaa")
    page = visit("compare.py")
    choose(page, name)
    page.button(key="continue").click().run()
    assert f"run {name} has no snapshot to go on from" in words(page)
    assert house.current is None


def test_its_place_is_after_first_steps() -> None:
    shell = (Path(__file__).parent.parent.parent / "pages" / "shell.py").read_text(encoding="utf-8")
    assert shell.index("first_steps.py") < shell.index("compare.py") < shell.index("data.py")


def test_a_model_has_no_settings_of_another(house: RunManager) -> None:
    bigram = overview(home() / "runs" / stored("20260101-000000-aaaaaa"))
    gpt = overview(home() / "runs" / stored("20260102-000000-bbbbbb", model="gpt"))
    assert "n_layer" not in bigram.settings and "points" not in bigram.settings
    assert gpt.settings["n_layer"] == 4


# ---------------------------------------------------------------- one run


def test_names_and_notes_are_kept_and_shown_literally(visit: Visit, house: RunManager) -> None:
    name = stored("20260101-000000-aaaaaa")
    page = visit("compare.py")
    choose(page, name)
    page.text_input(key=f"name-{name}").input(HOSTILE).run()
    assert not page.exception
    assert page.dataframe[0].value["name"].tolist() == [HOSTILE]
    page.text_area(key=f"note-{name}").input(HOSTILE)
    page.number_input(key=f"note_step-{name}").set_value(1500)
    page.button(key="add_note").click().run()
    assert not page.exception
    assert f"step 1,500: {HOSTILE}" in words(page)
    assert page.text_area(key=f"note-{name}").value == ""
    marks = [line for line in chart(page, "Training loss")["data"] if line["name"] == "note"]
    assert [(mark["x"], mark["y"]) for mark in marks] == [([1500], [pytest.approx(3.5, abs=0.05)])]
    drawn = json.dumps(chart(page, "Training loss"))
    assert "<img" not in drawn and "&lt;img" in drawn
    page.button(key=f"remove-{name}-0").click().run()
    assert notes.read(home() / "runs" / name).notes == ()
    page.button(key="add_note").click().run()
    assert "an empty note is none" in words(page)


def test_deleting_can_be_undone(visit: Visit, house: RunManager) -> None:
    one, other = stored("20260101-000000-aaaaaa"), stored("20260102-000000-bbbbbb")
    page = visit("compare.py")
    choose(page, one)
    page.button(key="delete").click().run()
    assert page.dataframe[0].value["id"].tolist() == [other]
    assert trash.deleted() == [one]
    page.button(key="undo_delete").click().run()
    assert not page.exception
    assert page.dataframe[0].value["id"].tolist() == [other, one]
    choose(page, other)
    page.button(key="delete").click().run()
    fresh = visit("compare.py")
    fresh.button(key="back").click().run()
    assert fresh.dataframe[0].value["id"].tolist() == [other, one]


def test_the_current_run_cannot_be_deleted(visit: Visit, house: RunManager) -> None:
    run = house.start(preset("bigram").config, preset("bigram").settings)
    page = visit("compare.py")
    choose(page, run.id)
    assert "delete" not in [button.key for button in page.button]
    assert page.button(key="show")


def test_there_is_something_to_take_away(visit: Visit, house: RunManager) -> None:
    name = stored("20260101-000000-aaaaaa")
    page = visit("compare.py")
    choose(page, name)
    assert not page.get("download_button")
    page.button(key="take.csv").click().run()
    (save,) = page.get("download_button")
    assert save.label.startswith(f"Save {name}.csv (") and not page.exception
    assert [page.button(key=f"take{ending}").label for ending in (".html", ".csv", ".safetensors")] == [
        "Replay as HTML",
        "Metrics as CSV",
        "Weights as safetensors",
    ]


def test_a_long_export_has_a_bar_and_cancel(visit: Visit, house: RunManager, monkeypatch: pytest.MonkeyPatch) -> None:
    name, ended = stored("20260101-000000-aaaaaa"), threading.Event()

    def endless(_: object, report: Report) -> bytes:
        try:
            while True:
                report("writing the table", 1, 2)
                time.sleep(0.01)
        finally:
            ended.set()

    monkeypatch.setattr(export, "metrics_csv", endless)
    monkeypatch.setattr(waiting, "PATIENCE", 0.3)
    page = visit("compare.py")
    choose(page, name)
    page.button(key="take.csv").click().run()
    assert [bar.proto.text for bar in page.get("progress")] == ["writing the table: 1 of 2"]
    page.button(key="cancel-action").click().run()
    assert ended.wait(30) and not page.get("download_button") and not page.exception


def replay(run: reader.StoredRun, report: Report) -> bytes:
    return page_of(overview(run.folder), report)


@pytest.mark.parametrize("made", [export.metrics_csv, export.weights_file, replay])
def test_each_export_tells_how_far_it_is_and_ends_when_told(house: RunManager, made: Callable[..., bytes]) -> None:
    run, told = reader.read_run(home() / "runs" / stored("20260101-000000-aaaaaa")), list[str]()
    try:
        made(run, lambda what, done, total: told.append(what))
    except InputError:  # there is no snapshot to take weights from
        assert made is export.weights_file
    assert told

    def end(what: str, done: int, total: int) -> None:
        raise Cancelled(what)

    with pytest.raises(Cancelled):
        made(run, end)


def test_a_run_that_diverged_leaves_the_others_their_scale(visit: Visit, house: RunManager) -> None:
    names = diverged("20260101-000000-aaaaaa"), stored("20260102-010101-bbbbbb")
    page = visit("compare.py")
    choose(page, *names)
    low, high = chart(page, "Training loss")["layout"]["yaxis"]["range"]
    assert 2 < low < 3 and 4 < high < 6
    (told,) = [one.value for one in page.text if "Far above" in one.value]
    assert label(names[0]) in told and label(names[1]) not in told and "1e+30" in told
    assert "range" not in chart(page, "Validation loss")["layout"]["yaxis"]
    page.checkbox(key="compare_log_y").check().run()
    assert "range" not in chart(page, "Training loss")["layout"]["yaxis"]
    assert "Far above" not in words(page)


def test_runs_that_stay_in_sight_keep_the_whole_axis(visit: Visit, house: RunManager) -> None:
    page = visit("compare.py")
    stored("20260101-000000-aaaaaa")
    page.run()
    choose(page, "20260101-000000-aaaaaa")
    assert "range" not in chart(page, "Training loss")["layout"]["yaxis"]


@pytest.mark.parametrize("knobs", ['{"lr": -1}', '{"lr": 0.2, "momentum": 0.9}', "no json"])
def test_knobs_that_cannot_be_read_take_nothing_else_with_them(house: RunManager, knobs: str) -> None:
    folder = home() / "runs" / stored("20260101-000000-aaaaaa")
    with sqlite3.connect(folder / "metrics.db") as database:
        database.execute("INSERT INTO turns (step, stages, settings) VALUES (0, 0, ?)", (knobs,))
    found = overview(folder)
    assert (found.run.reason, found.best_val_loss, found.began_with) == (None, 2.5, None)
    assert found.settings["lr"] == 1e-3


def test_a_paused_run_that_was_killed_is_interrupted_unless_it_is_all_saved(house: RunManager, wait_until) -> None:
    start = preset("bigram")
    run = house.prepare(start.config, changed(start.settings, speed="unlimited"))
    run.make_steps(60)
    wait_until(lambda: run.step == 60 and run.state is State.PAUSED)
    house.flush(run)
    copy = home() / "runs" / "copy"
    shutil.copytree(run.folder, copy)
    assert (overview(copy).run.state, overview(copy).run.step) == ("interrupted", 60)
    house.close(10)
    kept = home() / "runs" / "kept"
    shutil.copytree(run.folder, kept)
    assert (overview(kept).run.state, overview(kept).run.step) == ("paused", 60)


@pytest.mark.parametrize(
    ("config", "live", "said"),
    [
        ({}, {}, "bigram"),
        ({}, {"lr": 0.01}, "bigram, lr 0.01"),
        ({}, {"lr": 0.01, "batch_size": 64}, "bigram, lr 0.01, batch size 64"),
        ({}, {"grad_clip": 1.0}, "bigram, grad clip 1"),
        ({}, {"max_steps": 7, "speed": 1000}, "bigram"),
        ({"seed": 2}, {}, "bigram, seed 2"),
        ({"corpus": "ferry-notebook"}, {}, "bigram, corpus ferry-notebook"),
        ({"optimizer": "sgd"}, {}, "bigram, optimizer sgd"),
        ({"epochs": 3}, {}, "bigram, epochs 3"),
        ({"eval_every": 3}, {}, "bigram"),
    ],
)
def test_a_run_has_a_name_that_people_can_say_made_of_what_differs(
    config: dict[str, Any], live: dict[str, Any], said: str
) -> None:
    start = preset("bigram")
    about = {
        "config": changed(start.config, **config).model_dump(),
        "settings": changed(start.settings, **live).model_dump(),
    }
    store = RunWriter(home() / "runs" / "20260101-101530-aaaaaa", about)
    store.put([Scalars(1, 4.0, 1.0, 0.01, 0.1)])
    assert store.close()
    assert label("20260101-101530-aaaaaa") == f"{said} · 10:15:30"
