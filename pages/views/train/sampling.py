"""A sample from the model as it is now: prompt, temperature, top-k, length, seed."""

from __future__ import annotations

import streamlit as st

from pages.widgets import actions


def sampling() -> None:
    """Prompt, temperature, top-k, length, seed."""
    st.text_input("sample from a prompt", key="prompt", max_chars=200, placeholder="empty: the first token")
    with st.container(horizontal=True, gap="xsmall", wrap=False, key="sampling"):
        st.button(
            "Sample",
            key="sample",
            shortcut="S",
            on_click=actions.sample,
            help="Sample from the model as it is now. Key: s",
        )
        with st.popover("Options"):
            st.slider("temperature", 0.05, 3.0, 1.0, 0.05, key="temperature", help="Below 1: safer. Above 1: wilder.")
            st.number_input("top-k (0: all tokens)", 0, 100_000, 0, key="top_k")
            st.number_input("length, tokens", 1, 400, 120, key="max_new_tokens")
            st.number_input("seed", 0, 2**31, 0, key="sample_seed", help="Same seed, same weights: same text.")
