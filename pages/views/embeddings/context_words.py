"""Relations between words that rows learn from context alone: synonyms, antonyms, part and whole, categories."""

from __future__ import annotations

import streamlit as st

from engine.lessons.results import percent
from engine.lessons.word_relations import SENTENCES, STEPS, WordRelations, word_relations
from pages.charts import static


def learned_from_context() -> None:
    """A bigram of words before and after training: whose rows became alike, and what that does and does not say."""
    with st.spinner("training a bigram of words"):
        found = word_relations()
    static.heading(
        "Learned from context: synonyms, antonyms, part and whole",
        f"A bigram of {found.words} words, trained on these sentences for {STEPS} steps. Cosines of two words' rows "
        "with the average row subtracted: near 0 while rows are random; high where the two are followed by the same "
        "words.",
    )
    left, right = st.columns([3, 2], gap="medium")
    with left:
        rows = [
            {
                "relation": one.kind,
                "words": f"{one.one}, {one.other}",
                "cosine, random": round(one.before, 2),
                "cosine, trained": round(one.after, 2),
                "in one sentence": percent(one.together),
            }
            for one in found.relations
        ]
        rows.append(
            {
                "relation": "analogy",
                "words": "king − man + woman",
                "cosine, random": f"nearest: {found.sum_before[0]}",
                "cosine, trained": f"nearest: {found.sum_after[0]}",
                "in one sentence": "",
            }
        )
        st.table([{name: str(cell).replace("-", "−") for name, cell in row.items()} for row in rows])
    with right:
        st.text(what_was_learnt(found))
        with st.expander(f"The {len(SENTENCES)} sentences"):
            st.code("\n".join(SENTENCES), language=None)


def what_was_learnt(found: WordRelations) -> str:
    """What the numbers say, in sentences."""
    by_kind = {one.kind: one for one in found.relations}
    same, opposite, part = (by_kind[kind] for kind in ("synonyms", "antonyms", "part and whole"))
    return (
        f"Nobody told the model what a word means: it saw which word follows which, and its loss fell from "
        f"{found.loss_before:.2f} to {found.loss_after:.2f}. Words that stand in the same places came to have similar "
        f"rows: {same.one} and {same.other} are at {same.after:.2f}. But so do {opposite.one} and {opposite.other}, at "
        f"{opposite.after:.2f}: opposites stand in the same places too, and context alone does not tell them from "
        f"synonyms. A part and its whole meet in one sentence, {percent(part.together)} of those with either, and "
        f"stand in different places: {part.one} and {part.other} are at {part.after:.2f}."
    )
