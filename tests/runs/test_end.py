"""The end of the process: what a run has made is written, however long its last snapshot takes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from engine.config import LiveSettings, RunConfig
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.storage import checkpoint_files
from engine.stream.status import State

TINY = RunConfig(preset="bigram", corpus="tiny", block_size=4, val_fraction=0.1, test_fraction=0.1)
LIVE = LiveSettings(speed=100, max_steps=1_000_000)
Wait = Callable[..., None]


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Writing a snapshot waits for the second event, once the first is set."""
    slow, release, write = threading.Event(), threading.Event(), checkpoint_files.write

    def slowly(*arguments: Any) -> Any:
        if slow.is_set():
            assert release.wait(60)
        return write(*arguments)

    monkeypatch.setattr(checkpoint_files, "write", slowly)
    return slow, release


def trained(manager: RunManager, wait_until: Wait) -> Run:
    run = manager.start(TINY, LIVE)
    wait_until(lambda: run.step > 30)
    run.pause()
    wait_until(lambda: run.state is State.PAUSED)
    assert run.store is not None and run.store.flush(30)
    return run


def test_a_very_large_last_snapshot_is_written_before_the_server_ends(
    manager: RunManager,
    wait_until: Wait,
    slow_disk: tuple[threading.Event, threading.Event],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, (slow, release) = trained(manager, wait_until), slow_disk
    slow.set()
    with ThreadPoolExecutor() as pool:
        ending = pool.submit(manager.close, 0.1)
        said = ""

        def is_told() -> bool:
            nonlocal said
            said += capsys.readouterr().err
            return "still being written" in said

        wait_until(is_told)
        assert not ending.done()
        release.set()
        assert ending.result(60)
    assert said.count("\n") == 1 and run.id in said
    assert run.folder is not None and checkpoint_files.steps(run.folder / "snapshots")[-1] == run.step


def test_who_gives_up_leaves_it(
    manager: RunManager, wait_until: Wait, slow_disk: tuple[threading.Event, threading.Event]
) -> None:
    trained(manager, wait_until)
    slow, release = slow_disk
    slow.set()
    assert not manager.close(0.1, give_up=lambda: True)
    release.set()
