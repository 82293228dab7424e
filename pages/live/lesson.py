"""A divergence as a lesson: what happened, in numbers, and the way back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import streamlit as st

from engine.divergence import REWOUND, Divergence, divergence_of, rewound_to
from engine.runner import Run, State
from pages.live import verbs

PATIENCE = 1.0  # seconds, for the last numbers to arrive


def lesson(run: Run | None) -> None:
    """A card for a run that has diverged; nothing else."""
    if run is None or run.state is not State.DIVERGED:
        return
    told = _told(run)
    with st.container(border=True, key="lesson"):
        words, button = st.columns([2, 1], vertical_alignment="center")
        words.text("\n".join(sentences(told)))
        at = rewound_to(run.history, run.step)
        button.button(
            f"Rewind {REWOUND} steps and halve the learning rate",
            key="rewind",
            type="primary",
            width="stretch",
            on_click=verbs.rewind,
        )
        button.caption(f"A new run from step {at:,}. This one stays as the faint curve; undo brings it back.")


def _told(run: Run) -> Divergence:
    """Computed once a run, when its history has all of it."""
    kept: tuple[str, int, Divergence] | None = st.session_state.get("lesson_told")
    if kept is None or kept[:2] != (run.id, run.step):
        end = time.monotonic() + PATIENCE
        while "diverged" not in [event.name for event in run.history.events.copy()] and time.monotonic() < end:
            time.sleep(0.02)
        kept = run.id, run.step, divergence_of(run.history, run.layers, run.step)
        st.session_state.lesson_told = kept
    return kept[2]


def sentences(told: Divergence) -> Iterator[str]:
    """What happened, a line for each quantity."""
    for event in told.turned:
        yield f"Turned: {event.text} after step {event.step:,}."
    if told.losses:
        usual = "" if told.usual_loss is None else f" (before: about {told.usual_loss:.4g})"
        yield f"Last finite losses: {', '.join(f'{loss:.4g}' for _, loss in told.losses)}{usual}."
    if told.grad_norm is not None:
        step, norm = told.grad_norm
        usual = "" if told.usual_norm is None else f" (before: about {told.usual_norm:.3g})"
        yield f"Largest gradient norm: {norm:.3g} in step {step:,}{usual}."
    if told.update is not None:
        step, layer, ratio = told.update
        yield f"Largest update: {ratio:.3g} times the size of the weights, in {layer}, step {step:,}."
    if told.first is not None:
        step, layer, what, times = told.first
        yield f"First out of the ordinary: the {what} of {layer}, {times:.3g} times its usual size, in step {step:,}."
    if told.fault is not None:
        yield f"Then: {told.fault}."
