"""Lesson 6. What must be cleared: gradients add up until zero_grad() throws them away."""

from __future__ import annotations

from ..poll import Choice, Drawing
from .measures import chart_curve, drawn, result_of, which
from .scene import Again, Lesson, Look, Measured, Outcome, Predict, WhatIf

PAGE = "step"
SHAPE = Drawing(first=0, last=1000, low=2.0, high=7.0, channel="without zero_grad")
ALIKE = 0.02
"""Nats: losses on the whole text that differ by less are alike."""


def never_cleared(outcome: Outcome) -> Measured:
    """The loss on the whole text of the loop without zero_grad."""
    result = result_of(outcome)
    left, kept = chart_curve(result, "without zero_grad"), chart_curve(result, "with zero_grad")
    lowest = min(left.y)
    facts = {
        "first": left.y[0],
        "lowest": lowest,
        "at": left.x[list(left.y).index(lowest)],
        "end": left.y[-1],
        "usual": kept.y[-1],
        "steps": left.x[-1],
    }
    return Measured(drawn(SHAPE, left.x, left.y), facts)


def forgiven(outcome: Outcome) -> Measured:
    """Is AdamW without zero_grad ahead, behind, first one and then the other, or the same?"""
    result = result_of(outcome)
    left, kept = chart_curve(result, "without zero_grad"), chart_curve(result, "with zero_grad")
    ahead = [a - b for a, b in zip(kept.y, left.y, strict=True)]  # above 0: without zero_grad is ahead
    answer = which(
        worse=max(ahead) <= ALIKE < -min(ahead),
        same=max(map(abs, ahead)) <= ALIKE,
        first_better=max(ahead) > ALIKE and ahead[-1] < -ALIKE,
        better=max(ahead) > ALIKE and ahead[-1] >= -ALIKE,
    )
    most = ahead.index(max(ahead))
    facts = {
        "at": kept.x[most],
        "early_with": kept.y[most],
        "early_without": left.y[most],
        "crossed": result.numbers["crossed"],
        "with": kept.y[-1],
        "without": left.y[-1],
        "steps": kept.x[-1],
    }
    return Measured(answer, facts)


def too_early(outcome: Outcome) -> Measured:
    """Does a loop learn that throws its slopes away before they are used?"""
    result = result_of(outcome)
    late = chart_curve(result, "zero_grad between backward and step")
    usual = chart_curve(result, "zero_grad after step")
    moved = result.numbers["moved_late"]
    answer = which(
        error=False,
        same=abs(late.y[-1] - usual.y[-1]) <= ALIKE,
        slower=moved > 0 and late.y[-1] > usual.y[-1] + ALIKE,
        nothing=moved == 0,
    )
    return Measured(answer, {"first": late.y[0], "end": late.y[-1], "usual": usual.y[-1], "moved": moved})


def places(outcome: Outcome) -> Measured:
    """Do the weights of loops differ that clear at three different places?"""
    numbers = result_of(outcome).numbers
    same = numbers["apart"] == 0 and bool(numbers["losses_equal"])
    answer = which(same=same, little=0 < numbers["apart"] <= 1e-4, much=numbers["apart"] > 1e-4)
    return Measured(answer, {"apart": numbers["apart"], "wrong": numbers["wrong"]})


PLACE = Predict(
    "One line too early",
    "Here zero_grad() stands between backward() and step(): the slopes are found, thrown away, and then the optimizer "
    "is called. What happens?",
    Choice(
        (
            "PyTorch stops with an error",
            "It learns as usual",
            "It learns, but more slowly",
            "It learns nothing, and nothing says so",
        )
    ),
    WhatIf("zero-grad-too-late"),
    too_early,
    "The loss began at {first:.4f} and ended at {end:.4f}, and the largest move of a weight is {moved:g}. In the right "
    "order it came down to {usual:.2f}. An optimizer passes over a weight without a slope; it does not ask why.",
    {
        0: "There is no error: a weight without a slope may be one that the loss did not use.",
        1: "The optimizer reads the slopes when it is called, and by then they are gone.",
        2: "There is nothing left to learn from, not even a little.",
    },
    PAGE,
)

LESSON = Lesson(
    6,
    "must-be-cleared",
    "What must be cleared",
    10,
    "say what zero_grad() does, where it may stand in a loop, and what happens without it",
    (
        Look(
            "Slopes add up",
            "backward() finds the slope of the loss in each weight and adds it to what is there already. That is "
            "useful for a batch that is worked through in parts. In a plain loop the slopes of the last step have done "
            "their work, and zero_grad() throws them away. Now leave it out.",
            page=PAGE,
        ),
        Predict(
            "Never cleared",
            "Plain gradient descent at a rate of 1, and nothing is ever cleared: each step uses the sum of all slopes "
            "so far. With zero_grad() the loss comes down evenly. Draw what it does without, over 1,000 steps.",
            SHAPE,
            WhatIf("no-zero-grad-sgd"),
            never_cleared,
            "It fell to {lowest:.2f} at step {at:,}, faster than it should, and was at {end:.2f} after {steps:,} "
            "steps; with zero_grad() it was {usual:.2f}. The sum still pushes where the slope was long ago. It works "
            "like a ball without friction: it rolls through the valley and up the other side.",
            page=PAGE,
        ),
        Predict(
            "Does AdamW forgive it?",
            "The same mistake under AdamW, at a rate of 0.003, over 3,000 steps. How is the loss without zero_grad(), "
            "beside the loss with it?",
            Choice(
                (
                    "Worse all the way",
                    "The same: AdamW divides by the size of the slopes",
                    "Better at first, then worse",
                    "Better all the way",
                )
            ),
            WhatIf("no-zero-grad-adamw"),
            forgiven,
            "At step {at:,} it was {early_without:.2f} without and {early_with:.2f} with zero_grad(). The curves cross "
            "near step {crossed:,.0f}, and after {steps:,} steps it is {without:.2f} against {with:.2f}. A mistake "
            "that looks like a gain at first is the kind that stays in a programme.",
            {
                0: "At first all batches agree on where down is, and a sum of slopes gets there sooner.",
                1: "AdamW does divide by their size, so that the steps do not grow. Their direction is still that of "
                "long ago.",
                3: "It is ahead up to about step {crossed:,.0f}. Near the floor the old slopes point past it.",
            },
            PAGE,
        ),
        PLACE,
        Again(
            "Three right places",
            PLACE.title,
            Predict(
                "Three right places",
                "One loop clears at the end of a step, one before the forward pass, one just before backward(). After "
                "100 steps, how do their weights compare?",
                Choice(("Equal to the last bit", "Nearly equal", "Clearly different")),
                WhatIf("zero-grad-places"),
                places,
                "Equal: the largest difference of a weight is {apart:g}. Between one step() and the next backward() "
                "nothing reads the slopes, so that any place there will do. The fourth place, between backward() and "
                "step(), ended {wrong:.2g} away.",
                {
                    1: "Nothing reads the slopes between step() and the next backward(): not even a rounding differs.",
                    2: "That holds for the wrong place alone, between backward() and step().",
                },
                PAGE,
            ),
        ),
    ),
)
