"""Lesson 10. Rows of a table as arrows: which are alike, what that means, and sums of words."""

from __future__ import annotations

from functools import partial

import torch

from ...errors import InputError
from ...models.base import LanguageModel
from ...runs.run import Run
from ...training.projection import centred, cosines, neighbours
from ..poll import Choice
from ..word_relations import Relation, word_relations
from .measures import model_of, run_of, which
from .scene import Again, Lesson, Look, Measured, Outcome, Predict, Training

PAGE = "embeddings"
LINK = "preset=bigram&lr=0.01&max_steps=3000&speed=1000"
TO_E, TO_1 = ("t", "E", "r", "q"), (",", "5", "q", "l")
"""Whose rows are compared with those of e and of 1."""
ALIKE, UNLIKE = 0.5, -0.5
"""Cosines from which two arrows count as pointing the same way, and opposite ways."""


def nearest(outcome: Outcome, asked: str, offered: tuple[str, ...]) -> Measured:
    """Which of the `offered` characters has the row most like that of `asked`; the four nearest of all."""
    run = run_of(outcome)
    table, ids = _rows(run), {token: i for i, token in enumerate(run.corpus.tokenizer.vocab)}
    alike = cosines(table)[ids[asked]]
    told = [float(alike[ids[one]]) for one in offered]
    found = neighbours(table, table[ids[asked]], leave_out=[ids[asked]])[:4]
    facts = {f"to_{place}": value for place, value in enumerate(told)}
    facts["nearest"] = ", ".join(run.corpus.tokenizer.vocab[one.row] for one in found)  # type: ignore[assignment]
    return Measured(told.index(max(told)), facts)


def opposites(_: Outcome) -> Measured:
    """How the rows of hot and cold lie to each other, before and after training."""
    hot = _relation("hot", "cold")
    answer = which(opposite=hot.after <= UNLIKE, alike=hot.after >= ALIKE, unlike=UNLIKE < hot.after < ALIKE)
    return Measured(answer, {"before": hot.before, "after": hot.after, "synonyms": _relation("big", "large").after})


def king_and_queen(_: Outcome) -> Measured:
    """What is nearest to king − man + woman after training, its own three words not left out."""
    (first, cosine), (second, less), *_rest = word_relations().sum_all
    equal = cosine > 0.999
    answer = which(
        equal=first == "queen" and equal,
        back=first in ("king", "man", "woman"),
        near=first == "queen" and not equal,
        other=first not in ("king", "man", "woman", "queen"),
    )
    facts = {"first": first, "cosine": cosine, "second": second, "less": less, "before": word_relations().sum_before[0]}
    return Measured(answer, facts)


def _relation(one: str, other: str) -> Relation:
    return next(pair for pair in word_relations().relations if (pair.one, pair.other) == (one, other))


def _rows(run: Run) -> torch.Tensor:
    model = model_of(run)
    if not isinstance(model, LanguageModel):
        raise InputError("the question is about a table of characters; start a bigram")
    return centred(model.token_embedding.weight)


NEAREST = Predict(
    "Whose row is like that of e?",
    "Each row of the table says what follows a character. Seen as an arrow, a row points somewhere, and two rows are "
    "alike if they point the same way. A bigram trains for 3,000 steps. Whose row will be most like that of e?",
    Choice(("t, which often stands beside it", "E, the same letter", "r", "q")),
    Training(LINK),
    partial(nearest, asked="e", offered=TO_E),
    "That of r, with a cosine of {to_2:.2f}. The nearest of all are {nearest}. Rows are alike if the same characters "
    "follow: after e as after r comes a blank, or one of the same few letters. The model has never seen what a letter "
    "looks or sounds like.",
    {
        0: "To stand beside each other is not to be followed by the same. For t it is {to_0:.2f}.",
        1: "To the model e and E are two signs like any others. After E comes another capital letter or the rest of a "
        "name; the cosine is {to_1:.2f}.",
        3: "After q comes u and nothing else: its row points away from most, {to_3:.2f} here.",
    },
    PAGE,
)

LESSON = Lesson(
    10,
    "words-as-arrows",
    "Words as arrows",
    10,
    "say when two rows are alike and what that means, and what it does not mean",
    (
        Look(
            "A row is an arrow",
            "A row of the table is a list of numbers. Take it as an arrow: the cosine of two arrows is 1 if they point "
            "the same way, 0 if one says nothing about the other, and −1 if they are opposite. What all rows share is "
            "taken away first, as all would be alike otherwise. Before training the arrows point anywhere.",
            page=PAGE,
        ),
        NEAREST,
        Predict(
            "Hot and cold",
            "Now tokens are words. A bigram of words has learnt from short sentences, such as “we had hot tea” and “we "
            "had cold milk”. No sentence has both hot and cold. How do the arrows of hot and cold lie to each other?",
            Choice(("Opposite: a cosine near −1", "Nearly the same: near 1", "Unlike: near 0")),
            None,
            opposites,
            "Nearly the same: {after:.2f}, and {before:.2f} before training. Hot and cold mean opposite things, and "
            "the same words follow them. For big and large, which mean the same, it is {synonyms:.2f}. Rows tell how a "
            "word is used. Whether two words agree or disagree they do not tell.",
            {
                0: "Opposite meanings are not opposite uses: one says hot tea and cold tea.",
                2: "They never stand in one sentence, and yet they are used alike: both come before tea, milk and "
                "soup.",
            },
            PAGE,
        ),
        Predict(
            "King − man + woman",
            "In the same sentences a king and a man do something himself, a queen and a woman herself; a king and a "
            "queen rule, a man and a woman work. Take the arrow of king, less that of man, plus that of woman. Where "
            "does it end?",
            Choice(
                (
                    "Exactly at queen",
                    "Back at one of the three words",
                    "Nearest to queen, and not at it",
                    "At some other word",
                )
            ),
            None,
            king_and_queen,
            "Nearest to {first}, with a cosine of {cosine:.2f}; second comes {second} with {less:.2f}. A sum of arrows "
            "carries over what two words have in common. It is no arithmetic of meanings: it comes near, and often "
            "only because the three words themselves are left out of the comparison.",
            {
                0: "It would be so if being royal and being female were two separate parts of each row. They overlap.",
                1: "That is where it often ends in large tables, and why the three words are usually left out. Here it "
                "is close: {second} comes second with {less:.2f}.",
                3: "Before training it did: {before} was the nearest.",
            },
            PAGE,
        ),
        Again(
            "And the digit 1?",
            NEAREST.title,
            Predict(
                "And the digit 1?",
                "The same trained bigram of characters. Whose row is most like that of the digit 1?",
                Choice(("The comma", "The digit 5", "q, as rare as a digit", "l, which looks like it")),
                Training(LINK),
                partial(nearest, asked="1", offered=TO_1),
                "That of 5, with {to_1:.2f}; the nearest of all are {nearest}. What follows one digit follows the "
                "others: more digits, a full stop, a blank. Nobody told the model that these are digits.",
                {
                    0: "A comma is followed by a blank or a new line; a digit mostly is not. The cosine is {to_0:.2f}.",
                    2: "How often a character comes is one thing, what follows it another. The cosine is {to_2:.2f}.",
                    3: "The model does not see shapes. For it characters are numbers in a list; the cosine is "
                    "{to_3:.2f}.",
                },
                PAGE,
            ),
        ),
    ),
)
