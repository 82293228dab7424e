"""A text with its tokens in colour. The text is shown literally: everything that reaches the page is escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st

from engine.errors import InputError
from engine.text.tokenizer import Tokenizer

MOST_TOKENS = 3000
# Four colours in turn, so that neighbours differ; pale enough to keep the text readable.
STYLE = """<style>
.ls-pieces { font-family: var(--st-code-font, monospace); font-size: 0.9375rem; line-height: 1.9; white-space: pre-wrap;
  overflow-wrap: anywhere; max-height: 420px; overflow-y: auto; }
.ls-pieces span { padding: 2px 0; border-radius: 3px; }
.ls-pieces .t0 { background: rgba(86, 180, 233, .32); } .ls-pieces .t1 { background: rgba(230, 159, 0, .32); }
.ls-pieces .t2 { background: rgba(0, 158, 115, .34); } .ls-pieces .t3 { background: rgba(204, 121, 167, .34); }
</style>"""


def show_coloured(text: str, tokenizer: Tokenizer) -> list[int]:
    """Show `text` with a colour behind each token, its name and id on hover; returns the ids.

    Several tokens that make up one character, byte by byte, share a colour. If the tokenizer does not know a character,
    the page says so and nothing is returned.
    """
    try:
        ids: list[int] = tokenizer.encode(text).tolist()
    except InputError as error:
        st.text(str(error))
        return []
    if ids:
        st.html(STYLE + markup(ids[:MOST_TOKENS], tokenizer))
    if len(ids) > MOST_TOKENS:
        st.caption(f"The first {MOST_TOKENS:,} of {len(ids):,} tokens are shown.")
    return ids


def markup(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """One span for each token, or for the tokens that make up one character, everything in it escaped."""
    spans: list[str] = []
    together: list[int] = []
    for number, piece in zip(ids, tokenizer.pieces(ids), strict=True):
        together.append(number)
        if piece:
            spans.append(_span(piece, together, len(spans), tokenizer))
            together = []
    return f'<div class="ls-pieces">{"".join(spans)}</div>'


def _span(piece: str, ids: list[int], place: int, tokenizer: Tokenizer) -> str:
    names = ", ".join(f"{tokenizer.labels[number]} ({number:,})" for number in ids)
    shown = html.escape(piece).replace("\t", "⇥\t").replace("\n", "⏎\n")
    return f'<span class="t{place % 4}" title="{html.escape(names)}">{shown}</span>'
