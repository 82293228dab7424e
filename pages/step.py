"""One optimizer update, stage by stage: the rail, the buttons, and what exists at each stage. Holds no training state.

The page looks into a copy that stands where the run stands (`engine.training.trainer.replay`); the buttons move the
run itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.errors import InputError
from engine.runs.manager import run_manager
from engine.runs.restored_state import RestoredState
from engine.runs.run import Run
from engine.stream.status import State
from engine.training.trainer import STAGES
from pages.board.board import board, shown_of
from pages.views.shared import scrubbed_moment
from pages.views.shared.inspected_step import (
    CURRENT,
    FRESH,
    LANE,
    MOST_PARAMETERS,
    Opened,
    begin,
    can_step,
    choose,
    chosen,
    finish,
    forward,
    look_back,
    look_into,
    opened,
    pause,
    reopened,
    source_of,
    why_not,
)
from pages.views.shared.try_this import try_this
from pages.views.step.experiments import what_if
from pages.views.step.small_examples import small_examples
from pages.views.step.stages.about import about
from pages.views.step.stages.views import exists, view
from pages.widgets.glossary import DOCUMENTS
from pages.widgets.style import STYLE

PACE_SECONDS = 2.0
BUILD_SECONDS = 10.0
PAGE_STYLE = """<style>
.st-key-rail { display: grid; grid-template-columns: repeat(9, minmax(0, 1fr)); gap: 6px; }
.st-key-rail > div { width: 100%; }
.st-key-rail button { padding: 0.2rem 0.3rem; min-height: 3.1rem; width: 100%; }
.st-key-rail button p { line-height: 1.25; }
.st-key-rail button small { display: block; }
.st-key-step_views { border-bottom: 1px solid var(--st-border-color, #88888855); }
.st-key-step_views button { border-radius: 0; padding: 0.3rem 0; }
.st-key-step_sources button, .st-key-step_verbs button { white-space: nowrap; }
@media (max-width: 860px) { .st-key-rail { grid-template-columns: repeat(3, minmax(0, 1fr)); } }
@media (max-width: 640px) { /* a stage is long there, and the way on stays in reach */
  .st-key-step_next { position: fixed; right: 1rem; bottom: 1rem; z-index: 10; }
  [data-testid="stMainBlockContainer"] { padding-bottom: 4.5rem; }
}
</style>"""
TABS = ("This step", "What if", "Small examples")
OPEN = ".st-key-tab_NAME button { color: var(--st-primary-color, #4C9BD0); border-bottom: 2px solid; }"
CHOSEN = ".st-key-source_NAME button { box-shadow: inset 0 -3px var(--st-primary-color, #4C9BD0); }"


def picker(run: Run | None) -> None:
    """What to step through: the room's run, or a fresh one. Buttons, since these leave the arrow keys to the page."""
    now = CURRENT if run is not None and run is run_manager().current else run.config.preset if run else ""
    st.html(f"<style>{CHOSEN.replace('NAME', now)}</style>" if now in (CURRENT, *FRESH) else "<style></style>")
    with st.container(horizontal=True, gap="xsmall", key="step_sources", width="content"):
        for name in [CURRENT, *FRESH] if run_manager().current else FRESH:
            st.button(
                "room's run" if name == CURRENT else FRESH[name],
                key=f"source_{name}",
                on_click=choose,
                args=(name,),
                help="The room's current run: pausing and stepping it is seen by everybody."
                if name == CURRENT
                else "A fresh run of its own, beside the room's: it waits at step 0.",
            )


def transport(run: Run, shown: Opened) -> None:
    """Previous, next, finish, slow motion, begin again."""
    ready, back = can_step(run), shown.looking_back
    slow = "step_slow" in st.session_state
    with st.container(horizontal=True, gap="small", key="step_verbs", width="content"):
        st.button(
            "Previous",
            key="step_previous",
            icon=":material/arrow_back:",
            shortcut="Left",
            disabled=slow or shown.done == 0,
            on_click=look_back,
            args=(run, shown.done - 1),
            help="Look back at the stage before. The run itself does not go back. Key: ←",
        )
        following = STAGES[shown.done % len(STAGES)]
        st.button(
            f"Next: {following}",
            key="step_next",
            type="primary",
            icon=":material/arrow_forward:",
            shortcut="Right",
            disabled=slow or not (ready or back),
            on_click=forward,
            args=(run,),
            help="Run the next stage of this step, and no more. Key: →",
        )
        st.button(
            "Finish the step" if 0 < shown.present < len(STAGES) else "Make a whole step",
            key="step_finish",
            icon=":material/skip_next:",
            disabled=slow or not ready,
            on_click=finish,
            args=(run,),
            help="Run all stages that are left of this step.",
        )
        st.button(
            "Stop slow motion" if slow else "Slow motion",
            key="step_slow_button",
            icon=":material/stop:" if slow else ":material/slow_motion_video:",
            disabled=not (slow or ready),
            on_click=slow_motion,
            args=(not slow,),
            help="A stage every two seconds, to the end of the step.",
        )
        if source_of(run) == LANE and run.config.preset in FRESH:
            st.button(
                "Begin again",
                key="step_again",
                icon=":material/replay:",
                disabled=slow,
                on_click=begin,
                args=(run.config.preset,),
                help="A fresh run from its first weights: the same seed, the same numbers.",
            )


def slow_motion(on: bool) -> None:
    """Begin or end slow motion; the first stage is made when the next beat comes."""
    if on:
        st.session_state.step_slow = time.monotonic()
        st.session_state.pop("step_back", None)
    else:
        st.session_state.pop("step_slow", None)


@st.fragment(run_every=PACE_SECONDS)
def beat(run: Run) -> None:
    """A stage at each beat, until the step ends. It is there in slow motion only; the board redraws the page."""
    last = st.session_state.get("step_slow")
    if last is None or time.monotonic() - last < 0.8 * PACE_SECONDS:
        return  # drawn along with the page, not called by the clock
    forward(run)
    if run.stage == 0 or not can_step(run):
        st.session_state.pop("step_slow", None)
    else:
        st.session_state.step_slow = time.monotonic()


def transport_past(made: RestoredState, shown: Opened) -> None:
    """Previous and next, through the step that came after an earlier moment."""
    with st.container(horizontal=True, gap="small", key="step_verbs", width="content"):
        st.button(
            "Previous",
            key="step_previous",
            icon=":material/arrow_back:",
            shortcut="Left",
            disabled=shown.done == 0,
            on_click=look_into,
            args=(made, shown.done - 1),
            help="Look at the stage before. Key: ←",
        )
        st.button(
            f"Next: {STAGES[shown.done]}" if shown.done < len(STAGES) else "The step is over",
            key="step_next",
            type="primary",
            icon=":material/arrow_forward:",
            shortcut="Right",
            disabled=shown.done == len(STAGES),
            on_click=look_into,
            args=(made, shown.done + 1),
            help="Make the next stage of this step again. The run itself goes its own way. Key: →",
        )


def rail(shown: Opened, look: Callable[[int], None]) -> None:
    """The nine stages: done, now, next, to come. What is done can be looked back at; any stage of a past step, made."""
    with st.container(key="rail"):
        for place, name in enumerate(STAGES):
            done = place < shown.present
            if place == shown.done - 1:
                word = "shown" if shown.looking_back else "now"
            elif done:
                word = ":green[done]"
            else:
                word = ":orange[next]" if place == shown.present % len(STAGES) else ":gray[to come]"
            st.button(
                f"{place + 1} {name} :small[{word}]",
                key=f"rail_{name}",
                type="primary" if place == shown.done - 1 else "secondary",
                disabled=not (done or shown.past),
                on_click=look,
                args=(place + 1,),
                help=about(name, shown.run.config).document,
            )


def this_step(run: Run, bar: DeltaGenerator) -> None:
    """The step under way, or that after an earlier moment; the buttons go into `bar`."""
    made = scrubbed_moment.past()
    if made is None and run.state is State.RUNNING:
        with bar:
            st.button(
                "Pause it here",
                key="step_pause",
                type="primary",
                icon=":material/pause:",
                on_click=pause,
                args=(run,),
                help="Hold the run, for everybody, after the step under way.",
            )
        st.text("This run is training. Pause it to open the step that it has reached, or choose a fresh run.")
        return
    run.built.wait(BUILD_SECONDS)
    if run.parameters > MOST_PARAMETERS:
        st.text(
            f"This model has {run.parameters:,} parameters: a copy of its weights, gradients and moments at every "
            f"stage is too heavy above {MOST_PARAMETERS:,}. Choose a fresh small GPT above; it has the same parts."
        )
    elif made is None:
        present(run, bar)
    elif made.paused_state is not None:
        shown = reopened(made)
        with bar:
            transport_past(made, shown)
        rail(shown, partial(look_into, made))
        stage(shown)


def present(run: Run, bar: DeltaGenerator) -> None:
    """The step under way of a run that stands still."""
    if sentence := st.session_state.get("step_notice") or why_not(run):
        st.text(sentence)
    try:
        shown = opened(run)
    except InputError as error:
        st.text(str(error))
        return
    with bar:
        transport(run, shown)
    rail(shown, partial(look_back, run))
    if "step_slow" in st.session_state:
        beat(run)
    stage(shown)


def stage(shown: Opened) -> None:
    """What the stage is for, and the real thing behind it."""
    left, right = st.columns([3, 8], gap="medium")
    with left:
        words = about(shown.stage, shown.run.config)
        st.subheader(f"{shown.done} {shown.stage}" if shown.stage else "Before the step")
        now = STAGES[shown.present - 1]
        told = f"Looking back: the run itself stands after {now}." if shown.looking_back else words.document
        st.caption(told, help=DOCUMENTS)
        st.code(words.code, language="python", wrap_lines=True)
        st.text(words.purpose)
        st.caption(words.underneath)
        exists(shown)
    with right:
        view(shown)


def tabs() -> str:
    """Which of the page's three views is open. Buttons: Streamlit's tabs would take the arrow keys for themselves."""
    chosen = str(st.session_state.get("step_tab", TABS[0]))
    with st.container(horizontal=True, gap="medium", key="step_views"):
        for name in TABS:
            st.button(
                name,
                key=f"tab_{name.replace(' ', '_')}",
                type="tertiary",
                on_click=lambda opened: st.session_state.update(step_tab=opened),
                args=(name,),
            )
    st.html(f"<style>{OPEN.replace('NAME', chosen.replace(' ', '_'))}</style>")
    return chosen


@st.fragment
def step() -> None:
    """The page."""
    run = chosen()
    if run is None:
        begin("bigram")
        run = chosen()
    shown = shown_of(run, moment=True)
    st.html(STYLE + PAGE_STYLE)
    board("step", run=source_of(run), shown=shown)
    scrubbed_moment.line("Step")
    tab = tabs()
    if tab == "What if":
        what_if()
    elif tab == "Small examples":
        small_examples()
    else:
        bar = st.container(horizontal=True, gap="medium", key="step_bar")
        with bar:
            picker(run)
        if run is not None:
            this_step(run, bar)
    try_this("Step")


step()
