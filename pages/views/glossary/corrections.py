"""What the five documents get wrong, each with a button that opens the view which computes the truth.

The sentences are the documents'; the truth is shown there, not told here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import streamlit as st

from engine.presets import preset
from engine.training.trainer import STAGES
from pages.views.shared import inspected_step
from pages.views.shared.set_ups import FOUR_POINTS, LAYER_TAB, open_experiment, restart_line, set_choices
from pages.widgets import plan


@dataclass(frozen=True)
class Correction:
    """What `document` says, the label of the button, its page, and what sets that page up before it opens."""

    document: str
    says: str
    shown: str
    page: str
    open: Callable[[], None]
    look: str = ""
    """The view of Inside."""


def open_example(title: str) -> Callable[[], None]:
    """Open a small example of the Step page."""
    return set_choices(step_tab="Small examples", example_kept=title, example_chosen=title)


def open_stage(name: str) -> None:
    """Open Step after the stage `name` of a fresh bigram's step, its tensors unfolded."""
    inspected_step.select_source("bigram")
    inspected_step.show_stage(STAGES.index(name) + 1)
    st.session_state.step_tab, st.session_state.step_tensors = "This step", True


def open_as_it_is() -> None:
    """Nothing to set up: the page shows it anyway."""


def _of(document: str, *rows: tuple[str, str, str, Callable[[], None]]) -> Iterator[Correction]:
    for says, shown, page, opens in rows:
        yield Correction(document, says, shown, page, opens, "Parameters" if page == "Inside" else "")


CORRECTIONS: tuple[Correction, ...] = (
    *_of(
        "000",
        ("New = old − lr × gradient; a larger gradient moves a weight more.",
         "Both rules on the real weights", "Step", partial(open_stage, "update")),
        ("Each loop makes the model a little better.", "Does every step make it better?", "Step",
         open_experiment("every-step-better")),
        ("After enough iterations it is very good at predicting.", "A bigram and its floor", "Train",
         partial(plan.prepare_for_train, preset("document-000"))),
        ("With too many iterations it might memorize.", "Too many on a short text", "Step",
         open_experiment("memorizing")),
        ("It goes through the data multiple times.", "Passes over the text", "Step", open_experiment("passes")),
        ("Gradients are adjustments of the weights, opposite to the error.", "A gradient is a slope", "Step",
         partial(open_stage, "backward")),
        ("The logits are [0.1, 0.5, 0.3, 0.1].", "Their softmax", "Step",
         open_example("Logits that look like probabilities")),
    ),
    *_of(
        "001",
        ("It recalculates until within 80 % of the target.", "Recalculate until 80 %",
         "Step", open_experiment("until-80-percent")),
        ("loss.backwards(); AdamW is a perceptron; gradients = change in weights.", "What each of them is",
         "Step", open_example("backwards(), a perceptron, a change")),
        ("The split is 80/10/10 (and the test part never used).", "A run that tests once", "Train",
         partial(plan.prepare_for_train, preset("simple"))),
        ("global_step = −1: its step 0 comes after an update.", "A run with its step 0", "Train",
         partial(plan.prepare_for_train, preset("simple"))),
        ("Evaluation draws from the shuffled training loader.", "It changes the training", "Step",
         open_experiment("evaluation-draws")),
    ),
    *_of(
        "002",
        ("A new point shows that the function is wrong.", "Fits and their residuals", "First steps",
         partial(restart_line, FOUR_POINTS)),
        ("An iteration is an epoch; the code illustrates the line.", "The code's own model", "First steps",
         set_choices(part=LAYER_TAB)),
    ),
    *_of(
        "003",
        ("randint(len(data) − block_size − 1)", "The window it loses", "Step", open_experiment("last-window")),
        ("These are the softmax of the printed logits.", "Computed from them", "Step",
         open_example("The printed logits and their softmax")),
        ("Logits are probabilities; tokens are words; B is 8.", "Shapes of the printed batch", "Step",
         open_example("B, T and C of the printed batch")),
        ("King − Man + Woman = Queen", "Nearest, not equal", "Embeddings", open_as_it_is),
        ("The log magnifies small differences.", "What it does", "Step", open_example("What the logarithm does")),
        ("The names of grad_fn", "Names in this PyTorch", "Step", open_example("Names of grad_fn")),
        ("softmax(dim=1), for any shape of the logits", "Over the wrong dimension", "Step",
         open_experiment("softmax-dimension")),
    ),
    *_of(
        "004",
        ("parameters() yields the trainable ones, kept in _parameters.", "The tree of modules",
         "Inside", open_as_it_is),
        ("zero_grad(set_to_none=True) is slightly more efficient.", "Zeros instead of None", "Step",
         open_experiment("zeros-or-none")),
        ("The printed loss is the current loss.", "Before and after the update", "Step",
         partial(open_stage, "observe")),
        ("Gradients are cleared here (in each document elsewhere).", "Three places, and a wrong one", "Step",
         open_experiment("zero-grad-places")),
    ),
)  # fmt: skip


def corrections() -> None:
    """Each sentence, with the button that opens its view."""
    st.subheader("What the documents say, and what is right", anchor="corrections")
    st.caption("Each button opens the place where it is computed. The current run is not touched.")
    left, right = st.columns(2, gap="large")
    half = (len(CORRECTIONS) + 1) // 2
    for number, one in enumerate(CORRECTIONS):
        with (left if number < half else right).container(horizontal=True, vertical_alignment="center"):
            st.text(f"{one.document}: {one.says}", width="stretch")
            if st.button(one.shown, key=f"correction-{number}", icon=":material/arrow_forward:"):
                one.open()
                query = {"look": one.look} if one.look else None
                st.switch_page(f"{one.page.lower().replace(' ', '_')}.py", query_params=query)
