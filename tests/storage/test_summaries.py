"""A long run in lines is read once: the next process takes its summary, as long as the file is the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from engine.storage import reader
from engine.storage.metrics import summaries, transcript
from engine.storage.metrics.json_lines import FILE

PAST = 1_700_000_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of more than a megabyte, one of whose lines is no JSON, written long ago."""
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path))
    made = tmp_path / "runs" / "long"
    made.mkdir(parents=True)
    told: list[object] = [{"run": {"name": "a long one", "settings": {"lr": 0.1}}}]
    told += [{"step": step, "loss": 1 / step, "note_of_this_step": 0.123456789} for step in range(1, 15_001)]
    lines = [json.dumps(one) for one in told]
    (made / FILE).write_text("\n".join([*lines, "no JSON", '{"step": 15000, "state": "done"}']) + "\n")
    os.utime(made / FILE, (PAST, PAST))
    return made


def a_new_process(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Forget what this process has read; the paths whose lines are read from now on."""
    transcript.transcript_of.cache_clear()
    read: list[Path] = []
    real = transcript.Transcript.update

    def update(self: transcript.Transcript) -> None:
        read.append(self._path)
        real(self)

    monkeypatch.setattr(transcript.Transcript, "update", update)
    return read


def test_runs_remembers_what_was_read_of_a_long_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = reader.list_runs()
    assert (first.state, first.step, first.unread) == ("done", 15_000, 1)
    read = a_new_process(monkeypatch)
    assert reader.list_runs() == [first]
    assert read == [], "its lines were read again"


@pytest.mark.parametrize(
    "change", ["a line more", "the time alone", "another file", "a broken summary", "a foreign one"]
)
def test_a_summary_holds_for_the_file_that_it_was_made_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    reader.list_runs()
    (kept,) = (folder.parent.parent / "summaries").iterdir()
    lines = folder / FILE
    if change == "a line more":
        with lines.open("a") as file:
            file.write('{"step": 15001, "loss": 0.5}\n')
    elif change == "the time alone":
        os.utime(lines, (PAST + 1, PAST + 1))
    elif change == "another file":
        copy = folder / "copy"
        copy.write_bytes(lines.read_bytes())
        os.utime(copy, (PAST, PAST))
        copy.replace(lines)
    elif change == "a broken summary":
        kept.write_text("{")
    else:
        kept.write_text(kept.read_text().replace('"step":15000', '"step":-1'))
    os.utime(folder, (PAST, PAST))
    read = a_new_process(monkeypatch)
    (now,) = reader.list_runs()
    assert read, "its lines are read anew"
    assert now.step == (15_001 if change == "a line more" else 15_000)


def test_a_short_run_leaves_no_summary_and_a_full_disk_is_no_trouble(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(summaries, "write_atomic", refuse)
        assert reader.list_runs()[0].state == "done"
    short = folder.parent / "short"
    short.mkdir()
    (short / FILE).write_text('{"step": 1, "loss": 2.0}\n')
    (folder / FILE).unlink()
    reader.list_runs()
    assert not list((folder.parent.parent / "summaries").glob("*"))
