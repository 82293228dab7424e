"""What guesses say of a text's entropy: Shannon's bounds from ranks, and the surprise of a room that votes.

Plain data in, plain data out; all figures in nats per character.

Source of the bounds: C. E. Shannon, "Prediction and Entropy of Printed English", Bell System Technical Journal 30
(1951) 50–64, there in bits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ...errors import InputError

SMOOTHING = 0.1
"""α: imaginary votes for each character of the vocabulary, so that no character is impossible."""


class Bounds(NamedTuple):
    """Between these two lies the entropy of the text for a guesser who is always right about what is likeliest."""

    lower: float
    upper: float


def entropy_bounds(ranks: Sequence[int]) -> Bounds:
    """Shannon's bounds from the number of guesses that each character took, 1 for the first; InputError for none.

    With q_i the share of characters that took i guesses, the most frequent number first, they are
    Σ i (q_i - q_{i+1}) ln i  and  -Σ q_i ln q_i. The upper one is the entropy of the ranks themselves, from which the
    text could be restored by a twin of the guesser. The lower one holds for an ideal guesser, who tries characters in
    the order of their probability; for people it is an estimate, and a few dozen characters make both rough.
    """
    if not ranks or min(ranks) < 1:
        raise InputError("there are no bounds without guesses: give the number that each character took, 1 or more")
    shares = [*sorted((count / len(ranks) for count in Counter(ranks).values()), reverse=True), 0.0]
    upper = -sum(share * math.log(share) for share in shares[:-1])
    lower = sum(place * (shares[place - 1] - shares[place]) * math.log(place) for place in range(1, len(shares)))
    return Bounds(lower, max(upper, 0.0))


def rank_losses(ranks: Sequence[int], vocab_size: int) -> list[float]:
    """What each character costs a person who needed that many guesses, by prices that were fixed beforehand.

    The i-th guess stands for the probability (V + 1) / (V i (i + 1)): half for the first, a sixth for the second, and
    so on; over the V characters they add up to 1. So the mean is a cross-entropy, like a model's, and fair for a few
    characters too. Shannon's bounds take their prices from the guesses themselves: for n characters they never exceed
    ln n, however bad the guesses.
    """
    return [math.log(vocab_size * rank * (rank + 1) / (vocab_size + 1)) for rank in ranks]


def surprise(right: float, votes: float, vocab_size: int, smoothing: float = SMOOTHING) -> float:
    """-ln((a + α) / (N + αV)): what a character costs of which `right` among `votes` were for it."""
    return -math.log((right + smoothing) / (votes + smoothing * vocab_size))


def room_surprises(
    votes: Sequence[Sequence[str]], passage: str, vocab_size: int, smoothing: float = SMOOTHING
) -> list[float]:
    """The room's surprise at each character of `passage`, from the characters that it voted for there.

    Their mean is the cross-entropy of the room's pooled belief, in which each vote counts the same. A position without
    a vote costs as much as guessing, ln V. InputError where votes and passage are not of one length.
    """
    if len(votes) != len(passage):
        raise InputError(f"there are votes at {len(votes)} positions and {len(passage)} characters; give one list each")
    return [
        surprise(sum(vote == right for vote in given), len(given), vocab_size, smoothing)
        for given, right in zip(votes, passage, strict=True)
    ]


def mean(losses: Sequence[float]) -> float:
    """The mean of the losses; InputError for none."""
    if not losses:
        raise InputError("there is no mean of nothing; play at least one character")
    return math.fsum(losses) / len(losses)
