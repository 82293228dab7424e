"""Lesson 8. Looking back: when a GPT passes the floor of every bigram, and where it looks."""

from __future__ import annotations

import torch
from torch import Tensor

from ...analysis.attention import attention_weights
from ...errors import InputError
from ...models.gpt import GPT
from ...runs.run import Run
from ..poll import Choice, Number
from .measures import LOSS, floor, last, model_of, run_of, smoothed, step_below, which
from .scene import Again, Lesson, Look, Measured, Outcome, Predict, Training

STEPS = 400
LINK = f"preset=gpt-tiny&max_steps={STEPS}"
FEW = 20  # losses that are averaged
READ = 64  # windows of the validation text from which attention and losses are told
FAR = 8
"""Places from which on a head has some distance to look back over."""


def passes_the_floor(outcome: Outcome) -> Measured:
    """The step at which the mean of a few losses first is below the floor of any bigram."""
    run = run_of(outcome)
    there = step_below(smoothed(run, FEW), floor(run))
    if there is None:
        raise InputError(f"in {run.step:,} steps it never came below {floor(run):.2f}; set it up anew and run it again")
    facts = {"there": there, "floor": floor(run), "end": last(run, LOSS, FEW), "steps": run.step}
    return Measured(there, facts)


def blinkered(outcome: Outcome) -> Measured:
    """Does a GPT that sees one token ever pass the floor, and when?"""
    run = run_of(outcome)
    there = step_below(smoothed(run, FEW), floor(run))
    soon = there is not None and there <= STEPS / 2
    answer = which(soon=soon, later=there is not None and not soon, never=there is None)
    return Measured(answer, {"end": last(run, LOSS, FEW), "floor": floor(run), "steps": run.step})


def where_it_looks(outcome: Outcome) -> Measured:
    """The distance that the most decided head looks back over, and the share of its attention that goes there."""
    model = _gpt(run_of(outcome))
    run = run_of(outcome)
    heads = torch.stack([attention_weights(model, window) for window in _windows(run)[:, :-1]]).mean(0).flatten(0, 1)
    size = run.config.block_size
    back = torch.stack([heads.diagonal(-d, 1, 2)[:, max(0, FAR - d) :].mean(1) for d in range(FAR)], 1)  # (heads, FAR)
    first = heads[:, FAR:, 0].mean(1)
    even = float(torch.tensor([1 / (place + 1) for place in range(FAR, size)]).mean())
    head, distance = divmod(int(back.argmax()), FAR)
    share = float(back[head, distance])
    to_first = float(first.max()) > share
    decided = share > 2 * even and not to_first
    answer = which(
        even=not decided and not to_first,
        before=decided and distance == 1,
        itself=decided and distance == 0,
        first=to_first,
        farther=decided and distance > 1,
    )
    return Measured(answer, {"share": 100 * share, "even": 100 * even, "first": 100 * float(first[head])})


def worst_place(outcome: Outcome) -> Measured:
    """The losses along the window, on validation text: of its first character, and of its last eight."""
    run = run_of(outcome)
    model, windows = _gpt(run), _all_windows(run)
    with torch.no_grad():
        losses = model.pointwise_loss(model.logits(windows[:, :-1]), windows[:, 1:]).mean(0)
    start, end = float(losses[0]), float(losses[-FAR:].mean())
    answer = which(end=end > 1.05 * start, alike=0.95 * start <= end <= 1.05 * start, start=end < 0.95 * start)
    return Measured(answer, {"start": start, "end": end, "floor": floor(run)})


def _gpt(run: Run) -> GPT:
    model = model_of(run)
    if not isinstance(model, GPT):
        raise InputError(f"a {run.config.model} has no attention; start a GPT")
    return model.eval()


def _all_windows(run: Run) -> Tensor:
    """(windows, T + 1): the validation text, cut; each with the target of its last character."""
    size = run.config.block_size
    return run.corpus.val.long().unfold(0, size + 1, size)


def _windows(run: Run) -> Tensor:
    return _all_windows(run)[:READ]


PASSES = Predict(
    "When does it pass the floor?",
    "No bigram comes below the lowest dashed line on this text. This GPT sees up to 32 characters instead of one. It "
    f"trains for {STEPS} steps. At which step does its loss pass that line?",
    Number(1, STEPS, "steps"),
    Training(f"{LINK}&speed=100"),
    passes_the_floor,
    "At about step {there}: from there on the mean of twenty losses is below {floor:.2f}. After {steps} steps it is at "
    "{end:.2f}. Until then it was no better than a table of pairs, which it had to learn as well. What is below the "
    "line it can know from looking farther back alone.",
)

LESSON = Lesson(
    8,
    "looking-back",
    "Looking back",
    12,
    "say what a GPT can know that a bigram cannot, and read where it looks",
    (
        Look(
            "More than one character",
            "A bigram reads one character and looks up a row. A GPT reads a window of characters. At each place its "
            "heads choose which earlier places to look at, and what they fetch from there goes into the prediction. It "
            "may look back, and never ahead.",
            page="inside",
        ),
        PASSES,
        Predict(
            "Where does it look?",
            "The model has four heads. Each shares out its attention among the characters read so far, and nobody has "
            "told it where to look. Take the most decided head: where does most of its attention go?",
            Choice(
                (
                    "Evenly to all characters so far",
                    "To the character just before",
                    "To the character itself",
                    "To the first character of the window",
                    "Farther back, to one fixed distance",
                )
            ),
            Training(f"{LINK}&speed=100"),
            where_it_looks,
            "{share:.0f} % of its attention goes to the character just before; shared out evenly it would be "
            "{even:.0f} %. What came before the character in hand is the next best thing to know: two characters say "
            "more about the third than one. Training found that by itself, since it lowers the loss.",
            {
                0: "It begins so: random weights have no preference. Evenly would be {even:.0f} % for each place.",
                2: "The character itself is there without attention: its own vector goes along, past the heads.",
                3: "In large models some heads rest there when they have nothing to look for. Here it gets {first:.0f} "
                "%.",
                4: "Farther back there is less and less to know about the next character.",
            },
            "inside",
        ),
        Predict(
            "The hardest place",
            "The model predicts at each of the 32 places of a window at once. At which end of the window are its "
            "predictions worse?",
            Choice(
                (
                    "At the end: errors add up",
                    "Nowhere: all places are alike",
                    "At the beginning: it has little to go by",
                )
            ),
            Training(f"{LINK}&speed=100"),
            worst_place,
            "At the beginning. On validation text the loss at the first place is {start:.2f}, and {end:.2f} over the "
            "last eight. At the first place the model sees one character and is a bigram: there the floor of "
            "{floor:.2f} holds for it as well.",
            {
                0: "Errors do not add up while it reads: at each place it is given the real text, not its own guesses.",
                1: "The same weights are used at all places, but the later ones have more to look back at.",
            },
        ),
        Again(
            "With blinkers",
            PASSES.title,
            Predict(
                "With blinkers",
                "The same GPT, but its window is one character long. It reads as many characters at each step as "
                f"before. When does it pass the floor, within {STEPS} steps?",
                Choice(("Sooner: it has less to learn", "Later: it has less to see", "Never")),
                Training(f"{LINK}&block_size=1&batch_size=512&speed=100"),
                blinkered,
                "Never: after {steps} steps it is at {end:.2f}, and the line is at {floor:.2f}. A model that sees one "
                "character is a bigram, whatever it is made of. The floor is a matter of what is seen, and not of how "
                "clever the model is.",
                {
                    0: "It has less to learn, and soon has learnt it. Then there is nothing more to see.",
                    1: "More steps bring it nearer to the line, from above.",
                },
            ),
        ),
    ),
)
