"""A loop of one's own, recorded: what it tells is stored and shown, it is never held up, and it can be told things."""

from __future__ import annotations

import subprocess
import sys
import threading
from argparse import Namespace
from collections.abc import Callable

import numpy as np
import pytest
import torch

from engine import record
from engine.cli import evaluate, resume, sample
from engine.errors import InputError
from engine.paths import home
from engine.runs.manager import RunManager
from engine.storage import command_inbox, export, index, reader
from engine.storage.curves import curves
from engine.storage.displayed_state import displayed_state, displayed_steps
from engine.storage.writer import RunWriter
from engine.stream.history import Frame
from engine.tracking.external_run import ExternalRun
from pages.board.replay.export import MOST_BYTES, page_of
from tests.conftest import ROOT

Wait = Callable[..., None]


def test_three_lines_record_a_loop_of_torch() -> None:
    torch.manual_seed(0)
    x, w = torch.randn(32, 4), torch.zeros(4, requires_grad=True)
    y = x @ torch.tensor([1.0, -2.0, 3.0, 0.5])
    losses = []
    with record("least squares", lr=0.1, depth=1, max_steps=50) as log:
        for step in range(1, 51):
            loss = ((x @ w - y) ** 2).mean()
            (slope,) = torch.autograd.grad(loss, w)
            with torch.no_grad():
                w -= 0.1 * slope
            losses.append(loss.item())
            log(step, loss=loss, grad_norm=slope.norm(), val_loss=loss if step % 10 == 0 else None, size=np.float32(2))
            if step % 10 == 0:
                log.table("weights", w.reshape(2, 2))
                log.sample(f"w = {w.tolist()}")
        log.event("that was all")
    run = reader.open_run(log.id)
    assert (run.state, run.step, run.config, run.live) == ("done", 50, None, False)
    assert run.recorded is not None and run.recorded.name == "least squares" and run.recorded.max_steps == 50
    rows = list(reader.scalars(run))
    assert [row.loss for row in rows] == losses and all(row.lr == 0.1 and row.seconds > 0 for row in rows)
    kept = reader.read_history(run)
    assert kept.series["val/loss"].view(99)[0].tolist() == [10, 20, 30, 40, 50]
    assert kept.tables["table/weights"] == pytest.approx(w.detach().reshape(2, 2).numpy(), rel=1e-3)
    assert len(kept.samples) == 5 and [event.text for event in kept.events] == [
        "started",
        "that was all",
        "done at step 50",
    ]


def test_the_archive_opens_a_recorded_run_with_what_it_has() -> None:
    with record("mine", lr=0.1) as log:
        for step in range(1, 41):
            log(step, loss=4 - step / 100, accuracy=step / 40)
            if step % 20 == 0:
                log.table("grid", np.full((3, 5), step))
                log.sample("<script>alert(1)</script>")
    run = reader.open_run(log.id)
    (one,) = index.overviews()
    assert one.name == "mine" and one.settings == {"lr": 0.1} and one.seconds > 0
    assert len(curves(one).steps) == 40
    table = export.metrics_table(run)
    assert table["loss"].tolist() == [row.loss for row in reader.scalars(run)] and table["accuracy"].iloc[-1] == 1
    assert displayed_steps(run.folder) == [20, 40]
    assert displayed_state(run.folder, 30).tables["table/grid"].tolist() == [[20.0] * 5] * 3
    page = page_of(one)
    assert b"<script>alert" not in page and len(page) < MOST_BYTES


def test_what_it_cannot_do_is_said_in_one_sentence(manager: RunManager) -> None:
    with record("mine") as log:
        log(1, loss=1)
    run = reader.open_run(log.id)
    for verb in (
        lambda: manager.resume(log.id),
        lambda: resume.resume(Namespace(run=log.id, max_steps=None, json=False)),
        lambda: evaluate.evaluate(Namespace(run=log.id, split="val", json=False, at="last")),
        lambda: sample.sample(
            Namespace(run=log.id, at="last", prompt="", max_new_tokens=9, temperature=1.0, top_k=None, seed=0)
        ),
        lambda: export.weights_file(run),
    ):
        with pytest.raises(InputError, match="recorded from another program's loop") as refused:
            verb()
        assert "\n" not in str(refused.value)
    assert reader.open_run(log.id).step == 1 and list(reader.scalars(run))


@pytest.mark.parametrize(
    ("do", "wrong"),
    [
        (lambda log: log(1, loss="3"), "'3' is a str, not a number"),
        (lambda log: log(1, loss=torch.ones(2)), "not a number"),
        (lambda log: log(1.5, loss=1), "whole number"),
        (lambda log: log(-1, loss=1), "whole number"),
        (lambda log: (log(2, loss=1), log(1, loss=1)), "behind step 2"),
        (lambda log: (log(2, loss=1), log(2, loss=1)), "its loss already"),
        (lambda log: log(1, **{"a\n": 1}), "no name"),
        (lambda log: log.table("t", np.ones((2, 2, 2))), "two dimensions"),
        (lambda log: log.table("t", []), "a cell at least"),
        (lambda log: log.table("t", [["a"]]), "numbers"),
        (lambda log: log.table("t", torch.full((2, 2), float("nan"))), "not finite"),
        (lambda log: log.sample(3), "not a text"),
        (lambda log: log.event("x" * 30_000), "too long"),
        (lambda log: (log.close(), log(1, loss=1)), "is closed"),
    ],
)
def test_what_is_not_possible_is_refused_where_it_is_told(do: Callable, wrong: str) -> None:
    with record("mine", strict=True) as log, pytest.raises(InputError, match=wrong):
        do(log)


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({"name": "x" * 81}, "at most 80"),
        ({"name": "x", "max_steps": 0}, "from 1 to"),
        ({"name": "x", "optimizer": object()}, "setting 'optimizer' is an object, give a number"),
        ({"name": "x", "betas": (0.9, 0.999)}, "setting 'betas' is a tuple, give a number"),
        ({"name": "x", "live": ["lr"]}, "no value to begin with"),
        ({"name": "x", "live": ["depth"], "depth": 1}, "not possible"),
    ],
)
def test_a_recording_that_cannot_be_leaves_no_folder(asked: dict, wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        record(**asked, strict=True)
    assert reader.list_runs() == []


def test_how_a_loop_ends_is_told() -> None:
    with pytest.raises(ZeroDivisionError), record("breaks") as log:
        log(1, loss=1)
        log(2, loss=1 / 0)
    run = reader.open_run(log.id)
    assert (run.state, run.step) == ("failed", 1)
    assert reader.read_history(run).events[-1].text == "ZeroDivisionError: division by zero"
    with pytest.raises(KeyboardInterrupt), record("stopped") as log:
        raise KeyboardInterrupt
    assert reader.open_run(log.id).state == "stopped"
    with record("diverges") as log:
        log(1, loss=float("nan"))
        log(2, loss=float("nan"))
    events = [event.text for event in reader.read_history(reader.open_run(log.id)).events]
    assert events == ["started", "the loss is nan at step 1", "done at step 2"]


def test_a_killed_script_leaves_an_interrupted_run_and_no_screen_is_needed() -> None:
    script = (
        "import sys, time\n"
        "from engine import record\n"
        "log = record('mine').__enter__()\n"
        "for step in range(1, 101): log(step, loss=1 / step)\n"
        "log._store.flush()\n"
        "assert 'streamlit' not in sys.modules and 'plotly' not in sys.modules\n"
        "print(log.id, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert reader.open_run(name).state == "running"
        process.kill()
    run = reader.open_run(name)
    assert (run.state, run.step) == ("interrupted", 100)


def test_a_loop_is_told_through_the_mailbox_and_followed(manager: RunManager, wait_until: Wait) -> None:
    seen: list[tuple[int, object]] = []
    with record("mine", lr=0.5, live=("lr", "pause", "stop")) as log:
        folder = home() / "runs" / log.id
        step = 0

        def loop() -> None:
            nonlocal step
            while not log.stopped:
                step += 1
                seen.append((step, log.settings["lr"]))
                log(step, loss=1 / step)
                threading.Event().wait(0.001)

        thread = threading.Thread(target=loop)
        thread.start()
        wait_until(lambda: any(run.id == log.id for run in manager.external_runs.live()))
        followed = manager.external_runs.follow(log.id)
        wait_until(lambda: followed.takes == ("lr", "pause", "stop"))
        assert followed.status().takes == ("lr", "pause", "stop")
        command_inbox.send_settings(folder, lr=0.25)
        wait_until(lambda: seen[-1][1] == 0.25)
        with pytest.raises(InputError, match="'batch_size' is not a knob that this run honours; it honours lr"):
            command_inbox.send_settings(folder, batch_size=5)
        command_inbox.send_verb(folder, "pause")
        wait_until(lambda: followed.state == "paused")
        held = step
        command_inbox.send_verb(folder, "resume")
        wait_until(lambda: step > held + 5)
        command_inbox.send_verb(folder, "stop")
        thread.join(30)
        assert not thread.is_alive()
    wait_until(lambda: followed.state == "stopped")
    run = reader.open_run(log.id)
    (turned,) = [event for event in reader.read_history(run).events if event.name == "lr"]
    assert turned.text == "lr 0.5 → 0.25"
    assert [value for at, value in seen if at <= turned.step] == [0.5] * turned.step
    assert all(value == 0.25 for at, value in seen if at > turned.step)
    assert [row.lr for row in reader.scalars(run)] == [value for _, value in seen]
    assert followed.status().header()["settings"]["lr"] == 0.25
    with pytest.raises(InputError, match="honours none"):
        command_inbox.send_settings(folder, lr=0.1)


def test_a_loop_that_honours_nothing_is_never_held(manager: RunManager) -> None:
    with record("mine", lr=0.5) as log:
        folder = home() / "runs" / log.id
        log(1, loss=1)
        assert command_inbox.accepted_commands(folder) == ()
        for verb in ("pause", "stop"):
            with pytest.raises(InputError, match=f"does not honour {verb}"):
                command_inbox.send_verb(folder, verb)
        log(2, loss=1)
    assert reader.open_run(log.id).state == "done"


def test_a_disk_that_refuses_holds_up_no_loop(monkeypatch: pytest.MonkeyPatch, capsys, wait_until: Wait) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunWriter, "_write", refuse)
    with record("mine") as log:
        for step in range(1, 1001):
            log(step, loss=1)
        wait_until(lambda: log.problem)
    assert "is not being saved (No space left on device)" in capsys.readouterr().err


def test_half_a_character_holds_up_nothing() -> None:
    """As bytes that are cut in the middle of one decode; SQLite takes none."""
    with record("mine") as log:
        log(1, loss=1)
        log.sample("half \ud83d of one")
        log.event("\udcff here")
    kept = reader.open_run(log.id)
    shown = reader.read_history(kept)
    assert (kept.state, shown.samples[0].text) == ("done", "half ? of one")
    assert [event.text for event in shown.events] == ["started", "? here", "done at step 1"]


def test_a_seed_of_128_bits_can_be_shown() -> None:
    log = record("mine", seed=2**127 + 1, other=2**64 - 1, negative=-(2**70))
    assert log._store.flush()
    header = ExternalRun(reader.open_run(log.id), None).status().header()
    log.close()
    Frame(header).encode()
    assert header["settings"] == {"seed": 2.0**127, "other": 2**64 - 1, "negative": -(2.0**70), "version": 0}
