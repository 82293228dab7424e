"""Lesson 3. One step, followed: which weights have a slope, and which weights SGD and AdamW move."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import InputError
from ...models.base import LanguageModel
from ...runs.run import Run
from ..poll import Choice, Number
from .measures import fresh_trainer, model_of, run_of, value_at, which
from .scene import Again, Lesson, Look, Measured, Outcome, Predict, Training

ALIKE = 0.1
"""Moves whose smallest is not more than this share below the largest are alike."""


class FirstStep(NamedTuple):
    """A bigram's table before and after its first step, and its slopes: (V, V) each."""

    before: Tensor
    after: Tensor
    slopes: Tensor

    @property
    def has_slope(self) -> Tensor:
        """(V,): which rows have a slope."""
        return (self.slopes != 0).any(dim=1)

    @property
    def moved(self) -> Tensor:
        """(V,): which rows have moved."""
        return (self.after != self.before).any(dim=1)


def first_step(outcome: Outcome) -> tuple[Run, FirstStep]:
    """The run, and its first step made again; InputError for a run that made more than one."""
    run = run_of(outcome)
    if run.step != 1:
        raise InputError(f"this run has made {run.step:,} steps, and the question is about the first; start it anew")
    trainer = fresh_trainer(run)
    before = _table(trainer.model)
    for stage in (trainer.batch, trainer.forward, trainer.loss_stage, trainer.backward):
        stage()
    (slopes,) = (p.grad.detach().clone() for p in trainer.parameters if p.grad is not None)
    return run, FirstStep(before, _table(model_of(run)), slopes)


def rows_with_a_slope(outcome: Outcome) -> Measured:
    """How many rows of the table the first batch has slopes for."""
    run, step = first_step(outcome)
    found = int(step.has_slope.sum())
    pairs = run.first_settings.batch_size * run.config.block_size
    return Measured(found, {"found": found, "rows": len(step.before), "rest": len(step.before) - found, "pairs": pairs})


def rows_that_move(outcome: Outcome) -> Measured:
    """Which rows the first step moves: none, those with a slope, all, or all that have none."""
    _, step = first_step(outcome)
    moved, has = step.moved, step.has_slope
    answer = which(
        every=bool(moved.all()),
        touched=bool((moved == has).all() and not has.all()),
        predicted_wrong=False,
        none=not moved.any(),
    )
    away = (step.after - step.before).abs()
    rest = away[~has]
    facts = {
        "rows": len(moved),
        "touched": int(has.sum()),
        "untouched": int((~has).sum()),
        "untouched_moved": int((moved & ~has).sum()),
        "far": float(rest.max()) if len(rest) else 0.0,
        "lr": float(away[has].max()),
    }
    return Measured(answer, facts)


def how_far_apart(outcome: Outcome) -> Measured:
    """How far AdamW's first step moves the weights with the largest and the smallest slopes, in units of the rate."""
    run, step = first_step(outcome)
    lr, decay = run.first_settings.lr, run.first_settings.weight_decay
    has = step.slopes != 0
    own = step.after - step.before * (1 - lr * decay)  # what the slope alone did: decay pulls at every weight
    moves, slopes = own[has].abs() / lr, step.slopes[has].abs()
    order = slopes.argsort()
    small, large = float(moves[order[0]]), float(moves[order[-1]])
    answer = which(
        farther=large > small * (1 + ALIKE),
        less=large < small * (1 - ALIKE),
        alike=small * (1 - ALIKE) <= large <= small * (1 + ALIKE),
    )
    span = float(slopes.max() / slopes.min())
    return Measured(answer, {"span": span, "small": small, "large": large})


def moves_later(outcome: Outcome) -> Measured:
    """The median move of a weight with a slope, in units of the rate: at step 1 and at the last."""
    run = run_of(outcome)
    once, later = value_at(run, "update_per_lr", 1), value_at(run, "update_per_lr", run.step)
    answer = which(less=later < 0.9 * once, same=0.9 * once <= later <= 1.1 * once, more=later > 1.1 * once)
    return Measured(answer, {"once": once, "later": later, "steps": run.step})


def _table(model: torch.nn.Module) -> Tensor:
    if not isinstance(model, LanguageModel):
        raise InputError("the question is about a table of scores; start a bigram")
    return model.token_embedding.weight.detach().cpu().clone()


SGD = Predict(
    "Which rows move under SGD?",
    "Plain gradient descent, SGD: each weight moves against its own slope, by the learning rate times the slope. Which "
    "rows of the table does the first step move?",
    Choice(
        (
            "Every row",
            "The rows that have a slope",
            "The rows whose character was predicted wrong",
            "None: the first step only measures",
        )
    ),
    Training("preset=bigram&optimizer=sgd&lr=1&weight_decay=0&max_steps=1&speed=1"),
    rows_that_move,
    "The {touched} rows with a slope moved, and the other {untouched} of {rows} stayed where they were. A slope of 0 "
    "times any rate is 0.",
    {
        0: "A row whose character did not come in the batch has no part in the loss. Its slope is 0, and SGD leaves "
        "it.",
        2: "There is no test of right or wrong. Every character that was read has a slope, since no prediction was "
        "certain.",
        3: "A step measures and moves: backward() finds the slopes, and step() uses them.",
    },
    "step",
)

LESSON = Lesson(
    3,
    "one-step",
    "One step, followed",
    12,
    "follow one character from its scores to the move of a weight, and say which weights an optimizer moves",
    (
        Look(
            "Nine stages",
            "A step draws a batch, scores what may come next, prices the surprise, and goes back from that price to a "
            "slope for each weight. Then the optimizer moves the weights. Follow one character through the nine "
            "stages: its scores, its probabilities, its loss, its slope, and the move of one weight.",
            Training("preset=bigram&speed=1&max_steps=1000"),
            "step",
        ),
        Predict(
            "Who has a slope?",
            "The table has a row of scores for each of the 73 characters in this text. One batch of 32 windows of 8 "
            "characters has been read. For how many rows is there a slope now?",
            Number(0, 73, "rows"),
            Training("preset=bigram&optimizer=sgd&lr=1&weight_decay=0&max_steps=1&speed=1"),
            rows_with_a_slope,
            "For {found} of {rows}. A row has a part in the loss if its character was read. The batch holds {pairs} "
            "characters, many of them the same, and the {rest} other rows have a slope of exactly 0.",
            page="step",
        ),
        SGD,
        Again(
            "And under AdamW?",
            SGD.title,
            Predict(
                "And under AdamW?",
                "The same first step, made by another optimizer: AdamW. It divides each slope by its usual size, and "
                "it has a weight decay of 0.01. Which rows move?",
                SGD.kind,
                Training("preset=bigram&max_steps=1&speed=1"),
                rows_that_move,
                "All {rows}. The {untouched} rows without a slope moved too, by at most {far:.1e}: weight decay "
                "draws every weight a little towards 0 in every step. The {touched} others moved by up to {lr:.1e}, "
                "about the learning rate.",
                {
                    1: "The rows without a slope hardly move, and yet they do: weight decay draws {untouched_moved} of "
                    "them a little towards 0.",
                    2: "There is no test of right or wrong. Every character that was read has a slope.",
                    3: "A step measures and moves: backward() finds the slopes, and step() uses them.",
                },
                "step",
            ),
        ),
        Predict(
            "A large slope and a small one",
            "At this first step of AdamW some slopes are thousands of times as large as others. How far does the "
            "weight with the largest slope move, beside the one with the smallest?",
            Choice(("Much farther", "Less far", "About as far")),
            Training("preset=bigram&max_steps=1&speed=1"),
            how_far_apart,
            "Their slopes differ {span:,.0f} times, and their moves are {large:.3f} and {small:.3f} learning rates. "
            "AdamW divides each slope by the size that slopes of this weight have had. At the first step it has seen "
            "one, and a number divided by its own size is 1.",
            {
                0: "That is SGD, where the move is the rate times the slope.",
                1: "AdamW divides by the size of the slopes, which cancels it: it does not turn it round.",
            },
            "step",
        ),
        Predict(
            "A hundred steps later",
            "At the first step weights with a slope move by about one learning rate. How far do they move at step 100, "
            "at the same rate?",
            Choice(("Less far", "As far", "Farther")),
            Training("preset=bigram&max_steps=100&speed=10"),
            moves_later,
            "Half of them moved by less than {later:.2f} learning rates at step {steps}, and {once:.2f} at step 1. "
            "AdamW does not go by the last slope alone but by an average of the last few. Where batches disagree "
            "that average is small, and the weight hardly moves.",
            {
                1: "It would be so if all batches agreed. They hold different characters, and their slopes disagree.",
                2: "Most weights move by less than one rate. To move by a whole one all batches would have to agree.",
            },
        ),
    ),
)
