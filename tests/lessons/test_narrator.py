"""The narrator's line, against histories made by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.lessons.narrator import Line, Subject, line_at
from engine.stream.history import History
from engine.stream.messages import Event, Observation, Scalars
from engine.text.baselines import Baselines

BASE = Baselines(uniform=4.0, unigram=3.0, bigram=2.0, pairs=100)
BIGRAM = Subject(BASE, pairs=True, letters=True)
GPT = Subject(BASE, pairs=False, letters=True)
LONGEST = 120  # characters: one line of the stage at 1280 pixels, in the presenter's type
LOOP = Subject(None, pairs=False, letters=False)


def history(
    steps: int,
    loss: Callable[[int], float],
    *,
    rate: Callable[[int], float] = lambda step: 0.01,
    events: tuple[Event, ...] = (),
    validation: dict[int, float] | None = None,
    former: dict[int, float] | None = None,
) -> History:
    """A run of so many steps."""
    made = History()
    made.add([Scalars(step, loss(step), 1.0, rate(step), 0.001) for step in range(1, steps + 1)])
    for name, points in (("val/loss", validation), ("val/former_loss", former)):
        made.add([Observation(step, {name: value}, {}) for step, value in (points or {}).items()])
    made.add(events)
    return made


def falling(to: float, within: int) -> Callable[[int], float]:
    """A loss that falls from 4.5 to `to` and stays there."""
    return lambda step: to + (4.5 - to) * max(0.0, 1 - step / within)


def told(*arguments: object, **keywords: object) -> str:
    line = line_at(*arguments, **keywords)  # type: ignore[arg-type]
    return "" if line is None else line.text


RAISED = (Event(400, "lr", "words that nobody reads"),)

CASES = {
    "untrained": (history(1, lambda _: 4.8), BIGRAM, "Untrained it is worse than guessing: loss 4.80"),
    "untrained, not a step made": (history(0, falling(1, 1), validation={0: 4.8}), BIGRAM, "Untrained it is worse"),
    "untrained as guessing": (history(1, lambda _: 4.0), GPT, "Untrained it is as good as guessing"),
    "better than guessing": (history(300, falling(3.5, 200)), BIGRAM, "Better than guessing (4.000)"),
    "letter frequencies": (history(300, falling(2.5, 200)), BIGRAM, "It has learnt how frequent letters are"),
    "token frequencies": (
        history(300, falling(2.5, 200)),
        Subject(BASE, pairs=False, letters=False),
        "It has learnt how frequent tokens are",
    ),
    "floor of a bigram": (history(300, falling(2.01, 200)), BIGRAM, "At the floor of every bigram, 2.000"),
    "below that floor": (history(300, falling(1.7, 200)), GPT, "Below the floor of every bigram"),
    "lost what it knew": (
        history(400, lambda step: falling(2.5, 200)(step) if step < 300 else 6.0),
        BIGRAM,
        "Worse than guessing (4.000): it has lost what it knew",
    ),
    "rate raised": (
        history(410, falling(2.5, 200), rate=lambda step: 0.001 if step <= 400 else 0.003, events=RAISED),
        BIGRAM,
        "Learning rate raised from 0.001 to 0.003 at step 400: watch the bend.",
    ),
    "rate too high": (
        history(
            600,
            lambda step: 2.5 if step <= 400 else 2.9,
            rate=lambda step: 0.001 if step <= 400 else 3.0,
            events=RAISED,
        ),
        BIGRAM,
        "Learning rate raised from 0.001 to 3 at step 400, loss 2.50 to 2.90 since. Too high: it overshoots.",
    ),
    "rate lowered": (
        history(
            600,
            lambda step: 2.5 if step <= 400 else 2.4,
            rate=lambda step: 0.1 if step <= 400 else 0.01,
            events=RAISED,
        ),
        BIGRAM,
        "Learning rate lowered from 0.1 to 0.01 at step 400, loss 2.50 to 2.40 since. Smaller steps overshoot less.",
    ),
    "another knob": (
        history(300, falling(2.5, 200), events=(Event(300, "grad_clip", "grad_clip off → 1"),)),
        BIGRAM,
        "At step 300: grad_clip off → 1.",
    ),
    "diverged": (
        history(300, falling(2.5, 200), events=(Event(300, "diverged", "diverged"),)),
        BIGRAM,
        "Diverged at learning rate 0.01",
    ),
    "diverged at once: the withheld step has no loss": (
        history(6, falling(4.8, 200), events=(Event(7, "diverged", "diverged"),)),
        BIGRAM,
        "Diverged at learning rate 0.01",
    ),
    "leapt": (
        history(300, falling(2.5, 200), events=(Event(300, "leap", "loss leaps to 9"),)),
        BIGRAM,
        "The loss leapt at step 300",
    ),
    "plateau": (history(1200, falling(2.5, 200)), GPT, "It hardly gets better any more: 2.50 now"),
    "plateau of somebody's own loop": (history(1200, falling(0.5, 200)), LOOP, "It hardly gets better any more"),
    "plateau above the frequencies": (
        history(1200, falling(3.8, 200)),
        BIGRAM,
        "The learning rate is too large, or far too small.",
    ),
    "no plateau at the floor": (history(5000, falling(2.01, 200)), BIGRAM, "At the floor of every bigram"),
    "validation turned up": (
        history(
            900,
            lambda step: 2.6 - step / 2000,
            validation={n: 2.4 + abs(n - 300) / 1000 for n in range(0, 901, 100)},
        ),
        GPT,
        "Validation turned up (lowest: 2.40 at step 300) while training falls: it starts to learn by heart.",
    ),
    "forgets": (
        history(300, falling(2.5, 200), former={0: 2.0, 100: 2.05, 300: 2.4}),
        GPT,
        "It forgets the text before: its loss there rose from 2.00 to 2.40.",
    ),
    "nothing yet": (History(), BIGRAM, ""),
    "a text of one letter": (
        history(300, lambda _: 0.0),
        Subject(Baselines(0.0, 0.0, math.nan, 0), pairs=True, letters=True),
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_narrator_says_what_just_happened(case: str) -> None:
    made, subject, expected = CASES[case]
    said = told(made, subject)
    assert expected in said
    assert bool(said) == bool(expected)
    assert len(said) <= LONGEST


def test_validation_that_rises_with_training_is_not_learning_by_heart() -> None:
    made = history(900, lambda step: 2.0 + step / 1000, validation={n: 2.4 + n / 1000 for n in range(0, 901, 100)})
    assert "by heart" not in told(made, GPT)


def test_scrubbing_shows_the_line_of_that_moment() -> None:
    """A line at a step does not depend on what came later, for any of the histories above."""
    for made, subject, _ in CASES.values():
        newest = line_at(made, subject)
        if newest is None or not newest.step:
            continue
        cut = History()
        train = made.points_between("train/loss", 0, None)
        assert train is not None
        half = len(train.steps) // 2
        cut.add(
            [
                Scalars(int(s), float(v), 1.0, 0.01, 0.001)
                for s, v in zip(train.steps[:half], train.values, strict=False)
            ]
        )
        if half and not made.events and "val/loss" not in made.series and "val/former_loss" not in made.series:
            assert line_at(made, subject, half) == line_at(cut, subject)
        assert newest.step <= max(int(train.steps[-1]), *(event.step for event in made.events), 0)


def test_a_knob_turned_while_it_stands_still_waits_for_the_next_step() -> None:
    made = history(400, falling(2.5, 200), rate=lambda _: 0.001, events=RAISED)
    assert "raised" not in told(made, BIGRAM)
    made.add([Scalars(401, 2.5, 1.0, 0.003, 0.001)])
    assert "raised from 0.001 to 0.003" in told(made, BIGRAM)


@settings(max_examples=30)
@given(
    st.lists(st.floats(0, 100, allow_nan=False) | st.sampled_from([math.nan, math.inf]), max_size=40),
    st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from(["lr", "leap", "diverged", "batch_size", "paused"])), max_size=6
    ),
    st.sampled_from([BIGRAM, GPT, LOOP]),
    st.integers(0, 50),
)
def test_any_history_has_one_line_or_none_and_always_the_same(
    losses: list[float], events: list[tuple[int, str]], subject: Subject, step: int
) -> None:
    def make() -> History:
        return history(
            len(losses),
            lambda at: losses[at - 1],
            rate=lambda at: 0.01 * at,
            events=tuple(Event(at, name, "told") for at, name in sorted(events)),
        )

    one, same = make(), make()
    with np.errstate(all="raise"):
        line = line_at(one, subject, step)
        assert line == line_at(same, subject, step)
    assert line is None or (isinstance(line, Line) and line.step <= step and "nan" not in line.text)
