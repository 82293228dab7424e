"""The game alone: guess each character until it is right; how many guesses each took is all that is kept."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import InputError
from .passage import Passage
from .shannon import Bounds, entropy_bounds, mean, rank_losses


class Alone:
    """One person's game on a passage: `ranks` are the guesses that each character so far has taken."""

    def __init__(self, passage: Passage) -> None:
        self.passage = passage
        self.ranks: list[int] = []
        self.tried: list[str] = []
        """What was guessed wrongly at the place that is open now."""
        self.told = 0
        """How many characters were shown before they were guessed."""

    @property
    def done(self) -> bool:
        """Has the whole passage been guessed?"""
        return len(self.ranks) == self.passage.count

    @property
    def left(self) -> list[str]:
        """The characters that can still be the next one, in the order of the alphabet."""
        return [one for one in self.passage.alphabet if one not in self.tried]

    def guess(self, character: str) -> bool:
        """Is `character` the next one? InputError for one that was tried, or is none of this text, or after the end."""
        if self.done:
            raise InputError("this passage has been guessed to its end; take another one")
        if character not in self.left:
            raise InputError(f"{character[:1]!r} was tried before, or is no character of this text; choose another one")
        if character != self.passage.hidden[len(self.ranks)]:
            self.tried.append(character)
            return False
        self.ranks.append(len(self.tried) + 1)
        self.tried = []
        return True

    def show(self) -> None:
        """Give the open place up: the character counts as the last of those that were left."""
        self.told += 1
        self.ranks.append(len(self.passage.alphabet))
        self.tried = []

    @property
    def loss(self) -> float:
        """This person's figure so far, nats per character; InputError before the first character."""
        return mean(rank_losses(self.ranks, len(self.passage.alphabet)))

    @property
    def bounds(self) -> Bounds:
        """Shannon's bounds from what was guessed so far; InputError before the first character."""
        return entropy_bounds(self.ranks)


def in_groups(alphabet: Sequence[str]) -> list[str]:
    """Characters as a keyboard has them: small letters, blanks, signs, capitals, figures."""

    def group(character: str) -> int:
        tests = (str.islower, str.isspace, lambda one: not one.isalnum(), str.isupper)
        return next((place for place, test in enumerate(tests) if test(character)), len(tests))

    return sorted(alphabet, key=lambda one: (group(one), one))
