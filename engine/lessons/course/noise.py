"""Lesson 7. Noise: what a batch knows of the text, how much work halves the noise, and whether each step helps."""

from __future__ import annotations

import math

import numpy as np

from ...runs.run import Run
from ..experiments.batches import scatter_of
from ..poll import Choice, Number
from .measures import LOSS, points, result_of, which
from .scene import Act, Again, Do, Lesson, Measured, Outcome, Predict, Training, WhatIf

PAGE = "step"
SEVERAL = 100
"""Losses in a row from which the scatter is told."""
QUIET = 0.1
"""Nats: the scatter that the task asks for."""


def which_is_alone(outcome: Outcome) -> Measured:
    """Which curve scatters most, and how much all do; their order is that of the chart."""
    numbers = result_of(outcome).numbers
    scatter = {name.removeprefix("scatter_"): value for name, value in numbers.items()}
    answer = which(**{f"windows_{size}": size == "1" for size in scatter})
    facts = {f"scatter_{size}": value for size, value in scatter.items()}
    return Measured(answer, facts)


def work_for_half(outcome: Outcome) -> Measured:
    """How many times as many windows halve the noise of a gradient."""
    numbers = result_of(outcome).numbers
    times = 2 ** (-1 / numbers["power"])
    doublings = round(math.log2(times))
    answer = which(sixteen=doublings >= 4, two=doublings <= 1, eight=doublings == 3, four=doublings == 2)
    facts = {
        "power": numbers["power"],
        "times": times,
        "angle_1": numbers["angle_1"],
        "angle_256": numbers["angle_256"],
    }
    return Measured(answer, facts)


def noise_at_last(outcome: Outcome) -> Measured:
    """How many times smaller the noise of 256 windows is than that of one."""
    numbers = result_of(outcome).numbers
    times = numbers["sigma_1"] / numbers["sigma_256"]
    return Measured(times, {"times": times, "root": math.sqrt(256)})


def steps_that_raise(outcome: Outcome) -> Measured:
    """How often a step raises the loss that is plotted: of every hundred steps."""
    numbers = result_of(outcome).numbers
    facts = {name: 100 * share for name, share in numbers.items()}
    return Measured(facts["batch"], facts)


def is_quiet(run: Run) -> bool:
    """Do the last losses scatter by little?"""
    losses = points(run, LOSS).values if run.step >= SEVERAL else np.empty(0)
    return len(losses) >= SEVERAL and scatter_of(losses[-SEVERAL:].astype(float).tolist()) < QUIET


HALF = Predict(
    "Half the noise",
    "The slopes of a batch point near those of the whole text, and miss them by chance. How many times as many windows "
    "does a batch need, so that they miss by half as much?",
    Choice(("16 times as many", "Twice as many", "8 times as many", "4 times as many")),
    WhatIf("batch-sizes"),
    work_for_half,
    "{times:.1f} times as many came out: the noise falls as the number of windows to the power {power:.2f}, and one "
    "over the root would be −0.5. A batch of one window points {angle_1:.0f}° away from the slopes of the text, one of "
    "256 windows {angle_256:.0f}°. Half the noise costs four times the work, half of that sixteen times.",
    {
        0: "That is for a quarter of the noise: two halvings, four times the work each.",
        1: "Twice as many windows average twice as many errors, but errors partly cancel: a mean of n of them shrinks "
        "with the root of n.",
        2: "The noise shrinks with the root of the number: 8 times as many windows make it almost a third.",
    },
    PAGE,
)

LESSON = Lesson(
    7,
    "noise",
    "Noise",
    10,
    "say why the loss jumps about, what a larger batch buys, and what it costs",
    (
        Predict(
            "Which one read a single window?",
            "Four models learn at the same rate from the same text. They differ in how many windows of 8 characters "
            "they read at each step: 256, 32, 8, or only one. Which curve is that of one window?",
            Choice(("A", "B", "C", "D")),
            WhatIf("batch-losses", unnamed=True),
            which_is_alone,
            "B: from one step to the next it scatters by {scatter_1:.2f} nats, and the curve of 256 windows by "
            "{scatter_256:.3f}. A loss is a mean over the characters of its batch. Eight characters may happen to be "
            "easy or hard; two thousand are nearly the text.",
            {
                0: "A is the one with 8 windows, 64 characters: its scatter is {scatter_8:.2f}.",
                2: "C is the one with 32 windows, 256 characters: its scatter is {scatter_32:.2f}.",
                3: "D is the one with 256 windows: its losses are nearly those of the whole text.",
            },
            PAGE,
        ),
        HALF,
        Predict(
            "Does each step help?",
            "Batches of 32 windows, a rate of 0.001, 300 steps from the start. Of every hundred steps, how many plot a "
            "higher loss than the step before?",
            Number(0, 100, "of 100 steps"),
            WhatIf("every-step-better"),
            steps_that_raise,
            "{batch:.0f} of 100. And yet the loss on the whole text rose at {text:.0f} of 100: the model got better, "
            "and the next batch was a harder one. Near the floor, at a rate of 0.01, it is otherwise: there the model "
            "itself got worse at {text_near:.0f} of 100 steps.",
            page=PAGE,
        ),
        Do(
            "Calm the curve",
            "One window a step, and the loss jumps. Make it calm: from one step to the next it should scatter by less "
            f"than {QUIET:g} nats, {SEVERAL} steps long. Turn the batch size while it runs.",
            is_quiet,
            "Set the batch size to 128, and wait for a hundred steps.",
            (Act(150), Act(150, {"batch_size": 128})),
            Training("preset=bigram&batch_size=1&lr=0.01&max_steps=20000&speed=100"),
        ),
        Again(
            "From 1 to 256",
            HALF.title,
            Predict(
                "From 1 to 256",
                "A batch of 256 windows costs 256 times the work of one window. How many times smaller is the noise of "
                "its slopes?",
                Number(1, 256, "times", log=True),
                WhatIf("batch-sizes"),
                noise_at_last,
                "{times:.0f} times smaller came out; the root of 256 is {root:.0f}. So one uses batches as large as "
                "the machine works through at once, and no larger: past that, more steps are the better use of the "
                "work.",
                page=PAGE,
            ),
        ),
    ),
)
