"""The documents' small examples on the page: the claim, what is true, and the small tensors behind both."""

from __future__ import annotations

from functools import lru_cache

import streamlit as st

from engine.lessons.small_examples import EXAMPLES, Example
from pages.views.shared.results import show_displays


@lru_cache(maxsize=len(EXAMPLES))
def compute(title: str) -> Example:
    """Compute an example, once a process: it depends on nothing."""
    return EXAMPLES[title]()


def small_examples() -> None:
    """The list of examples, and the one that is chosen."""
    titles = list(EXAMPLES)
    chosen = st.selectbox(
        "Example",
        titles,
        index=titles.index(st.session_state.get("example_kept", titles[0])),
        key="example_chosen",
        help="Each is computed by PyTorch from the numbers that stand in the document.",
    )
    st.session_state.example_kept = chosen
    example = compute(chosen)
    left, right = st.columns(2, gap="medium")
    with left.container(border=True, height="stretch"):
        st.markdown(f"**Document {example.document}**")
        st.markdown(example.claim)
    with right.container(border=True, height="stretch"):
        st.markdown("**What is computed**")
        st.markdown(example.actual)
    show_displays(example.displays, f"example-{chosen}")
