"""Follows a run from the terminal: polls its queue, shows progress, stops it at Ctrl-C and reports its result.

The run trains on its own thread, as in the dashboard; this side only polls it a few times a second.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from ..config import changed
from ..console import Progress, complain, printable, say
from ..distributed.place import ProcessLost
from ..errors import InputError
from ..runs.run import Run
from ..storage.command_inbox import CommandInbox
from ..stream.messages import Event, Observation, Record, Sample, drain_queue
from ..stream.status import ENDED, State
from .result import WARM, RunTotals, exact_losses, report, result_of

POLL_SECONDS = 0.1
FIRST_POLL = 0.01
SHORTEST_POLL = 0.002
INTERRUPTED = 130
OTHERS_SECONDS = 12.0
"""How long a run of several processes may take to stop; torchrun kills it 30 s after it has asked."""


def follow(run: Run, totals: RunTotals, interrupts: Sequence[int] = ()) -> None:
    """Start `run` and poll it until it has ended, adding up its totals; `interrupts` is not empty after a Ctrl-C.

    Polls are rare, so that the training thread has the interpreter to itself, but they come closer together towards
    the 100th and the last step, so that the time between the two is right within milliseconds.
    """
    warned: set[str] = set()
    progress = Progress(run.config.model, run.settings.max_steps, "steps")
    run.start()
    if interrupts:  # it came before the start, and a run that has not started ignores a stop
        run.stop()
    if run.config.epochs is not None:
        progress.line("Step 000000 is the untrained model; from then on a step is counted after its update.", say)

    inbox = None if run.store is None else CommandInbox(run.store.folder)

    def drain() -> None:
        records = drain_queue(run.queue)
        totals.add(records)
        if run.store is not None:
            run.store.put(records)
        if run.config.epochs is not None:
            for line in epoch_log(records):
                progress.line(line, say)

    before, wait, asked_at = (time.perf_counter(), run.step), FIRST_POLL, None
    while run.state not in ENDED:
        time.sleep(wait)
        now = (time.perf_counter(), run.step)
        if interrupts and run.processes is not None:
            asked_at = asked_at or now[0]
            if now[0] - asked_at > OTHERS_SECONDS:
                leave_stuck_run(run)
        totals.reached(*now)
        drain()
        if inbox is not None:
            apply_commands(run, inbox)
        progress.show(run.step, totals.progress_note)
        wait = seconds_to_next_poll(before, now, WARM if totals.warm is None else run.settings.max_steps)
        before = now
        for warning in (run.warning, run.store.problem if run.store else None):
            if warning and warning not in warned:
                warned.add(warning)
                progress.line(f"warning: {warning}")
    if inbox is not None:
        inbox.close()
    if run.state is not State.FAILED:
        run.copy_weights()  # answered only after a GPU's last numbers have crossed
    drain()
    progress.show(run.step, totals.progress_note)
    progress.close("" if run.state is State.FAILED else run.message)


def leave_stuck_run(run: Run) -> NoReturn:
    """End a run whose thread waits for another process that does not answer: write its end, then the process ends.

    torchrun, which has asked to end, kills this process a moment later.
    """
    try:
        raise ProcessLost(
            f"another process of this run has not answered for {OTHERS_SECONDS:.0f} s after it was to end; `resume` "
            "goes on from the newest snapshot, with as many processes as you like"
        )
    except ProcessLost as error:
        run.loop.fail(error)
        complain(f"failed: {error}")
    if run.store is not None:
        run.store.put(drain_queue(run.queue))
        run.store.close(OTHERS_SECONDS / 2)
    os._exit(1)


def apply_commands(run: Run, inbox: CommandInbox) -> None:
    """Do what another process asks for: settings change between two steps; a bad command becomes an event."""
    verbs = {"pause": run.pause, "resume": run.start, "stop": run.stop}
    for command in inbox.receive():
        if isinstance(command, InputError):
            run.queue.put(Event(run.step, "mailbox", str(command)))
        elif command.verb is not None:
            verbs[command.verb]()
        else:
            run.tune(changed(run.settings, **command.settings))


def epoch_log(records: Iterable[Record]) -> Iterator[str]:
    """The lines of a run by epochs: the losses at each evaluation, a sample after each epoch, the test at the end."""
    for record in records:
        if isinstance(record, Sample) and record.step:
            yield printable(record.text.replace("\n", " "))
        if not isinstance(record, Observation):
            continue
        losses = record.scalars
        if "eval/train_loss" in losses:
            val = f", Val loss {losses['val/loss']:.3f}" if "val/loss" in losses else ""
            start = f"Ep {losses['epoch']:.0f} (Step {record.step:06d})"
            yield f"{start}: Train loss {losses['eval/train_loss']:.3f}{val}"
        if "test/loss" in losses:
            yield f"Test loss {losses['test/loss']:.3f}, on the part of the text that nothing else has touched"


def seconds_to_next_poll(before: tuple[float, int], now: tuple[float, int], goal: int) -> float:
    """Seconds to wait: half the time that `goal` is away at the latest pace, within the limits.

    before, now: (time in seconds, step) at the last two polls. goal: the step that must not be missed.
    """
    (earlier, steps_then), (later, steps_now) = before, now
    if steps_now <= steps_then:
        return FIRST_POLL
    left = (goal - steps_now) * (later - earlier) / (steps_now - steps_then)
    return min(POLL_SECONDS, max(SHORTEST_POLL, left / 2))


@contextmanager
def stop_on_interrupt(run: Run) -> Iterator[list[int]]:
    """Within it, Ctrl-C, SIGTERM and SIGHUP stop `run` between two steps and are noted in the list.

    A second one ends the process. After it torchrun's SIGTERM, which comes when a process is lost, is passed by: what
    is left to do of a run that has failed so is to write its end.
    """
    interrupts: list[int] = []

    def stop(number: int, _: object) -> None:
        if interrupts:
            os._exit(INTERRUPTED)  # without waiting for the training thread
        interrupts.append(number)
        run.stop()

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # nohup
            signal.signal(number, stop)
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if run.processes is not None and run.state is State.FAILED:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)


def finish(run: Run, totals: RunTotals, folder: Path, interrupted: bool, evaluate: bool, as_json: bool) -> int:
    """Write and say the run's result; returns the exit status."""
    if run.processes is not None and run.state is State.FAILED:
        run.processes.broken = True
    result = result_of(run, totals)
    if evaluate:
        losses, late = exact_losses(run, interrupted)
        result, interrupted = result | losses, interrupted or late
    close_run(run)  # only then it is known whether all of it is on the disk
    unsaved = run.store.problem if run.store else None
    if unsaved is not None:
        result["unsaved"] = unsaved
        complain(unsaved)
    status = int(run.state not in (State.DONE, State.STOPPED) or unsaved is not None)
    status = report(run, result, folder, as_json) or status
    return INTERRUPTED if interrupted and run.state is not State.FAILED else status


def close_run(run: Run) -> None:
    """End a run; a slow disk is waited for as long as it takes, unless it refuses."""
    run.close()
    while run.store is not None and not run.store.close(1.0) and run.store.problem is None:
        pass
