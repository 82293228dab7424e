"""Document 002's ten steps from a text to a model, as a way through the app."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from pages.widgets.glossary import DOCUMENTS

TRAIN, STEP, INSIDE, EMBEDDINGS, FIRST_STEPS, DATA = PAGES = (
    "Train",
    "Step",
    "Inside",
    "Embeddings",
    "First steps",
    "Data",
)
FILES = {page: page.lower().replace(" ", "_") + ".py" for page in PAGES}


@dataclass(frozen=True)
class RoadmapStep:
    """One of document 002's ten steps: what happens in it, and where in the app."""

    title: str
    told: str
    pages: tuple[str, ...]


ROADMAP = (
    RoadmapStep(
        "Define the architecture",
        "Choose a model under New run on Train: a bigram, a GPT with its layers, heads and width, a line, a logistic "
        "layer. Inside shows what it is made of, with every shape and count.",
        (TRAIN, INSIDE),
    ),
    RoadmapStep(
        "Prepare the text",
        "A text becomes tokens, and is cut into parts for training, validation and test. Little is removed here: "
        "line ends are made one, and nothing else.",
        (DATA,),
    ),
    RoadmapStep(
        "Initialize",
        "The first weights are drawn at random from the seed. Before Start, Inside and Embeddings show just these; the "
        "first loss is worse than guessing for a bigram, whose random scores are confident and wrong.",
        (INSIDE, EMBEDDINGS),
    ),
    RoadmapStep(
        "Forward pass",
        "The batch goes through the model, and scores come out. Stages 1 and 2 of a step, each tensor on the way.",
        (STEP, INSIDE),
    ),
    RoadmapStep(
        "Compute the loss",
        "Scores against targets, as one number. Stage 3; and, where all can be drawn, the line's mean squared error.",
        (STEP, FIRST_STEPS),
    ),
    RoadmapStep(
        "Backward pass",
        "The slope of the loss in each parameter, by the chain rule. Stage 4, with the recorded graph to walk through.",
        (STEP, FIRST_STEPS),
    ),
    RoadmapStep(
        "Update the weights",
        "The optimizer moves each weight. Stage 7 takes AdamW apart for one of them, beside what SGD would have done.",
        (STEP,),
    ),
    RoadmapStep(
        "Iterate",
        "Steps again and again, each on another batch. Train is where this runs, with its knobs turning as it goes.",
        (TRAIN,),
    ),
    RoadmapStep(
        "Iterate, by epochs",
        "The document prints its eighth step twice and calls an iteration an epoch; it is not. A step is one batch, an "
        "epoch is one pass over all windows; the preset simple on Train runs by epochs.",
        (TRAIN,),
    ),
    RoadmapStep(
        "The model is ready",
        "When the validation loss has stopped falling, and samples serve the purpose. Then the test part is measured, "
        "once. Fine-tuning begins a new run with its weights, on another text in the same characters: on Train, under "
        "New run.",
        (TRAIN, DATA),
    ),
)


def roadmap() -> None:
    """Document 002's ten steps as a way through the app."""
    st.subheader("From a text to a model, in ten steps", anchor="map")
    st.caption(f"{DOCUMENTS} The steps are document 002's; each one says where in this app it can be seen and tried.")
    rows = [ROADMAP[start : start + 5] for start in range(0, len(ROADMAP), 5)]
    for at, row in enumerate(rows):
        for place, (number, stop) in zip(st.columns(5, gap="medium"), enumerate(row, start=5 * at + 1), strict=True):
            with place:
                st.markdown(f"**{number} · {stop.title}**")
                st.markdown(stop.told)
                for page in stop.pages:
                    st.page_link(FILES[page], label=page, icon=":material/arrow_forward:")
    st.caption(
        "Further reading that the document names: [llm.c](https://github.com/karpathy/llm.c), a GPT trained in plain "
        "C, and [PyTorch's tutorial](https://pytorch.org/tutorials/beginner/basics/intro.html)."
    )
