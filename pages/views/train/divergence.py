"""A card for a run that diverged or whose loss became absurd: what happened, in numbers, and a way back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import streamlit as st

from engine.formatting import format_layer
from engine.runs.divergence import UNUSUAL, Divergence, find_divergence, lower_rate, rate_at, rewind_step
from engine.runs.run import Run
from engine.stream.status import State
from pages.widgets import actions
from pages.widgets.over import over

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
PATIENCE = 1.0  # seconds, for the last numbers to arrive


def is_told(run: Run | None) -> bool:
    """Does the card stand on the stage now? The board's own banner then says nothing beside it."""
    if run is None or not (run.trouble or run.state is State.DIVERGED):
        return False
    return st.session_state.get("lesson_closed") != run.id


def divergence_card(run: Run | None) -> None:
    """The card, over the foot of the board, if the run has diverged or its loss has been absurd for a while."""
    if run is None or not is_told(run):
        return
    limit = run.dataset.highest_loss
    if run.state is State.DIVERGED:
        told = [f"This run diverged at step {run.step + 1:,}.", *sentences(_divergence(run))]
    else:
        told = list(high_loss_sentences(find_divergence(run.history, run.layers, run.step, limit), limit))
    at = rewind_step(run.history, run.step, limit)
    now, then = run.settings.lr, rate_at(run.history, at) or run.first_settings.lr
    lower = lower_rate(then, at, run.config)
    with over("lesson"), st.container(key="lesson"):
        st.text("\n".join(told))
        st.button(
            f"Start again with learning rate {spoken(lower)} instead of {spoken(now)}",
            key="rewind",
            type="primary",
            width="stretch",
            on_click=actions.rewind,
            args=(lower,),
        )
        where = f"From step {at:,}, before the trouble began" if at else "From the first step"
        was = f" and the learning rate was {spoken(then)}" if at and then != now else ""
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(f"{where}{was}. This run stays as the faint curve; undo brings it back.", width="stretch")
            st.button("Close", key="lesson_close", on_click=close, args=(run.id,))


def close(run: str) -> None:
    """Take the card off the stage; the board's banner is back."""
    st.session_state.lesson_closed = run


def _divergence(run: Run) -> Divergence:
    """Find the divergence, once a run, when its history is complete."""
    kept: tuple[str, int, Divergence] | None = st.session_state.get("lesson_told")
    if kept is None or kept[:2] != (run.id, run.step):
        end = time.monotonic() + PATIENCE
        while "diverged" not in [event.name for event in run.history.events.copy()] and time.monotonic() < end:
            time.sleep(0.02)
        kept = run.id, run.step, find_divergence(run.history, run.layers, run.step, run.dataset.highest_loss)
        st.session_state.lesson_told = kept
    return kept[2]


def high_loss_sentences(told: Divergence, limit: float) -> Iterator[str]:
    """What happened to a run that still trains but has lost what it had learnt."""
    yield from _changed_settings(told)
    before = "" if told.usual_loss is None else f"; before that it was about {spoken(told.usual_loss)}"
    yield f"Since step {told.trouble:,} the loss is above {limit:.1f}, ten times that of guessing{before}."


def sentences(told: Divergence) -> Iterator[str]:
    """What happened to a run that diverged, a sentence for each thing that was measured."""
    yield from _changed_settings(told)
    if told.first is not None:
        step, layer, what, times = told.first
        part = format_layer(layer)
        yield f"The first sign came in step {step:,}: the {what} of {part} was {spoken(times)} times as usual."
    if told.update is not None:
        step, layer, ratio = told.update
        early = ", before a knob was turned" if told.turned and step <= told.turned[0].step else ""
        yield f"In step {step:,}{early}, one update moved {format_layer(layer)} by {spoken(ratio)} times its own size."
    if told.grad_norm is not None and told.usual_norm and told.grad_norm[1] > UNUSUAL * told.usual_norm:
        step, norm = told.grad_norm
        yield f"In step {step:,} the gradient was {spoken(norm / told.usual_norm)} times as long as before."
    if told.losses:
        step, loss = told.losses[-1]
        before = "" if told.usual_loss is None else f"; it had been about {spoken(told.usual_loss)}"
        yield f"In step {step:,} the loss was {spoken(loss)}{before}."
    if told.fault is not None:
        yield "Then numbers were infinite or NaN. That update was thrown away, and the run stopped."


def _changed_settings(told: Divergence) -> Iterator[str]:
    for step, before, after in told.rates:
        verb = "raised" if after > before else "lowered"
        yield f"After step {step:,} the learning rate was {verb} from {spoken(before)} to {spoken(after)}."
    for event in told.turned:
        if event.name != "lr" or event.step not in [step for step, _, _ in told.rates]:
            yield f"After step {event.step:,} a knob was turned: {event.text}."


LARGE = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))


def spoken(value: float) -> str:
    """A number as a learner reads it: 0.0005, 590,000, 921 million, 1.4·10³⁴."""
    size = abs(value)
    if size >= 1e15:
        digits, power = f"{value:.1e}".split("e")
        return f"{digits}·10{str(int(power)).translate(SUPERSCRIPTS)}"
    for unit, name in LARGE:
        if size >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{float(f'{value:.2g}'):,.0f}" if size >= 1000 else f"{value:.3g}"
