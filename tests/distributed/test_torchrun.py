"""Runs that torchrun starts: held against one process with the whole batch, told by the mailbox, killed, resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from engine.__main__ import main
from engine.config import changed
from engine.runs.datasets import stored_dataset
from engine.storage import reader
from engine.storage.command_inbox import accepted_commands, send_settings, send_verb
from engine.storage.resume_point import read_turns
from engine.stream.messages import Scalars
from engine.training.trainer import Trainer

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 120.0  # seconds
TOLERANCE = 1e-5
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


FAULT = """
import os, sys
from engine.__main__ import main
from engine.training.trainer import Trainer

def forward(trainer, whole=Trainer.forward):
    if trainer.step == 20 and os.environ["RANK"] == os.environ["FAULTY"]:
        raise ValueError("a fault in one process")
    whole(trainer)

Trainer.forward = forward
sys.exit(main())
"""


@contextmanager
def torchrun(*words, program=("-m", "engine")):
    """A command on two processes by torchrun; whatever is left of it is killed at the end."""
    job = subprocess.Popen(
        [*TORCHRUN, "2", *program, *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    try:
        yield job
    finally:
        family = (
            [*psutil.Process(job.pid).children(recursive=True), psutil.Process(job.pid)] if job.poll() is None else []
        )
        for process in family:
            process.kill()
        job.communicate()


def wait_until(true, job):
    """Wait until `true()`, as long as the job lives."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def step_of(folder):
    return reader.read_run(folder).step if (folder / "metrics.db").exists() else 0


def events_of(folder):
    return [(event.name, event.text) for event in reader.read_history(reader.open_run(str(folder))).events]


def worker_of(job, rank):
    """The process of this rank."""
    for process in psutil.Process(job.pid).children(recursive=True):
        if process.environ().get("RANK") == str(rank):
            return process
    raise AssertionError("it is not there")


def losses_of(folder):
    return [scalars.loss for scalars in reader.scalars(reader.open_run(str(folder)))]


def losses_alone(folder):
    """Those of one process with the whole batch and the same knobs turned at the same steps."""
    stored = reader.open_run(str(folder))
    config, settings = reader.configuration(stored)
    records = []
    trainer = Trainer(config, settings, stored_dataset(stored), records.append)
    turns = read_turns(stored, 0)
    for step in range(stored.step):
        for at, _, knobs in turns:
            if at == step:
                trainer.tune(changed(knobs, max_steps=settings.max_steps))
        trainer.advance()
    return [record.loss for record in records if isinstance(record, Scalars)]


@pytest.mark.thorough
def test_two_ranks_of_16_against_one_process_of_32_stopped_and_resumed_with_two_and_with_one(tmp_path, capsys) -> None:
    run = tmp_path / "run"
    words = ("--preset", "bigram", "--batch-size", 32, "--max-steps", 1_000_000, "--device", "cpu", "--json")
    with torchrun("train", *words, "--out", run) as job:
        wait_until(lambda: step_of(run) >= 120, job)
        send_verb(run, "stop")
        out, err = job.communicate(timeout=PATIENCE)
        assert job.returncode == 0, err
    result = json.loads(out.splitlines()[-1])
    assert (result["state"], result["step"]) == ("stopped", step_of(run))
    assert ("processes", "trained by 2 processes; each works on its share of a batch") in events_of(run)

    with torchrun("resume", run, "--max-steps", result["step"] + 60) as job:
        _, err = job.communicate(timeout=PATIENCE)
        assert job.returncode == 0, err
    assert main(["resume", str(run), "--max-steps", str(result["step"] + 120)]) == 0
    capsys.readouterr()
    together = losses_of(run)
    assert len(together) == result["step"] + 120 >= 200
    assert together[:200] == pytest.approx(losses_alone(run)[:200], abs=TOLERANCE)
    assert together == pytest.approx(losses_alone(run), abs=1e-3), "the same windows"


def test_a_gpt_on_two_ranks_turned_and_paused_by_the_mailbox_then_kill_9_of_rank_1_ends_it_and_it_can_go_on(
    tmp_path, capsys
) -> None:
    run = tmp_path / "run"
    sizes = (
        "--n-layer",
        2,
        "--n-head",
        2,
        "--n-embd",
        16,
        "--block-size",
        16,
        "--dropout",
        0,
        "--batch-size",
        32,
        "--lr",
        0.001,
    )
    rule = ("--optimizer", "adamw", "--schedule", "constant", "--warmup-steps", 0)
    words = ("--model", "gpt", *sizes, *rule, "--max-steps", 1_000_000, "--device", "cpu", "--json")
    with torchrun("train", *words, "--out", run) as job:
        wait_until(lambda: accepted_commands(run) and step_of(run) >= 20, job)
        send_settings(run, lr=0.0005)
        wait_until(lambda: any(name == "lr" for name, _ in events_of(run)), job)
        send_verb(run, "pause")
        wait_until(lambda: reader.read_run(run).state == "paused", job)
        send_verb(run, "resume")
        wait_until(lambda: step_of(run) >= 200, job)
        worker_of(job, 1).kill()
        killed = time.monotonic()
        wait_until(lambda: reader.read_run(run).state == "failed", job)
        assert time.monotonic() - killed < 30
        _, err = job.communicate(timeout=PATIENCE)
        assert job.returncode == 1
    assert "one of the 2 processes that train this run has ended" in err
    name, text = events_of(run)[-1]
    assert name == "failed" and "one of the 2 processes" in text and "`resume` goes on" in text
    assert json.loads((run / "result.json").read_text())["state"] == "failed"
    failed_at = step_of(run)
    together = losses_of(run)
    assert len(together) == failed_at >= 200
    assert together[:200] == pytest.approx(losses_alone(run)[:200], abs=TOLERANCE)
    assert main(["resume", str(run), "--max-steps", str(failed_at + 10)]) == 0
    assert "done" in capsys.readouterr().err
    assert losses_of(run)[:failed_at] == pytest.approx(together, abs=1e-3), "the same windows, the same knobs"
    assert len(losses_of(run)) == failed_at + 10


@pytest.mark.thorough
def test_a_wrong_flag_is_said_once_and_nobody_waits(tmp_path) -> None:
    with torchrun("train", "--batch-size", 1, "--out", tmp_path / "run") as job:
        _, err = job.communicate(timeout=PATIENCE)
    told = [line for line in err.splitlines() if line.startswith("batch_size")]
    assert told == [
        "batch_size 1 is smaller than the 2 processes that share it; choose at least 2, or start fewer processes"
    ]
    assert not (tmp_path / "run").exists()


@pytest.mark.thorough
def test_a_rank_that_hangs_is_given_up_when_torchrun_is_told_to_end(tmp_path) -> None:
    run = tmp_path / "run"
    words = ("--preset", "bigram", "--batch-size", 32, "--max-steps", 1_000_000, "--device", "cpu")
    with torchrun("train", *words, "--out", run) as job:
        wait_until(lambda: step_of(run) >= 20, job)
        worker_of(job, 1).suspend()
        job.terminate()
        wait_until(lambda: reader.read_run(run).state == "failed", job)
    assert "another process of this run has not answered" in events_of(run)[-1][1]
    assert reader.read_run(run).step == len(losses_of(run)) >= 20


@pytest.mark.thorough
@pytest.mark.parametrize("faulty", ["0", "1"])
def test_an_error_in_the_step_of_one_process_ends_all(tmp_path, monkeypatch, faulty) -> None:
    run, program = tmp_path / "run", tmp_path / "program.py"
    program.write_text(FAULT)
    monkeypatch.setenv("FAULTY", faulty)
    words = ("--preset", "bigram", "--max-steps", 1_000_000, "--device", "cpu")
    with torchrun("train", *words, "--out", run, program=(program,)) as job:
        _, err = job.communicate(timeout=PATIENCE)
        assert job.returncode == 1
    assert "forcefully" not in err, "nobody had to be killed"
    assert "a fault in one process" in err
    assert reader.read_run(run).state == "failed"
    said = json.loads((run / "result.json").read_text())["message"]
    assert said.startswith("one of the 2 processes" if faulty == "1" else "ValueError: a fault")
