"""Counts of the pairs in the training text, and how far a bigram's table is from them.

These frequencies are all that a bigram can learn, so the distance is what training has left to gain.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .baselines import conditional_entropy, count_pairs
from .corpus import Corpus

MOST_TOKENS = 1024
"""Vocabularies up to this size have a dense table of pairs, at most 8 MiB."""


class BigramCounts:
    """The pairs of neighbours in a training split of n tokens: C tokens in the vocabulary, n - 1 pairs.

    following: int64 (C, C), how often token j comes right after token i. floor: its conditional entropy, nats per
    token, the lowest loss that any bigram can have on the training split.
    """

    def __init__(self, following: npt.NDArray[np.int64]) -> None:
        self.following = following
        firsts, seconds = following.nonzero()
        often = following[firsts, seconds]
        self.floor = conditional_entropy(firsts.astype(np.int64), often)
        self._pairs = torch.from_numpy(firsts * following.shape[1] + seconds)  # (P,), the pairs that occur
        self._share = torch.from_numpy(often / max(1, often.sum()))  # (P,), float64, sums to 1
        self._firsts = torch.from_numpy(following.sum(axis=1) / max(1, often.sum()))  # (C,), float64

    @classmethod
    def of(cls, corpus: Corpus) -> BigramCounts | None:
        """The pairs of `corpus`, cached for the last text; None where the vocabulary is above MOST_TOKENS."""
        return _counted(corpus) if corpus.vocab_size <= MOST_TOKENS else None

    def conditional_probabilities(self) -> npt.NDArray[np.float64]:
        """(C, C): the probability of token j after token i; a row of zeros where nothing follows."""
        totals = self.following.sum(axis=1, keepdims=True)
        shares: npt.NDArray[np.float64] = self.following / np.maximum(totals, 1)
        return shares

    def divergence(self, table: Tensor) -> float:
        """Channel `kl`: the KL divergence of the text's next tokens from the rows of logits `table` (C, C), in nats.

        Each row counts as often as its token comes, so this is exactly the bigram's mean loss over the n - 1 targets
        of the training split, less `floor`: 0 for a table that matches the text exactly.
        """
        table = table.detach()
        table = table.cpu() if table.device.type == "mps" else table  # Apple's GPU has no float64
        pairs, share, firsts = (t.to(table.device) for t in (self._pairs, self._share, self._firsts))
        scores = table.flatten()[pairs].double()
        loss = (firsts * table.logsumexp(dim=1).double()).sum() - (share * scores).sum()
        return float(loss) - self.floor

    def divergences(self, table: Tensor) -> npt.NDArray[np.float64]:
        """(C,): the KL divergence of each row of logits `table` (C, C) alone, in nats; nan where nothing follows."""
        log_given = np.log(
            self.conditional_probabilities(), where=self.following > 0, out=np.zeros(self.following.shape)
        )
        log_model = F.log_softmax(table.detach().cpu().double(), dim=1).numpy()
        rows = (self.conditional_probabilities() * (log_given - log_model)).sum(axis=1)
        return np.where(self.following.sum(axis=1) > 0, rows, np.nan)


@lru_cache(maxsize=1)
def _counted(corpus: Corpus) -> BigramCounts:
    size = corpus.vocab_size
    _, pairs, often = count_pairs(corpus.train.numpy(), size)
    following = np.zeros(size * size, dtype=np.int64)
    following[pairs] = often
    return BigramCounts(following.reshape(size, size))
