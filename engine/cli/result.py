"""What a run came to: added up while it trains, as one object, as sentences, and as result.json in its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic import write_atomic
from ..console import Stages, complain, printable, say
from ..errors import InputError
from ..models.registry import build_language_model
from ..runs.run import Run
from ..storage import manifest
from ..stream.messages import Observation, Record, Scalars
from ..stream.status import State
from ..training.evaluation import split_loss

SPLITS = ("train", "val", "test")
WARM = 100  # steps before the pace counts
SHORTEST_WALL = 0.2  # seconds; between polls a few milliseconds apart the pace is too inexact


@dataclass
class RunTotals:
    """Losses and pace of a run so far, added up from its records. Losses are in nats per token."""

    initial_loss: float | None = None
    loss: float | None = None
    val_loss: float | None = None
    former_val_loss: float | None = None
    best_val_loss: float | None = None
    best_val_step: int | None = None
    test_step: int | None = None
    """The step whose weights were tested."""
    test_loss: float | None = None
    steps: int = 0
    seconds: float = 0.0  # these steps' own times; both start again at step 101
    warm: tuple[float, int] | None = None  # time and step at which the pace begins to count
    last: tuple[float, int] = (0.0, 0)

    def add(self, records: Iterable[Record]) -> None:
        """Add what came out of the run's queue."""
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
                self._add_losses(record.step, record.scalars)

    def _add_losses(self, step: int, scalars: Mapping[str, float]) -> None:
        self.test_loss = scalars.get("test/loss", self.test_loss)
        if "test/step" in scalars:
            self.test_step = int(scalars["test/step"])
        self.former_val_loss = scalars.get("val/former_loss", self.former_val_loss)
        if "val/loss" in scalars:
            self.val_loss = scalars["val/loss"]
            if self.best_val_loss is None or self.val_loss < self.best_val_loss:
                self.best_val_loss, self.best_val_step = self.val_loss, step

    def reached(self, now: float, step: int) -> None:
        """Note that `step` updates are made at `now`, in seconds of any clock."""
        self.last = (now, step)
        if self.warm is None and step >= WARM:
            self.warm = self.last

    @property
    def progress_note(self) -> str:
        """What the progress bar says beside the step."""
        return "" if self.loss is None else f"loss {self.loss:.4f}"

    @property
    def steps_per_second(self) -> float | None:
        """Steps by wall time from the 100th to the last; of a short run, by the steps' own times."""
        if self.warm is not None and (wall := self.last[0] - self.warm[0]) > SHORTEST_WALL:
            return (self.last[1] - self.warm[1]) / wall
        return self.steps / self.seconds if self.seconds else None


def result_of(run: Run, totals: RunTotals) -> dict[str, Any]:
    """What the run came to, in plain numbers."""
    return {
        "run": run.id,
        "state": run.state.value,
        "message": run.message,
        "warning": run.warning,
        "step": run.step,
        "initial_loss": totals.initial_loss,
        "train_loss": totals.loss,
        "val_loss": totals.val_loss,
        "former_val_loss": totals.former_val_loss,
        "best_val_loss": totals.best_val_loss,
        "best_val_step": totals.best_val_step,
        "test_loss": totals.test_loss,
        "test_step": totals.test_step,
        "tokens_seen": run.status().tokens_seen if run.config.reads_text else None,
        "parameters": run.parameters,
        "steps_per_second": totals.steps_per_second,
    }


def exact_losses(run: Run, interrupted: bool) -> tuple[dict[str, float | None], bool]:
    """The exact loss on each split there is, and whether Ctrl-C cut it short; None for what was not measured."""
    losses: dict[str, float | None] = dict.fromkeys((f"{split}_split_loss" for split in SPLITS), None)
    if interrupted or run.state is State.FAILED:
        return losses, interrupted
    with suppress(KeyboardInterrupt):
        model = build_language_model(run.config, run.corpus.vocab_size)
        model.load_weights(run.copy_weights()[1]).to(run.device)
        for split, data in run.corpus.splits.items():
            with Stages() as report:
                losses[f"{split}_split_loss"] = split_loss(model, data, run.config.block_size, report)
        return losses, False
    return losses, True


def report(run: Run, result: dict[str, Any], folder: Path, as_json: bool) -> int:
    """Write result.json and print the result; returns 1 where the file cannot be written, else 0."""
    status = 0
    try:
        write_json(folder / "result.json", result | {"error": run.error})
    except InputError as error:
        complain(str(error))
        status = 1
    if run.state is State.FAILED:
        complain(f"failed: {run.message} (the traceback is in {folder / 'result.json'})")
    say(json_line(result) if as_json else summary(run, result, folder))
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
        step = result["test_step"]
        lines.append(f"  test   {result['test_loss']:.4f}, measured once, with the weights of step {step:,}")
    if exact := shown(train_split_loss="training", val_split_loss="validation", test_split_loss="test"):
        lines.append(f"  exact  {exact}")
    pace = result["steps_per_second"]
    lines.append(
        f"  size   {run.parameters:,} parameters, {how_much(run)}"
        + (f", {pace:,.0f} steps/s on {run.device.type}" if pace else "")
    )
    lines.append(f"  files  {folder}")
    if "unsaved" in result:
        lines.append(f"  NOT SAVED: {result['unsaved']}")
    return "\n".join(printable(line) for line in lines)


def how_much(run: Run) -> str:
    """How much data the run has seen: tokens of a text, passes over points."""
    status = run.status()
    if run.config.reads_text:
        return f"{status.tokens_seen:,} tokens seen"
    return f"{status.passes or 0:,.0f} passes over the data"


def free_folder(folder: Path) -> Path:
    """`folder`, made absolute; InputError unless it is new or empty."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "is not empty" if folder.is_dir() else "is a file"
            raise InputError(f"--out {folder} {what}; choose a new or an empty folder")
    except OSError as error:
        raise InputError(f"--out {folder} cannot be used ({error.strerror}); choose another folder") from None
    return folder.absolute()


def create_folder(folder: Path, description: dict[str, Any]) -> None:
    """Make `folder` and its config.json; InputError where that cannot be done."""
    with _writing(folder / manifest.FILE):
        manifest.write(folder, description)


def write_json(path: Path, record: dict[str, Any]) -> None:
    """`record` as JSON at `path`, whole or not at all, its folders made; InputError where that cannot be done."""
    with _writing(path):
        write_atomic(path, json.dumps(json_safe(record), indent=2) + "\n")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({(error.strerror or str(error)).lower()}); choose a folder with --out, "
            "or another home with LOOPSCOPE_HOME"
        ) from None


def json_line(record: dict[str, Any]) -> str:
    """`record` as one line of JSON, for `--json`."""
    return json.dumps(json_safe(record))


def json_safe(record: dict[str, Any]) -> dict[str, Any]:
    """`record` with null for a number that JSON cannot hold."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
