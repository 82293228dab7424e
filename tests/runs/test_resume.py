"""A run that was killed goes on as if nothing had happened: same losses, same weights, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from engine.cli import resume
from engine.cli.parser import run as command
from engine.config import RunConfig, changed
from engine.errors import InputError
from engine.presets import preset
from engine.runs import checkpoint_policy
from engine.runs.checkpoint_policy import CheckpointPolicy
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.storage import checkpoint_files, reader, resume_point
from engine.storage.writer import RunWriter
from engine.stream.messages import Record, Scalars, drain_queue
from engine.stream.status import State
from engine.training.checkpoint import Snapshot
from engine.training.device import pick_device
from engine.training.state import take_snapshot
from engine.training.trainer import Trainer

ROOT = Path(__file__).resolve().parent.parent.parent
GPT = ("--model", "gpt", "--preset", "gpt-tiny", "--schedule", "constant")  # two runs here end at different steps


@pytest.fixture
def place(tmp_path, monkeypatch, play):
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path))
    text = tmp_path / "text.txt"
    text.write_text(play[:20_000], encoding="utf-8")
    return tmp_path


def killed(place, *flags, at=400):
    """A training process killed once its folder holds a snapshot beyond step `at`; the folder."""
    folder = place / "killed"
    words = ["train", "--corpus", str(place / "text.txt"), "--out", str(folder), "--max-steps", "1000000", *flags]
    process = subprocess.Popen(
        [sys.executable, "-m", "engine", *words],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    while not any(step >= at for step in checkpoint_files.steps(folder / "snapshots")):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return folder


@pytest.mark.parametrize("flags", [(), GPT, ("--epochs", "50")], ids=["bigram", "gpt", "epochs"])
def test_after_kill_9_the_losses_are_those_of_a_run_that_never_stopped(place, flags, capsys) -> None:
    folder = killed(place, *flags)
    stored = reader.open_run(str(folder))
    assert stored.status.startswith("interrupted at step")
    snapshot, _ = resume_point.newest_snapshot(stored)
    goal = snapshot.step + 300
    assert command(["resume", str(folder), "--max-steps", str(goal), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["state"], told["step"]) == ("done", goal)

    straight = place / "straight"
    words = ["train", "--corpus", str(place / "text.txt"), "--out", str(straight), "--max-steps", str(goal), *flags]
    assert command(words) == 0
    one, other = (reader.open_run(str(path)) for path in (folder, straight))
    assert [(r.step, r.loss) for r in reader.scalars(one)] == [(r.step, r.loss) for r in reader.scalars(other)]
    mine, its = (resume_point.newest_snapshot(run)[0] for run in (one, other))
    assert mine.step == its.step == goal
    assert all(torch.equal(mine.weights[name], its.weights[name]) for name in its.weights)
    # over now: it says its object again
    capsys.readouterr()
    assert command(["resume", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == told


def test_knobs_turned_before_the_end_are_kept(place, corpus, wait_until) -> None:
    config = RunConfig(model="gpt", block_size=8, n_layer=1, n_head=2, n_embd=8, dropout=0.2, snapshot_every=50)
    settings = changed(preset("bigram").settings, max_steps=200, speed="unlimited", batch_size=4)
    whole = Run(config, settings, corpus)
    half = Run(config, settings, corpus)
    for run in (whole, half):
        run.make_steps(50)
        wait_until(lambda run=run: run.step == 50)
        run.tune(changed(settings, lr=0.05))
        run.make_steps(50)
        wait_until(lambda run=run: run.step == 100)
    half.sample("T", 20, 1.0, None, 1)
    store = RunWriter(
        place / "runs" / half.id, {"run": half.id, "config": config.model_dump(), "settings": settings.model_dump()}
    )
    half.save_to(store)
    half.close()
    past = resume_point.load(reader.open_run(half.id))
    again = Run(config, settings, corpus, past)
    assert (again.step, again.settings.lr, again.state) == (100, 0.05, State.PAUSED)
    for run in (whole, again):
        run.start()
        wait_until(lambda run=run: run.state is State.DONE)
    one, other = whole.paused_state().snapshot, again.paused_state().snapshot
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    for run in (whole, again):
        run.close()


def test_a_manager_opens_what_an_earlier_one_left(manager: RunManager, place, wait_until) -> None:
    config = changed(preset("bigram").config, corpus="tiny", snapshot_every=100)
    first = manager.start(config, changed(preset("bigram").settings, speed="unlimited"))
    wait_until(lambda: first.step > 500)
    manager.close(30)
    assert reader.open_run(first.id).state == "interrupted"
    later = RunManager(manager.library)
    later.open()
    run = later.resume(first.id)
    assert (run.id, run.state) == (first.id, State.PAUSED)
    assert run.history.series["train/loss"].count == run.step
    run.start()
    wait_until(lambda: run.step > 1000)
    assert later.close(30)
    losses = [row.step for row in reader.scalars(reader.open_run(first.id))]
    assert losses == list(range(1, len(losses) + 1))


def test_two_processes_never_write_one_run(manager: RunManager, place, wait_until) -> None:
    config = changed(preset("bigram").config, corpus="tiny")
    run = manager.start(config, preset("bigram").settings)
    wait_until(lambda: reader.list_runs())
    asked = subprocess.run(
        [sys.executable, "-m", "engine", "resume", run.id], cwd=ROOT, capture_output=True, text=True, env=os.environ
    )
    assert asked.returncode == 2
    assert "another process" in asked.stderr
    assert len(asked.stderr.splitlines()) == 1


def test_a_run_never_begun_leaves_no_folder(manager: RunManager, place) -> None:
    config = changed(preset("bigram").config, corpus="tiny")
    manager.prepare(config, preset("bigram").settings).wait()
    manager.close(30)
    assert reader.list_runs() == []


def test_a_text_that_changed_is_named(place, capsys) -> None:
    assert command(["train", "--corpus", str(place / "text.txt"), "--max-steps", "5", "--out", str(place / "a")]) == 0
    (place / "text.txt").write_text("something else entirely " * 100)
    assert command(["resume", str(place / "a"), "--max-steps", "10"]) == 2
    assert "another text" in capsys.readouterr().err


def test_the_other_verbs(place, capsys) -> None:
    folder = place / "runs" / "20260101-000000-aaaaaa"
    words = ["train", "--corpus", str(place / "text.txt"), "--max-steps", "500", "--evaluate", "--json"]
    assert command([*words, "--out", str(folder)]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["run"] == folder.name, "as every other verb calls it"
    assert json.loads((folder / "config.json").read_text())["run"] == folder.name
    for split in ("train", "val", "test"):
        assert command(["evaluate", folder.name, "--split", split, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["loss"] == told[f"{split}_split_loss"]
    assert command(["sample", folder.name, "--max-new-tokens", "50"]) == 0
    assert len(capsys.readouterr().out) >= 51
    assert command(["runs"]) == 0
    assert "done at step 500" in capsys.readouterr().out
    assert command(["export", folder.name, "--csv", str(place / "a.csv")]) == 0
    lines = (place / "a.csv").read_text().splitlines()
    assert len(lines) == 502  # the head, step 0 with its look, and 500 steps
    capsys.readouterr()
    assert command(["export", folder.name, "--csv", str(place / "No Where" / "a.csv")]) == 2
    told = capsys.readouterr().err
    assert (
        "cannot be written (" in told
        and "(None)" not in told
        and told.count("No Where") == 2
        and len(told.splitlines()) == 1
    )
    assert command(["evaluate", "nothing-there", "--split", "val"]) == 2
    assert command(["evaluate", folder.name, "--split", "all"]) == 2


def test_the_schedule_is_dense_early_and_regular_later(monkeypatch) -> None:
    class Told:
        def save_snapshot(self, snapshot, best=False):
            taken.append(snapshot.step)

    taken: list[int] = []
    policy = CheckpointPolicy(Told(), 1000)

    class At:
        recorder = type("StepRecorder", (), {"diverged": False})
        val_loss, stages_done, step, parameters = None, 0, 0, ()
        settle = lambda self: self  # noqa: E731

    monkeypatch.setattr(checkpoint_policy, "take_snapshot", lambda trainer: trainer)
    trainer = At()
    while trainer.step < 3500:
        policy.save(trainer)
        trainer.step = policy.due_at
    assert taken == [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 3000]


def test_a_run_of_the_stage_notices_that_its_text_has_changed(manager: RunManager, place, wait_until) -> None:
    run = manager.start(changed(preset("bigram").config, corpus="tiny"), preset("bigram").settings)
    wait_until(lambda: run.step > 0)
    manager.close(30)
    manager.library.text = "abcde edcba bad cab deed ace " * 13
    manager.library.version += 1
    with pytest.raises(InputError, match="another text"):
        manager.resume(run.id)


def test_a_snapshot_ahead_of_the_recorded_steps_is_not_gone_on_from(place, corpus, wait_until) -> None:
    config = RunConfig(block_size=8)
    settings = changed(preset("bigram").settings, speed="unlimited", max_steps=1000)
    folder = place / "runs" / "20260101-000000-aaaaaa"
    store = RunWriter(folder, {"config": config.model_dump(), "settings": settings.model_dump()})
    trainer = Trainer(config, settings, corpus, lambda record: told.append(record))
    told: list[Record] = []
    for step in range(1, 31):
        trainer.advance()
        if step in (10, 30):
            store.save_snapshot(take_snapshot(trainer))
    store.put(told[: 20 + sum(not isinstance(record, Scalars) for record in told[:20])])
    assert store.close()
    stored = reader.open_run(folder.name)
    assert 10 <= stored.step < 30
    past = resume_point.load(stored)
    assert past.snapshot.step == 10
    assert checkpoint_files.steps(folder / "snapshots") == [10]
    assert reader.open_run(folder.name).step == 10


def left_by_a_kill(run: Run, place: Path) -> str:
    """The id of a run whose folder is what a kill now would leave of `run`; its newest snapshot is of step 20."""
    assert run.store is not None
    run.store.put(drain_queue(run.queue))
    assert run.store.flush()
    name = f"{run.id}-killed"
    folder = shutil.copytree(run.store.folder, place / "runs" / name) / "snapshots"
    for step in checkpoint_files.steps(folder):
        if step > 20:
            shutil.rmtree(checkpoint_files.at(folder, step))
    return name


def steps_until(run: Run, step: int, wait_until) -> None:
    run.make_steps(step - run.step)
    wait_until(lambda: run.step == step and run.state is not State.RUNNING)


def kept_run(config, settings, corpus, place, past=None) -> Run:
    run = Run(config, settings, corpus, past)
    start = {"run": run.id, "config": config.model_dump(), "settings": settings.model_dump()}
    run.save_to(RunWriter(place / "runs" / run.id, start))
    return run


@pytest.mark.parametrize("stages", [0, 3])
def test_a_knob_turned_after_the_snapshot_is_turned_again(place, corpus, wait_until, stages) -> None:
    config = RunConfig(model="gpt", block_size=8, n_layer=1, n_head=2, n_embd=8, dropout=0.2, epochs=20)
    settings = changed(preset("bigram").settings, max_steps=100, speed="unlimited", batch_size=4)
    whole = kept_run(config, settings, corpus, place)
    steps_until(whole, 24, wait_until)
    for _ in range(stages):
        whole.make_stage()
    wait_until(lambda: whole.stage == stages)
    whole.tune(changed(settings, lr=0.05, batch_size=5))
    steps_until(whole, 31 if stages else 30, wait_until)
    whole.tune(changed(settings, lr=0.02, batch_size=3))
    steps_until(whole, 40, wait_until)
    name = left_by_a_kill(whole, place)
    past = resume_point.load(reader.open_run(name))
    assert (past.snapshot.step, len(past.pending), past.settings.lr) == (20, 2, settings.lr)
    again = kept_run(config, settings, corpus, place, past)
    for run in (whole, again):
        run.start()
        wait_until(lambda run=run: run.state is State.DONE)
        assert run.settings.lr == 0.02
    one, other = whole.paused_state().snapshot, again.paused_state().snapshot
    assert all(torch.equal(one.weights[part], other.weights[part]) for part in one.weights)
    for run in (whole, again):
        run.close()
    told = [[(row.step, row.loss, row.lr) for row in reader.scalars(reader.open_run(run.id))] for run in (whole, again)]
    assert told[0] == told[1]
    assert len(told[0]) == 100
    kept = [resume_point.read_turns(reader.open_run(run.id), 0) for run in (whole, again)]
    assert kept[0] == kept[1]


def test_a_hand_on_a_knob_takes_the_place_of_what_was_turned_later_before_the_kill(place, corpus, wait_until) -> None:
    config, settings = RunConfig(block_size=8), changed(preset("bigram").settings, max_steps=60, speed="unlimited")
    whole = kept_run(config, settings, corpus, place)
    steps_until(whole, 30, wait_until)
    whole.tune(changed(settings, lr=0.5))
    steps_until(whole, 40, wait_until)
    again = kept_run(config, settings, corpus, place, resume_point.load(reader.open_run(left_by_a_kill(whole, place))))
    steps_until(again, 25, wait_until)
    again.tune(changed(settings, lr=0.125))
    again.start()
    wait_until(lambda: again.state is State.DONE)
    for run in (whole, again):
        run.close()
    rows = {row.step: row.lr for row in reader.scalars(reader.open_run(again.id))}
    assert (rows[25], rows[26], rows[60]) == (settings.lr, 0.125, 0.125)
    assert [step for step, _, _ in resume_point.read_turns(reader.open_run(again.id), 0)] == [25]


def test_a_resume_that_is_refused_forgets_nothing(place, corpus, wait_until, capsys, monkeypatch) -> None:
    folder = place / "killed"
    words = ["train", "--corpus", str(place / "text.txt"), "--max-steps", "700", "--out", str(folder)]
    assert command(words) == 0
    for step in checkpoint_files.steps(folder / "snapshots"):
        if step > 20:
            shutil.rmtree(checkpoint_files.at(folder / "snapshots", step))
    capsys.readouterr()
    for flags, why in ((["--max-steps", "0"], "at least 1"), (["--max-steps", "7"], "behind the run")):
        with sqlite3.connect(folder / "metrics.db") as database:  # as a kill leaves it
            database.execute("DELETE FROM events WHERE name = 'done'")
        assert command(["resume", str(folder), *flags]) == 2
        assert why in capsys.readouterr().err
    monkeypatch.setattr(resume, "pick_device", lambda name: pick_device("cuda"))
    if not torch.cuda.is_available():
        assert command(["resume", str(folder)]) == 2
    assert reader.open_run(str(folder)).step == 700


def test_a_resume_knows_the_best_of_before(place, capsys) -> None:
    folder = place / "best"
    words = ["train", "--corpus", str(place / "text.txt"), "--max-steps", "600", "--lr", "5", "--out", str(folder)]
    assert command(words) == 0
    assert command(["resume", str(folder), "--max-steps", "700", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    found = reader.observations(reader.open_run(str(folder)))
    looks = [(record.scalars["val/loss"], record.step) for record in found if "val/loss" in record.scalars]
    assert (told["best_val_loss"], told["best_val_step"]) == min(looks)


def test_the_test_loss_of_a_run_that_goes_on_is_still_measured_once(place, capsys) -> None:
    folder = place / "once"
    words = ["train", "--preset", "gpt-tiny", "--epochs", "1", "--corpus", "ferry-notebook", "--out", str(folder)]
    assert command([*words, "--max-steps", "8"]) == 0
    assert command(["resume", str(folder), "--max-steps", "10"]) == 0
    found = reader.observations(reader.open_run(str(folder)))
    tested = [record.step for record in found if "test/loss" in record.scalars]
    assert tested == [8]


def test_a_slow_disk_is_waited_for(place, monkeypatch) -> None:
    write = checkpoint_files.write

    def slowly(folder: Path, snapshot: Snapshot) -> None:
        if snapshot.step == 60:
            time.sleep(6)
        write(folder, snapshot)

    monkeypatch.setattr(checkpoint_files, "write", slowly)
    folder = place / "slow"
    words = ["train", "--corpus", str(place / "text.txt"), "--max-steps", "60", "--out", str(folder)]
    assert command(words) == 0
    assert 60 in checkpoint_files.steps(folder / "snapshots")


def test_what_is_said_again_of_a_diverged_run_is_where_it_stands(
    manager: RunManager, place, wait_until, capsys
) -> None:
    config = changed(preset("bigram").config, corpus="tiny")
    run = manager.prepare(config, changed(preset("bigram").settings, lr=1e7, weight_decay=10.0, speed="unlimited"))
    run.start()
    wait_until(lambda: run.state is State.DIVERGED)
    manager.flush(run)
    assert command(["resume", run.id, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["step"] == run.step


def test_an_absurd_loss_is_one_after_the_run_was_opened_too(manager: RunManager, place, wait_until) -> None:
    config = changed(preset("bigram").config, corpus="tiny")
    run = manager.prepare(config, changed(preset("bigram").settings, lr=1e6, weight_decay=0.0, speed="unlimited"))
    run.start()
    wait_until(lambda: run.trouble and run.step > 300)
    run.stop()
    wait_until(lambda: run.state is State.STOPPED)
    manager.flush(run)
    name = f"{run.id}-copy"
    shutil.copytree(run.folder, place / "runs" / name)
    again = manager.resume(name)
    assert again.trouble and again.warning == run.warning
    assert manager.rewind().settings.lr == 0.001, "half of a million would be no remedy"
