"""Makes a new run for `train`: reads its text, writes its folder, trains it to the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..config import DEFAULT_CORPUS, LiveSettings, RunConfig, changed
from ..console import Stages, complain, printable, say
from ..distributed.processes import Processes
from ..errors import InputError
from ..paths import cli_command, home
from ..runs.cost import LARGE, check_memory, estimate_cost
from ..runs.datasets import encoded_corpus
from ..runs.fine_tuning import fine_tuning_config, fine_tuning_corpus
from ..runs.run import Run, limit_to_epochs
from ..runs.run_folder import run_description
from ..runs.stored_text import remember_file, sha256_of
from ..storage.reader import StoredRun
from ..storage.writer import RunWriter
from ..text.corpus import Corpus
from ..text.library import Library, TextEntry
from ..text.points import Points
from ..training.checkpoint import FineTuneSource, Snapshot
from ..training.lecture import lecture_opening
from .follow import close_run, finish, follow, stop_on_interrupt
from .result import RunTotals, create_folder, free_folder
from .worker import begin_together, say_processes


@dataclass(frozen=True)
class TrainOptions:
    """What a person asked for: the settings, the text by name or path, and what to do with the result."""

    config: RunConfig
    settings: LiveSettings
    corpus: str | None  # None is the preset's own
    out: str | None  # the run's own folder; None is one in the data home
    evaluate: bool
    as_json: bool


def train_new(options: TrainOptions, processes: Processes | None) -> int:
    """Train a new run to its end, or to Ctrl-C; returns the exit status. InputError for bad input."""
    config, dataset, notice = read_dataset(Library(home()), options)
    return train_on(replace(options, config=config), dataset, processes, notice)


def fine_tune(
    stored: StoredRun,
    former: Corpus | Points,
    snapshot: Snapshot,
    options: TrainOptions,
    processes: Processes | None,
) -> int:
    """Train a new run on the text in `options`; its first weights are those of `snapshot`, of `stored` on `former`."""
    if not isinstance(former, Corpus):
        raise InputError(f"run {stored.id} learnt from points, not from text; choose another run")
    if options.corpus is None:
        raise InputError(f"--from {stored.id} needs another text to go on with; name one with --corpus")
    with Stages() as report:
        loaded = Library(home()).load(options.corpus, report)
        dataset = fine_tuning_corpus(loaded, options.config, former, report)
    remember(*loaded)
    if snapshot.step == 0:
        raise InputError(f"run {stored.id} has learnt nothing yet; resume it first, then fine-tune it")
    source = FineTuneSource(stored.id, snapshot.step, snapshot.weights)
    options = replace(options, config=fine_tuning_config(options.config, dataset))
    return train_on(options, dataset, processes, source=source)


def train_on(
    options: TrainOptions,
    dataset: Corpus | Points,
    processes: Processes | None,
    notice: str | None = None,
    source: FineTuneSource | None = None,
) -> int:
    """Train a new run on `dataset` to its end, from the weights of `source` if there is one."""
    folder, config = None if options.out is None else free_folder(Path(options.out)), options.config
    dataset.check(config)
    announce(config, limit_to_epochs(config, options.settings, dataset), dataset)
    if processes is not None:
        begin_together(processes, config, options.settings, dataset, origin=source)
    run = Run(config, options.settings, dataset, origin=source, processes=processes)
    try:
        if folder is None:
            folder = home() / "runs" / run.id
        else:
            run.id = folder.name  # as every verb calls it from now on
        with stop_on_interrupt(run) as interrupts:
            description = run_description(run)
            create_folder(folder, description)
            run.save_to(RunWriter(folder, description))
            say_processes(run)
            if notice:
                complain(notice)
            totals = RunTotals(say_opening(run))
            follow(run, totals, interrupts)
        return finish(run, totals, folder, bool(interrupts), options.evaluate, options.as_json)
    finally:
        close_run(run)


def announce(config: RunConfig, settings: LiveSettings, dataset: Corpus | Points) -> None:
    """Say what a large run will take; InputError if it needs more memory than is free."""
    parameters, _ = check_memory(config, settings, dataset)
    if parameters >= LARGE:
        complain(estimate_cost(config, settings, dataset).sentence(settings.max_steps))


def read_dataset(library: Library, options: TrainOptions) -> tuple[RunConfig, Corpus | Points, str | None]:
    """What the run learns from; InputError for what a run on points cannot do."""
    if options.config.reads_text:
        return read_corpus(library, options.config, options.corpus)
    if options.corpus is not None or options.evaluate:
        flag = "--corpus" if options.corpus is not None else "--evaluate"
        raise InputError(f"{flag} is for models of text, and {options.config.model} learns from points; leave it out")
    return options.config, Points.of(options.config), None


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
    with Stages() as report:
        try:
            text, entry = library.load(name, report)
        except OSError as error:  # a path that the system refuses to look at
            raise InputError(f"corpus {name[:80]!r} cannot be read ({error.strerror}); check the path") from None
        config = changed(config, corpus=entry.name)
        remember(text, entry)
        return config, encoded_corpus(text, entry, config, report=report), notice


def remember(text: str, entry: TextEntry) -> None:
    """Note where a file lies that a person named, so that `resume` finds it."""
    if entry.kind == "file" and entry.path is not None:
        try:
            remember_file(sha256_of(text), entry.path)
        except OSError as error:
            complain(f"{home()} cannot be written ({error.strerror}): to resume, put {entry.title} among its corpora")


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
