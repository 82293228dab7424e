"""One broken folder hides nothing else: `runs`, Compare and resume say what is wrong with it, and soon."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine.cli.parser import run as command
from engine.errors import InputError
from engine.paths import home
from engine.runs.manager import RunManager
from engine.storage import index, reader
from engine.storage.metrics import transcript
from tests.storage.broken import BREAKS, BROKEN, FIXTURE, GOOD, MISFITS, ONLY_MUCH, Break, linked


def broken(make: Break, name: str = BROKEN) -> Path:
    """A good run, and one beside it that is broken."""
    runs = home() / "runs"
    if not (runs / GOOD).exists():
        shutil.copytree(FIXTURE, runs / GOOD)
    shutil.copytree(FIXTURE, runs / name)
    made = make(runs / name)
    return made if isinstance(made, Path) else runs / name


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What `runs` says, by the run's name."""
    assert command(["runs"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    return dict(line.split(maxsplit=1) for line in told.out.splitlines())


@pytest.fixture(autouse=True)
def few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many unread lines take a second."""
    monkeypatch.setattr(transcript, "MOST_UNREAD", 1000)


def refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which `words` are refused."""
    capsys.readouterr()
    assert command(words) == 2
    told = capsys.readouterr()
    assert (told.out, len(told.err.splitlines())) == ("", 1)
    return told.err


@pytest.mark.parametrize("how", BREAKS)
def test_a_folder_that_cannot_be_opened_hides_no_other(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, why = BREAKS[how]
    folder = broken(make)
    found = listed(capsys)
    assert "interrupted at step 60" in found[GOOD]
    (reason,) = [line for name, line in found.items() if name.startswith(BROKEN)]
    assert reason.startswith(f"cannot be opened: {why}")
    shown = {one.run.folder.name: one.run.reason for one in index.overviews()}
    assert shown[GOOD] is None
    assert str(shown[folder.name]).startswith(why)
    assert why in refusal(["resume", str(folder)], capsys)
    assert why in refusal(["export", str(folder), "--csv", "x.csv"], capsys)


@pytest.mark.parametrize("how", MISFITS)
def test_a_folder_that_does_not_fit_its_model_is_refused_in_a_sentence(
    how: str, manager: RunManager, capsys: pytest.CaptureFixture[str]
) -> None:
    make, why = MISFITS[how]
    folder = broken(make)
    assert "interrupted at step 60" in listed(capsys)[BROKEN]
    before = reader.read_run(folder)
    assert why in refusal(["resume", BROKEN], capsys)
    assert reader.read_run(folder) == before, "a run that cannot go on forgets nothing"
    with pytest.raises(InputError):
        manager.resume(BROKEN)


@pytest.mark.parametrize("how", ONLY_MUCH)
def test_what_is_too_much_in_a_folder_is_left_out(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    broken(ONLY_MUCH[how])
    assert {BROKEN, GOOD} <= listed(capsys).keys()
    assert command(["resume", BROKEN, "--max-steps", "62"]) == 0
    assert command(["resume", BROKEN]) == 0, "its result is said again"


def test_folders_fork_from_each_other_in_a_circle_and_it_ends() -> None:
    from engine.runs import forks
    from tests.storage.broken import config

    broken(config(parent={"run": GOOD, "step": 60}))
    config(parent={"run": BROKEN, "step": 60})(home() / "runs" / GOOD)
    for run in (GOOD, BROKEN):
        shutil.rmtree(home() / "runs" / run / "snapshots")
    with pytest.raises(InputError, match="no snapshot at or before step 60"):
        forks.nearest_snapshot(reader.open_run(GOOD), 60)


def test_a_link_among_the_runs_is_neither_listed_nor_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    broken(linked)
    assert listed(capsys).keys() == {GOOD}
    for verb in ("resume", "sample", "evaluate"):
        assert "it is a link" in refusal([verb, BROKEN], capsys)


def test_a_folder_that_may_not_be_read_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = broken(lambda folder: None)
    scandir = os.scandir

    def refuse(path: str | Path) -> object:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = listed(capsys)
    assert "interrupted at step 60" in found[GOOD]
    assert found[BROKEN] == "cannot be opened: its folder cannot be read (permission denied)"
    assert "permission denied" in refusal(["resume", BROKEN], capsys)


def test_compare_shows_all_of_them_with_their_reasons(visit: Callable[..., AppTest], house: RunManager) -> None:
    every = {**BREAKS, **MISFITS, **{how: (make, "") for how, make in ONLY_MUCH.items()}}
    for place, (make, _) in enumerate(every.values()):
        broken(make, f"20260101-{place:06}-cccccc")
    page = visit("compare.py")
    (table,) = page.dataframe
    assert len(table.value) == len(every) + 1
    told = [state for state in table.value["state"] if state.startswith("cannot be opened: ")]
    assert len(told) >= len(BREAKS)
