"""`resume`: go on with a run that was interrupted or stopped, from its newest snapshot."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from ..config import changed
from ..console import Stages, complain, say
from ..distributed.place import LOST
from ..distributed.processes import Processes, together
from ..errors import InputError
from ..formatting import format_change
from ..runs.datasets import stored_dataset
from ..runs.run import Run
from ..storage import reader, resume_point
from ..storage.lock import RunLocked
from ..storage.metrics.json_lines import open_regular_file
from ..storage.reader import StoredRun
from ..storage.resume_point import ResumePoint
from ..storage.writer import RunWriter
from ..stream.messages import Event, Turn
from ..text.corpus import Corpus
from ..text.points import Points
from ..training.device import pick_device
from .follow import close_run, finish, follow, stop_on_interrupt
from .result import RunTotals, json_line
from .worker import begin_together, say_processes

GOOD = ("done", "stopped")
LONGEST_RESULT = 1_000_000  # bytes


def resume(arguments: argparse.Namespace) -> int:
    """Go on with a run from its newest snapshot; one that is over says its result again."""
    with together() as processes:
        return _resume(arguments, processes)


def _resume(arguments: argparse.Namespace, processes: Processes | None) -> int:
    stored = reader.open_run(arguments.run)
    config, first_settings = reader.configuration(stored)
    max_steps = arguments.max_steps
    wanted = {"speed": "unlimited"} if max_steps is None else {"speed": "unlimited", "max_steps": max_steps}
    changed(first_settings, **wanted)
    if stored.state == "failed" and _lost_a_process(stored):
        stored = dataclasses.replace(stored, state="interrupted")
    if _is_over(stored, max_steps):
        return _report_again(stored, arguments.json)
    if stored.live:
        raise RunLocked(stored.folder)
    with Stages() as report:  # these first: a run that cannot go on forgets nothing
        dataset = stored_dataset(stored, report=report)
    dataset.check(config)
    pick_device(config.device)
    at = resume_point.newest_snapshot(stored, dataset)[0].step
    if max_steps is not None and max_steps < at:
        raise InputError(
            f"--max-steps {max_steps:,} is behind the run, which is at step {at:,}; choose at least {at:,}"
        )
    point = resume_point.load(stored, dataset)
    for reason in point.refused:
        complain(reason)
    return _train_on(stored, dataset, point, wanted, processes, arguments.json)


def _train_on(
    stored: StoredRun,
    dataset: Corpus | Points,
    point: ResumePoint,
    wanted: dict[str, Any],
    processes: Processes | None,
    as_json: bool,
) -> int:
    """Train the run on from `point`, with the settings that are `wanted`; returns the exit status."""
    config, first_settings = reader.configuration(stored)
    before = point.snapshot.settings
    settings = changed(before, **wanted)
    snapshot = dataclasses.replace(point.snapshot, settings=settings)
    pending = tuple((step, stages, changed(knobs, **wanted)) for step, stages, knobs in point.pending)
    point = dataclasses.replace(point, snapshot=snapshot, pending=pending)
    if processes is not None:
        begin_together(processes, config, settings, dataset, snapshot=snapshot)
    run = Run(config, first_settings, dataset, point, processes=processes)
    try:
        run.save_to(RunWriter(stored.folder, {}))
        say_processes(run)
        for step, stages, knobs in ((snapshot.step, 0, settings), *pending):
            run.queue.put(Turn(step, stages, knobs.model_dump()))
        if settings.max_steps != before.max_steps:
            text = format_change("max_steps", before.max_steps, settings.max_steps)
            run.queue.put(Event(point.snapshot.step, "max_steps", text))
        first = next(reader.scalars(stored), None)
        totals = RunTotals(None if first is None else first.loss)
        totals.add(reader.observations(stored))
        with stop_on_interrupt(run) as interrupts:
            follow(run, totals, interrupts)
        return finish(run, totals, stored.folder, bool(interrupts), evaluate=False, as_json=as_json)
    finally:
        close_run(run)


def _lost_a_process(stored: StoredRun) -> bool:
    """Did the run fail since one of its processes ended? Nothing of it is wrong, and it can go on."""
    ends = [event.name for event in reader.read_history(stored).events if event.name in (LOST, *reader.STATES)]
    return ends[-2:] == [LOST, "failed"]


def _is_over(stored: StoredRun, max_steps: int | None) -> bool:
    if stored.state in ("diverged", "failed"):
        return True
    return stored.state == "done" and (max_steps is None or max_steps <= stored.step)


def _report_again(stored: StoredRun, as_json: bool) -> int:
    """Say the result of a run that is over once more; returns its exit status."""
    result = _result_in(stored.folder) or _result_from_metrics(stored)
    result.pop("error", None)
    say(json_line(result) if as_json else f"{stored.id}: {stored.status}, last loss {result['train_loss']}")
    return int(stored.state not in GOOD)


def _result_in(folder: Path) -> dict[str, Any] | None:
    """What result.json says of a run; None where it is missing, damaged or too long."""
    try:
        with open_regular_file(folder / "result.json") as file:
            result = json.loads(file.read(LONGEST_RESULT + 1))
    except (OSError, ValueError, RecursionError):
        return None
    return result if isinstance(result, dict) and "train_loss" in result else None


def _result_from_metrics(stored: StoredRun) -> dict[str, Any]:
    """The result of a run that the dashboard made, which leaves no result.json: read off its metrics."""
    totals = RunTotals()
    totals.add(reader.scalars(stored))
    snapshot, _ = resume_point.newest_snapshot(stored)
    totals.add(reader.observations(stored))
    return {
        "run": stored.id,
        "state": stored.state,
        "step": stored.step - (stored.state == "diverged"),  # the update of its last loss was not kept
        "initial_loss": totals.initial_loss,
        "train_loss": totals.loss,
        "val_loss": totals.val_loss,
        "tokens_seen": snapshot.tokens_seen if stored.config is not None and stored.config.reads_text else None,
        "parameters": sum(weight.numel() for weight in snapshot.weights.values()),
        "steps_per_second": totals.steps_per_second,
    }
