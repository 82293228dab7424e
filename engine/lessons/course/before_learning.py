"""Lesson 2. The loss before the first step: what random scores believe, and what a loss in nats feels like."""

from __future__ import annotations

import math
from functools import partial

from ...runs.run import Run
from ..poll import Choice, Number
from .measures import LOSS, baselines, first, last, points, run_of, which
from .scene import Act, Again, Do, Lesson, Look, Measured, Outcome, Predict, Training

EXACT = 1e-4
"""Nats: closer than this a loss is at a line, for a first loss in float32."""
WITHIN = 500
"""Steps that the task leaves."""
FEW = 20  # losses that are averaged in the task


def first_loss(outcome: Outcome, places: tuple[str, ...]) -> Measured:
    """Where the first loss lies: at the line of guessing, below it, above it, or at 0, in the order of `places`."""
    run = run_of(outcome)
    loss, guessing = first(run), baselines(run).uniform
    at, nothing = abs(loss - guessing) < EXACT, abs(loss) < EXACT
    held = {"guessing": at, "below": loss < guessing - EXACT and not nothing, "above": loss > guessing + EXACT}
    answer = which(**{place: (held | {"zero": nothing})[place] for place in places})
    return Measured(answer, {"first": loss, "guessing": guessing, "characters": run.corpus.vocab_size})


def choices_at_first(outcome: Outcome) -> Measured:
    """Between how many equally likely characters the model hesitates before it learns."""
    run = run_of(outcome)
    return Measured(math.exp(first(run)), {"loss": first(run), "choices": math.exp(first(run))})


def choices_at_last(outcome: Outcome) -> Measured:
    """The same after training, from the mean of the last hundred losses."""
    run = run_of(outcome)
    loss = last(run, LOSS, 100)
    return Measured(math.exp(loss), {"loss": loss, "choices": math.exp(loss), "steps": run.step})


def below_guessing(run: Run) -> bool:
    """Has the mean of a few losses come below guessing in time?"""
    if run.step < FEW:
        return False
    found = points(run)
    early = found.values[found.steps <= WITHIN]
    means = [early[at : at + FEW].mean() for at in range(0, len(early) - FEW + 1, FEW)]
    return bool(means) and min(means) < baselines(run).uniform


UNSURE = Predict(
    "How unsure is that?",
    "A loss can be told as a number of choices. With all scores at 0, between how many equally likely characters does "
    "the model hesitate?",
    Number(1, 200, "characters", log=True),
    Training("preset=bigram&first_weights=zeros&max_steps=1&speed=1"),
    choices_at_first,
    "Between {choices:.0f}: every character that this text has. The loss of {loss:.3f} nats is the natural logarithm "
    "of {choices:.0f}. A loss is the logarithm of a number of choices.",
)

LESSON = Lesson(
    2,
    "before-learning",
    "What it believes before it has learnt",
    10,
    "say what a loss of so many nats means, and why random scores are worse than knowing nothing",
    (
        Look(
            "The price of a surprise",
            "This model is a bigram: it reads one character, looks up that character's row in a table of scores, and "
            "makes probabilities of them for what comes next; a higher score is a higher probability. Then it sees "
            "what came. Its loss is the price of the surprise, −ln of the probability that it gave to what came, in "
            "nats: 0 if it was certain and right, 0.69 if it gave one half, 4.6 if it gave one in a hundred. Giving "
            "all characters the same costs the logarithm of their number: that is guessing, the upper dashed line.",
        ),
        Predict(
            "The first loss",
            "Nothing has been learnt yet. The scores in the table are random numbers. Where is the first loss?",
            Choice(("At the line of guessing", "Below it", "Above it", "At 0")),
            Training("preset=bigram&max_steps=1&speed=1"),
            partial(first_loss, places=("guessing", "below", "above", "zero")),
            "It is {first:.2f}, and guessing among {characters} characters costs {guessing:.2f}. Random scores are "
            "opinions that nothing supports. Where they happen to be sure and wrong they pay a high price, and being "
            "sure and right saves less than that.",
            {
                0: "It would be, if all scores were equal. Random scores differ: this model already has favourites.",
                1: "Below guessing is whoever knows something. These numbers know nothing of the text.",
                3: "A loss of 0 is the price of being certain and right, each time.",
            },
        ),
        Predict(
            "All scores at 0",
            "The same table with every score at 0. Where is the first loss now?",
            Choice(("At 0: nothing is wrong yet", "At the line of guessing", "Below it", "Above it, as before")),
            Training("preset=bigram&first_weights=zeros&max_steps=1&speed=1"),
            partial(first_loss, places=("zero", "guessing", "below", "above")),
            "It is {first:.4f}, and the line is at {guessing:.4f}. Equal scores are equal probabilities, one in "
            "{characters} each: whoever knows nothing and says so pays exactly the price of guessing.",
            {
                0: "A score of 0 is not a loss of 0. Only the differences between scores count, and here there are "
                "none.",
                2: "To be below one must know something of the text.",
                3: "That was the price of opinions. Equal scores hold none.",
            },
        ),
        UNSURE,
        Do(
            "Leave guessing behind",
            "At a learning rate of 0.001 the table learns slowly. Bring the loss below the line of guessing within "
            f"{WITHIN} steps. If it was too late, reset and try again.",
            below_guessing,
            "Raise the learning rate to 0.03 early on.",
            (Act(20), Act(150, {"lr": 0.03})),
            Training("preset=bigram&lr=0.001&max_steps=2000&speed=10"),
        ),
        Again(
            "And after learning?",
            UNSURE.title,
            Predict(
                "And after learning?",
                "Now the table learns for 1,000 steps at a rate of 0.1. Between how many equally likely characters "
                "does it still hesitate?",
                UNSURE.kind,
                Training("preset=bigram&lr=0.1&max_steps=1000&speed=100"),
                choices_at_last,
                "Between about {choices:.0f}. The loss is {loss:.2f} after {steps:,} steps. Knowing one character "
                "leaves about {choices:.0f} for the next: after q comes u, but after a blank anything may come.",
            ),
        ),
    ),
)
