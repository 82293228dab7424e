"""The device recorder's logic, on the CPU: a ring, blocks that cross late, a sticky verdict that the optimizer obeys.

Only the two things that need CUDA are replaced: pinned memory is left out, and the event that says "landed" is a stub.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from engine.config import LiveSettings, RunConfig
from engine.stream.messages import Record, Scalars
from engine.text.corpus import Corpus
from engine.training.step_recorder import DeviceStepRecorder
from engine.training.trainer import Trainer

TEXT = "the quick brown fox jumps over the lazy dog. " * 40


class Landed:
    """Stands in for torch.cuda.Event."""

    def record(self) -> None:
        pass

    def synchronize(self) -> None:
        pass


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Trainer, list[Record]]]:
    monkeypatch.setattr(torch.cuda, "Event", Landed)

    def build(**settings: float) -> tuple[Trainer, list[Record]]:
        records: list[Record] = []
        trainer = Trainer(RunConfig(), LiveSettings(**settings), Corpus.of(TEXT), records.append)
        trainer.recorder = DeviceStepRecorder(records.append, trainer.optimizer, torch.device("cpu"))
        return trainer, records

    return build


def scalars(records: list[Record]) -> list[Scalars]:
    return [record for record in records if isinstance(record, Scalars)]


def test_numbers_cross_in_blocks_complete_and_in_order(make: Callable[..., tuple[Trainer, list[Record]]]) -> None:
    trainer, records = make()
    trainer.recorder.SECONDS = math.inf
    for _ in range(DeviceStepRecorder.ROWS + 10):
        trainer.advance()
    assert scalars(records) == []  # the first block is on its way, nothing has waited for it
    trainer.settle()
    assert [row.step for row in scalars(records)] == list(range(1, DeviceStepRecorder.ROWS + 11))

    reference: list[Record] = []
    host = Trainer(RunConfig(), LiveSettings(), Corpus.of(TEXT), reference.append)
    for _ in range(DeviceStepRecorder.ROWS + 10):
        host.advance()
    assert [row[:4] for row in scalars(records)] == [
        (row.step, pytest.approx(row.loss), pytest.approx(row.grad_norm), row.lr) for row in scalars(reference)
    ]
    assert torch.equal(trainer.model.token_embedding.weight, host.model.token_embedding.weight)


def test_a_bad_loss_freezes_the_weights_at_its_step_although_the_host_learns_it_late(
    make: Callable[..., tuple[Trainer, list[Record]]],
) -> None:
    trainer, records = make()
    trainer.recorder.SECONDS = math.inf
    for _ in range(5):
        trainer.advance()
    kept = trainer.model.token_embedding.weight.detach().clone()
    good_loss = trainer.model.loss
    trainer.model.loss = lambda logits, targets: good_loss(logits, targets) * math.nan  # type: ignore[method-assign]
    for _ in range(3):
        trainer.advance()
    trainer.model.loss = good_loss  # type: ignore[method-assign]
    for _ in range(4):
        trainer.advance()
    assert torch.equal(trainer.model.token_embedding.weight, kept)
    trainer.settle()
    assert trainer.recorder.diverged
    assert trainer.step == 5  # updates that happened
    assert scalars(records)[-1].step == 6  # the exact first bad step


def test_weights_that_overflow_come_back(make: Callable[..., tuple[Trainer, list[Record]]]) -> None:
    trainer, records = make(lr=1e6, weight_decay=0.1)
    for _ in range(20):
        trainer.advance()
    trainer.settle()
    assert trainer.recorder.diverged
    assert torch.isfinite(trainer.model.token_embedding.weight).all()
    assert trainer.step == scalars(records)[-1].step - 1


class NothingIsAsked(TorchDispatchMode):
    """Fails where somebody reads a number out of a tensor: on a GPU the host would wait for it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        assert name not in ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select"), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
def test_a_step_on_a_gpu_asks_for_no_number(monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    monkeypatch.setattr(torch.cuda, "Event", Landed)
    config = RunConfig(
        model="gpt", n_layer=1, n_head=2, n_embd=8, dropout=0.1, optimizer=optimizer, precision="bfloat16"
    )
    settings = LiveSettings(
        batch_size=4, micro_batches=2, grad_clip=0.5, schedule="linear", warmup_steps=3, weight_decay=0.1
    )
    records: list[Record] = []
    trainer = Trainer(config, settings, Corpus.of(TEXT), records.append)
    trainer.recorder = DeviceStepRecorder(records.append, trainer.optimizer, torch.device("cpu"))
    trainer.recorder.SECONDS = math.inf
    trainer.unwatched = True  # what is looked at is read, on its cadence
    with NothingIsAsked():
        for _ in range(12):
            trainer.advance()
    trainer.settle()
    assert [row.step for row in scalars(records)] == list(range(1, 13))
