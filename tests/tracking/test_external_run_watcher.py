"""Runs of other processes: noticed by themselves, followed live, shown and never written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.config import LiveSettings, RunConfig
from engine.errors import InputError
from engine.paths import home
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.storage import reader, resume_point, trash
from engine.storage.command_inbox import CommandInbox
from engine.storage.lock import RunLocked
from engine.storage.metrics.follower import MetricsFollower, Rewound
from engine.storage.metrics.json_lines import FILE
from engine.storage.metrics.reader import open_metrics
from engine.storage.metrics.schema import connect
from engine.storage.writer import RunWriter
from engine.stream.messages import Event, Observation, Sample, Scalars, Turn
from engine.tracking import external_run_watcher
from engine.tracking.external_run import ExternalRun
from tests.conftest import ROOT, OneText

Wait = Callable[..., None]
NAME = "20260101-000000-abcdef"
CONFIG = RunConfig(corpus="tiny", block_size=4, observe_every=50)
START = {"config": CONFIG.model_dump(), "settings": LiveSettings().model_dump(), "environment": {"device": "cpu"}}
LIVE = LiveSettings(max_steps=1_000_000, speed="unlimited")


def rows(first: int, last: int) -> list[Scalars]:
    """Steps first..last with numbers that float32 holds exactly."""
    return [Scalars(i, i / 1024, 2 * i / 1024, 0.125, 0.25) for i in range(first, last + 1)]


@pytest.fixture
def writer() -> Iterator[RunWriter]:
    """A run that is being written, as another process would."""
    store = RunWriter(home() / "runs" / NAME, START)
    yield store
    store.close()


def pumped(manager: RunManager, followed: ExternalRun) -> tuple[list[int], list[float]]:
    manager.pump.drain()
    series = followed.history.series["train/loss"]
    steps, values, _ = series.view(1_000_000)
    return steps.tolist(), values.tolist()


def test_a_run_elsewhere_is_noticed_followed_and_over(manager: RunManager, writer: RunWriter, wait_until: Wait) -> None:
    writer.put([Event(0, "started", "started"), *rows(1, 100)])
    wait_until(lambda: manager.external_runs.live())
    assert [run.id for run in manager.external_runs.live()] == [NAME]
    followed = manager.external_runs.follow(NAME)
    assert manager.external_runs.follow(NAME) is followed and manager.source(NAME) is followed
    assert followed.title == "bigram on tiny"
    table = np.arange(25, dtype=np.float32).reshape(5, 5)
    turned = LiveSettings(lr=0.5).model_dump()
    writer.put([*rows(101, 150), Turn(150, 0, turned), Event(150, "lr", "lr 0.001 → 0.5")])
    writer.put([Observation(150, {"val/loss": 2.5}, {"weights/token_embedding": table}), Sample(150, "abc", 1, "-99")])
    writer.put(rows(151, 9000))
    wait_until(lambda: followed.step == 9000)
    steps, losses = pumped(manager, followed)
    assert steps == list(range(1, 9001)) and losses == [i / 1024 for i in range(1, 9001)]
    assert followed.history.series["val/loss"].view(9)[1].tolist() == [2.5]
    assert followed.history.tables["weights/token_embedding"].tolist() == table.tolist()
    assert list(followed.history.samples) == [Sample(150, "abc", 1, "-99")]
    assert [event.text for event in followed.history.events] == ["started", "lr 0.001 → 0.5"]
    header = followed.status().header()
    assert (header["state"], header["step"], header["settings"]["lr"], header["settings"]["version"]) == (
        "running",
        9000,
        0.5,
        1,
    )
    assert header["tokens_seen"] == 9000 * 32 * 4 and header["elsewhere"] is True
    writer.put([Event(9000, "done", "done at step 9,000")])
    assert writer.close()
    wait_until(lambda: followed.state == "done" and not manager.external_runs.live())
    assert followed.message == "done at step 9,000"


def test_a_writer_that_is_gone_leaves_its_run_interrupted(
    manager: RunManager, writer: RunWriter, wait_until: Wait
) -> None:
    writer.put([Event(0, "started", "started"), *rows(1, 10)])
    assert writer.flush()
    wait_until(lambda: manager.external_runs.live())
    followed = manager.external_runs.follow(NAME)
    assert followed.state == "running"
    writer.close()
    wait_until(lambda: followed.interrupted)
    assert followed.status().state == "stopped" and followed.status().interrupted is True


def test_a_writer_that_begins_to_listen_is_news(writer: RunWriter) -> None:
    writer.put([Event(0, "started", "started"), *rows(1, 10)])
    assert writer.flush()
    followed = ExternalRun(reader.open_run(NAME), None)
    before = followed.status().version
    box = CommandInbox(followed.folder, ("lr", "stop"))
    followed.refresh()
    heard = followed.status().version
    assert followed.takes == ("lr", "stop") and heard != before, "a page drawn before shows knobs that do not turn"
    followed.refresh()
    assert followed.version == heard
    box.close()
    followed.refresh()
    assert followed.takes == () and followed.version != heard


def test_watching_puts_it_on_the_stage_and_a_start_takes_it_off(
    manager: RunManager, writer: RunWriter, wait_until: Wait
) -> None:
    writer.put([Event(0, "started", "started"), *rows(1, 10)])
    wait_until(lambda: manager.external_runs.live())
    run = manager.start(CONFIG, LIVE)
    assert [stored.id for stored in manager.external_runs.live()] == [NAME], "a run of this process is not elsewhere"
    with pytest.raises(InputError, match="pause or stop it first"):
        manager.watch(NAME)
    run.pause()
    run.paused_state()
    followed = manager.watch(NAME)
    assert manager.source("current") is followed and manager.source("here") is run and manager.current is run
    manager.stop_watching()
    assert manager.source("current") is run
    manager.watch(NAME)
    again = manager.start(CONFIG, LIVE, replace=True)
    assert manager.source("current") is again and manager.watched is None
    with pytest.raises(InputError, match="not being trained elsewhere"):
        manager.external_runs.follow(again.id)
    for hostile in ("../../etc", "/etc", "", ".", "nowhere"):
        with pytest.raises(InputError, match="not being trained elsewhere"):
            manager.external_runs.follow(hostile)


def test_what_a_resumed_process_makes_again_is_not_shown_twice(
    manager: RunManager, writer: RunWriter, wait_until: Wait
) -> None:
    writer.put([Event(0, "started", "started"), *rows(1, 100)])
    wait_until(lambda: manager.external_runs.live())
    before = manager.external_runs.follow(NAME)
    wait_until(lambda: before.step == 100)
    writer.close()
    resume_point.rewind(home() / "runs" / NAME, 60)
    again = RunWriter(home() / "runs" / NAME, {})
    again.put([Event(60, "resumed", "resumed"), *rows(61, 200)])
    wait_until(lambda: manager.source(NAME) is not before and manager.source(NAME).step == 200)
    steps, losses = pumped(manager, manager.source(NAME))
    again.close()
    assert steps == list(range(1, 201)) and losses == [i / 1024 for i in range(1, 201)]


def test_settings_that_were_turned_in_an_abandoned_future_are_forgotten(writer: RunWriter) -> None:
    def turned(step: int, batch_size: int) -> Turn:
        return Turn(step, 0, LiveSettings(batch_size=batch_size).model_dump())

    writer.put([Event(0, "started", "started"), *rows(1, 20), turned(10, 8), turned(100, 64)])
    assert writer.flush()
    followed = ExternalRun(reader.open_run(NAME), None)
    writer.put([turned(20, 16), *rows(21, 30)])
    assert writer.flush()
    with pytest.raises(Rewound):
        followed.refresh()
    followed = ExternalRun(reader.open_run(NAME), None)
    writer.put([turned(30, 4), *rows(31, 40)])
    assert writer.flush()
    followed.refresh()
    assert followed.settings["batch_size"] == 4
    assert followed.status().tokens_seen == CONFIG.block_size * (10 * 32 + 10 * 8 + 10 * 16 + 10 * 4)


def test_a_run_told_in_lines_is_followed_byte_by_byte(manager: RunManager, wait_until: Wait) -> None:
    folder = home() / "runs" / "by-hand"
    folder.mkdir(parents=True)
    told = [{"run": {"name": "mine", "settings": {"lr": 0.1}}}]
    told += [{"step": i, "loss": i / 1024, "accuracy": i / 2048} for i in range(1, 201)]
    content = b"".join(json.dumps(one).encode() + b"\n" for one in told)
    with (folder / FILE).open("ab", buffering=0) as file:
        file.write(content[:100])
        wait_until(lambda: manager.external_runs.live())
        followed = manager.external_runs.follow("by-hand")
        for at in range(100, len(content)):
            file.write(content[at : at + 1])
        file.write(b'{"step": 201, "loss": oops}\n{"step": 201, "lo')
        wait_until(lambda: followed.step == 200)
    steps, losses = pumped(manager, followed)
    assert steps == list(range(1, 201)) and losses == [i / 1024 for i in range(1, 201)]
    assert followed.title == "mine" and followed.max_steps is None
    wait_until(lambda: followed.warning)
    assert followed.warning == ("lines of records.jsonl that cannot be read in full: 1 (line 202: it is not JSON)")
    assert followed.channels == ("train/loss", "accuracy")


def test_damaged_rows_are_counted_and_the_others_shown(
    manager: RunManager, writer: RunWriter, wait_until: Wait
) -> None:
    writer.put([Event(0, "started", "started"), *rows(1, 10)])
    assert writer.flush()
    writer.put(rows(11, 20))
    assert writer.flush()
    database = connect(home() / "runs" / NAME / "metrics.db")
    with database:
        database.execute("UPDATE steps SET data = x'00ff00' WHERE first = 1")
        database.execute("INSERT INTO looks VALUES (5, '[1, 2]')")
        database.execute("INSERT INTO looks VALUES ('five', '{}')")
        database.execute("INSERT INTO events VALUES (-1, 'x', 'y')")
        database.execute("INSERT INTO frames VALUES (1, 'weights/w', 1000000, 1000000, x'00')")
        database.execute("INSERT INTO turns VALUES (1, 0, '5')")
    database.close()
    wait_until(lambda: manager.external_runs.live())
    followed = manager.external_runs.follow(NAME)
    assert pumped(manager, followed)[0] == list(range(11, 21))
    assert followed.warning == "rows of metrics.db that are damaged and left out: 6"


def test_a_reader_says_when_what_it_read_is_gone(writer: RunWriter) -> None:
    writer.put(rows(1, 10))
    assert writer.flush()
    follower = MetricsFollower()
    with open_metrics(writer.folder) as metrics:
        assert [block.first for block in follower.read_new(metrics).blocks] == [1]
        assert follower.read_new(metrics) == ([], [], [])
    writer.close()
    resume_point.rewind(writer.folder, 10)  # even where nothing was lost
    with open_metrics(writer.folder) as metrics, pytest.raises(Rewound):
        follower.read_new(metrics)


def test_a_reader_says_when_it_is_another_run_that_is_there(writer: RunWriter) -> None:
    """As after a folder was taken away: its writer makes it anew, and goes on."""
    follower = MetricsFollower()
    assert writer.flush()
    with open_metrics(writer.folder) as metrics:
        follower.read_new(metrics)
    writer.close()
    shutil.rmtree(writer.folder)
    again = RunWriter(writer.folder, START)
    assert again.flush() and again.close()
    with open_metrics(writer.folder) as metrics, pytest.raises(Rewound):
        follower.read_new(metrics)


def test_followed_runs_are_few_and_the_unwanted_are_let_go(
    manager: RunManager, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    stores = [RunWriter(home() / "runs" / f"r{i}", START) for i in range(external_run_watcher.MOST_FOLLOWED + 2)]
    for store in stores:
        store.put([Event(0, "started", "started"), *rows(1, 3)])
    wait_until(lambda: len(manager.external_runs.live()) == len(stores))
    for store in stores:
        manager.external_runs.follow(store.folder.name)
    assert len(manager.external_runs.followed()) == external_run_watcher.MOST_FOLLOWED
    monkeypatch.setattr(external_run_watcher, "UNWANTED_SECONDS", 0.0)
    wait_until(lambda: not manager.external_runs.followed())
    for store in stores:
        store.close()


def test_two_servers_on_one_home_do_not_write_to_one_run(manager: RunManager, wait_until: Wait) -> None:
    other = RunManager(OneText("abcde edcba bad cab deed ace " * 12))  # type: ignore[arg-type]
    other.open()
    try:
        run = manager.start(CONFIG, LIVE)
        wait_until(lambda: other.external_runs.live())
        assert [stored.id for stored in other.external_runs.live()] == [run.id] and not manager.external_runs.live()
        followed = other.watch(run.id)
        wait_until(lambda: followed.step > 1000 and followed.state == "running")
        with pytest.raises(InputError, match="another process"):
            other.resume(run.id)
        with pytest.raises(InputError, match="in use"):
            trash.delete(run.id)
        assert other.current is None and run.id not in other.stores
        run.stop()
        wait_until(lambda: followed.state == "stopped")
        assert run.close(30)
        taken_up = other.resume(run.id)
        assert [source for source in other.sources() if source.id == run.id] == [taken_up], "and is followed no more"
        taken_up.make_steps(5)
        with pytest.raises(InputError, match="another process"):
            manager.resume(run.id, replace=True)
        wait_until(lambda: taken_up.step == run.step + 5)
        other.pump.drain()
        assert taken_up.store is not None and taken_up.store.flush() and taken_up.store.problem is None
        kept = [row.step for row in reader.scalars(reader.read_run(home() / "runs" / run.id))]
        assert kept == list(range(1, run.step + 6)), "each step once"
    finally:
        assert other.close(30)


def test_of_two_servers_that_resume_at_once_one_is_refused(manager: RunManager, wait_until: Wait) -> None:
    run = manager.start(CONFIG, LIVE)
    wait_until(lambda: run.step > 200)
    run.stop()
    assert run.close(30)
    others = [RunManager(OneText("abcde edcba bad cab deed ace " * 12)) for _ in range(3)]  # type: ignore[arg-type]
    said: list[Any] = []

    def resume(other: RunManager) -> None:
        try:
            said.append(other.resume(run.id))
        except InputError as error:
            said.append(error)

    threads = [threading.Thread(target=resume, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    opened = [one for one in said if isinstance(one, Run)]
    assert len(opened) == 1 and all(isinstance(one, RunLocked) for one in said if one not in opened)
    for other in others:
        assert other.close(30)


def test_the_command_lines_run_is_followed_to_its_kill(manager: RunManager, wait_until: Wait) -> None:
    words = ["train", "--preset", "bigram", "--max-steps", "1000000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "engine", *words], cwd=ROOT, env={**os.environ}, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: manager.external_runs.live(), 60)
        (stored,) = manager.external_runs.live()
        followed = manager.external_runs.follow(stored.id)
        wait_until(lambda: followed.step > 2000, 60)
        wait_until(lambda: followed.status().steps_per_second > 0)  # from its second reading on
        assert followed.state == "running"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    wait_until(lambda: followed.interrupted and not manager.external_runs.live())
    steps, losses = pumped(manager, followed)
    kept = list(reader.scalars(reader.read_run(home() / "runs" / stored.id)))
    assert steps == [row.step for row in kept] == list(range(1, len(kept) + 1))
    assert losses == [row.loss for row in kept]


def test_nothing_is_written_where_one_only_watches(manager: RunManager, writer: RunWriter, wait_until: Wait) -> None:
    writer.put([Event(0, "started", "started"), *rows(1, 10)])
    assert writer.flush()
    before = {path.name: path.stat().st_size for path in writer.folder.iterdir()}
    wait_until(lambda: manager.external_runs.live())
    manager.external_runs.follow(NAME)
    wait_until(lambda: manager.external_runs.version)
    assert {path.name: path.stat().st_size for path in writer.folder.iterdir()} == before


def test_without_inotify_a_look_a_second_finds_it(writer: RunWriter, wait_until: Wait) -> None:
    def refuse() -> Any:
        raise OSError(28, "inotify watch limit reached")

    def no_text(_: Any) -> Any:
        raise InputError("that text is not here")

    watch = external_run_watcher.ExternalRunWatcher(home() / "runs", lambda _: False, no_text, observers=[refuse])
    threads = threading.active_count()
    watch.start()
    try:
        writer.put([Event(0, "started", "started"), *rows(1, 10)])
        wait_until(lambda: watch.live())
        followed = watch.follow(NAME)
        assert followed.dataset is None and followed.title == "bigram on tiny"
    finally:
        watch.stop()
    assert threading.active_count() == threads


def test_a_missing_home_is_no_trouble(tmp_path: Path) -> None:
    watch = external_run_watcher.ExternalRunWatcher(
        tmp_path / "none" / "runs", lambda _: False, lambda _: None, observers=[]
    )  # type: ignore[arg-type, return-value]
    watch.start()
    assert watch.live() == [] and watch.followed() == []
    watch.stop()


def test_what_nobody_expected_does_not_end_the_watch(
    manager: RunManager, writer: RunWriter, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    is_written, refresh = reader.is_written, ExternalRun.refresh

    def odd_at_first(folder: Path) -> bool:
        told.append("look")
        if len(told) == 1:
            raise RuntimeError("odd")
        return is_written(folder)

    monkeypatch.setattr(reader, "is_written", odd_at_first)
    writer.put(rows(1, 10))
    wait_until(lambda: len(told) > 1)
    wait_until(manager.external_runs.live)
    followed = manager.external_runs.follow(NAME)

    def odd(followed: ExternalRun) -> None:
        raise RuntimeError("odder")

    monkeypatch.setattr(ExternalRun, "refresh", odd)
    wait_until(lambda: followed.warning == f"run {NAME} cannot be read (odder)")
    monkeypatch.setattr(ExternalRun, "refresh", refresh)
    wait_until(lambda: followed.warning is None)


def test_a_folder_that_is_closed_to_us_is_no_run_of_ours(writer: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another person's in a home that is shared."""

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as closed:
        closed.setattr(Path, "exists", refuse)
        assert not reader.is_written(writer.folder)
        assert reader.read_run(writer.folder).reason is not None
