"""Statistics of a text: its tokens and pairs, its splits, and the validation tokens that training never sees.

Counts are of tokens; with the character tokenizer these are characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.base import LanguageModel
from ..text.baselines import Baselines, Counts, count_pairs
from ..text.corpus import SPLITS, Corpus, windows
from ..text.tokenizer import Tokenizer
from ..training.sampling import evaluating

MOST_SHOWN = 40
OPENING = 60  # tokens
MOST_WINDOWS = 64


class TokenCount(NamedTuple):
    """A token, or several tokens in a row, and how often they occur."""

    tokens: tuple[int, ...]
    times: int


@dataclass(frozen=True)
class TextStatistics:
    """What can be said about a text before training on it.

    splits: by name, how many tokens of the whole text lie in each, in order. singles and pairs: the most frequent in
    the training split, at most MOST_SHOWN. unseen: tokens of the validation split that the training split lacks.
    new_pairs: targets of the validation split (of `val_pairs`) that complete a pair which training never shows.
    opening: the first whole words of the training split, from about OPENING tokens.
    """

    name: str
    title: str
    source: str
    licence: str
    characters: int
    distinct: int
    splits: dict[str, int]
    singles: list[TokenCount]
    pairs: list[TokenCount]
    baselines: Baselines
    unseen: list[TokenCount]
    new_pairs: int
    val_pairs: int
    opening: str
    tokenizer: Tokenizer

    @classmethod
    def of(cls, corpus: Corpus) -> TextStatistics:
        """Count `corpus`."""
        size = corpus.vocab_size
        singles, pairs, often = count_pairs(corpus.train.numpy(), size)
        val_singles, val_pairs, val_often = count_pairs(corpus.val.numpy(), size)
        new = ~np.isin(val_pairs, pairs)
        return cls(
            name=corpus.name,
            title=corpus.title,
            source=corpus.source,
            licence=corpus.licence,
            characters=corpus.characters,
            distinct=corpus.distinct,
            splits={title: len(getattr(corpus, name)) for name, title in SPLITS.items()},
            singles=[TokenCount((int(i),), int(singles[i])) for i in _most(singles)],
            pairs=[TokenCount((int(pairs[i]) // size, int(pairs[i]) % size), int(often[i])) for i in _most(often)],
            baselines=Baselines.of(corpus),
            unseen=[TokenCount((int(i),), int(val_singles[i])) for i in _most(np.where(singles > 0, 0, val_singles))],
            new_pairs=int(val_often[new].sum()),
            val_pairs=int(val_often.sum()),
            opening=_opening(corpus.tokenizer.decode(corpus.train[: OPENING + 1].tolist())),
            tokenizer=corpus.tokenizer,
        )


def _opening(start: str) -> str:
    """`start` up to its last blank, since the word after it may be cut short; all of it where there is no blank."""
    words = start.rsplit(maxsplit=1)
    return words[0].strip() if len(words) > 1 else start


class UnseenTokenLoss(NamedTuple):
    """A model's loss, nats per token, on unseen tokens as targets, on targets right after one, and on all others.

    None where there are no such targets. `windows` counts the validation windows used, those with unseen tokens.
    """

    itself: float | None
    after: float | None
    others: float | None
    windows: int


def unseen_token_loss(model: LanguageModel, val: Tensor, unseen: Sequence[int], block_size: int) -> UnseenTokenLoss:
    """The losses of `model` on the windows of `val` [n] that contain tokens of `unseen`, at most MOST_WINDOWS."""
    wanted = torch.tensor(sorted(unseen), dtype=torch.long)
    device = model.device
    parts: list[tuple[Tensor, Tensor, Tensor]] = []  # of each target: its loss, is it unseen, does it follow one
    seen = 0
    with evaluating(model):
        for inputs, targets in windows(val, block_size):
            rows = (torch.isin(inputs, wanted) | torch.isin(targets, wanted)).any(1)
            inputs, targets = inputs[rows][: MOST_WINDOWS - seen], targets[rows][: MOST_WINDOWS - seen]
            if not len(inputs):
                continue
            seen += len(inputs)
            logits = model.logits(inputs.to(device)).flatten(0, 1).cpu()  # (B·T, C)
            losses = F.cross_entropy(logits, targets.flatten(), reduction="none")  # (B·T,)
            parts.append((losses, torch.isin(targets, wanted).flatten(), torch.isin(inputs, wanted).flatten()))
    if not parts:
        return UnseenTokenLoss(None, None, None, 0)
    loss, itself, after = (torch.cat(column) for column in zip(*parts, strict=True))
    return UnseenTokenLoss(_mean(loss[itself]), _mean(loss[after & ~itself]), _mean(loss[~itself & ~after]), seen)


def _mean(losses: Tensor) -> float | None:
    """The mean of `losses` [n]; None if it is empty."""
    return float(losses.double().mean()) if len(losses) else None


def _most(times: Counts) -> list[int]:
    """The indices of the largest counts above 0, largest first, at most MOST_SHOWN."""
    order = np.argsort(-times, kind="stable")[:MOST_SHOWN]
    return [int(i) for i in order if times[i] > 0]
