"""What the five documents say that is not so, each with the place that computes what is: one press opens it.

The words are the documents'; what is true is not told here but shown there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import streamlit as st

from engine.presets import preset
from engine.runs.manager import run_manager
from engine.training.trainer import STAGES
from pages.views.shared import inspected_step
from pages.views.shared.try_this import LESSON, state, what_if
from pages.widgets import actions


@dataclass(frozen=True)
class Correction:
    """What `document` says; the place that shows what is true, its page, and how that is set up before it opens."""

    document: str
    says: str
    shown: str
    page: str
    open: Callable[[], None]
    look: str = ""
    """The view of Inside."""


def example(title: str) -> Callable[[], None]:
    """Open a small example of the Step page."""
    return state(step_tab="Small examples", example_kept=title, example_chosen=title)


def stage(name: str) -> None:
    """Open the Step page after the stage `name` of a fresh bigram's step, making the stages up to there."""
    st.session_state.step_tab = "This step"
    st.session_state.pop("step_back", None)
    inspected_step.choose("bigram")
    run = run_manager().run_named(inspected_step.LANE)
    if run is None or not inspected_step.can_step(run):
        inspected_step.begin("bigram")
        run = run_manager().run_named(inspected_step.LANE)
    for _ in STAGES:
        if run is None or run.stage == STAGES.index(name) + 1:
            return
        inspected_step.forward(run)


def nothing() -> None:
    """The page shows it as it is."""


def _of(document: str, *rows: tuple[str, str, str, Callable[[], None]]) -> Iterator[Correction]:
    for says, shown, page, opens in rows:
        yield Correction(document, says, shown, page, opens, "Parameters" if page == "Inside" else "")


CORRECTIONS: tuple[Correction, ...] = (
    *_of(
        "000",
        ("New = old − lr × gradient; a larger gradient moves a weight more.",
         "Both rules on the real weights", "Step", partial(stage, "update")),
        ("Each loop makes the model a little better.", "Does every step make it better?", "Step",
         what_if("every-step-better")),
        ("After enough iterations it is very good at predicting.", "A bigram and its floor", "Train",
         partial(actions.lay_out, preset("document-000"))),
        ("With too many iterations it might memorize.", "Too many on a short text", "Step", what_if("memorizing")),
        ("It goes through the data multiple times.", "Passes over the text", "Step", what_if("passes")),
        ("Gradients are adjustments of the weights, opposite to the error.", "A gradient is a slope", "Step",
         partial(stage, "backward")),
        ("The logits are [0.1, 0.5, 0.3, 0.1].", "Their softmax", "Step",
         example("Logits that look like probabilities")),
    ),
    *_of(
        "001",
        ("It recalculates until within 80 % of the target.", "Recalculate until 80 %",
         "Step", what_if("until-80-percent")),
        ("loss.backwards() gives weight changes; AdamW is a perceptron.", "Slope, then step",
         "Step", partial(stage, "update")),
        ("The split is 80/10/10 (and the test part never used).", "A run that tests once", "Train",
         partial(actions.lay_out, preset("simple"))),
        ("global_step = −1: its step 0 comes after an update.", "A run with its step 0", "Train",
         partial(actions.lay_out, preset("simple"))),
        ("Evaluation draws from the shuffled training loader.", "It changes the training", "Step",
         what_if("evaluation-draws")),
    ),
    *_of(
        "002",
        ("A new point shows that the function is wrong.", "Fits and their residuals", "First steps",
         state(part="The line")),
        ("An iteration is an epoch; the code illustrates the line.", "The code's own model", "First steps",
         state(part=LESSON)),
    ),
    *_of(
        "003",
        ("randint(len(data) − block_size − 1)", "The window it loses", "Step", what_if("last-window")),
        ("These are the softmax of the printed logits.", "Computed from them", "Step",
         example("The printed logits and their softmax")),
        ("Logits are probabilities; tokens are words; B is 8.", "Shapes of the printed batch", "Step",
         example("B, T and C of the printed batch")),
        ("King − Man + Woman = Queen", "Nearest, not equal", "Embeddings", nothing),
        ("The log magnifies small differences.", "What it does", "Step", example("What the logarithm does")),
        ("The names of grad_fn", "Names in this PyTorch", "Step", example("Names of grad_fn")),
        ("softmax(dim=1), for any shape of the logits", "Over the wrong dimension", "Step",
         what_if("softmax-dimension")),
    ),
    *_of(
        "004",
        ("parameters() yields the trainable ones, kept in _parameters.", "The tree of modules",
         "Inside", nothing),
        ("zero_grad(set_to_none=True) is slightly more efficient.", "Zeros instead of None", "Step",
         what_if("zeros-or-none")),
        ("The printed loss is the current loss.", "Before and after the update", "Step", partial(stage, "observe")),
        ("Gradients are cleared here (in each document elsewhere).", "Three places, and a wrong one", "Step",
         what_if("zero-grad-places")),
    ),
)  # fmt: skip


def corrections() -> None:
    """Each sentence with the button that opens what computes the truth."""
    st.subheader("What the documents say, and what is so", anchor="corrections")
    st.caption("Each button opens the place where it is computed. Nothing of the room's run is touched.")
    left, right = st.columns(2, gap="large")
    half = (len(CORRECTIONS) + 1) // 2
    for number, one in enumerate(CORRECTIONS):
        with (left if number < half else right).container(horizontal=True, vertical_alignment="center"):
            st.text(f"{one.document}: {one.says}", width="stretch")
            if st.button(one.shown, key=f"correction-{number}", icon=":material/arrow_forward:"):
                one.open()
                query = {"look": one.look} if one.look else None
                st.switch_page(f"{one.page.lower().replace(' ', '_')}.py", query_params=query)
