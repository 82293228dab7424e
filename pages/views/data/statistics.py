"""A text in charts: its splits, its most frequent characters and pairs, its entropy ladder."""

from __future__ import annotations

import numpy as np
import streamlit as st

from engine.analysis.text_statistics import TextStatistics
from pages.charts import static
from pages.charts.palette import BASELINE, TRAIN, VALIDATION

SPLIT_COLOURS = {"training": TRAIN, "validation": VALIDATION, "test": BASELINE}
MOST_BARS = 20


def splits(told: TextStatistics) -> None:
    """The three parts, drawn to scale."""
    figure = static.plane("characters, from the first to the last", "")
    for name, size in told.splits.items():
        figure.add_bar(
            x=[size],
            y=[0],
            orientation="h",
            name=f"{name} {size:,}",
            marker={"color": SPLIT_COLOURS[name]},
            hovertemplate=f"{name}: %{{x:,}} characters<extra></extra>",
        )
    figure.update_layout(
        barmode="stack",
        bargap=0,
        legend={"traceorder": "normal"},
        xaxis={"tickformat": ",", "range": [0, told.characters]},
        yaxis={"visible": False},
    )
    static.show(
        figure,
        "splits",
        "How the text is split",
        "The model learns from the training part alone; validation is looked at while it trains, test once at the end. "
        "Healthy: the parts are of one kind of text, since they are cut in its order and not mixed.",
        height=150,
    )


def frequencies(told: TextStatistics) -> None:
    """The most frequent characters and pairs of the training part."""
    labels = told.tokenizer.labels
    left, right = st.columns(2, gap="medium")
    for place, often, key, title, whole in (
        (left, told.singles, "singles", "Most frequent characters", told.splits["training"]),
        (right, told.pairs, "pairs", "Most frequent pairs", max(1, told.splits["training"] - 1)),
    ):
        names = ["".join(labels[token] for token in one.tokens) for one in often[:MOST_BARS]]
        figure = static.plane("", "share of the training text")
        figure.add_bar(
            x=list(range(len(names))),
            y=[one.times / whole for one in often[:MOST_BARS]],
            marker={"color": TRAIN},
            customdata=[f"{static.literal(name)}: {one.times:,}" for name, one in zip(names, often, strict=False)],
            hovertemplate="%{customdata}<extra></extra>",
        )
        ticks = {"tickvals": list(range(len(names))), "ticktext": [static.literal(name) for name in names]}
        figure.update_layout(xaxis=ticks, yaxis={"tickformat": ".1%"})
        with place:
            static.show(
                figure,
                key,
                title,
                "How often each comes, the most frequent first; blanks are shown as signs. Usual for a text in a "
                "language: a few come very often and most come seldom, and it is this that a model learns first.",
                height=260,
            )


def entropy_ladder(told: TextStatistics) -> None:
    """What a loss means on this text: three baselines as bars."""
    base = told.baselines
    figure = static.plane("loss, nats per character", "")
    rungs = {
        f"guessing among {told.distinct:,}": base.uniform,
        "knowing how often each comes": base.unigram,
        "knowing what follows what": base.bigram,
    }
    figure.add_bar(
        x=list(rungs.values()),
        y=list(range(len(rungs))),
        orientation="h",
        marker={"color": [BASELINE, VALIDATION, TRAIN]},
        width=0.4,
        hoverinfo="skip",
    )
    for place, (rung, nats) in enumerate(rungs.items()):  # above its bar: beside it, a phone has no room
        figure.add_annotation(
            x=0,
            y=place - 0.2,
            text=f"{rung}<br>{nats:.4f} nats, {nats / np.log(2):.4f} bits, perplexity {np.exp(nats):.1f}",
            align="left",
            xanchor="left",
            yanchor="bottom",
            showarrow=False,
        )
    bare = {"showticklabels": False, "showgrid": False, "zeroline": False}
    figure.update_layout(yaxis={"range": [len(rungs) - 0.7, -0.75], **bare})
    static.show(
        figure,
        "ladder",
        "The entropy ladder",
        "Three losses by counting the training text, without any training; a model's loss can be held against them. "
        "Perplexity, e to the power of the loss, says among how many equally likely characters one guesses as well. "
        "A bigram that has learnt all it can stands on the lowest rung; a model that looks further back goes below.",
        height=300,
    )
