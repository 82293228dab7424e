"""A stretch of validation text to guess, and what counting and models say at the same places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import InputError
from ...generators import generator
from ...models.base import LanguageModel
from ...models.registry import build_language_model
from ...progress import Report, unheard
from ...storage import checkpoint_files, reader
from ...storage.reader import StoredRun
from ...text.bigram_counts import BigramCounts
from ...text.corpus import Corpus
from ...text.tokenizer import CharTokenizer
from ...training.sampling import evaluating
from .shannon import SMOOTHING, mean, surprise

LEAD = 120
"""Characters shown before the first that is to be guessed."""
LENGTH = 20
ROWS = 256  # positions that a model looks at together


@dataclass(frozen=True, eq=False)
class Passage:
    """`count` characters of the validation split of `corpus`, from place `first` on, with those before them to read."""

    corpus: Corpus
    first: int
    count: int

    @property
    def lead(self) -> str:
        """The text before it that everybody may read, from the start of a word."""
        text = self._text(max(0, self.first - LEAD), self.first)
        return text[text.find(" ") + 1 :] if self.first > LEAD and " " in text[:-1] else text

    @property
    def hidden(self) -> str:
        """What is to be guessed."""
        return self._text(self.first, self.first + self.count)

    @property
    def alphabet(self) -> tuple[str, ...]:
        """The characters to choose from: those of the text."""
        tokenizer = self.corpus.tokenizer
        return tuple(tokenizer.decode([token]) for token in range(tokenizer.vocab_size))

    def _text(self, start: int, end: int) -> str:
        return self.corpus.tokenizer.decode(self.corpus.val[start:end].tolist())


def choose_passage(corpus: Corpus, seed: int, count: int = LENGTH) -> Passage:
    """A passage that begins after a blank, another one for each `seed`.

    InputError for a text whose tokens are not characters, or whose validation split is too short.
    """
    if not isinstance(corpus.tokenizer, CharTokenizer):
        raise InputError(f"the tokens of {corpus.title} are not characters; choose a run whose tokenizer is 'char'")
    last = len(corpus.val) - count
    if last <= 1:
        raise InputError(
            f"the validation split has {len(corpus.val):,} characters, too few to guess {count}; choose a longer text"
        )
    start = int(torch.randint(min(LEAD, last - 1), last, (1,), generator=generator(seed, "passage")))
    ahead = corpus.tokenizer.decode(corpus.val[start:last].tolist())
    blank = ahead.find(" ")
    return Passage(corpus, start + blank + 1 if 0 <= blank < last - start else start, count)


class CountedFigures(NamedTuple):
    """Losses at each position, nats: of guessing, of letter frequencies, and of counted pairs."""

    guessing: list[float]
    letters: list[float]
    pairs: list[float]


def counted_figures(passage: Passage, smoothing: float = SMOOTHING) -> CountedFigures:
    """What a passage costs those who only count the training split.

    Counts are smoothed as a room's votes are. InputError for a vocabulary too large for a table of pairs.
    """
    corpus, size = passage.corpus, passage.corpus.vocab_size
    counts = BigramCounts.of(corpus)
    if counts is None:
        raise InputError(f"a vocabulary of {size:,} is too large for a table of pairs; choose a text of characters")
    singles = np.bincount(corpus.train.numpy(), minlength=size)
    after = counts.following.sum(axis=1)
    ids = corpus.val.tolist()
    places = range(passage.first, passage.first + passage.count)
    return CountedFigures(
        [surprise(0, 0, size) for _ in places],
        [surprise(float(singles[ids[at]]), float(singles.sum()), size, smoothing) for at in places],
        [
            surprise(float(counts.following[ids[at - 1], ids[at]]), float(after[ids[at - 1]]), size, smoothing)
            for at in places
        ],
    )


def model_losses(model: LanguageModel, data: Tensor, places: Sequence[int]) -> list[float]:
    """The loss of `model` at each of the `places` of `data` [n], nats: -ln of its probability for the token there.

    It reads as many tokens before a place as it can, and as there are; a place has at least one before it.
    """
    losses: dict[int, float] = {}
    by_length: dict[int, list[int]] = {}
    for place in places:
        by_length.setdefault(min(model.context, place), []).append(place)
    with evaluating(model):
        for length, group in by_length.items():
            for start in range(0, len(group), ROWS):
                some = group[start : start + ROWS]
                inputs = torch.stack([data[place - length : place] for place in some]).long().to(model.device)  # (B, T)
                scores = model.logits(inputs)[:, -1]  # (B, C)
                targets = data[some].long().to(model.device)
                found = F.cross_entropy(scores, targets, reduction="none").double().tolist()
                losses.update(zip(some, found, strict=True))
    return [losses[place] for place in places]


class StoredFigure(NamedTuple):
    """The model's mean loss on a passage with the weights that it had after so many steps."""

    step: int
    loss: float


def stored_figures(run: StoredRun, passage: Passage, report: Report = unheard) -> Iterator[StoredFigure]:
    """The figure of a stored run at each of its snapshots, the earliest first; its text must be that of the passage.

    `report` is told how far it is; what it raises ends it. A snapshot that cannot be read is left out.
    """
    config, _ = reader.configuration(run)
    model = build_language_model(config, passage.corpus.vocab_size)
    places = range(passage.first, passage.first + passage.count)
    folder = run.folder / "snapshots"
    steps = checkpoint_files.steps(folder)
    for done, step in enumerate(steps):
        report("asking the model", done, len(steps))
        weights = checkpoint_files.weights_of(folder, step)
        if weights:  # else it is broken, or was thinned out meanwhile
            model.load_weights(weights)
            yield StoredFigure(step, mean(model_losses(model, passage.corpus.val, places)))


def overtakes(figures: Sequence[StoredFigure], loss: float) -> int | None:
    """The first stored step at which the model's figure is below `loss`; None where it never is."""
    return next((figure.step for figure in figures if figure.loss < loss), None)
