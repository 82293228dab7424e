"""Any text cut into tokens three ways, in colour. A session keeps the tokenizer last used."""

from __future__ import annotations

import streamlit as st

from engine.analysis.text_statistics import TextStatistics
from engine.config import RunConfig, changed
from engine.errors import InputError
from engine.paths import home
from engine.progress import Report
from engine.runs.datasets import make_tokenizer
from engine.runs.manager import run_manager
from engine.text import gpt2
from engine.text.bpe import ByteTokenizer
from engine.text.description import learnt_part
from engine.text.library import TextEntry
from engine.text.tokenizer import Tokenizer
from pages.charts import static
from pages.views.data.token_colours import show_coloured
from pages.views.shared.add_text import fetch_gpt2
from pages.widgets import waiting

MOST_PASTED = 5000
TOKENIZERS = {"characters": "char", "byte pairs of this text": "bpe", "GPT-2's own": "gpt2"}


def token_view(told: TextStatistics, entry: TextEntry, config: RunConfig) -> None:
    """The tokens of a pasted text; until one is pasted, of the corpus's first words."""
    static.heading(
        "Tokens of a text",
        "The same text cut three ways, each token on a ground of its own; its name and id appear under the pointer. "
        "Fewer tokens mean a longer reach for the same block size, and a larger table to learn.",
    )
    kind = st.segmented_control("cut into", list(TOKENIZERS), default="characters", required=True, key="cut")
    size = 512
    if TOKENIZERS[kind] == "bpe":
        size = st.slider("tokens to learn", 256, 2048, 512, 64, key="bpe_size", help="256 bytes and the pairs joined.")
    if st.session_state.get("pasted") in (None, st.session_state.get("pasted_example")):
        st.session_state.pasted = st.session_state.pasted_example = told.opening
    text = st.text_area("a text", key="pasted", max_chars=MOST_PASTED, height=110)
    tokenizer = (
        told.tokenizer
        if kind == "characters"
        else tokenizer_for(entry, changed(config, tokenizer=TOKENIZERS[kind], vocab_size=size))
    )
    if tokenizer is None or not text:
        return
    ids = show_coloured(text, tokenizer)
    if ids:
        st.text(f"{len(text):,} characters, {len(ids):,} tokens of {tokenizer.vocab_size:,}")
        if isinstance(tokenizer, ByteTokenizer) and (part := learnt_part(tokenizer.bounds, told.splits["training"])):
            st.caption(part)
        st.code(" ".join(map(str, ids)), language=None, wrap_lines=True, height=90)


def tokenizer_for(entry: TextEntry, config: RunConfig) -> Tokenizer | None:
    """The tokenizer of `config`, learnt once a session; None, and a sentence, if something is missing or under way."""
    learns, library = config.tokenizer == "bpe", run_manager().library
    key = config.tokenizer, (config.vocab_size, entry.name, entry.sha256) if learns else ()
    if not learns and gpt2.found(home()) is None:
        offer_gpt2()
        return None

    def make(report: Report) -> Tokenizer | None:
        return make_tokenizer(library.load_name(entry.name, report)[0] if learns else "", config, report=report)

    try:
        return waiting.result("cutter", key, make)
    except InputError as error:
        st.text(str(error))
        return None


def offer_gpt2() -> None:
    """Offer to fetch GPT-2's two files."""
    st.text(f"{gpt2.TITLE} is not on this machine. It is two public files, {gpt2.BYTES / 1e6:.1f} MB together.")
    st.button("Fetch it", key="fetch_gpt2", icon=":material/download:", on_click=fetch_gpt2)
