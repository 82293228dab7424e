"""Lesson 4. How large a step: bets on a learning rate, all of them trained, and the curve of loss against rate."""

from __future__ import annotations

import numpy as np

from ...runs.run import Run
from ...sweeps.sweep import best_point, spaced_values
from ..poll import Choice, Number
from .measures import result_of, smoothed, step_below, sweep_of, which
from .scene import Act, Again, Bets, Do, Lesson, Look, Measured, Outcome, Predict, Training, WhatIf

OWN = tuple(spaced_values(1e-4, 10, 16))
"""Rates that are trained whatever the room bets, so that the whole curve is there."""
ALIKE = 0.05
"""Nats: a rate ten times too large and one ten times too small cost the same if they differ by less."""
LOW, IN_TIME, FEW = 2.5, 300, 20


def best_rate(outcome: Outcome) -> Measured:
    """The rate with the lowest loss, and what a low and a high rate came to."""
    sweep = sweep_of(outcome)
    found = sweep.points()
    best = best_point(found)
    assert best is not None, "a bigram with a rate of 0.0001 does not diverge"
    facts = {
        "best": best.value,
        "lowest": best.loss,
        "low": found[0].value,
        "at_low": found[0].loss,
        "high": found[-1].value,
        "at_high": found[-1].loss,
        "steps": sweep.step,
        "bets": len(found),
    }
    return Measured(best.value, facts)


def ten_times_wrong(outcome: Outcome) -> Measured:
    """What ten times the best rate costs, and what a tenth of it does, read off the curve."""
    found = [point for point in sweep_of(outcome).points() if point.diverged_at is None]
    best = best_point(found)
    assert best is not None
    rates, losses = np.log([point.value for point in found]), [point.loss for point in found]
    small, large = (float(np.interp(np.log(best.value) + by, rates, losses)) for by in (-np.log(10), np.log(10)))
    answer = which(large=large > small + ALIKE, same=abs(large - small) <= ALIKE, small=small > large + ALIKE)
    return Measured(answer, {"small": small, "large": large, "lowest": best.loss, "best": best.value})


def falling_at_the_end(outcome: Outcome) -> Measured:
    """Which of two runs ends lower: at a constant rate, or at one that falls to 0 at the end."""
    numbers = result_of(outcome).numbers
    constant, falling = numbers["constant"], numbers["falling"]
    answer = which(
        falling=falling < 0.9 * constant, constant=falling > 1.1 * constant, same=0.9 <= falling / constant <= 1.1
    )
    return Measured(answer, {"constant": constant, "falling": falling, "times": constant / falling})


def low_in_time(run: Run) -> bool:
    """Has the mean of a few losses come low enough in time?"""
    if run.step < FEW:
        return False
    there = step_below(smoothed(run, FEW), LOW)
    return there is not None and there <= IN_TIME


BET = Predict(
    "Bet a learning rate",
    "A bigram is trained for 1,000 steps with AdamW. Bet a learning rate: the lowest loss wins, on text that was put "
    "aside and is not trained on. Every bet is trained, all of them on the same batches.",
    Number(1e-4, 10, log=True),
    Bets(1000, OWN),
    best_rate,
    "The lowest loss, {lowest:.2f}, came at a rate of {best:g}. At {low:g} it was still {at_low:.2f}: so small are the "
    "steps that it has not arrived. At {high:g} it was {at_high:.2f}: each step carries the weights far past the place "
    "where the slope was measured. In between lies a wide valley.",
)

LESSON = Lesson(
    4,
    "how-large-a-step",
    "How large a step",
    12,
    "choose a learning rate, and say what too small and too large a rate look like",
    (
        Look(
            "The same rate for everybody?",
            "The slope says which way is down. The learning rate says how far to go in that direction before looking "
            "again. Here it is 0.001, the value one finds in many programmes. Watch how fast the loss comes down.",
            Training("preset=bigram&lr=0.001&max_steps=1000&speed=100"),
        ),
        BET,
        Predict(
            "Ten times too large, ten times too small",
            "One bigram gets ten times the best rate, one a tenth of it. Which loses more in 1,000 steps?",
            Choice(("The one with ten times the rate", "Both about as much", "The one with a tenth of the rate")),
            Bets(1000, OWN),
            ten_times_wrong,
            "The best loss is {lowest:.2f}. A tenth of the best rate came to {small:.2f}, ten times the rate to "
            "{large:.2f}. Here the small rate costs more, since 1,000 steps are too few for it. With no end to the "
            "steps it would be the other way round: the small one arrives, and the large one jumps about for ever.",
            {
                0: "A rate that is too large makes the loss jump about near the bottom. Under AdamW it seldom flies "
                "off, since most weights move by less than one rate.",
                1: "The valley is not symmetric: towards small rates it climbs to the loss of the untrained table.",
            },
        ),
        Do(
            "Faster than anybody",
            f"Bring the loss below {LOW:g} within {IN_TIME} steps. The rate begins at 0.001 and may be turned as often "
            "as you like. If it was too late, reset and try again.",
            low_in_time,
            "The best rate for few steps is larger than that for many: try 0.1.",
            (Act(20), Act(200, {"lr": 0.1})),
            Training("preset=bigram&lr=0.001&max_steps=1000&speed=10"),
        ),
        Predict(
            "A rate that falls",
            "Two bigrams train for 3,000 steps at 0.03. For one of them the rate falls to 0 over the last 1,200 steps. "
            "Which ends nearer to the floor, the lowest loss that a bigram can have here?",
            Choice(("The one whose rate falls", "The one whose rate stays", "Both about as near")),
            WhatIf("decay-at-the-end"),
            falling_at_the_end,
            "At a constant rate it ended {constant:.4f} above the floor, with the falling rate {falling:.4f}. Near the "
            "floor each step follows what one batch happens to hold. Smaller and smaller steps average that out. So "
            "one begins with a large rate and ends with a small one.",
            {
                1: "It goes farther in each step, but it has arrived long before. What it does at the end is to follow "
                "the chance of each batch.",
                2: "Both are near the floor, but what is left above it differs {times:.1f} times.",
            },
            "step",
        ),
        Again(
            "Only 50 steps",
            BET.title,
            Predict(
                "Only 50 steps",
                "Bet once more. Now there are 50 steps instead of 1,000.",
                BET.kind,
                Bets(50, OWN),
                best_rate,
                "Now {best:g} is best, with {lowest:.2f} after {steps} steps. Who has few steps must make large ones. "
                "A best rate belongs to a number of steps, to an optimizer and to a model: that is why it is tried "
                "out.",
            ),
        ),
    ),
)
