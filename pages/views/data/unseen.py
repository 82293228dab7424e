"""Characters of the validation part that training never shows, and their loss under the current model."""

from __future__ import annotations

import streamlit as st

from engine.analysis.text_statistics import TextStatistics, unseen_token_loss
from engine.errors import InputError
from engine.lessons.results import percent
from engine.models.registry import build_language_model
from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.text.corpus import Corpus
from engine.text.library import TextEntry
from pages.charts import static


def unseen_tokens(told: TextStatistics, entry: TextEntry) -> None:
    """List the characters that training never shows, and their loss."""
    static.heading(
        "In validation only",
        "The vocabulary is made from the whole text, so such a character has a token and a row, yet no batch ever "
        "trains them. Healthy is none, or a handful; many say that the text changes on the way from part to part.",
    )
    share = told.new_pairs / max(1, told.val_pairs)
    unknown = (
        f"{told.new_pairs:,} of the {told.val_pairs:,} pairs in the validation part ({percent(share, 2)}) never occur "
        "in the training part. Counting would give them probability 0 and an infinite loss; softmax never quite gives "
        "0."
    )
    if not told.unseen:
        st.text("Every character of the validation part occurs in the training part too.\n\n" + unknown)
        return
    names = ", ".join(f"{told.tokenizer.labels[one.tokens[0]]} ({one.times:,} ×)" for one in told.unseen)
    st.text(f"Only in the validation part: {names}.\n\n{unknown}")
    run = run_manager().current
    if run is None or not learns_from(run, entry, told):
        st.text("Train a bigram or a GPT on this text, by characters, and what it pays for them is computed here.")
        return
    unseen_loss(run, told)


def learns_from(run: Run, entry: TextEntry, told: TextStatistics) -> bool:
    """Does the run learn from this text, by characters and with the same split?"""
    data = run.dataset
    same = isinstance(data, Corpus) and run.config.corpus == entry.name and data.tokenizer.vocab == told.tokenizer.vocab
    return (
        same and isinstance(data, Corpus) and list(map(len, (data.train, data.val))) == list(told.splits.values())[:2]
    )


def unseen_loss(run: Run, told: TextStatistics) -> None:
    """The current model's loss on characters that it never saw."""
    try:
        step, weights = run.copy_weights()
    except InputError as error:
        st.text(str(error))
        return
    model = build_language_model(run.config, run.corpus.vocab_size).load_weights(weights)
    unseen = [one.tokens[0] for one in told.unseen]
    paid = unseen_token_loss(model, run.corpus.val, unseen, run.config.block_size)
    rows = [
        {"target": name, "loss, nats": "none" if loss is None else f"{loss:.3f}"}
        for name, loss in (
            ("the unseen character itself", paid.itself),
            ("what comes right after it", paid.after),
            ("the others in the same windows", paid.others),
        )
    ]
    st.dataframe(rows, hide_index=True, width="stretch")
    st.caption(
        f"Mean losses on validation windows that hold one ({paid.windows:,}), with the weights of step {step:,}. As an "
        "answer it was only ever pushed down; as a question its row is nearly as it was drawn."
    )
    st.button("Refresh", key="again", icon=":material/visibility:", help="With the weights of this moment.")
