"""The command line's verbs for runs on the disk: runs, resume, evaluate, sample, export.

Each takes a run's id or folder and returns an exit status; InputError for what cannot be done.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from ..config import Drawing, changed
from ..console import complain, printable, say
from ..errors import InputError
from ..formatting import format_change
from ..models.base import LanguageModel
from ..models.registry import build_language_model
from ..paths import cli_command, home
from ..runs.datasets import stored_corpus
from ..runs.fine_tuning import fine_tuning_config, fine_tuning_corpus
from ..runs.run import Run
from ..storage import reader, resume_point
from ..storage.lock import RunLocked
from ..storage.reader import StoredRun
from ..storage.writer import RunWriter
from ..stream.messages import Event, Turn
from ..text.corpus import Corpus
from ..text.library import Library, TextEntry
from ..text.points import Points
from ..training.checkpoint import FineTuneSource, Snapshot
from ..training.device import pick_device
from ..training.evaluation import split_loss
from ..training.sampling import generate
from .result import SPLITS, json_safe
from .run_totals import RunTotals
from .train import TrainOptions, close, finish, follow, stopping, train_on

GOOD = ("done", "stopped")


def runs() -> int:
    """List the runs there are."""
    found = reader.list_runs()
    for stored in found:
        model = f"{stored.config.model} on {stored.config.corpus}" if stored.config else ""
        model = stored.recorded.name if stored.recorded else model
        say(printable(f"{stored.id}  {stored.status:<32} {model}".rstrip()))
    if not found:
        say(f"no runs yet in {home() / 'runs'}; `{cli_command('train')}` makes one")
    return 0


def resume(run: str, max_steps: int | None, json: bool) -> int:
    """Go on with a run from its newest snapshot; one that is over says its result again."""
    stored = reader.open_run(run)
    config, first_settings = reader.configuration(stored)
    wanted = {"speed": "unlimited"} if max_steps is None else {"speed": "unlimited", "max_steps": max_steps}
    changed(first_settings, **wanted)
    if _is_over(stored, max_steps):
        return _again(stored, json)
    if stored.live:
        raise RunLocked(stored.folder)
    dataset = dataset_of(stored)  # these first: a run that cannot go on forgets nothing
    dataset.check(config)
    pick_device(config.device)
    at = resume_point.newest_snapshot(stored)[0].step
    if max_steps is not None and max_steps < at:
        raise InputError(
            f"--max-steps {max_steps:,} is behind the run, which is at step {at:,}; choose at least {at:,}"
        )
    past = resume_point.load(stored)
    for reason in past.refused:
        complain(reason)
    before = past.snapshot.settings
    settings = changed(before, **wanted)
    snapshot = dataclasses.replace(past.snapshot, settings=settings)
    pending = tuple((step, stages, changed(knobs, **wanted)) for step, stages, knobs in past.pending)
    past = dataclasses.replace(past, snapshot=snapshot, pending=pending)
    going = Run(config, first_settings, dataset, past)
    try:
        going.save_to(RunWriter(stored.folder, {}))
        for step, stages, knobs in ((snapshot.step, 0, settings), *pending):
            going.queue.put(Turn(step, stages, knobs.model_dump()))
        if settings.max_steps != before.max_steps:
            text = format_change("max_steps", before.max_steps, settings.max_steps)
            going.queue.put(Event(past.snapshot.step, "max_steps", text))
        first = next(reader.scalars(stored), None)
        totals = RunTotals(None if first is None else first.loss)
        totals.add(reader.observations(stored))
        with stopping(going) as stopped:
            follow(going, totals, stopped)
        return finish(going, totals, stored.folder, bool(stopped), evaluate=False, as_json=json)
    finally:
        close(going)


def opened(run: str) -> tuple[StoredRun, Snapshot]:
    """The run called `run` and its newest snapshot."""
    stored = reader.open_run(run)
    snapshot, refused = resume_point.newest_snapshot(stored)
    for reason in refused:
        complain(reason)
    return stored, snapshot


def fine_tune(stored: StoredRun, snapshot: Snapshot, order: TrainOptions) -> int:
    """Begin a new run with the weights of `snapshot`, which `stored` left, and learn from the text of `order`."""
    former = dataset_of(stored)
    if not isinstance(former, Corpus):
        raise InputError(f"run {stored.id} learnt from points, not from text; choose another run")
    if order.corpus is None:
        raise InputError(f"--from {stored.id} needs another text to go on with; name one with --corpus")
    dataset = fine_tuning_corpus(Library(home()).load(order.corpus), order.config, former)
    if snapshot.step == 0:
        raise InputError(f"run {stored.id} has learnt nothing yet; resume it first, then fine-tune it")
    origin = FineTuneSource(stored.id, snapshot.step, snapshot.weights)
    return train_on(
        dataclasses.replace(order, config=fine_tuning_config(order.config, dataset)), dataset, origin=origin
    )


def evaluate(run: str, split: str, json: bool) -> int:
    """Say the exact loss of the newest snapshot over a whole split."""
    if split not in SPLITS:
        raise InputError(f"--split {split!r} is not possible; choose {', '.join(SPLITS)}")
    stored, model, corpus, snapshot = model_of(run)
    config, _ = reader.configuration(stored)
    if split not in corpus.splits or len(corpus.splits[split]) < 2:
        raise InputError(f"run {stored.id} has no {split} split; choose {', '.join(corpus.splits)}")
    loss = split_loss(model, corpus.splits[split], config.block_size)
    told = {"run": stored.id, "step": snapshot.step, "split": split, "loss": loss}
    say(_json(told) if json else f"{split} {loss:.6f} nats per token at step {snapshot.step:,}")
    return 0


def sample(run: str, prompt: str, **flags: Any) -> int:
    """Print text from the newest snapshot, drawn as the `flags` say; one that is None is left at its default."""
    drawing = changed(Drawing(), **{name: value for name, value in flags.items() if value is not None})
    _, model, corpus, _ = model_of(run)
    start = corpus.tokenizer.encode(prompt).tolist() if prompt else [0]
    draws = torch.Generator().manual_seed(drawing.seed)
    made = generate(model, start, drawing.max_new_tokens, draws, drawing.temperature, drawing.top_k)
    say(printable(corpus.tokenizer.decode(made.ids), kept="\n\t"))
    return 0


def export(run: str, csv: str) -> int:
    """Write every step and every look as a CSV table."""
    from ..storage.export import metrics_table  # pandas, which nothing needs while training

    stored = reader.open_run(run)
    table = metrics_table(stored)
    try:
        table.to_csv(csv, index=False)
    except OSError as error:
        why = error.strerror.lower() if error.strerror else str(error)
        raise InputError(f"--csv {csv} cannot be written ({why}); choose another file") from None
    say(f"{len(table):,} steps of {stored.id} in {Path(csv).absolute()}")
    return 0


def model_of(run: str) -> tuple[StoredRun, LanguageModel, Corpus, Snapshot]:
    """The run called `run`, its model as its newest snapshot has it, on the CPU, and its text."""
    stored, snapshot = opened(run)
    dataset = dataset_of(stored)
    if not isinstance(dataset, Corpus):
        raise InputError(f"run {stored.id} learnt from points, not from text; choose another run")
    model = build_language_model(reader.configuration(stored)[0], dataset.vocab_size)
    return stored, model.load_weights(snapshot.weights).eval(), dataset, snapshot


def dataset_of(stored: StoredRun) -> Corpus | Points:
    """What a stored run learnt from: its text by name, or by the path it was given; InputError if it is another now."""
    config, _ = reader.configuration(stored)
    if not config.reads_text:
        return Points.of(config)
    library = Library(home())

    def load(name: str, path: str | None) -> tuple[str, TextEntry]:
        try:
            return library.load_name(name)
        except InputError:
            if not path:
                raise
            return library.load(path)

    return stored_corpus(stored, load)


def _is_over(stored: StoredRun, max_steps: int | None) -> bool:
    if stored.state in ("diverged", "failed"):
        return True
    return stored.state == "done" and (max_steps is None or max_steps <= stored.step)


def _again(stored: StoredRun, as_json: bool) -> int:
    """What a run that is over came to, as it was said at its end."""
    try:
        told = json.loads((stored.folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        told = _from_metrics(stored)
    told.pop("error", None)
    say(_json(told) if as_json else f"{stored.id}: {stored.status}, last loss {told['train_loss']}")
    return int(stored.state not in GOOD)


def _from_metrics(stored: StoredRun) -> dict[str, Any]:
    """The result of a run that ended on the stage, where nobody wrote one: read off its metrics."""
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
        "tokens_seen": snapshot.tokens_seen,
        "parameters": sum(weight.numel() for weight in snapshot.weights.values()),
        "steps_per_second": totals.steps_per_second,
    }


def _json(told: dict[str, Any]) -> str:
    return json.dumps(json_safe(told))
