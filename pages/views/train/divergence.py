"""A card for a run that diverged or whose loss became absurd: what happened, in numbers, and a way back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import streamlit as st

from engine.formatting import format_number
from engine.runs.divergence import Divergence, find_divergence, rewind_step
from engine.runs.run import Run
from engine.stream.status import State
from pages.widgets import actions

PATIENCE = 1.0  # seconds, for the last numbers to arrive


def divergence_card(run: Run | None) -> None:
    """The card, if the run has diverged or its loss has been absurd for a while."""
    if run is None or not (run.trouble or run.state is State.DIVERGED):
        return
    limit = run.dataset.highest_loss
    if run.state is State.DIVERGED:
        told = sentences(_divergence(run))
    else:
        told = high_loss_sentences(find_divergence(run.history, run.layers, run.step, limit), limit)
    with st.container(border=True, key="lesson"):
        words, button = st.columns([2, 1], vertical_alignment="center")
        words.text("\n".join(told))
        at = rewind_step(run.history, run.step, limit)
        button.button(
            "Rewind and halve the learning rate",
            key="rewind",
            type="primary",
            width="stretch",
            on_click=actions.rewind,
        )
        button.caption(
            f"A new run from step {at:,}, before the trouble began. This one stays as the faint curve; undo brings it "
            "back."
        )


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
    yield f"The loss has been above 10·ln V = {limit:.1f} since step {told.trouble:,}{_before(told)}."


def sentences(told: Divergence) -> Iterator[str]:
    """What happened to a run that diverged, a line for each quantity."""
    yield from _changed_settings(told)
    if told.losses:
        yield f"Last finite losses: {', '.join(format_number(loss) for _, loss in told.losses)}{_before(told)}."
    if told.grad_norm is not None:
        step, norm = told.grad_norm
        usual = "" if told.usual_norm is None else f" (before: about {format_number(told.usual_norm, 3)})"
        yield f"Largest gradient norm: {format_number(norm, 3)} in step {step:,}{usual}."
    if told.update is not None:
        step, layer, ratio = told.update
        early = ", measured before a knob was turned" if told.turned and step <= told.turned[0].step else ""
        size = format_number(ratio, 3)
        yield f"Largest update: {size} times the size of the weights, in {layer}, step {step:,}{early}."
    if told.first is not None:
        step, layer, what, times = told.first
        size = f"{format_number(times, 3)} times its usual size"
        yield f"First out of the ordinary: the {what} of {layer}, {size}, in step {step:,}."
    if told.fault is not None:
        yield f"Then: {told.fault}."


def _changed_settings(told: Divergence) -> Iterator[str]:
    for event in told.turned:
        yield f"Changed: {event.text} at step {event.step:,}."


def _before(told: Divergence) -> str:
    return "" if told.usual_loss is None else f" (before: about {format_number(told.usual_loss)})"
