"""The drop folder: settling with a clock of our own, and the real watch."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from engine.text import drop_folder as module
from engine.text.drop_folder import DropFolder


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Return as soon as `condition` holds; fail when it has not within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def names(folder: DropFolder) -> list[str]:
    return [path.name for path in folder.files()]


# Settling, step by step


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def still(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> DropFolder:
    """A folder that believes it is watched, with no thread beside the test."""
    folder = DropFolder(tmp_path, quiet=1, held=10, clock=clock)
    monkeypatch.setattr(folder, "_thread", threading.current_thread())
    return folder


def test_a_file_is_taken_after_quiet_and_counted_once(still: DropFolder, clock: Clock) -> None:
    path = still.path / "a.txt"
    for part in ("one", "two", "three"):
        with path.open("a") as file:
            file.write(part)
        still.notify(path, "modified")
        clock.now += 0.9
        assert 0 < (still.settle() or 0) <= 1
        assert (names(still), still.version) == ([], 0)
    clock.now += 0.2
    assert still.settle() is None
    assert still.files()[path].characters == 11
    assert still.version == 1


def test_a_change_that_no_event_told_is_seen_by_comparing(still: DropFolder, clock: Clock) -> None:
    path = still.path / "a.txt"
    path.write_text("one")
    still.compare()
    clock.now += 0.9
    path.write_text("longer")
    still.settle()
    clock.now += 0.9
    still.settle()
    assert still.version == 0
    clock.now += 0.2
    still.settle()
    assert still.files()[path].characters == 6
    still.compare()
    assert still.settle() is None
    path.unlink()
    still.compare()
    clock.now += 2
    still.settle()
    assert (names(still), still.version) == ([], 2)


def test_a_file_that_is_still_open_for_writing_is_waited_for(still: DropFolder, clock: Clock) -> None:
    path = still.path / "a.txt"
    path.write_text("half")
    for kind in ("created", "opened", "modified"):
        still.notify(path, kind)
    clock.now += 5
    still.settle()
    assert still.version == 0
    path.write_text("whole text")
    still.notify(path, "modified")
    still.notify(path, "closed")
    clock.now += 1.1
    still.settle()
    assert still.files()[path].characters == 10
    assert still.version == 1


def test_a_file_that_stays_open_is_taken_in_the_end(still: DropFolder, clock: Clock) -> None:
    path = still.path / "log.txt"
    path.write_text("line")
    still.notify(path, "opened")
    still.notify(path, "modified")
    clock.now += 10.1
    still.settle()
    assert still.version == 1


def test_reading_a_file_is_no_change(still: DropFolder) -> None:
    path = still.path / "a.txt"
    path.write_text("x")
    still.notify(path, "opened")
    still.notify(path, "closed_no_write")
    assert still.settle() is None


def test_the_same_text_again_is_no_event(still: DropFolder, clock: Clock) -> None:
    path = still.path / "a.txt"
    path.write_text("same")
    still.compare()
    clock.now += 2
    still.settle()
    path.write_text("same")
    os.utime(path, (1, 1))
    still.notify(path, "modified")
    clock.now += 2
    still.settle()
    assert still.version == 1


def test_gone_and_back_within_the_quiet_is_no_event(still: DropFolder, clock: Clock) -> None:
    path = still.path / "a.txt"
    path.write_text("same")
    still.compare()
    clock.now += 2
    still.settle()
    path.unlink()
    still.notify(path, "deleted")
    clock.now += 0.5
    still.settle()
    path.write_text("same")
    still.notify(path, "created")
    clock.now += 2
    still.settle()
    assert (names(still), still.version) == (["a.txt"], 1)


def test_a_rename_is_one_event(still: DropFolder, clock: Clock) -> None:
    old, new = still.path / "old.txt", still.path / "new.txt"
    old.write_text("text")
    still.compare()
    clock.now += 2
    still.settle()
    old.rename(new)
    still.notify(old, "moved")
    clock.now += 0.01
    still.notify(new, "moved")
    clock.now += 0.99
    still.settle()
    assert (names(still), still.version) == (["new.txt"], 2)


def test_a_file_that_changes_while_it_is_read_waits_on(
    still: DropFolder, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = still.path / "a.txt", module.scan_file

    def disturbed(path: Path, inside: Path) -> object:
        facts = real(path, inside)
        path.write_text("changed meanwhile")
        return facts

    path.write_text("first")
    still.compare()
    clock.now += 2
    monkeypatch.setattr(module, "scan_file", disturbed)
    assert still.settle() == 1
    assert (names(still), still.version) == ([], 0)
    monkeypatch.setattr(module, "scan_file", real)
    clock.now += 2
    still.settle()
    assert still.files()[path].characters == 17


@pytest.mark.parametrize("name", [".a.txt", "~$a.txt", "a.txt~", "a.txt.part", "#a.txt#", "4913", "a.md"])
def test_other_files_are_left_alone(still: DropFolder, name: str) -> None:
    (still.path / name).write_text("x")
    still.notify(still.path / name, "created")
    still.compare()
    assert still.settle() is None


def test_what_is_no_text_is_listed_with_its_reason(still: DropFolder, clock: Clock, tmp_path: Path) -> None:
    (still.path / "folder.txt").mkdir()
    (still.path / "binary.TXT").write_bytes(b"\0\1\2")
    (still.path / "gone.txt").symlink_to("nowhere")
    (still.path / "out.txt").symlink_to(tmp_path.parent)
    still.compare()
    clock.now += 2
    still.settle()
    problems = {path.name: facts.problem for path, facts in still.files().items()}
    assert problems["folder.txt"] == "folder.txt is a folder; choose a text file"
    assert problems["binary.TXT"] == "binary.TXT holds zero bytes, so it is not a text; save it as plain text in UTF-8"
    assert "cannot be read" in str(problems["gone.txt"])
    assert "is a link out of its folder" in str(problems["out.txt"])


# Without a watch


def test_without_a_watch_each_look_is_fresh(tmp_path: Path) -> None:
    folder = DropFolder(tmp_path / "corpora")
    assert folder.files() == {}
    assert not folder.path.exists()
    folder.path.mkdir()
    (folder.path / "a.txt").write_text("x")
    assert names(folder) == ["a.txt"]
    (folder.path / "a.txt").unlink()
    assert folder.files() == {}


# The real watch


def polling() -> BaseObserver:
    return PollingObserver(timeout=0.05)


def unavailable() -> BaseObserver:
    raise OSError(24, "inotify instance limit reached")


@pytest.fixture(params=["system", "polling", "nothing"])
def watched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DropFolder]:
    """A folder under a real watch: the system's own, watchdog's polling, or only our own look each second."""
    path = tmp_path / "corpora"
    if request.param == "system":
        folder = DropFolder(path, quiet=0.2)
    elif request.param == "polling":
        folder = DropFolder(path, quiet=0.2, observers=[unavailable, polling])
    else:
        folder = DropFolder(path, quiet=0.2, observers=[unavailable])
    folder.start()
    yield folder
    folder.stop()


def test_a_dropped_file_appears(watched: DropFolder) -> None:
    (watched.path / "a.txt").write_text("hello")
    wait_for(lambda: watched.version == 1, 2.0)
    assert names(watched) == ["a.txt"]
    (watched.path / "a.txt").unlink()
    wait_for(lambda: watched.version == 2)
    assert names(watched) == []


def test_with_the_usual_quiet_a_file_appears_within_two_seconds(tmp_path: Path) -> None:
    folder = DropFolder(tmp_path)
    folder.start()
    try:
        (tmp_path / "a.txt").write_text("hello")
        wait_for(lambda: names(folder) == ["a.txt"], 2.0)
    finally:
        folder.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only inotify tells that a file is open")
def test_a_slow_copy_gives_one_event(tmp_path: Path) -> None:
    folder = DropFolder(tmp_path, quiet=0.1)
    folder.start()
    try:
        with (tmp_path / "a.txt").open("w") as file:
            for _ in range(3):
                file.write("part ")
                file.flush()
                time.sleep(0.15)  # longer than the quiet: only the open file says that more will come
        wait_for(lambda: folder.version == 1)
        assert folder.files()[tmp_path / "a.txt"].characters == 15
    finally:
        folder.stop()
    assert folder.version == 1


def test_a_rename_over_gives_one_event(watched: DropFolder) -> None:
    path = watched.path / "a.txt"
    path.write_text("first")
    wait_for(lambda: watched.version == 1)
    draft = watched.path / "a.txt.tmp"
    draft.write_text("second draft")
    draft.replace(path)
    wait_for(lambda: watched.files()[path].characters == 12)
    assert watched.version == 2


def test_what_is_there_at_the_start_is_listed_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    folder = DropFolder(tmp_path)
    folder.start()
    folder.start()
    assert names(folder) == ["a.txt"]
    folder.stop()
    folder.stop()
    assert folder.version == 0


def test_the_watch_ends_its_threads_and_can_begin_again(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    folder = DropFolder(tmp_path, quiet=0.05)
    for name in ("a.txt", "b.txt"):
        folder.start()
        (tmp_path / name).write_text(name)
        wait_for(lambda name=name: name in names(folder))
        folder.stop()
        assert set(threading.enumerate()) == before


def test_a_folder_that_is_replaced_is_watched_again(tmp_path: Path) -> None:
    folder = DropFolder(tmp_path / "corpora", quiet=0.05)
    folder.start()
    try:
        (folder.path / "a.txt").write_text("x")
        wait_for(lambda: names(folder) == ["a.txt"])
        folder.path.rename(tmp_path / "old")
        wait_for(lambda: names(folder) == [] and folder.path.is_dir())
        (folder.path / "b.txt").write_text("x")
        wait_for(lambda: names(folder) == ["b.txt"])
    finally:
        folder.stop()


def test_a_notice_says_when_the_system_reports_nothing(tmp_path: Path) -> None:
    folder = DropFolder(tmp_path, observers=[unavailable, polling])
    folder.start()
    folder.stop()
    assert folder.notice == (
        "the system cannot report new files (inotify instance limit reached), so the folder is looked at on a timer"
    )
    folder = DropFolder(tmp_path)
    folder.start()
    folder.stop()
    assert folder.notice is None


def test_an_observer_that_fails_to_start_leaves_no_thread(tmp_path: Path) -> None:
    class Failing(PollingObserver):
        def start(self) -> None:
            raise OSError(28, "no watches left")

    before = set(threading.enumerate())
    folder = DropFolder(tmp_path, observers=[Failing, polling])
    folder.start()
    folder.stop()
    assert "no watches left" in str(folder.notice)
    assert set(threading.enumerate()) == before


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = DropFolder(tmp_path / "file" / "corpora")
    folder.start()
    assert folder.files() == {}
    folder.stop()
    assert "cannot be made" in str(folder.notice)
