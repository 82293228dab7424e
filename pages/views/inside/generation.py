"""Generation one token at a time: each line of document 003's `generate` with its shapes, and the distribution."""

from __future__ import annotations

import itertools
import time
from typing import Any, NamedTuple

import plotly.graph_objects as go
import streamlit as st
import torch

from engine.errors import InputError
from engine.models.base import LanguageModel
from engine.progress import Report, unheard
from engine.text.corpus import Corpus
from engine.text.tokenizer import Tokenizer
from engine.training.sampling import DrawnToken, draw_token, evaluating, generate, next_token
from pages.charts import static
from pages.charts.palette import BASELINE, TRAIN
from pages.charts.token_axes import name_axis, places
from pages.views.inside.inspected_model import InspectedModel, untrained
from pages.widgets import waiting

MOST_BARS = 30
SAMPLE = 120
SECONDS = 1.0
"""How long each of the two samples may take; a large model writes fewer tokens."""


class Knobs(NamedTuple):
    """What a person has chosen."""

    prompt: str
    temperature: float
    top_k: int | None
    seed: int


class Writing(NamedTuple):
    """A growing text: what it started from, its ids, its random generator; the last draw and its settings."""

    start: tuple[str, str, int]
    ids: list[int]
    draws: torch.Generator
    last: DrawnToken | None = None
    by: Knobs | None = None


def show(look: InspectedModel) -> None:
    """The knobs, the growing text, the lines, the distribution, and two samples side by side."""
    found = look.text()
    if found is None:
        return
    model, corpus = found
    try:
        knobs = sampling_fields(corpus)
        writing = current_text(look, knobs, corpus.tokenizer)
        ahead = next_token_figure(writing, knobs, model, corpus.tokenizer)
    except InputError as error:
        st.text(str(error))
        return
    with st.container(horizontal=True, key="inside_verbs"):
        for words, count in (("Next token", 1), ("Ten tokens", 10)):
            st.button(
                words,
                key=f"inside_draw_{count}",
                type="primary" if count == 1 else "secondary",
                on_click=draw,
                args=(look, knobs, count),
                help="Draw from the distribution below, and put what was drawn behind the text.",
            )
        st.button("Begin again", key="inside_begin", on_click=begin_again, help="Back to the prompt and the seed.")
    left, right = st.columns(2, gap="large")
    with left:
        static.heading(
            "The text so far, and the last draw line by line",
            "The lines are those of document 003's generate, each with the shape that it left behind. T grows by one "
            "with every draw; the model reads no more of it than its context.",
        )
        st.code(static.visible(corpus.tokenizer.decode(writing.ids)), language=None, wrap_lines=True)
        st.code(code_lines(writing, knobs, model, corpus.tokenizer), language="python")
    with right:
        static.show(
            ahead,
            "inside_upcoming",
            "What the next token is drawn from",
            "Grey: the model's own probabilities, at temperature 1. Blue: what temperature and top-k make of them; a "
            "low temperature sharpens, a high one flattens, top-k cuts the tail off and shares it out.",
            height=350,
        )
    two_samples(look, knobs, corpus)


def sampling_fields(corpus: Corpus) -> Knobs:
    """Prompt, temperature, top-k and seed; InputError names characters that the model does not know."""
    places = st.columns([3, 2, 1, 1])
    prompt = places[0].text_input(
        "prompt", key="inside_prompt", max_chars=200, placeholder="empty: the first token", persist_state="session"
    )
    temperature = places[1].slider(
        "temperature",
        0.1,
        3.0,
        1.0,
        0.1,
        key="inside_temperature",
        help="The scores are divided by it before softmax. Below 1: safer. Above 1: wilder.",
        persist_state="session",
    )
    top_k = places[2].number_input(
        "top-k (0: all)",
        0,
        corpus.vocab_size,
        0,
        key=f"inside_top_k-{corpus.vocab_size}",
        help="Only this many of the likeliest tokens stay; document 003 keeps all.",
    )
    seed = places[3].number_input("seed", 0, 2**31, 0, key="inside_seed", help="Same seed, same weights: same text.")
    corpus.tokenizer.encode(prompt)
    return Knobs(prompt, temperature, top_k or None, seed)


def current_text(look: InspectedModel, knobs: Knobs, tokenizer: Tokenizer) -> Writing:
    """This session's text; it starts anew with another prompt, seed or run, and goes on with newer weights."""
    start = look.run, knobs.prompt, knobs.seed
    kept: Writing | None = st.session_state.get("inside_writing")
    if kept is None or kept.start != start:
        ids = tokenizer.encode(knobs.prompt).tolist() or [0]
        kept = Writing(start, ids, torch.Generator().manual_seed(knobs.seed))
        st.session_state["inside_writing"] = kept
    return kept


def begin_again() -> None:
    """Go back to the prompt."""
    st.session_state.pop("inside_writing", None)


def draw(look: InspectedModel, knobs: Knobs, count: int) -> None:
    """Append up to `count` tokens, for at most `SECONDS`."""
    writing: Writing = st.session_state["inside_writing"]
    found = look.text()
    assert found is not None
    until = time.monotonic() + SECONDS
    with evaluating(found[0]):
        for _ in range(count):
            try:
                last = draw_token(found[0], torch.tensor([writing.ids]), writing.draws, knobs.temperature, knobs.top_k)
            except InputError as error:
                st.session_state["inside_said"] = str(error)
                break
            writing = writing._replace(ids=last.ids[0].tolist(), last=last, by=knobs)
            if time.monotonic() > until:
                break
    st.session_state["inside_writing"] = writing


def code_lines(writing: Writing, knobs: Knobs, model: LanguageModel, tokenizer: Tokenizer) -> str:
    """Document 003's loop, each line followed by its shapes in the last draw, or in the first if there is none yet."""
    knobs = writing.by or knobs
    drawn, steps = writing.last, len(writing.ids) - (writing.last is not None)
    seen, classes = min(steps, model.context), tokenizer.vocab_size
    shapes: list[tuple[int, ...]] = [(1, seen, classes), (1, classes), (1, classes), (1, 1), (1, steps + 1)]
    result = "the draw is still open"
    if drawn is not None:
        shapes = [tuple(tensor.shape) for tensor in drawn]
        token = int(drawn.token)
        chances = drawn.probabilities[0]
        place = int((chances > chances[token]).sum()) + 1
        result = (
            f"drawn: {tokenizer.labels[token]}, id {token}\n# had {chances[token]:.4f}, number {place} of {classes:,}"
        )
    keep = f"of all {classes:,}" if knobs.top_k is None else f"of the {knobs.top_k:,} highest"
    told = [
        ("idx", f"(1, {steps})"),
        (f"logits, _ = self(idx[:, -{model.context}:])", f"{shapes[0]}, None"),
        ("logits = logits[:, -1, :]", f"{shapes[1]}"),
        (f"logits = logits / {knobs.temperature:g}", f"{shapes[1]}, {keep}"),
        ("probs = F.softmax(logits, dim=1)", f"{shapes[2]}"),
        ("idx_next = torch.multinomial(probs, 1)", f"{shapes[3]}"),
        ("idx = torch.cat((idx, idx_next), dim=1)", f"{shapes[4]}"),
    ]
    return "\n".join([*(f"{line}\n# {shape}" for line, shape in told), f"# {result}"])


def next_token_figure(writing: Writing, knobs: Knobs, model: LanguageModel, tokenizer: Tokenizer) -> go.Figure:
    """The likeliest next tokens: the model's probabilities, and those after temperature and top-k."""
    with evaluating(model):
        last = model.logits(torch.tensor([writing.ids[-model.context :]]))[0, -1]
    plain, reshaped = next_token(last), next_token(last, knobs.temperature, knobs.top_k)
    order = plain.argsort(descending=True, stable=True)[:MOST_BARS].tolist()
    names = [static.literal(tokenizer.labels[i]) for i in order]
    figure = static.plane("next token, likeliest first", "probability")
    for name, values, colour in (("model", plain, BASELINE), ("drawn from", reshaped, TRAIN)):
        figure.add_bar(
            name=name,
            x=places(names),
            y=values[order].tolist(),
            marker={"color": colour},
            customdata=names,
            hovertemplate="%{customdata}: %{y:.4f}<extra>" + name + "</extra>",
        )
    figure.update_layout(barmode="group", bargap=0.15)
    name_axis(figure, names)
    figure.update_yaxes(rangemode="tozero")
    return figure


def two_samples(look: InspectedModel, knobs: Knobs, corpus: Corpus) -> None:
    """Samples of the untrained and the current model, with the same prompt, seed, temperature and top-k."""
    models = {"Untrained": untrained(look), f"After step {look.step:,}": look.model}

    def work(report: Report) -> list[str]:
        return [sample(model, knobs, corpus, report) for model in models.values()]

    try:
        texts = waiting.result("both", (look.key, knobs), work)
    except InputError as error:
        st.text(str(error))
        return
    if texts is None:
        return
    for place, title, text in zip(st.columns(2, gap="large"), models, texts, strict=True):
        with place:
            static.heading(
                title,
                "The same prompt, seed, temperature and top-k for both. Healthy: noise at the left; at the right the "
                "shapes of words, as far as the model has come.",
            )
            st.code(text, language=None, wrap_lines=True, height=190)


def sample(model: Any, knobs: Knobs, corpus: Corpus, report: Report = unheard) -> str:
    """The prompt and at most SAMPLE tokens after it."""
    until, begun = time.monotonic() + SECONDS, itertools.count()
    start = corpus.tokenizer.encode(knobs.prompt).tolist() or [0]
    draws = torch.Generator().manual_seed(knobs.seed)

    def halt() -> bool:
        report("writing a sample", next(begun), SAMPLE)
        return time.monotonic() > until

    made = generate(model, start, SAMPLE, draws, knobs.temperature, knobs.top_k, halt)
    return corpus.tokenizer.decode(made.ids)
