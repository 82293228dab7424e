"""The first lesson: five chapters beside the stage, each a few sentences and one button that does what they say.

A session keeps only which chapter is open.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple
from urllib.parse import parse_qsl

import streamlit as st

from engine import link
from engine.runs.manager import run_manager
from engine.runs.run import Run
from pages.views.train.knobs import step_rate
from pages.views.train.transport import play_label
from pages.widgets import actions, plan

STATE_KEY = "chapter"


class Chapter(NamedTuple):
    """`told` is what to do and what to look at; `do` is what the button does."""

    title: str
    told: str
    button: str
    do: Callable[[], None]


def begin(query: str) -> None:
    """Start the run that `query` describes; if one is under way, the stage asks first."""
    planned, _ = link.read(dict(parse_qsl(query)))
    plan.prepare_for_train(planned)
    run = run_manager().current
    if run is None or not run.alive or not plan.set_up():  # the same once more: nothing else says so
        actions.request("start")


CHAPTERS = (
    Chapter(
        "Start",
        "The smallest model, a bigram, learns which letter follows which. Untrained it is worse than guessing, the "
        "upper dashed line: random scores are confident and wrong.",
        "Start a bigram",
        partial(begin, "preset=bigram&speed=100"),
    ),
    Chapter(
        "Turn the learning rate",
        "Raise it a few times. The curve bends at each pink line. At which rate does it stop getting better, and at "
        "which does it get worse?",
        "Raise the rate",
        partial(step_rate, 1),
    ),
    Chapter(
        "Let it go",
        "At full speed the loss soon stops at the lowest dashed line. No bigram gets below it: one letter tells no "
        "more about the next.",
        "Speed: max",
        partial(plan.change_setting, "speed", "unlimited"),
    ),
    Chapter(
        "Once more",
        "Reset, change one thing, start again. The run before stays as a faint line to compare with.",
        "Reset",
        partial(actions.request, "reset"),
    ),
    Chapter(
        "Look further back",
        "A small GPT sees 32 letters, not one. It gets below that floor within a minute; read how its samples turn "
        "from shapes of words into words.",
        "Train a small GPT",
        partial(begin, "preset=gpt-tiny"),
    ),
)


def first_lesson_button(run: Run | None) -> None:
    """Opens the first chapter; it has the weight of the button beside it."""
    st.button(
        "First lesson",
        key="first_lesson",
        type="secondary" if play_label(run) == "Pause" else "primary",
        width="stretch",
        on_click=_turn_to,
        args=(0,),
        help="Five short chapters, each with a button.",
    )


def chapter() -> None:
    """The open chapter, if one is."""
    at = st.session_state.get(STATE_KEY)
    if at is None:
        return
    shown = CHAPTERS[at]
    with st.container(border=True, key="chapter"):
        st.markdown(f"**{at + 1} of {len(CHAPTERS)} · {shown.title}**")
        st.markdown(shown.told)
        st.button(shown.button, key="chapter_do", type="primary", width="stretch", on_click=shown.do)
        with st.container(horizontal=True, gap="xsmall", wrap=False, key="chapter_turn"):
            st.button("Back", key="chapter_back", on_click=_turn_to, args=(at - 1,), disabled=at == 0)
            last = at == len(CHAPTERS) - 1
            if last:
                st.button("Close", key="chapter_close", on_click=_turn_to, args=(None,))
            else:
                st.button("Next", key="chapter_next", on_click=_turn_to, args=(at + 1,))


def _turn_to(chapter: int | None) -> None:
    st.session_state[STATE_KEY] = chapter
