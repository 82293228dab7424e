"""The run folder: what is put in comes out again, bounded, and through every trouble that a disk can make."""

from __future__ import annotations

import json
import sqlite3
import threading
import time

import numpy as np
import pytest

from engine import archive, metrics, snapshot_files
from engine.config import InputError, LiveSettings, RunConfig
from engine.snapshot import Snapshot
from engine.store import Locked, Store, hold, is_held
from engine.stream import Event, Observation, Sample, Scalars

START = {"run": "r", "config": RunConfig().model_dump(), "settings": LiveSettings().model_dump(), "environment": {}}


def rows(first: int, last: int) -> list[Scalars]:
    """Steps first..last with numbers that float32 holds exactly."""
    return [Scalars(i, i / 1024, 2 * i / 1024, 0.1, 0.25) for i in range(first, last + 1)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path))
    return tmp_path / "runs" / "20260101-000000-abcdef"


def stored(folder, *records):
    kept = Store(folder, START)
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
    run = archive.find(folder.name)
    assert (run.state, run.step, run.live) == ("done", 10_000, False)
    assert list(archive.scalars(run)) == rows(1, 10_000)
    assert list(archive.looks(run)) == [(7, {"val/loss": 2.5, "kl": 0.25})]
    history = archive.history(run)
    assert [e.name for e in history.events] == ["started", "done"]
    assert history.samples[0].text == "ab<c>"
    np.testing.assert_allclose(history.tables["weights/x"], table, atol=1e-3)
    assert history.series["train/loss"].count == 10_000
    assert history.delta({}).arrays == [] or history.delta({}).arrays == []


def test_a_run_that_did_not_end_is_interrupted_and_one_that_is_written_is_live(folder) -> None:
    kept = Store(folder, START)
    kept.put([Event(0, "started", ""), *rows(1, 50)])
    assert kept.wait()
    assert (archive.look(folder).state, archive.look(folder).live) == ("running", True)
    with pytest.raises(Locked, match="another process"):
        Store(folder, START)
    kept.close()
    assert archive.look(folder).standing == "interrupted at step 50"


def test_going_on_from_a_snapshot_forgets_what_came_after(folder) -> None:
    stored(folder, *rows(1, 5000), Event(4000, "lr", "lr"), Observation(4500, {"val/loss": 1.0}, {}))
    archive.rewind(folder, 4200)
    run = archive.look(folder)
    assert run.step == 4200
    assert list(archive.scalars(run)) == rows(1, 4200)
    assert [list(archive.looks(run)), len(archive.history(run).events)] == [[], 1]
    stored(folder, *rows(4201, 4300))
    assert list(archive.scalars(archive.look(folder))) == rows(1, 4300)


def test_frames_stay_bounded_and_spread(folder) -> None:
    kept = Store(folder, START)
    table = np.zeros((4, 4), np.float32)
    for start in range(0, 40_000, 4000):
        kept.put(Observation(step, {}, {"weights/x": table}) for step in range(start, start + 4000, 10))
        assert kept.wait()
    kept.close()
    with metrics.reading(folder) as database:
        steps = [step for (step,) in database.execute("SELECT step FROM frames ORDER BY step")]
    assert 150 <= len(steps) <= metrics.MOST_FRAMES
    assert steps[0] == 0
    assert max(np.diff(steps)) <= 4 * 40_000 / len(steps)


def test_a_million_steps_are_small_and_open_soon(folder) -> None:
    import time

    rng = np.random.default_rng(0)
    kept = Store(folder, START)
    for first in range(1, 1_000_001, 50_000):
        noise = rng.normal(2.5, 0.1, (50_000, 2)).astype(np.float32).astype(float)
        kept.put(Scalars(first + i, loss, norm, 1e-3, 2e-4) for i, (loss, norm) in enumerate(noise.tolist()))
        assert kept.wait(60)
    kept.close(60)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size <= 80e6, f"{size / 1e6:.1f} MB"
    began = time.perf_counter()
    history = archive.history(archive.find(folder.name))
    print(f"{size / 1e6:.1f} MB, opened in {time.perf_counter() - began:.2f} s")
    assert history.series["train/loss"].count == 1_000_000
    assert len(history.snapshot({}).encode()) <= 256_000


def test_trouble_with_the_disk_is_told_and_mended_without_a_loss(folder, monkeypatch, wait_until) -> None:
    kept = Store(folder, START)
    kept.put(rows(1, 10))
    assert kept.wait()
    broken = True
    write = metrics.Writer.write

    def refuse(self, records):
        if broken:
            raise sqlite3.OperationalError("database or disk is full")
        write(self, records)

    monkeypatch.setattr(metrics.Writer, "write", refuse)
    kept.put(rows(11, 20))
    wait_until(lambda: kept.problem)
    assert "disk is full" in kept.problem
    kept.put(rows(21, 30))
    broken = False
    wait_until(lambda: kept.problem is None)
    assert kept.close()
    assert list(archive.scalars(archive.look(folder))) == rows(1, 30)


def test_asking_whether_a_run_is_written_stops_no_writer_and_no_other_asker(folder) -> None:
    folder.mkdir(parents=True)
    assert not is_held(folder) and not list(folder.iterdir()), "asking leaves nothing behind"
    hold(folder).close()
    over, wrong = threading.Event(), []

    def ask() -> None:
        while not over.is_set():
            if is_held(folder):
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
        hold(folder).close()  # Locked if an asker were taken for a writer
    over.set()
    asker.join()
    with hold(folder):
        assert is_held(folder)
        with pytest.raises(Locked, match="another process"):
            hold(folder)


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
    whole, damaged = archive.runs()
    assert whole.reason is None
    assert name in damaged.standing
    with pytest.raises(InputError, match=name):
        archive.find(damaged.id)


def test_a_newer_version_is_named(folder) -> None:
    stored(folder, *rows(1, 3))
    (folder / "config.json").write_text(json.dumps({"format": 99, **START}))
    assert "newer version" in archive.look(folder).standing


def test_snapshots_that_wait_for_the_disk_do_not_pile_up(folder, monkeypatch, wait_until) -> None:
    written, full = [], True

    def write(place, snapshot):
        if full:
            raise OSError(28, "No space left on device")
        written.append(snapshot.step)

    monkeypatch.setattr(snapshot_files, "write", write)
    kept = Store(folder, START)
    for step in range(5):
        kept.keep(Snapshot(step, 0, LiveSettings(), {}, {}, {}))
    kept.put(rows(1, 5))
    wait_until(lambda: kept.problem)
    assert "No space left" in kept.problem
    full = False
    wait_until(lambda: kept.problem is None and kept.wait(1))
    assert kept.close()
    assert written == [4]
    assert archive.look(folder).step == 5


def test_a_damaged_block_is_left_out_and_the_rest_is_read(folder) -> None:
    stored(folder, *rows(1, 10))
    stored(folder, *rows(11, 20))
    with sqlite3.connect(folder / "metrics.db") as database:
        database.execute("UPDATE steps SET data = X'00FF' WHERE first = 1")
    run = archive.find(folder.name)
    assert list(archive.scalars(run)) == rows(11, 20)
    assert archive.history(run).series["train/loss"].count == 10
