"""A run without a screen: `python -m engine train`. Starts it, follows it from its queue, and says how it went.

The run trains on its own thread, as on stage; this side only looks a few times a second, stops it at Ctrl-C, and
leaves config.json and result.json in the run's folder. Knows no models and no pages.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from engine.config import DEFAULT_CORPUS, InputError, LiveSettings, RunConfig, changed, home, preset
from engine.console import Progress, complain, printable, say
from engine.corpus import Corpus
from engine.evaluation import split_loss
from engine.library import Entry, Library
from engine.models import build
from engine.runner import ENDED, Run, State
from engine.stream import Observation, Scalars, taken
from engine.trainer import Opening, open_like_the_lecture

PRESET_OF_MODEL = {"bigram": "bigram", "gpt": "gpt-small"}
STRUCTURE = ("model", "block_size", "optimizer", "seed", "device")  # flags that set a field of RunConfig,
KNOBS = ("max_steps", "lr", "weight_decay", "batch_size")  # and of LiveSettings
WARM = 100
LOOK_SECONDS = 0.1
FIRST_LOOK = 0.01
SHORTEST_LOOK = 0.002
SPLITS = ("train", "val", "test")
INTERRUPTED = 130


def train(arguments: argparse.Namespace) -> int:
    """Make the run that `arguments` describe, to its end; returns the exit status. InputError for bad input."""
    config, settings = experiment(arguments)
    folder = None if arguments.out is None else free_folder(Path(arguments.out))
    config, corpus, entry, notice = read_corpus(Library(home()), config, arguments.corpus)
    run = Run(config, settings, corpus)
    try:
        folder = folder or home() / "runs" / run.id
        write(folder / "config.json", start_of(run, entry))
        if notice:
            complain(notice)
        opening = say_opening(run)
        course, interrupted = follow(run)
        result = result_of(run, course, opening)
        if arguments.evaluate:
            losses, late = exact_losses(run, interrupted)
            result, interrupted = result | losses, interrupted or late
        return close(run, result, folder, INTERRUPTED if interrupted else None, arguments.json)
    finally:
        run.close()


def experiment(arguments: argparse.Namespace) -> tuple[RunConfig, LiveSettings]:
    """The preset's settings with the flags over them, at unlimited speed; a model alone names its own preset."""
    name = arguments.preset
    start = preset(PRESET_OF_MODEL.get(arguments.model, "bigram") if name is None else name)
    flags = {name: value for name, value in vars(arguments).items() if value is not None}
    structure = {name: flags[name] for name in STRUCTURE if name in flags}
    knobs = {name: flags[name] for name in KNOBS if name in flags}
    return changed(start.config, **structure), changed(start.settings, **knobs, speed="unlimited")


def read_corpus(library: Library, config: RunConfig, asked: str | None) -> tuple[RunConfig, Corpus, Entry, str | None]:
    """The text that was asked for, a name or a path; else the preset's, or the default text with a notice."""
    name, notice = asked or config.corpus, None
    if asked is not None and not asked.strip():
        raise InputError("--corpus is empty; give the name of a text, or the path of one")
    if asked is None and library.entry(name).kind == "fetchable":
        notice = (
            f"{name} is not on this machine, so this run learns from {DEFAULT_CORPUS}; "
            f"`python -m engine fetch {name}` gets it"
        )
        name = DEFAULT_CORPUS
    try:
        text, entry = library.load(name)
    except OSError as error:  # a path that the system refuses to look at
        raise InputError(f"corpus {name[:80]!r} cannot be read ({error.strerror}); check the path") from None
    config = changed(config, corpus=entry.name)
    corpus = Corpus.of(
        text,
        name=entry.name,
        title=entry.title,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        source=entry.source,
        licence=entry.licence,
    )
    return config, corpus, entry, notice


def say_opening(run: Run) -> Opening | None:
    """Print how the lecture begins, for the presets that follow it: the batch, its loss, the untrained sample."""
    config = run.config
    if config.draws == "separate":
        return None
    opening = open_like_the_lecture(config, run.corpus, torch.Generator().manual_seed(config.seed))
    say(f"xb = {opening.inputs}")
    say(f"loss = {opening.loss:.6f}")
    say(f"{config.sample_tokens} characters before training:")
    say(printable(opening.sample.text, kept="\n\t"))
    return opening


# ---------------------------------------------------------------- following the run


@dataclass
class Course:
    """What a run's queue has told so far, and how fast it went."""

    first_loss: float | None = None
    loss: float | None = None
    val_loss: float | None = None
    steps: int = 0
    seconds: float = 0.0  # these steps' own times: of all, and from step 101 on of the later ones alone
    warm: tuple[float, int] | None = None  # when, and at what step, the pace began to count
    last: tuple[float, int] = (0.0, 0)

    def hear(self, run: Run) -> None:
        """Take what is in the queue of `run`."""
        for record in taken(run.queue):
            if isinstance(record, Scalars):
                if self.first_loss is None:
                    self.first_loss = record.loss
                if record.step == WARM + 1:
                    self.steps, self.seconds = 0, 0.0
                self.loss = record.loss
                self.steps += 1
                self.seconds += record.seconds
            elif isinstance(record, Observation):
                self.val_loss = record.scalars.get("val/loss", self.val_loss)

    def look(self, now: float, step: int) -> None:
        """Note that `step` is made `now`."""
        self.last = (now, step)
        if self.warm is None and step >= WARM:
            self.warm = self.last

    @property
    def note(self) -> str:
        """What the progress bar says beside the step."""
        return "" if self.loss is None else f"loss {self.loss:.4f}"

    @property
    def steps_per_second(self) -> float | None:
        """Steps by wall time from the 100th to the last; of a short run, by the steps' own times."""
        if self.warm is not None and (wall := self.last[0] - self.warm[0]) > 100 * SHORTEST_LOOK:
            return (self.last[1] - self.warm[1]) / wall
        return self.steps / self.seconds if self.seconds else None


def follow(run: Run) -> tuple[Course, bool]:
    """Start `run` and look on until it has ended; was it Ctrl-C that ended it?

    The looks are rare, so that the training thread has the interpreter to itself, but they close in on the 100th
    and the last step, so that the time between the two is right within milliseconds.
    """
    course, warned = Course(), None
    progress = Progress(run.title, run.settings.max_steps, "steps")
    with stopping(run) as stopped:
        run.start()
        seen, wait = (time.perf_counter(), 0), FIRST_LOOK
        while run.state not in ENDED:
            time.sleep(wait)
            now = (time.perf_counter(), run.step)
            course.look(*now)
            course.hear(run)
            progress.show(run.step, course.note)
            wait = pause(seen, now, WARM if course.warm is None else run.settings.max_steps)
            seen = now
            if run.warning and run.warning != warned:
                warned = run.warning
                progress.line(f"warning: {warned}")
    if run.state is not State.FAILED:
        run.copy_weights()  # answered only after a GPU's last numbers have crossed
    course.hear(run)
    progress.show(run.step, course.note)
    progress.close(run.message)
    return course, bool(stopped)


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


# ---------------------------------------------------------------- saying how it went


def result_of(run: Run, course: Course, opening: Opening | None) -> dict[str, Any]:
    """The final object: what the run came to, in plain numbers."""
    return {
        "run": run.id,
        "state": run.state.value,
        "message": run.message,
        "warning": run.warning,
        "step": run.step,
        "initial_loss": opening.loss if opening else course.first_loss,
        "train_loss": course.loss,
        "val_loss": course.val_loss,
        "tokens_seen": run.header()["tokens_seen"],
        "parameters": run.parameters,
        "steps_per_second": course.steps_per_second,
    }


def exact_losses(run: Run, interrupted: bool) -> tuple[dict[str, float | None], bool]:
    """The exact loss on each split there is, and whether Ctrl-C cut it short; None for what was not measured."""
    losses: dict[str, float | None] = dict.fromkeys((f"{split}_split_loss" for split in SPLITS), None)
    if interrupted or run.state is State.FAILED:
        return losses, interrupted
    with suppress(KeyboardInterrupt):
        model = build(run.config, run.corpus.tokenizer.vocab_size)
        model.load_state_dict(run.copy_weights()[1])
        model.to(run.device)
        for split, data in run.corpus.splits.items():
            losses[f"{split}_split_loss"] = split_loss(model, data, run.config.block_size)
        return losses, False
    return losses, True


def close(run: Run, result: dict[str, Any], folder: Path, status: int | None, as_json: bool) -> int:
    """Leave the result in `folder`, say it, and return the exit status; `status` overrides the run's own."""
    if status is None:
        status = 0 if run.state in (State.DONE, State.STOPPED) else 1
    try:
        write(folder / "result.json", result | {"error": run.error})
    except InputError as error:
        complain(str(error))
        status = status or 1
    if run.state is State.FAILED:
        complain(f"failed: {run.message} (the traceback is in {folder / 'result.json'})")
    elif run.state is State.DIVERGED:
        complain(run.message)
    if as_json:
        say(json.dumps(finite(result)))
    else:
        say(summary(run, result, folder))
    return status


def summary(run: Run, result: dict[str, Any], folder: Path) -> str:
    """The result for people."""

    def shown(**losses: str) -> str:
        measured = {words: result[key] for key, words in losses.items() if result.get(key) is not None}
        return ", ".join(f"{value:.4f} {words}" for words, value in measured.items())

    lines = [f"{run.title}: {run.message}"]
    if losses := shown(initial_loss="at the start", train_loss="in the last batch", val_loss="on validation batches"):
        lines.append(f"  loss   {losses}")
    if exact := shown(train_split_loss="training", val_split_loss="validation", test_split_loss="test"):
        lines.append(f"  exact  {exact}")
    pace = result["steps_per_second"]
    lines.append(
        f"  size   {run.parameters:,} parameters, {result['tokens_seen']:,} tokens seen"
        + (f", {pace:,.0f} steps/s on {run.device.type}" if pace else "")
    )
    lines.append(f"  files  {folder}")
    return "\n".join(printable(line) for line in lines)


# ---------------------------------------------------------------- the run's folder


def free_folder(folder: Path) -> Path:
    """`folder`, made absolute; InputError unless it is new or empty."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "is not empty" if folder.is_dir() else "is a file"
            raise InputError(f"--out {folder} {what}; choose a new or an empty folder")
    except OSError as error:
        raise InputError(f"--out {folder} cannot be used ({error.strerror}); choose another folder") from None
    return folder.absolute()


def start_of(run: Run, entry: Entry) -> dict[str, Any]:
    """What the run is made of and where: its settings, and the versions and the machine behind its numbers."""
    return {
        "run": run.id,
        "config": run.config.model_dump(),
        "settings": run.settings.model_dump(),
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": version("numpy"),
            "platform": platform.platform(),
            "device": torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else run.device.type,
            "threads": torch.get_num_threads(),
            "corpus": {
                "name": run.corpus.name,
                "path": None if entry.path is None else str(entry.path),
                "characters": run.corpus.characters,
                "sha256": run.corpus.sha256,
            },
        },
    }


def write(path: Path, record: dict[str, Any]) -> None:
    """`record` as JSON at `path`, its folders made; InputError where that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(finite(record), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({(error.strerror or str(error)).lower()}); choose a folder with --out, "
            "or another home with LOOPSCOPE_HOME"
        ) from None


def finite(record: dict[str, Any]) -> dict[str, Any]:
    """`record` with null for a number that JSON cannot hold."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
