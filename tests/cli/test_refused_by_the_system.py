"""What the system refuses, a full disk, and signals: one line, the right exit status, nothing lost without a word."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from engine.__main__ import main
from engine.storage import checkpoint_files
from tests.cli.test_cli import started, until

LONG = "x" * 300
VERBS = {
    "train": ["train", "--max-steps", "2", "--corpus", "lamplighters"],
    "runs": ["runs"],
    "resume": ["resume", "some"],
    "evaluate": ["evaluate", "some"],
    "sample": ["sample", "some"],
    "export": ["export", "some", "--csv", "x.csv"],
    "fetch": ["fetch"],
    "check": ["check"],
}


@pytest.fixture(autouse=True)
def restored_signals():
    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def refused(words, capsys, status=2):
    """The one line with which `words` are refused."""
    assert main(words) == status
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("verb", ["resume", "evaluate", "sample", "export", "from"])
@pytest.mark.parametrize("run", [LONG, f"/tmp/{LONG}", f"{LONG}/{LONG}"], ids=["name", "path", "deep"])
def test_a_run_of_300_characters_is_one_line(verb, run, data_home, capsys):
    words = ["train", "--from", run, "--corpus", "lamplighters"]
    if verb != "from":
        words = [run if word == "some" else word for word in VERBS[verb]]
    assert "xxx" in refused(words, capsys)


@pytest.mark.parametrize("verb", VERBS)
def test_a_home_that_cannot_be_is_one_line(verb, monkeypatch, capsys):
    monkeypatch.setenv("LOOPSCOPE_HOME", f"/tmp/{LONG}")
    assert "file name too long" in refused(VERBS[verb], capsys).lower()


@pytest.mark.parametrize("verb", VERBS)
def test_a_home_that_cannot_be_read_is_one_line(verb, data_home, monkeypatch, capsys):
    data_home.mkdir()
    stat, mkdir = Path.stat, Path.mkdir

    def refuse(real):
        def asked(path, *rest, **options):
            if path != data_home and path.is_relative_to(data_home):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return real(path, *rest, **options)

        return asked

    monkeypatch.setattr(Path, "stat", refuse(stat))
    monkeypatch.setattr(Path, "mkdir", refuse(mkdir))
    assert "permission denied" in refused(VERBS[verb], capsys).lower()


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "words"])
def test_a_full_disk_is_said_last_and_is_exit_1(as_json, data_home, text, tmp_path, monkeypatch, capsys):
    write = checkpoint_files.write

    def refuse(folder, snapshot):
        if snapshot.step > 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(folder, snapshot)

    monkeypatch.setattr(checkpoint_files, "write", refuse)
    folder = tmp_path / "run"
    words = ["train", "--max-steps", "60", "--corpus", str(text), "--out", str(folder)]
    assert main([*words, "--json"] if as_json else words) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert "is not being saved" in last
    assert "free some space" in last
    if as_json:
        assert json.loads(last)["state"] == "done"
        assert "is not being saved" in json.loads(last)["unsaved"]
    assert checkpoint_files.steps(folder / "snapshots")[-1] <= 10
    monkeypatch.undo()


@pytest.mark.skipif(sys.platform == "win32", reason="signals work differently")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_sigterm_and_sighup_end_a_run_in_order_as_ctrl_c_does(number, data_home, text, tmp_path):
    folder = tmp_path / "run"
    as_usual = partial(signal.signal, number, signal.SIG_DFL)  # whoever runs the tests may ignore a hang-up (nohup)
    words = ("train", "--max-steps", 10**9, "--corpus", text, "--json", "--out", folder)
    with started(*words, preexec_fn=as_usual) as process:
        try:
            until((folder / "config.json").exists)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, "Traceback" in err) == (130, False)
    result = json.loads(out.splitlines()[-1])
    assert (result["state"], "unsaved" in result) == ("stopped", False)
    assert checkpoint_files.steps(folder / "snapshots")[-1] == result["step"]
