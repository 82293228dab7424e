"""Many bigrams trained at once: their tables in one tensor, one batch a step for all of them.

K  lanes: bigrams that differ in their knobs
C  vocab_size: scores per token
N  tokens in a batch

Each lane is the run that `Trainer` makes of its settings: the same first table, the same batches, the same optimizer.
Every number of the way there and back is computed by the same kernels of torch in the same order, so on the CPU a
lane's table equals that of the run trained alone bit for bit. Its batch loss is added up in another order and may
differ by one part in a million.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_

from ..config import LiveSettings, RunConfig
from ..errors import InputError
from ..models import registry
from ..models.base import Model
from ..text.baselines import count_pairs
from ..text.corpus import Corpus
from ..training import probes
from ..training.optimizers import make_optimizer
from ..training.schedule import rate_at
from ..training.trainer import Trainer

MOST_LANES = 64
MOST_TOKENS = 128
"""Tokens of a vocabulary up to which that many tables are trained in a moment."""
OWN = ("lr", "weight_decay")
"""The settings that each lane has for itself."""


def check_lanes(config: RunConfig, vocab_size: int, count: int) -> None:
    """InputError unless `count` runs of `config` on a text of `vocab_size` tokens can be trained at once."""
    if "pairs" not in registry.find(config.model).features:
        raise InputError(f"model {config.model!r} cannot be trained many at once; choose bigram, or race its lanes")
    if not 1 <= count <= MOST_LANES:
        raise InputError(f"{count} values at once are not possible; choose 1 to {MOST_LANES}")
    if vocab_size > MOST_TOKENS:
        raise InputError(
            f"a vocabulary of {vocab_size:,} tokens is too large to train many tables at once; choose a text with at "
            f"most {MOST_TOKENS} tokens"
        )


class BigramLanes:
    """K bigrams in training: `advance()` is one step of all that have not diverged.

    tables: float32 (K, C, C). losses: float32 (K,), each lane's loss on the last batch, nan once it has diverged.
    diverged_at: for each lane the step at which its loss or its table was no finite number any more, or None; its
    table stays as it was before.
    """

    def __init__(self, config: RunConfig, settings: Sequence[LiveSettings], corpus: Corpus) -> None:
        """Lanes at step 0, one for each of the `settings`, which differ in what OWN names and in nothing else."""
        check_lanes(config, corpus.vocab_size, len(settings))
        shared = {tuple(one.model_dump(exclude=set(OWN)).items()) for one in settings}
        assert len(shared) == 1, "lanes differ in what OWN names alone"
        self.settings = tuple(settings)
        alone = Trainer(config, settings[0], corpus, lambda record: None)  # for its first table and its batches
        self._batcher = alone.batcher
        self.tables = alone.parameters[0].detach().repeat(len(settings), 1, 1)
        self.step = 0
        self.losses = torch.full((len(settings),), torch.nan)
        self.diverged_at: list[int | None] = [None] * len(settings)
        self._alive = torch.ones(len(settings), dtype=torch.bool)
        self._lanes = [nn.Parameter(table) for table in self.tables]  # views of `tables`
        self._optimizer = make_optimizer(config, _Parameters(self._lanes))
        (group,) = self._optimizer.param_groups
        self._optimizer.param_groups = [{**group, "params": [lane]} for lane in group["params"]]

    def advance(self) -> None:
        """One optimization step of every lane."""
        self.step += 1
        inputs, targets = self._batcher.draw(self.settings[0].batch_size)
        losses, gradients = self._losses_and_gradients(inputs.flatten(), targets.flatten())
        before = self.tables.clone()
        self._update(gradients)
        self._alive &= torch.isfinite(losses) & torch.isfinite(self.tables).flatten(1).all(1)
        if not self._alive.all():
            self.tables.copy_(torch.where(self._alive[:, None, None], self.tables, before))
            for lane in (~self._alive).nonzero().flatten().tolist():
                self.diverged_at[lane] = self.diverged_at[lane] or self.step
        self.losses = torch.where(self._alive, losses, torch.nan)

    def _losses_and_gradients(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """From ids (N,) and (N,): losses (K,) and gradients (K, C, C).

        Row i of all lanes lies side by side, so that one look-up serves all of them.
        """
        lanes, size = self.tables.shape[:2]
        rows = self.tables.transpose(0, 1).reshape(size, lanes * size).requires_grad_()  # (C, K·C)
        logits = F.embedding(inputs, rows)  # (N, K·C)
        pointwise = F.cross_entropy(logits.view(-1, size), targets.repeat_interleave(lanes), reduction="none")  # (N·K,)
        losses = pointwise.view(-1, lanes).mean(0)  # (K,)
        (gradients,) = torch.autograd.grad(losses.sum(), rows)
        return losses.detach(), gradients.view(size, lanes, size).transpose(0, 1).contiguous()

    def _update(self, gradients: Tensor) -> None:
        for lane, gradient, settings, group in zip(
            self._lanes, gradients, self.settings, self._optimizer.param_groups, strict=True
        ):
            lane.grad = gradient
            if settings.grad_clip is not None:
                clip_grads_with_norm_([lane], settings.grad_clip, probes.global_norm([gradient]))
            group["lr"] = rate_at(settings, self.step)
            group["weight_decay"] = settings.weight_decay
        self._optimizer.step()


class _Parameters(Model):
    """The lanes as an optimizer takes them."""

    def __init__(self, lanes: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.lanes = nn.ParameterList(lanes)


class PairLoss:
    """The exact mean loss of bigrams over a split of n tokens: each of its n - 1 targets once."""

    def __init__(self, data: Tensor, vocab_size: int) -> None:
        _, pairs, often = count_pairs(data.numpy(), vocab_size)
        share = torch.zeros(vocab_size**2, dtype=torch.float64)
        share[torch.from_numpy(pairs)] = torch.from_numpy(often / max(1, often.sum()))
        self._share = share.view(vocab_size, vocab_size)

    def of(self, tables: Tensor) -> Tensor:
        """Tables of logits (K, C, C) -> losses float64 (K,), nats per token."""
        losses: Tensor = -(self._share * F.log_softmax(tables.double(), dim=-1)).sum((1, 2))
        return losses
