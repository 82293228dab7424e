"""Many bigrams trained at once: their tables in one tensor, one batch a step for all of them.

K  lanes: bigrams that differ in their rate or their decay
C  vocab_size: scores per token
N  tokens in a batch

Each lane is the run that `Trainer` makes of its settings on the CPU: the same first table, the same batches, AdamW with
decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101), by the same kernels of torch and every sum in the
same order. So a lane's table equals that of the run trained alone bit for bit, where the tokens of a batch are a power
of two; else the mean is rounded otherwise, by one part in ten million. Batch losses are added up in another order and
may differ by one part in a million.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import LiveSettings, RunConfig
from ..errors import InputError
from ..models import registry
from ..text.baselines import count_pairs
from ..text.corpus import Corpus
from ..training import probes
from ..training.schedule import rate_at
from ..training.trainer import Trainer

MOST_LANES = 64
MOST_TOKENS = 128
"""Tokens of a vocabulary up to which that many tables are trained in a moment."""
OWN = ("lr", "weight_decay")
"""The settings that each lane has for itself."""


def trains_together(config: RunConfig) -> bool:
    """Can many runs of `config` be trained in one tensor? A bigram's can, under AdamW."""
    return "pairs" in registry.find(config.model).features and config.optimizer == "adamw"


def check_lanes(config: RunConfig, vocab_size: int, count: int) -> None:
    """InputError unless `count` runs of `config` on a text of `vocab_size` tokens can be trained at once."""
    if not trains_together(config):
        raise InputError(
            f"model {config.model!r} under optimizer {config.optimizer!r} cannot be trained many at once; choose "
            "'bigram' under 'adamw', or race its lanes"
        )
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
        assert len({one.model_dump_json(exclude=set(OWN)) for one in settings}) == 1, "lanes differ in OWN alone"
        self.config, self.settings = config, tuple(settings)
        alone = Trainer(config, settings[0], corpus, lambda record: None)  # for its first table and its batches
        self._batcher = alone.batcher
        self.tables = alone.parameters[0].detach().repeat(len(settings), 1, 1)
        self.step = 0
        self.losses = torch.full((len(settings),), torch.nan)
        self.diverged_at: list[int | None] = [None] * len(settings)
        self._alive = torch.ones(len(settings), dtype=torch.bool)
        self._means, self._squares = torch.zeros_like(self.tables), torch.zeros_like(self.tables)
        self._steps = torch.zeros(len(settings))

    def advance(self) -> None:
        """One optimization step of every lane."""
        self.step += 1
        inputs, targets = self._batcher.draw(self.settings[0].batch_size)
        losses, gradients = self._losses_and_gradients(inputs.flatten(), targets.flatten())
        self._clip(gradients)
        before = self.tables.clone()
        self._update(gradients)
        lowest, highest = self.tables.flatten(1).aminmax(dim=1)  # nan where one number is
        self._alive &= torch.isfinite(losses) & torch.isfinite(lowest) & torch.isfinite(highest)
        if not self._alive.all():
            self.tables.copy_(torch.where(self._alive[:, None, None], self.tables, before))
            for lane in (~self._alive).nonzero().flatten().tolist():
                self.diverged_at[lane] = self.diverged_at[lane] or self.step
        self.losses = torch.where(self._alive, losses, torch.nan)

    def _losses_and_gradients(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """From ids (N,) and (N,): losses (K,) and gradients (K, C, C).

        The slope of a target's loss in its row of scores is softmax less 1 at the target. Each of the S rows that come
        in the batch goes through softmax once, however often it comes; the slopes are added up in the order of the
        batch, as torch adds those of an embedding.
        """
        lanes, size = self.tables.shape[:2]
        seen, places = torch.unique(inputs, return_inverse=True)  # (S,) and (N,)
        scores = self.tables.index_select(1, seen).transpose(0, 1).contiguous().requires_grad_()  # (S, K, C)
        log_shares = F.log_softmax(scores, dim=-1)
        losses = -log_shares.detach()[places, :, targets].mean(0)  # (N, K) -> (K,)
        shares = _shares(log_shares, scores, len(inputs))
        slopes = shares.index_select(0, places)  # (N, K, C)
        slopes[torch.arange(len(inputs)), :, targets] -= 1 / len(inputs)
        gradients = torch.zeros(size, lanes * size).index_add_(0, inputs, slopes.view(len(inputs), -1))
        return losses, gradients.view(size, lanes, size).transpose(0, 1).contiguous()

    def _clip(self, gradients: Tensor) -> None:
        """Shorten the gradients (K, C, C) that are longer than allowed, as torch's clip_grad_norm_ does."""
        if (longest := self.settings[0].grad_clip) is not None:
            lengths = torch.stack([probes.global_norm([one]) for one in gradients])
            gradients *= (longest / (lengths + 1e-6)).clamp(max=1.0)[:, None, None]

    def _update(self, gradients: Tensor) -> None:
        """AdamW on each table, by the kernel behind torch.optim.AdamW(fused=True), without that class's bookkeeping."""
        self._steps += 1
        for lane, (gradient, settings) in enumerate(zip(gradients, self.settings, strict=True)):
            torch._fused_adamw_(
                [self.tables[lane]],
                [gradient],
                [self._means[lane]],
                [self._squares[lane]],
                [],
                [self._steps[lane]],
                lr=rate_at(settings, self.step),
                beta1=self.config.beta1,
                beta2=self.config.beta2,
                weight_decay=settings.weight_decay,
                eps=self.config.epsilon,
                amsgrad=False,
                maximize=False,
            )


def _shares(log_shares: Tensor, scores: Tensor, targets: int) -> Tensor:
    """softmax of `scores` (S, K, C) over the number of `targets`, to the bit as torch's cross-entropy has it.

    Its way back gives them: the slope of -log_shares/targets in one column is this in all other columns. So one
    column is asked for all but itself, and another for that one.
    """
    slopes: list[Tensor] = []
    for column in (0, 1):
        ask = torch.zeros(scores.size(-1))
        ask[column] = -1 / targets
        slopes += torch.autograd.grad(log_shares, scores, ask.expand_as(scores), retain_graph=column == 0)
    slopes[0][..., 0] = slopes[1][..., 0]
    return slopes[0]


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
