"""Lesson 5. The floor: how low a table of pairs can come, counting, and text that it has never seen."""

from __future__ import annotations

import numpy as np

from ...models.base import LanguageModel
from ...runs.run import Run
from ...training.evaluation import split_loss
from ..poll import Choice, Drawing, Number
from .measures import (
    DISTANCE,
    LOSS,
    baselines,
    counts,
    drawn,
    first,
    floor,
    last,
    loss_on_text,
    model_of,
    points,
    run_of,
    step_below,
    which,
)
from .scene import Act, Again, Do, Lesson, Measured, Outcome, Predict, Training

SAME = 0.01
"""Nats: two losses on a whole text that differ by less are the same for this lesson."""
NEAR, IN_TIME = 0.03, 3000
"""How far above the floor the task ends, nats, and the steps that it leaves."""
SHAPE = Drawing(first=0, last=2000, low=2.0, high=5.0)
LONG = "max_steps=5000&lr=0.03&schedule=linear&final_share=0"


def shape(outcome: Outcome) -> Measured:
    """The loss over the steps, and how much of the way was done in the first tenth."""
    run = run_of(outcome)
    found = points(run)
    start, end = first(run), last(run, LOSS, 100)
    tenth = found.values[(found.steps > run.step // 10 - 50) & (found.steps <= run.step // 10 + 50)].mean()
    facts = {
        "first": start,
        "end": end,
        "early": 100 * float(start - tenth) / (start - end),
        "tenth": run.step // 10,
        "floor": floor(run),
    }
    return Measured(drawn(SHAPE, found.steps, found.values), facts)


def end(outcome: Outcome) -> Measured:
    """The loss on the whole training text after the last step, and the floor."""
    run = run_of(outcome)
    loss = loss_on_text(run)
    pairs, characters = baselines(run).pairs, run.corpus.vocab_size
    facts = {
        "end": loss,
        "floor": floor(run),
        "steps": run.step,
        "pairs": pairs,
        "possible": characters**2,
        "length": run.corpus.characters,
    }
    return Measured(loss, facts)


def counted(outcome: Outcome) -> Measured:
    """The loss of somebody who counted the pairs, beside that of the trained table; both on the training text."""
    run = run_of(outcome)
    table = counts(run)
    shares = table.conditional_probabilities()
    seen = table.following > 0
    by_counting = float(-(table.following[seen] * np.log(shares[seen])).sum() / table.following.sum())
    trained = loss_on_text(run)
    answer = which(
        lower=by_counting < trained - SAME, higher=by_counting > trained + SAME, same=abs(by_counting - trained) <= SAME
    )
    return Measured(answer, {"counted": by_counting, "trained": trained, "steps": run.step})


def unseen(outcome: Outcome) -> Measured:
    """The exact losses on the training text and on the validation text."""
    run = run_of(outcome)
    model = model_of(run)
    assert isinstance(model, LanguageModel)
    corpus, block_size = run.corpus, run.config.block_size
    train, val = (split_loss(model, part, block_size) for part in (corpus.train, corpus.val))
    answer = which(higher=val > train + SAME, same=abs(val - train) <= SAME, lower=val < train - SAME)
    return Measured(answer, {"train": train, "val": val, "gap": val - train})


def near_the_floor(run: Run) -> bool:
    """Has the loss on the training text come near the floor in time?"""
    there = step_below(points(run, DISTANCE), NEAR)
    return there is not None and there <= IN_TIME


ENDS = Predict(
    "Where does it end?",
    "A bigram trains for 5,000 steps at a rate of 0.03, and towards the end the rate falls to 0, so that nothing jumps "
    "about any more. Where does the loss on the whole training text end?",
    Number(0, 4.5, "nats"),
    Training(f"preset=bigram&{LONG}&speed=1000"),
    end,
    "At {end:.3f}; the lowest dashed line is at {floor:.3f}. The model sees one character and no more, and after most "
    "characters several others do come. Even whoever knows exactly how often each of them comes pays {floor:.3f} on "
    "average. More steps do not change that: it is the floor of any bigram on this text.",
)

LESSON = Lesson(
    5,
    "the-floor",
    "The floor",
    12,
    "say why a bigram stops getting better, and read the gap between training and validation",
    (
        Predict(
            "Draw the loss",
            "A bigram is about to make 2,000 steps at a rate of 0.03. Draw the curve of its loss.",
            SHAPE,
            Training("preset=bigram&lr=0.03&max_steps=2000&speed=100"),
            shape,
            "It began at {first:.2f} and was near {end:.2f} at the end. The first {tenth:,} steps did {early:.0f} % of "
            "the way. What is common is learnt first, since it comes in every batch and all batches agree about it.",
        ),
        ENDS,
        Predict(
            "Counting instead",
            "Somebody trains nothing. She counts how often each character follows each other one in the training text, "
            "and predicts with these shares. How does her loss on that text compare with that of the table trained for "
            "5,000 steps?",
            Choice(("Hers is lower", "Hers is higher", "They are the same, to one hundredth")),
            Training(f"preset=bigram&{LONG}&speed=1000"),
            counted,
            "Counting gives {counted:.4f}, and the table has {trained:.4f} after {steps:,} steps. All that a bigram "
            "can learn is these shares. Training finds what counting finds, step by step; for a model that looks "
            "farther back there is too much to count.",
            {
                0: "It is lower by what the training has left to gain, and that is less than one hundredth by now.",
                1: "Nothing predicts the pairs of a text better than their own shares.",
            },
        ),
        Predict(
            "Text it has never seen",
            "A tenth of the play was put aside for validation. The same table is asked about it. How is its loss "
            "there, beside that on the text it learnt from?",
            Choice(("Higher", "The same, to one hundredth", "Lower")),
            Training(f"preset=bigram&{LONG}&speed=1000"),
            unseen,
            "On the training text it is {train:.3f}, on the validation text {val:.3f}: {gap:+.3f}. The table has "
            "learnt the habits of the language, and also the accidents of this text, which help only here. The "
            "difference is the gap. Where there is none, nothing was learnt by heart; that does not say that the model "
            "is good.",
            {
                1: "A table of pairs is too small to learn this text by heart, so that the gap is small. It is not 0.",
                2: "It can be, where the validation text is easier. This one is not.",
            },
        ),
        Do(
            "Down to the floor",
            f"Bring the loss on the training text to {NEAR:g} above the floor within {IN_TIME:,} steps. The chart of "
            "the distance says how far it is. A high rate is fast and jumps about; a low one is slow and settles.",
            near_the_floor,
            "Begin at 0.1. After 1,000 steps lower the rate to 0.01.",
            (Act(1000, {"lr": 0.1}), Act(1000, {"lr": 0.01})),
            Training("preset=bigram&lr=0.001&max_steps=10000&speed=100"),
            60.0,
        ),
        Again(
            "A shorter text",
            ENDS.title,
            Predict(
                "A shorter text",
                "The same 5,000 steps on a diary of 8,000 characters instead of a play of 66,000. Where does the loss "
                "on the training text end?",
                ENDS.kind,
                Training(f"preset=bigram&corpus=ferry-notebook&{LONG}&speed=1000"),
                end,
                "At {end:.3f}; its floor is {floor:.3f}. A short text has fewer different pairs, {pairs:,} of "
                "{possible:,}, so that its own counts are surer of themselves. That is no better knowledge of the "
                "language. What it is worth shows on other text: lesson 9.",
            ),
        ),
    ),
)
