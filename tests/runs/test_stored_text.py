"""The text that a run learnt from is found by its sha256, and a path that a run folder names is never followed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.cli.parser import run as command
from engine.errors import InputError
from engine.runs.manager import RunManager
from engine.storage import manifest, reader

TEXT = "the ferry left the quay, and the lamp went out. " * 60
SECRET = "a secret that no run has any business with! " * 60


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data home, beside it a text of somebody's own, and a secret."""
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path / "home"))
    (tmp_path / "quay.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "secret").write_text(SECRET, encoding="utf-8")
    return tmp_path


def trained(place: Path, name: str = "one") -> Path:
    """The folder of a run that learnt from the file quay.txt, which a person named."""
    folder = place / "home" / "runs" / name
    words = ["train", "--corpus", str(place / "quay.txt"), "--max-steps", "5", "--out", str(folder)]
    assert command(words) == 0
    return folder


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what config.json says, sealed as if it had been written so."""
    content = manifest.read(folder)
    change(content)
    manifest.write(folder, content)


def named(**said: Any) -> Callable[[dict[str, Any]], None]:
    """The text of a run is what `said` says, and nothing else."""

    def change(content: dict[str, Any]) -> None:
        content["environment"]["corpus"] = said
        content["config"]["corpus"] = str(said.get("name", "secret"))[:200] or "secret"

    return change


SECRET_SHA = hashlib.sha256(SECRET.encode()).hexdigest()
FOREIGN = {
    "a path without a sha256": lambda secret: named(name="secret", path=secret),
    "a path as the name": lambda secret: named(name=secret, path=secret),
    "a path as the sha256": lambda secret: named(name="secret", path=secret, sha256=secret),
    "a way up as the sha256": lambda secret: named(name="secret", sha256="../" * 9 + secret.lstrip("/")),
    "its right sha256": lambda secret: named(name="secret", path=secret, sha256=SECRET_SHA),
    "its right sha256 and length": lambda secret: named(
        name="secret", path=secret, sha256=SECRET_SHA, characters=len(SECRET)
    ),
    "a sha256 that is none": lambda secret: named(name="secret", path=secret, sha256=None),
    "a sha256 that is a number": lambda secret: named(name="secret", path=secret, sha256=7),
    "a former text": lambda secret: named(
        name="secret", path=secret, sha256=SECRET_SHA, former={"name": "secret", "path": secret}
    ),
    "a device": lambda _: named(name="zero", path="/dev/zero"),
    "no text at all": lambda _: lambda content: content["environment"].update(corpus=None),
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_run_folder_from_elsewhere_cannot_name_a_file_of_the_machine(foreign: str, place: Path, capsys) -> None:
    folder = trained(place)
    shutil.rmtree(place / "home" / "named-texts")  # it comes from elsewhere: nobody named a file here
    rewrite(folder, FOREIGN[foreign](str(place / "secret")))
    capsys.readouterr()
    for words in (["resume", "one", "--max-steps", "9"], ["evaluate", "one"], ["sample", "one"]):
        assert command(words) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert len(told.err.splitlines()) == 1
        assert "one" in told.err
        assert "any business" not in told.err
    assert reader.read_run(folder).step == 5


def test_the_dashboard_refuses_it_too(place: Path) -> None:
    from engine.text.library import Library

    folder = trained(place)
    shutil.rmtree(place / "home" / "named-texts")
    rewrite(folder, named(name="secret", path=str(place / "secret")))
    with pytest.raises(InputError, match="does not say the sha256 of its text 'secret'"):
        RunManager(Library(place / "home")).resume("one")


def test_a_file_that_a_person_named_is_found_again_wherever_it_is_resumed(place: Path, capsys, monkeypatch) -> None:
    trained(place)
    monkeypatch.chdir(place)
    assert command(["train", "--corpus", "./quay.txt", "--max-steps", "5", "--out", "two"]) == 0
    monkeypatch.chdir("/")
    for run in ("one", str(place / "two")):
        assert command(["resume", run, "--max-steps", "9"]) == 0
    assert str(place) not in (place / "two" / "config.json").read_text(), "a folder names nobody's home"


def test_a_text_is_found_under_another_name(place: Path, capsys) -> None:
    """What an earlier version wrote of a file elsewhere goes on once the text is among those of the library."""
    folder = trained(place)
    shutil.rmtree(place / "home" / "named-texts")
    rewrite(folder, lambda content: content["environment"]["corpus"].update(path=str(place / "quay.txt")))
    capsys.readouterr()
    assert command(["resume", "one", "--max-steps", "9"]) == 2
    told = capsys.readouterr().err
    assert str(place / "home" / "corpora") in told
    assert hashlib.sha256(TEXT.encode()).hexdigest()[:12] in told
    (place / "home" / "corpora").mkdir()
    shutil.copy(place / "quay.txt", place / "home" / "corpora" / "Another Name.txt")
    assert command(["resume", "one", "--max-steps", "9", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["step"] == 9
