"""Try this: three short experiments for each page, each with a button that sets it up. Nothing starts by itself.

The results that they promise were measured on the project's own play, "lamplighters", with the default seed, on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import streamlit as st

from engine import link
from engine.config import changed
from engine.runs.manager import run_manager
from pages.views.shared import inspected_step
from pages.widgets import actions, plan

LAYER_TAB = "The 5→3 layer"  # the name of the tab on First steps
SENTENCE = "The lamps along the quay are lit every evening."
FOUR_POINTS = "preset=document-002-line&points=1,3 2,5 3,7 4,8&lr=0.1&speed=100"


@dataclass(frozen=True)
class Suggestion:
    """An experiment: `does` says what to do and what comes out.

    `query` plans a run and opens Train; `here` sets up this page instead.
    """

    title: str
    does: str
    button: str
    query: str = ""
    here: Callable[[], None] | None = None


def set_choices(**choices: Any) -> Callable[[], None]:
    """Set widgets of this page, by key."""
    return partial(st.session_state.update, **choices)


def open_experiment(name: str) -> Callable[[], None]:
    """Open an experiment of the Step page."""
    return set_choices(step_tab="What if", whatif_open=name)


def step_through_fresh(preset: str) -> None:
    """Step through a fresh run."""
    st.session_state.step_tab = "This step"
    inspected_step.select_source(preset)


def restart_line(query: str) -> None:
    """Restart the line of First steps."""
    planned, _ = link.read(dict(parse_qsl(query)))
    run_manager().prepare_demo("line", changed(planned.config, device="cpu"), planned.settings)
    st.session_state.part = "The line"


SUGGESTIONS: dict[str, tuple[Suggestion, Suggestion, Suggestion]] = {
    "Train": (
        Suggestion(
            "Too large a step",
            "At learning rate 10 the loss leaps between 3.1 and 5.8 and gets nowhere, though this model's floor is "
            "2.34: each update overshoots. Then reset with 0.1: after 200 steps the training loss is 2.39.",
            "Learning rate 10",
            "preset=bigram&lr=10&max_steps=3000&speed=1000",
        ),
        Suggestion(
            "Plain gradient descent",
            "SGD at AdamW's usual rate of 0.001 stays where it is: after 1,000 steps it has moved by less than the "
            "batches scatter. Type 30 as the learning rate while it runs: 1,000 steps later the loss is about 2.4.",
            "SGD at 0.001",
            "preset=bigram&optimizer=sgd&lr=0.001&weight_decay=0&max_steps=5000&speed=100",
        ),
        Suggestion(
            "Look back further",
            "A small GPT sees 32 characters. It passes 2.34, the floor of any bigram on this text, after about 200 "
            "steps and is at 1.83 after 1,000; read how its samples change on the way.",
            "Small GPT",
            "preset=gpt-tiny",
        ),
    ),
    "Step": (
        Suggestion(
            "Forget to clear",
            "Leave zero_grad out under SGD and each update repeats all gradients so far. At first the loss falls "
            "faster than it should, then it is thrown up again: after 1,000 steps 4.7 against 2.9.",
            "No zero_grad",
            here=open_experiment("no-zero-grad-sgd"),
        ),
        Suggestion(
            "One window, or 256",
            "How far does the gradient of a batch point away from that of the whole text? With one window about 77°, "
            "with 256 windows about 14°: to halve the noise takes four times the work.",
            "Batches of 1 to 256",
            here=open_experiment("batch-sizes"),
        ),
        Suggestion(
            "Five equal rows",
            "Take the 5→3 layer and press Next four times, to the end of backward. Its five inputs are all 1, so each "
            "row of w.grad is the same, and equal to b.grad, which is σ(z)/3.",
            "The 5→3 layer",
            here=partial(step_through_fresh, "document-002"),
        ),
    ),
    "Inside": (
        Suggestion(
            "Cold and hot",
            "Generate at temperature 0.1, then at 2, from the same prompt and seed. Cold, a bigram of 3,000 steps at "
            "learning rate 0.01 starts with a newline and writes only newlines, the likeliest pair; hot, it forgets "
            "most of what it learnt.",
            "Temperature 0.1",
            here=set_choices(look="Generation", inside_temperature=0.1),
        ),
        Suggestion(
            "Learnt against counted",
            "Compare a row of the trained table with the text's own frequencies. Rows of frequent characters agree "
            "first; the rare ones have hardly been trained, and cost little for the same reason.",
            "Table and counts",
            here=set_choices(look="Table"),
        ),
        Suggestion(
            "Where it looks",
            "Train the small GPT for 1,000 steps, come back and open Attention. Each row adds up to 1 and ends at its "
            "own column, since the causal mask hides what comes later.",
            "Small GPT",
            "preset=gpt-tiny&max_steps=1000",
        ),
    ),
    "Embeddings": (
        Suggestion(
            "Vowels find each other",
            "Start this bigram and watch the plane for 3,000 steps. The rows most like that of e are then r, o, u and "
            "a, which are followed by the same characters as e; before training they were any.",
            "Bigram, learning rate 0.01",
            "preset=bigram&lr=0.01&max_steps=10000&speed=100",
        ),
        Suggestion(
            "Digits gather",
            "Start the small GPT, and look at the token 1 after 1,000 steps. The rows nearest to it are 4, 2, 5 and "
            "3, at a cosine near 0.8; nobody told the model that these are digits.",
            "Small GPT",
            "preset=gpt-tiny",
        ),
        Suggestion(
            "Everybody is alike",
            "Compare the rows of a trained bigram as they are: after 3,000 steps at 0.01 the cosines average 0.8. All "
            "rows have learnt that most characters are rare; with the average subtracted, the differences show.",
            "Rows as they are",
            here=set_choices(compared="rows as they are"),
        ),
    ),
    "First steps": (
        Suggestion(
            "Just above the edge",
            "The largest stable learning rate for the three points is 0.1803. At 0.19 the line swings wider and "
            "wider: the loss is 27.7 at first and 174 at the tenth step. At 0.17 it settles at a = 2, b = 1.",
            "Learning rate 0.19",
            here=partial(restart_line, "preset=document-002-line&lr=0.19"),
        ),
        Suggestion(
            "The fourth point",
            "With (4, 8) no line goes through all points. It settles at a = 1.7, b = 1.5 with a mean squared error of "
            "0.075; whether the point is noise or the form is wrong, four points cannot tell.",
            "Four points",
            here=partial(restart_line, FOUR_POINTS),
        ),
        Suggestion(
            "No minimum",
            "Open the 5→3 layer and go through its five steps. All targets are 0, so the loss falls at each step and "
            "would for ever: there is always a score that is lower.",
            "The 5→3 layer",
            here=set_choices(part=LAYER_TAB),
        ),
    ),
    "Data": (
        Suggestion(
            "A letter never seen",
            "The Ferry Notebook has one q, and it is in the validation part. Train on that text, come back, and see "
            "what the letter costs: after 3,000 steps with the default settings 6.2 nats, those around it 2.9.",
            "The Ferry Notebook",
            here=set_choices(text_shown="ferry-notebook", text_asked="ferry-notebook"),
        ),
        Suggestion(
            "Fewer, longer tokens",
            f"Cut “{SENTENCE}” into byte pairs. Its 47 characters are 18 tokens when 512 are learnt from the default "
            "text, 11 with 1,024 and 10 with 2,048; the button puts it into the box above.",
            "Byte pairs",
            here=set_choices(cut="byte pairs of this text", pasted=SENTENCE),
        ),
        Suggestion(
            "Too short a text",
            "Train on the diary of 8,066 characters. The training loss falls to the end; the validation loss is "
            "lowest, about 2.45, near step 1,500 and 2.53 after 10,000: by then the model memorizes.",
            "Train on the diary",
            "preset=bigram&corpus=ferry-notebook&lr=0.01&max_steps=10000&speed=1000",
        ),
    ),
}


def try_this(page: str) -> None:
    """The three experiments of a page, in an expander."""
    with st.expander("Try this", icon=":material/science:"):
        suggestions(page)


def suggestions(page: str) -> None:
    """The three experiments of a page, each with its button."""
    for place, trial in zip(st.columns(3, gap="medium"), SUGGESTIONS[page], strict=True):
        with place:
            st.markdown(f"**{trial.title}**")
            st.markdown(trial.does)
            key = f"try-{page}-{trial.title}"
            if trial.here is not None:
                st.button(trial.button, key=key, on_click=trial.here, width="stretch")
            elif page == "Train":
                st.button(trial.button, key=key, width="stretch", on_click=set_up_here, args=(trial.query,))
            elif st.button(trial.button, key=key, icon=":material/arrow_forward:", width="stretch"):
                prepare(trial.query)
                st.switch_page("train.py")


def set_up_here(query: str) -> None:
    """Plan a run on Train itself: its panel closes, and the stage says what is set up."""
    prepare(query)
    actions.close_panels()


def prepare(query: str) -> None:
    """Plan the run that `query` describes."""
    planned, _ = link.read(dict(parse_qsl(query)))
    plan.prepare_for_train(planned)
