"""Saving and restoring a trainer: what follows a restored state is bit-identical to what followed the saved one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from ..config import LiveSettings, RunConfig, changed
from ..stream.messages import Record
from ..text.corpus import Corpus
from ..text.points import Points
from .checkpoint import PausedState, Snapshot, copied
from .trainer import Trainer


def take_snapshot(trainer: Trainer) -> Snapshot:
    """All that the next step, and the next look, depends on, as CPU copies; taken between two steps."""
    kept = trainer.optimizer.state
    return Snapshot(
        trainer.step,
        trainer.tokens_seen,
        trainer.settings,
        weights=copied(dict(trainer.model.named_parameters())),
        optimizer={name: copied(kept[p]) for name, p in trainer.model.named_parameters() if p in kept},
        generators={"data": trainer.draws.get_state(), "dropout": trainer.dropout_draws.get_state()},
        batches={} if trainer.epochs is None else trainer.epochs.state(),
        axes=trainer.observer.projector.axes,
    )


def restore(trainer: Trainer, snapshot: Snapshot) -> None:
    """Put `trainer` where one of the same configuration stood when it took `snapshot`."""
    trainer.step, trainer.tokens_seen, trainer.stages_done = snapshot.step, snapshot.tokens_seen, 0
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            parameter.grad = None
            parameter.copy_(snapshot.weights[name])
            trainer.optimizer.state.pop(parameter, None)
            if name in snapshot.optimizer:
                kept = snapshot.optimizer[name].items()
                trainer.optimizer.state[parameter] = {k: value.to(trainer.device, copy=True) for k, value in kept}
    trainer.draws.set_state(snapshot.generators["data"])
    dropout = snapshot.generators["dropout"]
    if dropout.numel() == trainer.dropout_draws.get_state().numel():  # a GPU's generator does not go on on a CPU
        trainer.dropout_draws.set_state(dropout)
    if trainer.epochs is not None:
        trainer.epochs.restore(snapshot.batches)
    trainer.observer.projector.axes = snapshot.axes
    trainer.weight_bound.measure()
    trainer.tune(snapshot.settings)


def repeat_steps(
    trainer: Trainer, goal: int, turns: Iterable[tuple[int, int, LiveSettings]], halt: Callable[[], bool]
) -> None:
    """Make the steps up to `goal` again, emitting nothing, each setting changed where it was; ends early on `halt()`.

    A turn is the number of updates made before it, of stages done of the next step, and the settings from then on.
    RuntimeError where a step diverges that did not before.
    """
    emit, trainer.emit = trainer.emit, _nowhere
    trainer.recorder.emit, trainer.unwatched, trainer.observer.observing = _nowhere, True, False
    try:
        for step, stages, settings in (*turns, (goal, 0, None)):
            while trainer.step < step and not trainer.recorder.diverged and not halt():
                trainer.advance()
                trainer.observer.look_unseen()
            if settings is not None and trainer.step == step:
                for _ in range(stages - trainer.stages_done):
                    trainer.stage()
                trainer.tune(settings)
        trainer.settle()
    finally:
        trainer.emit = trainer.recorder.emit = emit
        trainer.unwatched = False
    if trainer.step != goal and not halt():
        diverged = trainer.step + 1
        raise RuntimeError(f"step {goal:,} was not reached again: this attempt diverged at step {diverged:,}")


def replay(config: RunConfig, dataset: Corpus | Points, paused: PausedState) -> Trainer:
    """A throwaway trainer that stands at `paused`, on the CPU, live graph included; nothing it does reaches the run.

    Its model is not compiled: that takes longer than the few steps that such a trainer makes.
    """
    trainer = Trainer(changed(config, compile=False), paused.snapshot.settings, dataset, _nowhere)
    restore(trainer, paused.snapshot)
    turns = dict(paused.turns)
    for done in range(paused.stages + 1):
        if done in turns:
            trainer.tune(turns[done])
        if done < paused.stages:
            trainer.stage()
    return trainer


def _nowhere(_: Record) -> None:
    """Emit to nobody."""
