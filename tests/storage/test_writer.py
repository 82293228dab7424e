"""The run folder: what is put in comes out again, bounded, and through every trouble that a disk can make."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sqlite3
import threading
import time

import numpy as np
import pytest

from engine.cli.parser import run as command
from engine.config import LiveSettings, RunConfig
from engine.errors import InputError
from engine.storage import checkpoint_files, index, manifest, reader, resume_point, write_buffer, writer
from engine.storage.lock import RunLocked, acquire_lock, is_locked
from engine.storage.metrics import schema
from engine.storage.metrics.follower import MetricsFollower
from engine.storage.metrics.reader import open_metrics
from engine.storage.metrics.rows import PackedBlock
from engine.storage.metrics.schema import MetricsError, mark_rewritten
from engine.storage.metrics.writer import MOST_TABLES, MetricsWriter
from engine.storage.writer import RunWriter
from engine.stream.messages import Event, Observation, Sample, Scalars
from engine.training.checkpoint import Snapshot

START = {"run": "r", "config": RunConfig().model_dump(), "settings": LiveSettings().model_dump(), "environment": {}}


def rows(first: int, last: int) -> list[Scalars]:
    """Steps first..last with numbers that float32 holds exactly."""
    return [Scalars(i, i / 1024, 2 * i / 1024, 0.1, 0.25) for i in range(first, last + 1)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path))
    return tmp_path / "runs" / "20260101-000000-abcdef"


def stored(folder, *records):
    kept = RunWriter(folder, START)
    kept.put(records)
    assert kept.close()


def test_what_was_put_comes_back(folder) -> None:
    table = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    stored(
        folder,
        Event(0, "started", "started"),
        *rows(1, 10_000),
        Observation(7, {"val/loss": 2.5, "kl": 0.25}, {"weights/x": table}),
        Sample(7, "ab<c>", 1, "-99"),
        Event(10_000, "done", "done at step 10,000"),
    )
    run = reader.open_run(folder.name)
    assert (run.state, run.step, run.live) == ("done", 10_000, False)
    assert list(reader.scalars(run)) == rows(1, 10_000)
    assert list(reader.observations(run)) == [Observation(7, {"val/loss": 2.5, "kl": 0.25}, {})]
    history = reader.read_history(run)
    assert [e.name for e in history.events] == ["started", "done"]
    assert history.samples[0].text == "ab<c>"
    np.testing.assert_allclose(history.tables["weights/x"], table, atol=1e-3)
    assert history.series["train/loss"].count == 10_000
    assert history.delta({}).arrays == [] or history.delta({}).arrays == []


def test_a_new_database_has_its_generation_before_it_can_be_read(folder, monkeypatch) -> None:
    folder.mkdir(parents=True)
    marked = []

    def mark(database: sqlite3.Connection) -> None:
        with open_metrics(folder) as metrics, pytest.raises(MetricsError):
            MetricsFollower().read_new(metrics)
        marked.append(database)
        mark_rewritten(database)

    monkeypatch.setattr(schema, "mark_rewritten", mark)
    schema.connect(folder / "metrics.db").close()
    assert len(marked) == 1, "who had read it before would take it for another one"


def test_a_run_that_did_not_end_is_interrupted_and_one_that_is_written_is_live(folder) -> None:
    kept = RunWriter(folder, START)
    kept.put([Event(0, "started", ""), *rows(1, 50)])
    assert kept.flush()
    assert (reader.read_run(folder).state, reader.read_run(folder).live) == ("running", True)
    with pytest.raises(RunLocked, match="another process"):
        RunWriter(folder, START)
    kept.close()
    assert reader.read_run(folder).status == "interrupted at step 50"


def test_going_on_from_a_snapshot_forgets_what_came_after(folder) -> None:
    stored(folder, *rows(1, 5000), Event(4000, "lr", "lr"), Observation(4500, {"val/loss": 1.0}, {}))
    resume_point.rewind(folder, 4200)
    run = reader.read_run(folder)
    assert run.step == 4200
    assert list(reader.scalars(run)) == rows(1, 4200)
    assert [list(reader.observations(run)), len(reader.read_history(run).events)] == [[], 1]
    stored(folder, *rows(4201, 4300))
    assert list(reader.scalars(reader.read_run(folder))) == rows(1, 4300)


def test_frames_stay_bounded_and_spread(folder) -> None:
    kept = RunWriter(folder, START)
    table = np.zeros((4, 4), np.float32)
    for start in range(0, 40_000, 4000):
        kept.put(Observation(step, {}, {"weights/x": table}) for step in range(start, start + 4000, 10))
        assert kept.flush()
    kept.close()
    with open_metrics(folder) as metrics:
        steps = metrics.table_steps()
    assert 150 <= len(steps) <= MOST_TABLES
    assert steps[0] == 0
    assert max(np.diff(steps)) <= 4 * 40_000 / len(steps)


@pytest.mark.thorough
def test_a_million_steps_are_small_and_open_soon(folder) -> None:
    import time

    rng = np.random.default_rng(0)
    kept = RunWriter(folder, START)
    for first in range(1, 1_000_001, 50_000):
        noise = rng.normal(2.5, 0.1, (50_000, 2)).astype(np.float32).astype(float)
        kept.put(Scalars(first + i, loss, norm, 1e-3, 2e-4) for i, (loss, norm) in enumerate(noise.tolist()))
        assert kept.flush(60)
    kept.close(60)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size <= 80e6, f"{size / 1e6:.1f} MB"
    began = time.perf_counter()
    history = reader.read_history(reader.open_run(folder.name))
    print(f"{size / 1e6:.1f} MB, opened in {time.perf_counter() - began:.2f} s")
    assert history.series["train/loss"].count == 1_000_000
    assert len(history.snapshot({}).encode()) <= 256_000


def test_trouble_with_the_disk_is_told_and_mended_without_a_loss(folder, monkeypatch, wait_until) -> None:
    kept = RunWriter(folder, START)
    kept.put(rows(1, 10))
    assert kept.flush()
    broken = True
    write = MetricsWriter._insert_all

    def refuse(self, records):
        if broken:
            raise sqlite3.OperationalError("database or disk is full")
        write(self, records)

    monkeypatch.setattr(MetricsWriter, "_insert_all", refuse)
    kept.put(rows(11, 20))
    wait_until(lambda: kept.problem)
    assert "disk is full" in kept.problem
    kept.put(rows(21, 30))
    broken = False
    wait_until(lambda: kept.problem is None)
    assert kept.close()
    assert list(reader.scalars(reader.read_run(folder))) == rows(1, 30)


def test_asking_whether_a_run_is_written_stops_no_writer_and_no_other_asker(folder) -> None:
    folder.mkdir(parents=True)
    assert not is_locked(folder) and not list(folder.iterdir()), "asking leaves nothing behind"
    acquire_lock(folder).close()
    over, wrong = threading.Event(), []

    def ask() -> None:
        while not over.is_set():
            if is_locked(folder):
                wrong.append("held by another asker")

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    time.sleep(0.3)
    over.set()
    for asker in askers:
        asker.join()
    assert not wrong

    over.clear()
    asker = threading.Thread(target=ask)
    asker.start()
    for _ in range(100):
        acquire_lock(folder).close()  # RunLocked if an asker were taken for a writer
    over.set()
    asker.join()
    with acquire_lock(folder):
        assert is_locked(folder)
        with pytest.raises(RunLocked, match="another process"):
            acquire_lock(folder)


@pytest.mark.parametrize("name", ["config.json", "metrics.db"])
@pytest.mark.parametrize("content", [b"", b"\x00garbage\xff" * 300, None])
def test_a_damaged_run_is_listed_with_the_reason_and_harms_nothing(folder, name, content) -> None:
    stored(folder, *rows(1, 10))
    for path in folder.glob("metrics.db-*"):
        path.unlink()
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    stored(folder.parent / "20260101-000001-abcdef", *rows(1, 10))
    whole, damaged = reader.list_runs()
    assert whole.reason is None
    assert name in damaged.status
    with pytest.raises(InputError, match=name):
        reader.open_run(damaged.id)


def test_a_newer_version_is_named(folder) -> None:
    stored(folder, *rows(1, 3))
    (folder / "config.json").write_text(json.dumps({"format": 99, **START}))
    assert "newer version" in reader.read_run(folder).status


def test_snapshots_that_wait_for_the_disk_do_not_pile_up(folder, monkeypatch, wait_until) -> None:
    written, full = [], True

    def write(place, snapshot):
        if full:
            raise OSError(28, "No space left on device")
        written.append(snapshot.step)

    monkeypatch.setattr(checkpoint_files, "write", write)
    kept = RunWriter(folder, START)
    for step in range(5):
        kept.save_snapshot(Snapshot(step, 0, LiveSettings(), {}, {}, {}))
    kept.put(rows(1, 5))
    wait_until(lambda: kept.problem)
    assert "No space left" in kept.problem
    full = False
    wait_until(lambda: kept.problem is None and kept.flush(1))
    assert kept.close()
    assert written == [4]
    assert reader.read_run(folder).step == 5


def test_a_damaged_block_is_left_out_and_the_rest_is_read(folder) -> None:
    stored(folder, *rows(1, 10))
    stored(folder, *rows(11, 20))
    with sqlite3.connect(folder / "metrics.db") as database:
        database.execute("UPDATE steps SET data = X'00FF' WHERE first = 1")
    run = reader.open_run(folder.name)
    assert list(reader.scalars(run)) == rows(11, 20)
    assert reader.read_history(run).series["train/loss"].count == 10


def test_a_snapshot_is_written_after_the_records_of_its_steps(folder, wait_until) -> None:
    kept = RunWriter(folder, START)
    kept.put(rows(1, 10))
    kept.save_snapshot(Snapshot(20, 0, LiveSettings(), {}, {}, {}))
    wait_until(lambda: reader.read_run(folder).step == 10)
    assert not kept.flush(1.2)
    assert checkpoint_files.steps(folder / "snapshots") == []
    kept.put(rows(11, 25))
    assert kept.flush()
    assert checkpoint_files.steps(folder / "snapshots") == [20]
    assert kept.close()


def test_a_folder_taken_away_is_told_and_begun_anew(folder, wait_until) -> None:
    kept = RunWriter(folder, START)
    kept.put(rows(1, 10))
    assert kept.flush()
    shutil.rmtree(folder)
    kept.put(rows(11, 20))
    wait_until(lambda: kept.problem)
    assert re.search("before step [12]0 is gone", kept.problem), "10, where it was seen before the rows after it came"
    assert kept.flush()
    assert not kept.close()
    assert list(reader.scalars(reader.open_run(folder.name))) == rows(11, 20)


def test_a_disk_that_is_full_at_the_start_leaves_no_broken_config(folder, monkeypatch, wait_until) -> None:
    full, write = True, manifest.write

    def refuse(place, told):
        if full:
            raise OSError(28, "No space left on device")
        write(place, told)

    monkeypatch.setattr(manifest, "write", refuse)
    kept = RunWriter(folder, START)
    kept.put(rows(1, 10))
    wait_until(lambda: kept.problem)
    assert "free some space" in kept.problem
    full = False
    assert kept.flush()
    assert kept.close()
    assert reader.open_run(folder.name).step == 10


def test_while_the_disk_refuses_memory_stays_small_and_what_is_lost_is_told(monkeypatch) -> None:
    monkeypatch.setattr(write_buffer, "MOST_BYTES", 20_000)
    monkeypatch.setattr(write_buffer, "MOST_OBSERVATIONS", 100)
    waiting = write_buffer.WriteBuffer()
    table = np.ones((96, 96), np.float32)
    for first in range(1, 40_001, 1000):
        waiting.add(rows(first, first + 999))
        waiting.add([Observation(step, {"val/loss": 1.0}, {"weights/x": table}) for step in range(first, first + 10)])
        waiting.add(Snapshot(first, 0, LiveSettings(), {}, {}, {}))
        waiting.shrink(best=1001)
    blocks = [record for record in waiting.records if isinstance(record, PackedBlock)]
    looks = [record for record in waiting.records if isinstance(record, Observation)]
    assert sum(len(block.data) for block in blocks) <= 20_000
    assert blocks[-1].first == 39_001
    assert waiting.lost_before is not None and waiting.lost_before >= blocks[0].first
    assert len(looks) == 100
    assert sum(bool(look.tables) for look in looks) <= write_buffer.MOST_WITH_TABLES + 10
    assert [kept.step for kept in waiting.snapshots] == [1001, 39_001]


def test_frames_of_a_transaction_that_failed_are_written_later(folder, monkeypatch) -> None:
    table, refusals = np.ones((2, 2), np.float32), [1]
    write = MetricsWriter._insert_all

    def refuse_at_the_end(self, records):
        write(self, records)
        if refusals:
            refusals.clear()
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(MetricsWriter, "_insert_all", refuse_at_the_end)
    kept = RunWriter(folder, START)
    kept.put(Observation(step, {}, {"weights/x": table}) for step in range(5))
    assert kept.flush()
    assert not refusals
    assert kept.close()
    with open_metrics(folder) as metrics:
        assert metrics.table_steps() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["config.json", "metrics.db", "snapshots", "notes.json", "lock", "anything"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_link_or_a_pipe_in_a_run_folder_is_not_followed(folder, tmp_path, name, kind) -> None:
    stored(folder, *rows(1, 10))
    outside = tmp_path / "outside"
    if (folder / name).is_dir():
        shutil.rmtree(folder / name)
    elif (folder / name).exists():
        (folder / name).rename(outside)
    if kind == "link":
        (folder / name).symlink_to(outside)
    else:
        os.mkfifo(folder / name)
    before = outside.read_bytes() if outside.exists() else None
    assert name in reader.read_run(folder).status
    assert index.overview(folder).run.reason
    with pytest.raises(InputError, match=name):
        reader.open_run(folder.name)
    assert (outside.read_bytes() if outside.exists() else None) == before


def test_a_changed_config_is_refused_whatever_changed(folder) -> None:
    stored(folder, *rows(1, 3))
    path = folder / "config.json"
    whole = path.read_bytes()
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    for _ in range(100):
        content, at = bytearray(whole), draw.randrange(len(whole))
        if draw.random() < 0.5:
            content[at] ^= 1 << draw.randrange(8)
        else:
            del content[at:]
        path.write_bytes(bytes(content))
        run = reader.read_run(folder)
        damaged = "config.json is missing or damaged" in run.status
        assert damaged or (run.config, run.first_settings) == (RunConfig(), LiveSettings()), at


def test_a_run_can_be_opened_from_its_first_moment_on(folder, wait_until) -> None:
    kept = RunWriter(folder, START)
    wait_until(lambda: (folder / "metrics.db").exists(), writer.SECONDS / 2)
    kept.save_snapshot(Snapshot(0, 0, LiveSettings(), {}, {}, {}))
    wait_until(lambda: checkpoint_files.steps(folder / "snapshots") == [0])
    left = shutil.copytree(folder, folder.parent / "20260101-000001-abcdef")
    assert kept.close()
    assert reader.open_run(left.name).status == "interrupted at step 0"


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE looks SET scalars = 'x'",
        "UPDATE looks SET scalars = '[1]'",
        "UPDATE looks SET scalars = X'ff', step = 'abc'",
        "UPDATE frames SET rows = -1",
        "UPDATE frames SET data = 'abc'",
        "UPDATE events SET text = X'ff', step = NULL",
        "UPDATE samples SET text = NULL",
        "DROP TABLE looks",
    ],
)
def test_a_mangled_row_is_left_out_and_harms_no_verb(folder, tmp_path, damage, capsys) -> None:
    table = np.ones((2, 2), np.float32)
    stored(folder, *rows(1, 10), Observation(5, {"val/loss": 1.0}, {"weights/x": table}), Event(5, "lr", "lr"))
    stored(folder, Sample(5, "ab", 1, "-9"), Event(10, "done", "done"))
    with sqlite3.connect(folder / "metrics.db") as database:
        database.execute(damage)
    words = ["export", folder.name, "--csv", str(tmp_path / "a.csv")]
    if damage.startswith("DROP"):
        assert command(words) == 2
        assert "damaged" in capsys.readouterr().err
    else:
        assert command(words) == 0
        assert reader.read_history(reader.open_run(folder.name)).series["train/loss"].count == 10
