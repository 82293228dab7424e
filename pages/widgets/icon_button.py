"""A button with a sign on it in place of words; its words are its name, for everybody who does not see the sign."""

from __future__ import annotations

from typing import Any

import streamlit as st

NAME_STYLE = """<style>
[class*="st-key-sign_"] button [data-testid="stMarkdownContainer"] { position: absolute; width: 1px; height: 1px;
  overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
</style>"""


def icon_button(name: str, key: str, icon: str, **options: Any) -> bool:
    """The button `key`, called `name`, with `icon` alone to be seen. `options` are those of `st.button`."""
    with st.container(key=f"sign_{key}", width="content"):
        return st.button(name, key=key, icon=icon, **options)
