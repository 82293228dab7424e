"""A card that lies over the page, beside what opened it: what is asked there moves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from pages.charts.palette import colours

PAPER = f"light-dark({colours('light')['background']}, {colours('dark')['background']})"
OVER_STYLE = """<style>
.st-key-asks_here, .st-key-transport, [class*="st-key-asks_at_"] { position: relative; }
[data-testid="stLayoutWrapper"]:has(> [class*="st-key-over_"]) {
  position: absolute; z-index: 1000; width: min(22rem, 92vw); max-width: none; border-radius: 8px;
  box-shadow: 0 6px 24px #0006;
  background: PAPER;
}
[class*="st-key-over_"] { border-color: var(--st-primary-color, #4C9BD0); gap: 0.6rem; }
[data-testid="stLayoutWrapper"]:has(> .st-key-answers) { position: absolute; inset: 100% auto auto 0;
  width: min(22rem, 92vw); max-width: none; }
[data-testid="stLayoutWrapper"]:has(> :is(.st-key-over_verbs, .st-key-over_button)) {
  top: calc(100% + 0.3rem); left: 0;
}
.st-key-asks_at_right > [data-testid="stLayoutWrapper"]:has(> .st-key-over_button) { left: auto; right: 0; }
.st-key-bar [data-testid="stLayoutWrapper"]:has(> :is(.st-key-over_verbs, .st-key-over_button)) {
  position: fixed; top: calc(var(--ls-bar) + 6px); left: auto; right: 52px;
}
.st-key-on_board { position: relative; }
[data-testid="stLayoutWrapper"]:has(> .st-key-over_board) { right: 0; bottom: 4.2rem; }
[data-testid="stLayoutWrapper"]:has(> .st-key-over_lesson) { right: 0; bottom: 4.4rem; width: min(24rem, 92vw); }
.st-key-over_lesson [data-testid="stText"] { font-size: 0.95rem; line-height: 1.35; }
[data-testid="stLayoutWrapper"]:has(> .st-key-over_result) { left: 0; bottom: 4.4rem; width: min(40rem, 62%); }
[data-testid="stLayoutWrapper"]:has(> .st-key-over_set_up) { right: 0; top: 1.7rem; width: auto; max-width: 62%; }
.st-key-over_set_up { padding: 0.3rem 0.6rem; }
[data-testid="stLayoutWrapper"]:has(> .st-key-over_notices) { position: fixed; left: 1rem; bottom: 1rem; }
</style>""".replace("PAPER", PAPER)


@contextmanager
def over(place: str) -> Iterator[None]:
    """What is drawn within lies over the page.

    `place` is below the "verbs", or below a "button" in a container "asks_at_…"; at the foot of the "board", where a
    "lesson" and a "result" stand too; on its headline ("set_up"); or in a corner of the screen ("notices").
    """
    with st.container(border=True, key=f"over_{place}"):
        yield
