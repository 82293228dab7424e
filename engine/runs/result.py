"""What a run came to: the final object, its words, and the two files in the run's folder.

config.json is written at the start, result.json at the end. Knows nothing of how a run is followed or stopped.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..console import complain, printable, say
from ..errors import InputError
from ..models import build_language_model
from ..storage import manifest
from ..storage.manifest import FORMAT
from ..stream.messages import Observation, Record, Scalars
from ..stream.status import State
from ..text.corpus import Corpus
from ..text.points import Points
from ..training.evaluation import split_loss
from .run import Run

SPLITS = ("train", "val", "test")
WARM = 100  # steps before the pace counts
SHORTEST_WALL = 0.2  # seconds: below, looks a few milliseconds apart tell too little


@dataclass
class RunTotals:
    """What a run's queue has told so far, and how fast it went. Losses are in nats per token."""

    initial_loss: float | None = None
    loss: float | None = None
    val_loss: float | None = None
    former_val_loss: float | None = None
    best_val_loss: float | None = None
    best_val_step: int | None = None
    test_loss: float | None = None
    steps: int = 0
    seconds: float = 0.0  # these steps' own times: of all, and from step 101 on of the later ones alone
    warm: tuple[float, int] | None = None  # when, and at what step, the pace began to count
    last: tuple[float, int] = (0.0, 0)

    def hear(self, records: Iterable[Record]) -> None:
        """Take in what came out of the run's queue."""
        for record in records:
            if isinstance(record, Scalars):
                if self.initial_loss is None:
                    self.initial_loss = record.loss
                if record.step == WARM + 1:
                    self.steps, self.seconds = 0, 0.0
                self.loss = record.loss
                self.steps += 1
                self.seconds += record.seconds
            elif isinstance(record, Observation):
                self._hear_losses(record.step, record.scalars)

    def _hear_losses(self, step: int, scalars: Mapping[str, float]) -> None:
        self.test_loss = scalars.get("test/loss", self.test_loss)
        self.former_val_loss = scalars.get("val/former_loss", self.former_val_loss)
        if "val/loss" in scalars:
            self.val_loss = scalars["val/loss"]
            if self.best_val_loss is None or self.val_loss < self.best_val_loss:
                self.best_val_loss, self.best_val_step = self.val_loss, step

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
        if self.warm is not None and (wall := self.last[0] - self.warm[0]) > SHORTEST_WALL:
            return (self.last[1] - self.warm[1]) / wall
        return self.steps / self.seconds if self.seconds else None


def result_of(run: Run, course: RunTotals) -> dict[str, Any]:
    """The final object: what the run came to, in plain numbers."""
    return {
        "run": run.id,
        "state": run.state.value,
        "message": run.message,
        "warning": run.warning,
        "step": run.step,
        "initial_loss": course.initial_loss,
        "train_loss": course.loss,
        "val_loss": course.val_loss,
        "former_val_loss": course.former_val_loss,
        "best_val_loss": course.best_val_loss,
        "best_val_step": course.best_val_step,
        "test_loss": course.test_loss,
        "tokens_seen": run.status().tokens_seen,
        "parameters": run.parameters,
        "steps_per_second": course.steps_per_second,
    }


def exact_losses(run: Run, interrupted: bool) -> tuple[dict[str, float | None], bool]:
    """The exact loss on each split there is, and whether Ctrl-C cut it short; None for what was not measured."""
    losses: dict[str, float | None] = dict.fromkeys((f"{split}_split_loss" for split in SPLITS), None)
    if interrupted or run.state is State.FAILED:
        return losses, interrupted
    with suppress(KeyboardInterrupt):
        model = build_language_model(run.config, run.corpus.vocab_size)
        model.load_state_dict(run.copy_weights()[1])
        model.to(run.device)
        for split, data in run.corpus.splits.items():
            losses[f"{split}_split_loss"] = split_loss(model, data, run.config.block_size)
        return losses, False
    return losses, True


def conclude(run: Run, result: dict[str, Any], folder: Path, as_json: bool) -> int:
    """Leave the result in `folder` and say it; returns 1 where it could not be left there, else 0."""
    status = 0
    try:
        write(folder / "result.json", result | {"error": run.error})
    except InputError as error:
        complain(str(error))
        status = 1
    if run.state is State.FAILED:
        complain(f"failed: {run.message} (the traceback is in {folder / 'result.json'})")
    say(json.dumps(finite(result)) if as_json else summary(run, result, folder))
    return status


def summary(run: Run, result: dict[str, Any], folder: Path) -> str:
    """The result for people."""

    def shown(**losses: str) -> str:
        measured = {words: result[key] for key, words in losses.items() if result.get(key) is not None}
        return ", ".join(f"{value:.4f} {words}" for words, value in measured.items())

    lines = [f"{run.title}: {run.message}"]
    if losses := shown(
        initial_loss="at the start",
        train_loss="in the last batch",
        val_loss="on validation batches",
        former_val_loss="on those of the text before",
    ):
        lines.append(f"  loss   {losses}")
    if run.config.epochs is not None and result["best_val_step"] is not None:
        step = result["best_val_step"]
        lines.append(f"  best   {result['best_val_loss']:.4f} on validation batches, at step {step:,}")
    if result["test_loss"] is not None:
        lines.append(f"  test   {result['test_loss']:.4f}, measured once at the end")
    if exact := shown(train_split_loss="training", val_split_loss="validation", test_split_loss="test"):
        lines.append(f"  exact  {exact}")
    pace = result["steps_per_second"]
    lines.append(
        f"  size   {run.parameters:,} parameters, {result['tokens_seen']:,} tokens seen"
        + (f", {pace:,.0f} steps/s on {run.device.type}" if pace else "")
    )
    lines.append(f"  files  {folder}")
    return "\n".join(printable(line) for line in lines)


def free_folder(folder: Path) -> Path:
    """`folder`, made absolute; InputError unless it is new or empty."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "is not empty" if folder.is_dir() else "is a file"
            raise InputError(f"--out {folder} {what}; choose a new or an empty folder")
    except OSError as error:
        raise InputError(f"--out {folder} cannot be used ({error.strerror}); choose another folder") from None
    return folder.absolute()


def start_of(run: Run) -> dict[str, Any]:
    """What the run is made of and where: its settings, and the versions and the machine behind its numbers."""
    return {
        "run": run.id,
        "format": FORMAT,
        "config": run.config.model_dump(),
        "settings": run.first_settings.model_dump(),
        "parent": None if run.parent is None else {"run": run.parent[0], "step": run.parent[1]},
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": version("numpy"),
            "platform": platform.platform(),
            "device": torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else run.device.type,
            "threads": torch.get_num_threads(),
            "corpus": _text(run.dataset),
        },
    }


def _text(dataset: Corpus | Points | None) -> dict[str, Any] | None:
    """What a text is recognized by, and the one learnt before it; None for points."""
    if not isinstance(dataset, Corpus):
        return None
    return {
        "name": dataset.name,
        "path": dataset.path,
        "characters": dataset.characters,
        "sha256": dataset.sha256,
        "former": _text(dataset.former),
    }


def begin(folder: Path, start: dict[str, Any]) -> None:
    """`start` as the config.json of `folder`, which is made; InputError where that cannot be done."""
    with _possible(folder / manifest.FILE):
        manifest.write(folder, start)


def write(path: Path, record: dict[str, Any]) -> None:
    """`record` as JSON at `path`, its folders made; InputError where that cannot be done."""
    with _possible(path):
        path.write_text(json.dumps(finite(record), indent=2) + "\n", encoding="utf-8")


@contextmanager
def _possible(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({(error.strerror or str(error)).lower()}); choose a folder with --out, "
            "or another home with LOOPSCOPE_HOME"
        ) from None


def finite(record: dict[str, Any]) -> dict[str, Any]:
    """`record` with null for a number that JSON cannot hold."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
