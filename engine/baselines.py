"""The entropy ladder: what a loss means, from counting the text alone.

Knows nothing of models. Everything is in nats per token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.corpus import Corpus

_CHUNK = 4_000_000  # tokens counted at once


@dataclass(frozen=True)
class Baselines:
    """Losses that a model's loss can be held against, nats per token.

    uniform: guessing, ln(vocab_size). unigram: knowing how often each character comes in the training text.
    bigram: knowing which character follows which in the training text, the floor for any bigram there.
    pairs: how many different pairs of neighbours the training text has.
    """

    uniform: float
    unigram: float
    bigram: float
    pairs: int

    @classmethod
    def of(cls, corpus: Corpus) -> Baselines:
        """Count the training split of `corpus`; nan where it is too short to say (no token, no pair)."""
        singles, pairs = counts(corpus.train.numpy(), corpus.distinct)
        firsts = np.bincount(pairs[0] // corpus.distinct, weights=pairs[1], minlength=1)
        return cls(
            uniform=math.log(corpus.distinct),
            unigram=entropy(singles),
            bigram=entropy(pairs[1]) - entropy(firsts),
            pairs=len(pairs[0]),
        )


Counts = npt.NDArray[np.int64]


def counts(ids: npt.NDArray[np.integer], vocab_size: int) -> tuple[Counts, tuple[Counts, Counts]]:
    """How often each token comes, [vocab_size], and each pair that comes at all: (first * V + second, count)."""
    singles = np.zeros(vocab_size, dtype=np.int64)
    pairs: dict[int, int] = {}
    for start in range(0, len(ids), _CHUNK):
        part = ids[start : start + _CHUNK + 1].astype(np.int64)
        singles += np.bincount(part[:_CHUNK], minlength=vocab_size)
        for pair, count in zip(*np.unique(part[:-1] * vocab_size + part[1:], return_counts=True), strict=True):
            pairs[int(pair)] = pairs.get(int(pair), 0) + int(count)
    order = sorted(pairs)
    return singles, (np.array(order, dtype=np.int64), np.array([pairs[pair] for pair in order], dtype=np.int64))


def entropy(counted: npt.NDArray[np.number]) -> float:
    """The entropy of the distribution that `counted` gives, nats; nan where nothing was counted."""
    total = counted.sum()
    if total <= 0:
        return math.nan
    share = counted[counted > 0] / total
    return float(-(share * np.log(share)).sum())
