"""One style of tabs, on every page: words on a line, the open one underlined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import streamlit as st

from pages.charts.palette import colours

OPEN = f"light-dark({colours('light')['train']}, {colours('dark')['train']})"
TAB_STYLE = """<style>
[class*="st-key-tabs_"] { border-bottom: 1px solid var(--st-border-color, #88888855); }
[class*="st-key-tabs_"] button { border: 0; border-radius: 0; background: none; padding: 0.3rem 0; margin-right: 1.5rem;
  border-bottom: 2px solid transparent; }
[class*="st-key-tabs_"] button:is([aria-checked="true"], [aria-pressed="true"], [data-selected]) {
  color: OPEN; border-bottom-color: currentColor; }
</style>""".replace("OPEN", OPEN)


def tabs(name: str, titles: Sequence[str], key: str, bind: Literal["query-params"] | None = None) -> str:
    """Which of the views called `titles` is open, the first to begin with; `name` says what they are views of.

    The choice stands in the session under `key`, and with `bind` in the page's address.
    """
    with st.container(key=f"tabs_{key}"):
        chosen = st.segmented_control(
            name, list(titles), default=titles[0], required=True, key=key, bind=bind, label_visibility="collapsed"
        )
    return str(chosen)
