"""Lesson 1. A line through three points: what one step does, and why a learning rate can be too high."""

from __future__ import annotations

from ...analysis.least_squares import largest_stable_lr, residuals
from ...runs.run import Run
from ...text.points import read_points
from ..poll import Choice
from .measures import LOSS, first, last, points, run_of, step_below, value_at, which
from .scene import Act, Again, Do, Lesson, Look, Measured, Outcome, Predict, Training

PAGE = "first_steps"
CLOSE = 0.05
"""So near to a point that the line goes through it, for the eye."""
ARRIVED, IN_TIME = 0.001, 40
"""The loss and the steps of the task."""


def after_one_step(outcome: Outcome) -> Measured:
    """Where the line lies after the first step."""
    run = run_of(outcome)
    a, b = value_at(run, "parameter/a", 1), value_at(run, "parameter/b", 1)
    pairs = read_points(run.config.points)
    above = residuals(pairs, a, b)  # how far each point lies above the line
    through = all(abs(one) < CLOSE for one in above)
    answer = which(
        through=through,
        below=not through and min(above) > 0,
        beyond=not through and max(above) < 0,
        across=not through and min(above) <= 0 <= max(above),
    )
    lr = run.first_settings.lr
    then = sum(one**2 for one in above) / len(above)
    facts = {"a": a, "b": b, "slope_a": -a / lr, "slope_b": -b / lr, "first": first(run), "then": then}
    return Measured(answer, facts)


def around_the_edge(outcome: Outcome) -> Measured:
    """Does the loss fall, swing and settle, swing wider, or stay?"""
    run = run_of(outcome)
    losses = points(run).values
    a = points(run, "parameter/a").values
    swings = bool(((a[1:-1] - a[:-2]) * (a[2:] - a[1:-1]) < 0).mean() > 0.5)
    wider = bool(losses[-1] > losses[0])
    stays = bool(abs(losses[-1] - losses[0]) < 0.01 * losses[0])
    answer = which(
        arrives=not wider and not stays and not swings,
        settles=not wider and not stays and swings,
        wider=wider and not stays,
        stays=stays,
    )
    pairs = read_points(run.config.points)
    facts = {"first": first(run), "last": last(run), "steps": run.step, "lr": run.first_settings.lr}
    return Measured(answer, facts | {"edge": largest_stable_lr(pairs)})


def arrived(run: Run) -> bool:
    """Has the loss come low enough in time?"""
    there = step_below(points(run, LOSS), ARRIVED) if run.step else None
    return there is not None and there <= IN_TIME


EDGE = Predict(
    "Just above the edge",
    "Over all a and b the loss is a valley, with the best line at its bottom. At a rate of 0.17 the line still arrives "
    "there. Now the rate is 0.19, only a little more, and the line begins flat again. What does it do?",
    Choice(
        (
            "It arrives a little sooner",
            "It swings to and fro, less each time, and arrives",
            "It swings to and fro, wider each time",
            "It stays where it is",
        )
    ),
    Training("preset=document-002-line&lr=0.19&max_steps=30&speed=10"),
    around_the_edge,
    "The loss was {first:.1f} at the first step and {last:,.0f} at step {steps}. Each step leaps over the valley and "
    "lands higher on the other side, where the slope is steeper, so that the next leap is longer. How fast "
    "the slope changes is the curvature, and the sharper it is, the smaller steps must be: the rate must stay below 2 "
    "divided by the sharpest one, which is {edge:.4f} for these points.",
    {
        0: "Up to a point a larger rate is a faster one. But a step goes by the slope where it begins, and past the "
        "edge of {edge:.4f} it ends higher up than it began.",
        1: "That is what happens just below the edge of {edge:.4f}: each swing is shorter than the last. Above it each "
        "is longer.",
        3: "It would stay only if the slope were 0, at the bottom of the valley.",
    },
)

LESSON = Lesson(
    1,
    "line-learns",
    "A line learns",
    10,
    "say what one step of training does, and why a learning rate can be too high",
    (
        Look(
            "Three points and a line",
            "Three points: (1, 3), (2, 5) and (3, 7). The model is a line, y = ax + b, and its weights are a and b. It "
            "begins flat, with both at 0. The loss says how wrong it is: how far each point is above or below the "
            "line, squared, on average. Training turns a and b to make that number small.",
            page=PAGE,
        ),
        Predict(
            "After one step",
            "Turn a weight a little, and the loss changes a little: how much it rises or falls for that is the slope "
            "of the loss in this weight, and it says which way is down. Each weight goes against its slope, and the "
            "learning rate says how far: here by 0.05 times the slope. Where is the line after one step?",
            Choice(
                (
                    "Through all three points",
                    "Nearer to them, still below all three",
                    "Beyond them, above all three",
                    "Above one and below another",
                )
            ),
            Training("preset=document-002-line&max_steps=1&speed=1"),
            after_one_step,
            "After one step a = {a:.2f} and b = {b:.2f}, and the loss has gone from {first:.1f} to {then:.1f}. The "
            "step went downhill and ended on the way: the slope says where down is, and not how far it is to the "
            "bottom.",
            {
                0: "The slope at a = 0, b = 0 says which way is down. How far the bottom is it cannot say, so that one "
                "step arrives by luck alone.",
                2: "That is what a rate three times as large would do. Here the slopes are {slope_a:.1f} in a and "
                "{slope_b:.1f} in b, and 0.05 times these does not reach a = 2 and b = 1.",
                3: "All three points pull the same way as long as the line is below all of them.",
            },
        ),
        Do(
            "Bring it there in time",
            f"The rate is 0.01, and the line creeps. Bring the loss below {ARRIVED:g} within {IN_TIME} steps: turn the "
            "learning rate while it runs. If it was too late, reset and try again.",
            arrived,
            "Try a rate of 0.1. Ten times the rate is ten times the distance in each step.",
            (Act(3), Act(20, {"lr": 0.1})),
            Training("preset=document-002-line&lr=0.01&max_steps=200&speed=1"),
        ),
        EDGE,
        Again(
            "Other points",
            EDGE.title,
            Predict(
                "Other points",
                "The points are now (2, 3), (4, 5) and (6, 7), farther to the right. The rate is 0.06, a third of what "
                "was still fine before. What does the line do?",
                EDGE.kind,
                Training("preset=document-002-line&points=2,3 4,5 6,7&lr=0.06&max_steps=20&speed=10"),
                around_the_edge,
                "The loss went from {first:.1f} to {last:,.0f} in {steps} steps. A point that lies farther to the "
                "right turns a small change of a into a large one of y: the valley is steeper, and its edge is at "
                "{edge:.4f}. Roughly: twice the x, a quarter of the rate. So which rate is too high is also a matter "
                "of the data.",
                {
                    0: "It would, if the valley were as wide as before. With larger x it is narrower: the edge is "
                    "{edge:.4f}.",
                    1: "Just below the edge it would. Here the edge is {edge:.4f}, and {lr:g} is above it.",
                    3: "The slope is not 0 here, so that each step moves the line.",
                },
            ),
        ),
    ),
)
