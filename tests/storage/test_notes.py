"""Names and notes of runs, deleting a run and bringing it back, and its weights as a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from engine.config import changed
from engine.errors import InputError
from engine.paths import home
from engine.presets import preset
from engine.runs.manager import RunManager
from engine.storage import export, notes, reader, trash
from engine.storage.lock import acquire_lock
from engine.stream.status import State

HOSTILE = "<img src=x onerror=alert(1)> =1+1 **b** é\n$x$"
RUN = "20260101-000000-aaaaaa"


@pytest.fixture
def folder() -> Path:
    path = home() / "runs" / RUN
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    return path


# ---------------------------------------------------------------- notes


def test_what_was_written_is_read_again_literally(folder: Path) -> None:
    notes.rename(folder, f"  {HOSTILE} ")
    notes.add(folder, HOSTILE, 50)
    notes.add(folder, "of the whole run")
    kept = notes.read(folder)
    assert kept.name == HOSTILE
    assert [(note.text, note.step) for note in kept.notes] == [(HOSTILE, 50), ("of the whole run", None)]
    notes.remove(folder, kept.notes[0])
    assert [note.text for note in notes.read(folder).notes] == ["of the whole run"]
    assert [path.name for path in folder.iterdir()] and not list(folder.glob(".notes*"))


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (lambda folder: notes.rename(folder, "n" * 81), "81 characters is too long"),
        (lambda folder: notes.add(folder, " \n"), "empty note"),
        (lambda folder: notes.add(folder, "n" * 2001), "2,001 characters is too long"),
        (lambda folder: notes.add(folder, "n", -1), "step -1"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_a_sentence(folder: Path, write: Callable[[Path], object], why: str) -> None:
    notes.add(folder, "before")
    with pytest.raises(InputError, match=why):
        write(folder)
    assert [note.text for note in notes.read(folder).notes] == ["before"]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"name": 3}', b"\xff\xfe", b'{"notes": [{"step": -1, "text": "x"}]}']
)
def test_a_damaged_file_is_no_notes(folder: Path, content: bytes) -> None:
    (folder / notes.FILE).write_bytes(content)
    assert notes.read(folder) == notes.NONE


def test_a_refusing_disk_leaves_the_old_notes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes.rename(folder, "before")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(InputError, match="No space left"):
        notes.rename(folder, "after")
    assert notes.read(folder).name == "before"
    assert not list(folder.glob(".notes*"))


# ---------------------------------------------------------------- deleting


def test_a_deleted_run_leaves_the_list_and_comes_back_whole(folder: Path) -> None:
    notes.rename(folder, "mine")
    trash.delete(RUN)
    assert reader.list_runs() == [] and trash.deleted() == [RUN]
    trash.bring_back(RUN)
    assert [run.id for run in reader.list_runs()] == [RUN] and trash.deleted() == []
    assert notes.read(folder).name == "mine"


def test_a_run_in_use_is_not_deleted(folder: Path) -> None:
    with acquire_lock(folder), pytest.raises(InputError, match="in use"):
        trash.delete(RUN)
    assert [run.id for run in reader.list_runs()] == [RUN]
    trash.delete(RUN)


def test_neither_way_overwrites_another_run(folder: Path) -> None:
    trash.delete(RUN)
    folder.mkdir()
    for move in (trash.delete, trash.bring_back):
        with pytest.raises(InputError, match="already a run"):
            move(RUN)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", ".deleted", "/tmp", "a/b", "nothing"])
def test_only_runs_are_deleted_and_brought_back(folder: Path, name: str) -> None:
    for move in (trash.delete, trash.bring_back):
        with pytest.raises(InputError):
            move(name)
    assert folder.is_dir()


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder.parent / "linked").symlink_to(elsewhere)
    with pytest.raises(InputError, match="no run"):
        trash.delete("linked")


# ---------------------------------------------------------------- weights


def test_weights_go_with_what_it_takes_to_build_the_model(
    manager: RunManager, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    start = preset("bigram")
    config = changed(start.config, corpus="tiny")
    run = manager.start(config, changed(start.settings, max_steps=50, speed="unlimited"))
    wait_until(lambda: run.state is State.DONE)
    _, weights = run.copy_weights()
    manager.close(30)
    file = tmp_path / "weights.safetensors"
    file.write_bytes(export.weights_file(reader.open_run(run.id)))
    with safe_open(file, "pt") as opened:
        told = opened.metadata()
        assert (told["run"], told["step"]) == (run.id, "50")
        assert type(config)(**json.loads(told["config"])) == config
        assert set(opened.keys()) == set(weights)
        assert all(torch.equal(opened.get_tensor(name), weights[name]) for name in weights)
