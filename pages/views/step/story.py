"""One token's way through the nine stages, in words: for each stage a sentence, and a card with two short lines.

All of it is plain text and may contain a corpus's own tokens: whoever shows it shows it literally.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from engine.lessons.whole_step import Followed, WholeStep
from engine.training.schedule import rate_at
from engine.training.trainer import STAGES
from pages.charts.static import visible
from pages.charts.token_axes import shortened
from pages.views.shared.inspected_step import InspectedStep

Picture = Literal["", "scores", "surprise", "slope", "go on", "stop", "move", "change"]


class Card(NamedTuple):
    """A stage on the canvas: what the number is, the number, and how it is drawn."""

    label: str
    value: str
    picture: Picture = ""


@dataclass(frozen=True)
class Story:
    """The cards of the nine stages, and the sentences: one before the step, and one after each stage."""

    cards: tuple[Card, ...]
    sentences: tuple[str, ...]


def number(value: float) -> str:
    """Four digits and a real minus sign; powers of ten only for what would be mostly zeros."""
    if not math.isfinite(value):
        return "not finite"
    small = 1e-8 <= abs(value) < 1e-4
    told = f"{value:.{3 - math.floor(math.log10(abs(value)))}f}" if small else f"{value + 0.0:.4g}"
    return told.replace("-", "−")


def signed(value: float) -> str:
    """The same, with its sign."""
    return f"+{number(value)}" if value > 0 else number(value)


def percent(share: float | None) -> str:
    """A probability as a share of a hundred."""
    return "not finite" if share is None or not math.isfinite(share) else f"{100 * share:.4g}\u00a0%"


def tell(shown: InspectedStep, found: Followed) -> Story:
    """The story of the place that is followed."""
    whole = shown.copy.whole
    first, last = _of_text(shown, whole, found) if shown.is_text else _of_points(whole, found)
    middle = _of_the_weight(shown, whole, found)
    reset = (
        Card("the slopes are", "forgotten"),
        "The slopes are forgotten, so that the next batch starts from none. → goes on with the next step.",
    )
    stages = (*first[1:], *middle, last, reset)
    assert len(stages) == len(STAGES)
    return Story(tuple(card for card, _ in stages), (first[0][1], *(sentence for _, sentence in stages)))


def token(shown: InspectedStep, one: int) -> str:
    """A token with its blanks as signs, short enough for a card."""
    return shortened(visible(shown.labels[one]))


def _of_text(
    shown: InspectedStep, whole: WholeStep, found: Followed
) -> tuple[list[tuple[Card, str]], tuple[Card, str]]:
    given, right = (token(shown, int(t[found.row, found.position])) for t in (whole.inputs, whole.targets))
    rank = "the highest of all" if found.rank == 1 else f"number {found.rank:,} from the top"
    fell = (found.new_probability or 0.0) < (found.probability or 0.0)
    many = whole.outputs.shape[-1]
    before = [
        (
            Card("", ""),
            f"The text goes on with {right} after {given}. How does the model learn from that? Follow this one place "
            "through the nine stages with →.",
        ),
        (
            Card("reads, should expect", f"{given} → {right}"),
            f"This batch has {whole.targets.numel():,} places to learn from. At this one the model reads {given}, and "
            f"the text goes on with {right}: that is what it should have expected.",
        ),
        (
            Card(f"{right} scores {number(found.score)}, so its chance is", percent(found.probability), "scores"),
            f"Each of the {many:,} tokens gets a score. {right} gets {number(found.score)}, {rank}. Among all scores "
            f"that is a chance of {percent(found.probability)}.",
        ),
        (
            Card("so it is surprised by", number(found.surprise), "surprise"),
            f"The less chance it gave to what came, the greater its surprise: here {number(found.surprise)}, and 0 if "
            f"it had been sure. The mean over all places, {number(whole.loss)}, is the loss.",
        ),
    ]
    after = (
        Card(f"the chance of {right} is now", percent(found.new_probability), "change"),
        f"Asked once more, the model gives {right} a chance of {percent(found.new_probability)}; it was "
        f"{percent(found.probability)}. The loss of this batch goes from {number(whole.loss)} to "
        f"{number(whole.new_loss)}."
        + (" This place lost a little: others in the batch pulled harder." if fell else ""),
    )
    return before, after


def _of_points(whole: WholeStep, found: Followed) -> tuple[list[tuple[Card, str]], tuple[Card, str]]:
    given = ", ".join(number(x) for x in whole.inputs[found.row].tolist())
    right = number(float(whole.targets[found.row, found.position]))
    chance = "" if found.probability is None else f", a chance of {percent(found.probability)} for yes"
    now = number(found.new_score) if found.new_probability is None else percent(found.new_probability)
    then = number(found.score) if found.probability is None else percent(found.probability)
    before = [
        (
            Card("", ""),
            f"For {given} the answer should be {right}. How does the model learn that? Follow this one example through "
            "the nine stages with →.",
        ),
        (
            Card("given, wanted", f"{given} → {right}"),
            f"There are so few examples that every batch is all of them. For this one, {given}, the answer should be "
            f"{right}.",
        ),
        (
            Card("it answers", number(found.score))
            if found.probability is None
            else Card(f"it scores {number(found.score)}, so the chance of yes is", percent(found.probability)),
            f"The model answers {number(found.score)}{chance}; right would be {right}.",
        ),
        (
            Card("so it is wrong by", number(found.surprise), "surprise" if found.probability is not None else ""),
            f"How far off that is becomes one number, {number(found.surprise)}. The mean over all answers, "
            f"{number(whole.loss)}, is the loss.",
        ),
    ]
    after = (
        Card("it answers now", now, "change"),
        f"Asked once more, the model answers {now}; it was {then}. The loss goes from {number(whole.loss)} to "
        f"{number(whole.new_loss)}.",
    )
    return before, after


def _of_the_weight(shown: InspectedStep, whole: WholeStep, found: Followed) -> list[tuple[Card, str]]:
    """From the slope to the move of one weight."""
    move = found.after - found.before
    lr = rate_at(shown.copy.whole.following.snapshot.settings, shown.number)
    weights = sum(gradient.numel() for gradient in whole.gradients.values())
    guard: tuple[Literal["go on", "stop"], str]
    if whole.withheld:
        guard = "stop", "A number is not finite. The update would ruin the weights, so it is withheld."
        moved = f"The weight stays at {number(found.before)}: this update was withheld."
    else:
        guard = "go on", "The loss and all slopes are finite numbers, so the update may happen."
        moved = (
            f"The weight moves by {signed(move)}, from {number(found.before)} to {number(found.after)}"
            f"{_why(found, move)}. The learning rate, {lr:g}, says how far such a move may go."
        )
    return [
        (Card("the slope of one weight is", signed(found.slope), "slope"), _slope_sentence(shown, found)),
        (
            Card(f"all {weights:,} slopes have the length", number(whole.grad_norm)),
            f"Every one of the {weights:,} weights has such a slope. Taken together they have the length "
            f"{number(whole.grad_norm)}; a sudden leap of it is the first sign of trouble.",
        ),
        (Card("is every number finite?", guard[0], guard[0]), guard[1]),
        (Card(f"the weight, {number(found.before)}, moves by", signed(move), "move"), moved),
    ]


def _slope_sentence(shown: InspectedStep, found: Followed) -> str:
    name = f"{found.weight}[{', '.join(map(str, found.spot))}]" if found.spot else found.weight
    itself = "pairs" in shown.copy.whole.model.features
    start = f"That score is itself a weight, {name}." if itself else f"One of the weights behind it is {name}."
    start = f"{start} It is {number(found.before)} now."
    if not math.isfinite(found.slope):
        return f"{start} Its slope is not finite."
    if found.slope == 0:
        return f"{start} Its slope is 0: this batch does not say in which direction it should go."
    better = "lower" if found.slope > 0 else "higher"
    return (
        f"{start} Make it a little larger, and the loss {'rises' if found.slope > 0 else 'falls'} by "
        f"{number(abs(found.slope))} times as much. That is its slope (gradient): a {better} weight would be better."
    )


def _why(found: Followed, move: float) -> str:
    if move == 0:
        return ", too little to show in its digits"
    if found.slope == 0:
        return ", carried on by earlier steps or by weight decay alone"
    if (move > 0) == (found.slope > 0):
        return ": not yet against its slope, since the optimizer still remembers earlier ones"
    return ", against its slope"
