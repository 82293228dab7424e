"""All terms by group, and a search over them."""

from __future__ import annotations

import html

import streamlit as st

from pages.widgets.glossary import TERMS, anchor, search


def terms() -> None:
    """All terms, or those that a search finds."""
    st.subheader("Words", anchor="words")
    wanted = st.text_input(
        "search",
        key="search",
        bind="query-params",
        placeholder="a word, or a part of one",
        max_chars=60,
        help="In terms and sentences.",
    )
    groups = search(wanted)
    if not groups:
        st.text(f"No term has {wanted!r} in it. There are {len(TERMS)}; try a shorter piece of the word.")
    for group, terms in groups.items():
        st.markdown(f"**{group}**")
        entries = "".join(
            f'<div id="{anchor(name)}"><dt>{html.escape(name)}</dt><dd>{html.escape(told)}</dd></div>'
            for name, told in terms.items()
        )
        st.html(f'<dl class="ls-terms">{entries}</dl>')
