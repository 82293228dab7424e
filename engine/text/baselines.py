"""Baseline losses to compare a model with, from counting the text alone. Everything is in nats per token."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .corpus import Corpus
from .tokenizer import Ids

Counts = npt.NDArray[np.int64]

_PIECE = 2**22  # tokens per counting pass
_DENSE = 1024  # vocabularies up to this size use a dense table of pairs, at most 8 MiB


@dataclass(frozen=True)
class Baselines:
    """Losses to compare a model's loss with, nats per token.

    uniform: guessing, ln(vocab_size). unigram: knowing how often each token occurs in the training text.
    bigram: knowing which token follows which in the training text, the lowest loss of any bigram there.
    pairs: how many different pairs of neighbours the training text has.
    """

    uniform: float
    unigram: float
    bigram: float
    pairs: int

    @classmethod
    def of(cls, corpus: Corpus) -> Baselines:
        """Count the training split of `corpus`; nan where it has no token or no pair."""
        singles, pairs, often = count_pairs(corpus.train.numpy(), corpus.vocab_size)
        return cls(
            uniform=math.log(corpus.vocab_size),
            unigram=entropy(singles),
            bigram=conditional_entropy(pairs // corpus.vocab_size, often),
            pairs=len(pairs),
        )


def count_pairs(ids: Ids, vocab_size: int) -> tuple[Counts, Counts, Counts]:
    """Count the tokens of `ids` [n], [vocab_size]; list the distinct pairs, first * vocab_size + second, sorted; and
    count each of these.
    """
    singles = np.zeros(vocab_size, dtype=np.int64)
    dense = vocab_size <= _DENSE
    pairs, often = np.empty(0, dtype=np.int64), np.zeros(vocab_size**2 if dense else 0, dtype=np.int64)
    for start in range(0, len(ids), _PIECE):
        piece = ids[start : start + _PIECE + 1].astype(np.int64)  # one more, for the pair across the cut
        singles += np.bincount(piece[:_PIECE], minlength=vocab_size)
        coming = piece[:-1] * vocab_size + piece[1:]
        if dense:
            often += np.bincount(coming, minlength=len(often))
        else:
            found, count = np.unique(coming, return_counts=True)
            pairs, place = np.unique(np.concatenate((pairs, found)), return_inverse=True)
            often = np.bincount(place, weights=np.concatenate((often, count))).astype(np.int64)
    if dense:
        pairs = np.flatnonzero(often)
        often = often[pairs]
    return singles, pairs, often


def entropy(counted: npt.NDArray[np.number[Any]]) -> float:
    """The entropy of the distribution with counts `counted`, nats; nan where nothing was counted."""
    total = counted.sum()
    if total <= 0:
        return math.nan
    share = counted[counted > 0] / total
    return float(-(share * np.log(share)).sum())


def conditional_entropy(firsts: Counts, often: Counts) -> float:
    """The entropy of the second token of a pair given the first, nats; nan without a pair.

    firsts: the first token of each distinct pair; often: how often the pair occurs.
    """
    if not len(often):
        return math.nan
    given_first = often / np.bincount(firsts, weights=often)[firsts]
    return float((often / often.sum() * -np.log(given_first)).sum())
