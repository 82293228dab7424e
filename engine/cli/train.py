"""A run without a screen: `python -m engine train`. Starts it, follows it from its queue, and says how it went.

The run trains on its own thread, as on stage; this side only looks a few times a second, stops it at Ctrl-C, and
leaves config.json and result.json in the run's folder. Knows no models and no pages.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..config import DEFAULT_CORPUS, LiveSettings, RunConfig, changed
from ..console import Progress, complain, printable, say
from ..errors import InputError
from ..paths import cli_command, home
from ..runs.cost import LARGE, check_memory, estimate_cost
from ..runs.datasets import encoded_corpus
from ..runs.run import Run, limit_to_epochs
from ..runs.run_folder import run_description
from ..storage.command_inbox import CommandInbox
from ..storage.writer import RunWriter
from ..stream.messages import Event, Observation, Record, Sample, drain_queue
from ..stream.status import ENDED, State
from ..text.corpus import Corpus
from ..text.library import Library
from ..text.points import Points
from ..training.checkpoint import FineTuneSource
from ..training.lecture import lecture_opening
from .result import create_folder, exact_losses, free_folder, report, result_of
from .run_totals import WARM, RunTotals

LOOK_SECONDS = 0.1
FIRST_LOOK = 0.01
SHORTEST_LOOK = 0.002
INTERRUPTED = 130


@dataclass(frozen=True)
class TrainOptions:
    """What a person asked for: the settings, the text by name or path, and what to do with the outcome."""

    config: RunConfig
    settings: LiveSettings
    corpus: str | None  # None is the preset's own
    out: str | None  # the run's own folder; None is one in the data home
    evaluate: bool
    as_json: bool


def train(order: TrainOptions) -> int:
    """Make the run to its end, or to Ctrl-C; returns the exit status. InputError for bad input."""
    config, dataset, notice = read_dataset(Library(home()), order)
    return train_on(replace(order, config=config), dataset, notice)


def train_on(
    order: TrainOptions, dataset: Corpus | Points, notice: str | None = None, origin: FineTuneSource | None = None
) -> int:
    """Make the run on `dataset` to its end, from the weights of `origin` where there is one."""
    folder, config = None if order.out is None else free_folder(Path(order.out)), order.config
    dataset.check(config)
    announce(config, limit_to_epochs(config, order.settings, dataset), dataset)
    run = Run(config, order.settings, dataset, origin=origin)
    try:
        if folder is None:
            folder = home() / "runs" / run.id
        else:
            run.id = folder.name  # as every verb calls it from now on
        with stopping(run) as stopped:
            description = run_description(run)
            create_folder(folder, description)
            run.save_to(RunWriter(folder, description))
            if notice:
                complain(notice)
            totals = RunTotals(say_opening(run))
            follow(run, totals, stopped)
        return finish(run, totals, folder, bool(stopped), order.evaluate, order.as_json)
    finally:
        close(run)


def close(run: Run) -> None:
    """End a run; a slow disk is waited for as long as it takes, unless it refuses."""
    run.close()
    while run.store is not None and not run.store.close(1.0) and run.store.problem is None:
        pass


def finish(run: Run, totals: RunTotals, folder: Path, interrupted: bool, evaluate: bool, as_json: bool) -> int:
    """Leave and say what the run came to; returns the exit status."""
    result = result_of(run, totals)
    if evaluate:
        losses, late = exact_losses(run, interrupted)
        result, interrupted = result | losses, interrupted or late
    status = INTERRUPTED if interrupted else int(run.state not in (State.DONE, State.STOPPED))
    return report(run, result, folder, as_json) or status


def announce(config: RunConfig, settings: LiveSettings, dataset: Corpus | Points) -> None:
    """Say what a run that is not small will take; InputError where its memory is more than what is free."""
    parameters, _ = check_memory(config, settings, dataset)
    if parameters >= LARGE:
        complain(estimate_cost(config, settings, dataset).sentence(settings.max_steps))


def read_dataset(library: Library, order: TrainOptions) -> tuple[RunConfig, Corpus | Points, str | None]:
    """What the run learns from; InputError for what a run on points cannot do."""
    if order.config.reads_text:
        return read_corpus(library, order.config, order.corpus)
    if order.corpus is not None or order.evaluate:
        flag = "--corpus" if order.corpus is not None else "--evaluate"
        raise InputError(f"{flag} is for models of text, and {order.config.model} learns from points; leave it out")
    return order.config, Points.of(order.config), None


def read_corpus(library: Library, config: RunConfig, asked: str | None) -> tuple[RunConfig, Corpus, str | None]:
    """The text that was asked for, a name or a path; else the preset's, or the default text with a notice."""
    name, notice = asked or config.corpus, None
    if asked is not None and not asked.strip():
        raise InputError("--corpus is empty; give the name of a text, or the path of one")
    if asked is None and library.entry(name).kind == "fetchable":
        notice = (
            f"{name} is not on this machine, so this run learns from {DEFAULT_CORPUS}; "
            f"`{cli_command(f'fetch {name}')}` gets it"
        )
        name = DEFAULT_CORPUS
    try:
        text, entry = library.load(name)
    except OSError as error:  # a path that the system refuses to look at
        raise InputError(f"corpus {name[:80]!r} cannot be read ({error.strerror}); check the path") from None
    config = changed(config, corpus=entry.name)
    return config, encoded_corpus(text, entry, config), notice


def say_opening(run: Run) -> float | None:
    """Print how the lecture begins, for the presets that follow it: the batch, its loss, the untrained sample.

    Returns that loss; None for the others.
    """
    config = run.config
    if config.draws == "separate":
        return None
    opening = lecture_opening(config, run.corpus, torch.Generator().manual_seed(config.seed))
    say(f"xb = {opening.inputs}")
    say(f"loss = {opening.loss:.6f}")
    say(f"{config.sample_tokens} characters before training:")
    say(printable(opening.sample.text, kept="\n\t"))
    return opening.loss


# ---------------------------------------------------------------- following the run


def follow(run: Run, totals: RunTotals, stopped: Sequence[int] = ()) -> None:
    """Start `run` and look on until it has ended, adding up its totals; `stopped` is not empty after a Ctrl-C.

    The looks are rare, so that the training thread has the interpreter to itself, but they close in on the 100th
    and the last step, so that the time between the two is right within milliseconds.
    """
    warned: set[str] = set()
    progress = Progress(run.config.model, run.settings.max_steps, "steps")
    run.start()
    if stopped:  # a stop before the start was no news to the run
        run.stop()
    if run.config.epochs is not None:
        progress.line("Step 000000 is the untrained model; from then on a step is counted after its update.", say)

    mailbox = None if run.store is None else CommandInbox(run.store.folder)

    def hear() -> None:
        records = drain_queue(run.queue)
        totals.add(records)
        if run.store is not None:
            run.store.put(records)
        if run.config.epochs is not None:
            for line in epoch_log(records):
                progress.line(line, say)

    seen, wait = (time.perf_counter(), run.step), FIRST_LOOK
    while run.state not in ENDED:
        time.sleep(wait)
        now = (time.perf_counter(), run.step)
        totals.reached(*now)
        hear()
        if mailbox is not None:
            obey(run, mailbox)
        progress.show(run.step, totals.progress_note)
        wait = pause(seen, now, WARM if totals.warm is None else run.settings.max_steps)
        seen = now
        for told in (run.warning, run.store.problem if run.store else None):
            if told and told not in warned:
                warned.add(told)
                progress.line(f"warning: {told}")
    if mailbox is not None:
        mailbox.close()
    if run.state is not State.FAILED:
        run.copy_weights()  # answered only after a GPU's last numbers have crossed
    hear()
    progress.show(run.step, totals.progress_note)
    progress.close("" if run.state is State.FAILED else run.message)


def obey(run: Run, mailbox: CommandInbox) -> None:
    """Do what another process asks for: knobs turn between two steps, and what is no command becomes an event."""
    verbs = {"pause": run.pause, "resume": run.start, "stop": run.stop}
    for command in mailbox.receive():
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


def pause(before: tuple[float, int], now: tuple[float, int], goal: int) -> float:
    """Seconds until the next look: half of what `goal` is away at the pace of late, within the limits."""
    (then, made), (at, step) = before, now
    if step <= made:
        return FIRST_LOOK
    left = (goal - step) * (at - then) / (step - made)
    return min(LOOK_SECONDS, max(SHORTEST_LOOK, left / 2))


@contextmanager
def stopping(run: Run) -> Iterator[list[int]]:
    """Within it, Ctrl-C stops `run` between two steps and is noted in the list; a second one ends the process."""
    noted: list[int] = []

    def stop(number: int, _: object) -> None:
        if noted:
            os._exit(INTERRUPTED)  # without waiting for the training thread
        noted.append(number)
        run.stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
