"""A machine that refuses: no file can be opened, or memory is short. What is not the step itself never ends a run."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import torch

from engine.config import LiveSettings, RunConfig, changed
from engine.runs import checkpoint_policy
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.storage import checkpoint_files
from engine.storage.metrics import writer as metrics_writer
from engine.stream.status import State
from engine.training import observer
from engine.training.device import free_memory

Wait = Callable[..., None]

TINY = RunConfig(
    preset="bigram",
    corpus="tiny",
    block_size=4,
    val_fraction=0.1,
    test_fraction=0.1,
    observe_every=5,
    eval_every=5,
    sample_every=5,
    snapshot_every=20,
)
LIVE = LiveSettings(speed=100, max_steps=1_000_000_000)


def emfile(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/home/ann/secret/file")


def no_memory(*_: Any, **__: Any) -> Any:
    raise MemoryError


def no_gpu_memory(*_: Any, **__: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory")


def odd(*_: Any, **__: Any) -> Any:
    raise KeyError("a mistake of the keeping's own")


LOOKS: list[tuple[Any, str, Callable[..., Any]]] = [
    (psutil, "virtual_memory", emfile),
    (checkpoint_policy, "take_snapshot", emfile),
    (checkpoint_policy, "take_snapshot", no_memory),
    (checkpoint_policy, "take_snapshot", odd),
    (checkpoint_files, "write", emfile),
    (checkpoint_files, "thin_out", emfile),
    (Path, "open", emfile),
    (Path, "mkdir", emfile),
    (metrics_writer.MetricsWriter, "write", emfile),
    (sqlite3, "connect", emfile),
    (observer, "generate", emfile),
    (observer, "generate", no_memory),
    (observer, "mean_loss", no_gpu_memory),
    (observer.probes, "layer_norms", no_memory),
    (observer.probes, "update_ratios", emfile),
    (observer.probes, "projection", no_memory),
]


@pytest.fixture
def stored(manager: RunManager) -> Callable[[], Run]:
    return lambda: manager.start(TINY, LIVE, replace=True)


def snapshots(run: Run) -> list[int]:
    assert run.folder is not None
    return checkpoint_files.steps(run.folder / "snapshots")


@pytest.mark.parametrize(("owner", "name", "refuse"), LOOKS, ids=lambda part: getattr(part, "__name__", str(part)))
def test_no_descriptor_or_memory_beside_the_step_ends_no_run(
    stored: Callable[[], Run],
    manager: RunManager,
    wait_until: Wait,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    refuse: Callable[..., Any],
) -> None:
    run = stored()
    wait_until(lambda: run.step > 20)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, refuse)
        at = run.step
        wait_until(lambda: run.step > at + 50 or run.state is not State.RUNNING)
        assert run.state is State.RUNNING, run.error
        assert run.error is None
    at = run.step
    wait_until(lambda: snapshots(run) and snapshots(run)[-1] > at)
    wait_until(lambda: run.store is not None and run.store.problem is None)
    assert not any("/home/ann" in event.text for event in list(run.history.events))


def test_a_snapshot_that_could_not_be_taken_is_told_and_tried_again(
    stored: Callable[[], Run], wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stored()
    wait_until(lambda: run.step > 40)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_policy, "take_snapshot", emfile)
        wait_until(lambda: run.status().unsaved)
        unsaved = run.status().unsaved or ""
        assert unsaved.startswith("no snapshot at step ") and "Too many open files" in unsaved
        assert "/home/ann" not in unsaved
    wait_until(lambda: run.status().unsaved is None)


def test_a_start_while_the_memory_cannot_be_seen_is_no_failure(
    stored: Callable[[], Run], wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", emfile)
    assert free_memory(torch.device("cpu")) is None
    run = stored()
    wait_until(lambda: run.step > 50)
    assert run.state is State.RUNNING
    wait_until(lambda: snapshots(run) and snapshots(run)[-1] >= 20)


def test_a_large_snapshot_waits_until_the_free_memory_can_be_seen(
    stored: Callable[[], Run], wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_policy, "LARGE", 1)
    with monkeypatch.context() as patch:
        patch.setattr(psutil, "virtual_memory", emfile)
        run = stored()
        wait_until(lambda: run.status().unsaved)
        assert "the free memory cannot be seen" in (run.status().unsaved or "")
    wait_until(lambda: run.status().unsaved is None and snapshots(run))
    assert run.state is State.RUNNING


def test_the_last_snapshot_that_cannot_be_taken_leaves_the_run_done(
    manager: RunManager, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_policy, "take_snapshot", emfile)
    run = manager.start(changed(TINY, snapshot_every=1000), changed(LIVE, max_steps=30))
    wait_until(lambda: run.state is State.DONE)
    assert run.error is None and (run.status().unsaved or "").startswith("no snapshot at step 30")


def test_half_written_snapshots_of_a_refusing_disk_do_not_pile_up(
    stored: Callable[[], Run], wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a descriptor a folder can still be made, but not cleared."""
    run = stored()
    wait_until(lambda: run.folder is not None and snapshots(run))
    assert run.folder is not None
    with monkeypatch.context() as patch:
        tries: list[int] = []
        patch.setattr(checkpoint_files, "_sha256", lambda *_: tries.append(0) or emfile())
        patch.setattr(checkpoint_files.shutil, "rmtree", lambda *_, **__: None)
        wait_until(lambda: len(tries) >= 3)
    wait_until(lambda: run.store is not None and run.store.problem is None)
    wait_until(lambda: not list((run.folder / "snapshots").glob(f"{checkpoint_files.PARTIAL}*")))
