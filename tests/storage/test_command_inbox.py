"""Commands from another process: read once, checked, applied between two steps; all else in there is harmless."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.config import changed
from engine.errors import InputError
from engine.paths import home
from engine.presets import preset
from engine.runs.datasets import stored_dataset
from engine.storage import command_inbox, reader, resume_point
from engine.storage.command_inbox import ALL, LARGEST, Command, CommandInbox
from engine.storage.writer import RunWriter
from engine.stream.messages import Scalars
from engine.training.trainer import Trainer
from tests.conftest import ROOT

Wait = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "a-run"


def drop(run: Path, content: bytes, name: str = "x.json") -> Path:
    path = run / command_inbox.FOLDER / name
    path.write_bytes(content)
    return path


def test_commands_are_taken_once_and_in_order(run: Path) -> None:
    box = CommandInbox(run)
    assert command_inbox.accepted_commands(run) == ALL
    command_inbox.send_settings(run, lr=0.5, batch_size=7)
    command_inbox.send_verb(run, "pause")
    command_inbox.send_verb(run, "resume")
    command_inbox.send_settings(run, grad_clip=None)
    assert list(box.receive()) == [
        Command({"lr": 0.5, "batch_size": 7}, None),
        Command({}, "pause"),
        Command({}, "resume"),
        Command({"grad_clip": None}, None),
    ]
    assert list(box.receive()) == []
    box.close()
    assert command_inbox.accepted_commands(run) == () and not (run / command_inbox.FOLDER).exists()


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "not JSON"),
        (b"\xff\x00", "not JSON"),
        (b"[" * 3000, "not JSON"),
        (b"[]", "neither"),
        (b"{}", "neither"),
        (b'{"settings": {"lr": 1}, "verb": "stop"}', "neither"),
        (b'{"settings": []}', "neither"),
        (b'{"settings": {}}', "neither"),
        (b'{"settings": {"lr": -1}}', "lr -1 is not possible; choose above 0"),
        (b'{"settings": {"lr": NaN}}', "lr"),
        (b'{"settings": {"lr": 1e999}}', "lr"),
        (b'{"settings": {"lr": "__import__(\'os\')"}}', "lr"),
        (b'{"settings": {"batch_size": 1e12}}', "batch_size"),
        (b'{"settings": {"corpus": "/etc/passwd"}}', "'corpus' is not a knob"),
        (b'{"verb": "reset"}', "'reset' is not a verb"),
        (b'{"verb": {"a": 1}}', "is not a verb"),
        (b'{"verb": "' + b"x" * LARGEST + b'"}', "longer than 4,096 bytes"),
    ],
)
def test_a_bad_command_is_named_and_gone(run: Path, content: bytes, wrong: str) -> None:
    box = CommandInbox(run)
    path = drop(run, content)
    (said,) = box.receive()
    assert isinstance(said, InputError) and wrong in str(said) and "\n" not in str(said) and len(str(said)) < 300
    assert not path.exists() and list(box.receive()) == []


def test_links_pipes_and_folders_are_not_followed_and_told_of_once(run: Path, tmp_path: Path) -> None:
    box = CommandInbox(run)
    secret = tmp_path / "secret.json"
    secret.write_text('{"verb": "stop"}')
    (box.folder / "a.json").symlink_to(secret)
    os.mkfifo(box.folder / "b.json")
    (box.folder / "c.json").mkdir()
    (box.folder / "not-a-command.txt").write_text("x")
    (box.folder / ".half-written.json").write_text("x")
    said = list(box.receive())
    assert len(said) == 3 and all(isinstance(one, InputError) for one in said)
    assert list(box.receive()) == []
    assert secret.exists() and (box.folder / "not-a-command.txt").exists()
    again = CommandInbox(run)
    command_inbox.send_verb(run, "stop")
    assert list(again.receive()) == [Command({}, "stop")], "the folder is still there, and stops nobody from listening"


def test_a_mailbox_that_is_a_link_is_neither_emptied_nor_filled(run: Path, tmp_path: Path) -> None:
    run.mkdir(parents=True)
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious.json").write_text("{}")
    (other / command_inbox.TAKES).write_text(json.dumps(ALL))
    (run / command_inbox.FOLDER).symlink_to(other)
    with pytest.raises(InputError, match="is a link"):
        command_inbox.send_verb(run, "stop")
    box = CommandInbox(run)
    assert (other / "precious.json").exists() and not box.folder.is_symlink()
    assert sorted(path.name for path in other.iterdir()) == ["precious.json", command_inbox.TAKES]


def test_what_was_told_to_somebody_who_is_gone_is_not_obeyed(run: Path) -> None:
    CommandInbox(run)
    command_inbox.send_verb(run, "stop")
    assert list(CommandInbox(run).receive()) == []
    store = RunWriter(run, {"config": {}})
    assert command_inbox.accepted_commands(run) == (), "a writer that does not listen says so"
    store.close()


def test_a_flood_is_taken_bit_by_bit(run: Path) -> None:
    box = CommandInbox(run)
    for i in range(3 * command_inbox.MOST_AT_ONCE):
        drop(run, b'{"verb": "pause"}', f"{i:05}.json")
    assert [len(list(box.receive())) for _ in range(4)] == [command_inbox.MOST_AT_ONCE] * 3 + [0]


@pytest.mark.parametrize("told", [b"5", b"[5, {}]", b"not", b'["everything", "lr"]', b"[" * 5000])
def test_who_asks_believes_only_what_can_be_honoured(run: Path, told: bytes) -> None:
    CommandInbox(run)
    drop(run, told, command_inbox.TAKES)
    assert command_inbox.accepted_commands(run) in ((), ("lr",))
    with pytest.raises(InputError, match="does not honour stop"):
        command_inbox.send_verb(run, "stop")


def test_the_command_lines_run_obeys_between_two_steps_and_repeats(wait_until: Wait) -> None:
    words = ["train", "--preset", "bigram", "--max-steps", "1000000"]
    process = subprocess.Popen([sys.executable, "-m", "engine", *words], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: [one for one in reader.list_runs() if one.step > 500], 60)
        (name,) = [one.id for one in reader.list_runs()]
        folder = home() / "runs" / name
        assert command_inbox.accepted_commands(folder) == ALL
        command_inbox.send_settings(folder, lr=0.03125, batch_size=5)
        drop(folder, b'{"settings": {"lr": -5}}')
        wait_until(lambda: len(resume_point.read_turns(reader.read_run(folder), 0, 10**9)) == 1)
        turned = resume_point.read_turns(reader.read_run(folder), 0, 10**9)[0][0]
        wait_until(lambda: reader.read_run(folder).step > turned + 200)
        command_inbox.send_verb(folder, "pause")
        wait_until(lambda: reader.read_run(folder).state == "paused")
        command_inbox.send_verb(folder, "resume")
        wait_until(lambda: reader.read_run(folder).state == "running")
        command_inbox.send_verb(folder, "stop")
        assert process.wait(30) == 0
    finally:
        process.kill()
    stored = reader.open_run(name)
    events = reader.read_history(stored).events
    assert [event.text for event in events if event.step == turned and event.name in ("lr", "batch_size")] == [
        "lr 0.001 → 0.03125",
        "batch_size 32 → 5",
    ]
    (bad,) = [event.text for event in events if event.name == "mailbox"]
    assert bad.startswith("a command was ignored: lr -5 is not possible; choose above 0")
    assert [event.name for event in events][-3:] == ["paused", "resumed", "stopped"] and stored.state == "stopped"
    assert not (folder / command_inbox.FOLDER).exists()

    start, made = preset("bigram"), []
    settings = changed(start.settings, max_steps=1_000_000, speed="unlimited")
    trainer = Trainer(start.config, settings, stored_dataset(stored), made.append)
    while trainer.step < turned + 200:
        if trainer.step == turned:
            trainer.tune(changed(settings, lr=0.03125, batch_size=5))
        trainer.advance()
    alone = np.array([record.loss for record in made if isinstance(record, Scalars)], np.float32)
    kept = np.array([row.loss for row in reader.scalars(stored)][: turned + 200], np.float32)
    assert np.array_equal(alone, kept), "bit for bit what a run is with the same command at the same step"
