"""What a GPT attends to, by block and head, in a text of your own; and what it would predict after each block."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
import streamlit as st
import torch
from numpy.typing import NDArray
from plotly.subplots import make_subplots
from torch import Tensor

from engine.analysis.attention import attention_weights, logit_lens, residual_streams
from engine.errors import InputError
from engine.models.gpt import GPT
from engine.text.corpus import Corpus
from engine.text.tokenizer import Tokenizer
from pages.charts import static
from pages.charts.palette import BASELINE
from pages.charts.token_axes import name_axis, shortened
from pages.views.inside.inspected_model import InspectedModel, cached

FIRST_LENGTH = 24
MOST_MAPPED = 40_000
MOST_READ = 32


class TextAttention(NamedTuple):
    """A text of T tokens: its ids, and the attention weights (L, H, T, T).

    `best` and `chances` are the likeliest next token and its probability for the last R tokens, after the embeddings
    and after each block, (L + 1, R).
    """

    ids: list[int]
    weights: Tensor
    best: Tensor
    chances: Tensor


def show(look: InspectedModel) -> None:
    """The text, one head's map, all heads of its block, and the predictions after each block."""
    found = look.text()
    if found is None or not isinstance(look.model, GPT):
        return
    model, corpus = look.model, found[1]
    try:
        seen = analyse_text(look, model, corpus.tokenizer, text_field(corpus, look.config.block_size))
    except InputError as error:
        st.text(str(error))
        return
    labels = [corpus.tokenizer.labels[i] for i in seen.ids]
    layers, heads, steps, _ = seen.weights.shape
    with st.container(horizontal=True, key="inside_heads"):
        layer = index_picker("block", layers)
        head = index_picker("head", heads)
    left, right = st.columns([3, 2], gap="large")
    with left:
        static.show(
            attention_map(seen.weights[layer, head], labels),
            "inside_map",
            "Attention of the chosen head",
            "A row is the token that looks, a column the token it looks at; each row sums to 1. Grey cells are masked: "
            "those tokens come later and cannot be seen, which is not the same as a weight of 0.",
            height=560,
        )
    with right:
        if heads * steps * steps <= MOST_MAPPED:
            static.show(
                all_heads(seen.weights[layer]),
                "inside_all_heads",
                "All heads of this block",
                "The same picture, small, for each head. Healthy: heads come to differ; the diagonal is a token that "
                "looks at itself, a line beside it looks back a fixed number of places.",
                height=560,
            )
        else:
            st.caption(f"{heads} heads of {steps} × {steps} are too many cells to draw at once; shorten the text.")
    next_token_lens(seen, corpus.tokenizer)


def text_field(corpus: Corpus, block_size: int) -> str:
    """The text to look at; at first the beginning of the validation text, or of the training text."""
    source = corpus.val if len(corpus.val) >= FIRST_LENGTH else corpus.train
    first = corpus.tokenizer.decode(source[: min(FIRST_LENGTH, block_size)].tolist())
    return st.text_input(
        "a text of your own",
        first,
        key=f"inside_text-{corpus.sha256[:8]}",
        max_chars=4096,
        help=f"The model sees at most its last {block_size:,} tokens (block_size).",
    )


def analyse_text(look: InspectedModel, model: GPT, tokenizer: Tokenizer, text: str) -> TextAttention:
    """Attention and predictions for the end of `text`; InputError if it is empty or has unknown characters."""
    ids = tokenizer.encode(text).tolist()
    if not ids:
        raise InputError("the text has 0 tokens; write at least one character")
    if len(ids) > model.context:
        st.caption(f"The text is longer than the context: its last {model.context:,} tokens are looked at.")
    return cached("seen", (look.key, text), lambda: analyse(model, ids[-model.context :]))


def analyse(model: GPT, ids: list[int]) -> TextAttention:
    """Attention and predictions for `ids`, at most block_size of them."""
    tensor = torch.tensor(ids)
    readings = logit_lens(model, residual_streams(model, tensor)[:, -MOST_READ:]).softmax(dim=-1)  # (L + 1, R, C)
    chances, best = readings.max(dim=-1)
    return TextAttention(ids, attention_weights(model, tensor), best, chances)


def index_picker(name: str, count: int) -> int:
    """One of `count` blocks or heads, counted from 1 on the page."""
    chosen = st.selectbox(
        name, range(count), format_func=lambda i: f"{i + 1} of {count}", key=f"inside_{name}-{count}", width=140
    )
    return int(chosen or 0)


def attention_map(weights: Tensor, labels: list[str]) -> go.Figure:
    """(T, T) as a heatmap over its tokens, with masked cells in grey."""
    figure = static.heatmap(masked(weights), scale="probability", x_title="looked at", y_title="looks")
    figure.add_trace(mask_trace(len(labels)))
    names = [static.literal(label) for label in labels]
    name_axis(figure, names)
    name_axis(figure, names, "y")
    figure.update_xaxes(zeroline=False)
    figure.update_yaxes(zeroline=False)
    return figure


def masked(weights: Tensor) -> NDArray[np.float64]:
    """(T, T) with NaN above the diagonal."""
    cells: NDArray[np.float64] = weights.double().numpy().copy()
    cells[np.triu_indices(len(cells), 1)] = np.nan
    return cells


def mask_trace(size: int) -> go.Heatmap:
    """The cells above the diagonal, in grey."""
    cells = np.full((size, size), np.nan)
    cells[np.triu_indices(size, 1)] = 1
    return go.Heatmap(
        z=cells,
        colorscale=[[0, BASELINE], [1, BASELINE]],
        opacity=0.45,
        showscale=False,
        hovertemplate="masked: this token comes later<extra></extra>",
    )


def all_heads(weights: Tensor) -> go.Figure:
    """(H, T, T) as small maps, two or three in a row."""
    heads, steps, _ = weights.shape
    across = 1 if heads == 1 else 2 if heads <= 6 else 3
    down = -(-heads // across)
    figure = make_subplots(
        rows=down,
        cols=across,
        horizontal_spacing=0.04,
        vertical_spacing=min(0.1, 0.6 / down),
    )
    for i in range(heads):
        row, column = i // across + 1, i % across + 1
        small = static.heatmap(masked(weights[i]), scale="probability").data[0]
        small.update(showscale=False, hovertemplate="%{z:.4f}<extra></extra>")
        figure.add_trace(small, row=row, col=column)
        figure.add_trace(mask_trace(steps), row=row, col=column)
        figure.update_xaxes(title_text=f"head {i + 1}", row=row, col=column)
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False, ticks="")
    figure.update_yaxes(showticklabels=False, showgrid=False, zeroline=False, ticks="", autorange="reversed")
    return figure


def next_token_lens(seen: TextAttention, tokenizer: Tokenizer) -> None:
    """The likeliest next token if the model ended after the embeddings, or after each block."""
    ids = seen.ids[-MOST_READ:]
    stages = ["embeddings", *(f"block\N{NO-BREAK SPACE}{i + 1}" for i in range(len(seen.best) - 1))]
    tokens = [[tokenizer.labels[i] for i in row] for row in seen.best.tolist()]
    names = [[static.literal(shortened(token)) for token in row] for row in tokens]
    figure = static.heatmap(
        seen.chances.numpy(), scale="probability", y=stages, x_title="text so far ends with", text=names
    )
    figure.update_traces(
        hovertext=[[static.literal(token) for token in row] for row in tokens],
        hovertemplate="%{y}, %{x}<br>next: %{hovertext}<br>%{z:.4~g}<extra></extra>",
    )
    name_axis(figure, [static.literal(tokenizer.labels[i]) for i in ids])
    longest = max(len(shortened(token)) for row in tokens for token in row)
    static.show(
        figure,
        "inside_lens",
        "The next token, read out after each block",
        "Each cell is what the model would say comes next if its last norm and head followed right there; the "
        "colour is the probability. The lowest row is the model's real prediction; higher up it is often still "
        "undecided.",
        height=130 + 42 * len(stages),
        least_width=150 + len(ids) * (14 + 8 * longest),  # cells no narrower than their names
    )
    if len(seen.ids) > MOST_READ:
        st.caption(f"The last {MOST_READ} of {len(seen.ids)} tokens are read out.")
