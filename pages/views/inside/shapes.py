"""B, T, C: the tensors' path from a batch to its loss, drawn with the run's current shapes."""

from __future__ import annotations

import html
import math

import streamlit as st

from engine.analysis.model_tree import ForwardStep, forward_shapes
from engine.lessons.questions import QuestionContext
from engine.training.evaluation import mean_loss
from pages.charts import palette, static
from pages.views.inside.inspected_model import InspectedModel, cached

STEPS = {
    "token_embedding": "look up a row of the table for each token",
    "norm": "the last layer norm",
    "head": "the head: a score for each candidate",
}
JOINED = ("view(B·T)", "cross_entropy")


def show(look: InspectedModel) -> None:
    """The sizes B, T and C, the path as a picture, and the loss of one real batch."""
    found = look.text()
    if found is None:
        return
    model, corpus = found
    batch, steps = look.settings.batch_size, look.config.block_size
    letters = st.columns(3)
    letters[0].metric("B, windows in a batch", f"{batch:,}", help="The batch size: how many texts go through at once.")
    letters[1].metric("T, tokens in a window", f"{steps:,}", help="The block size: how many tokens a window holds.")
    letters[2].metric("C, candidates", f"{corpus.vocab_size:,}", help="The vocabulary: one score for each token of it.")
    static.heading(
        "The tensors' path",
        "Each box is a tensor with its shape; the sides of a picture grow with the logarithm of the sizes, and layers "
        "behind it stand for the last dimension. Healthy: the loss at the end is one number, of shape ().",
    )
    picture(forward_shapes(look.config, corpus.vocab_size, batch))
    context = QuestionContext.of(model, corpus, look.config, look.settings)
    loss = cached(
        "loss", (look.key, context.inputs.shape), lambda: mean_loss(model, [(context.inputs, context.targets)])
    )
    st.text(
        f"A batch drawn from the training text, {len(context.inputs):,} windows of {steps:,} tokens: "
        f"loss {loss:.5g} nats per token at step {look.step:,}. Its first window, inputs and targets:"
    )
    windows = [corpus.tokenizer.decode(ids[0].tolist()) for ids in (context.inputs, context.targets)]
    names = ("inputs  ", "targets ")
    st.code("\n".join(name + static.visible(text) for name, text in zip(names, windows, strict=True)), language=None)


def picture(stops: list[ForwardStep]) -> None:
    """The path as boxes: the inputs' way, the targets' way, and the loss where both meet."""
    first, *rest = merged(stops)
    main = [stop for stop in rest if stop.step not in JOINED]
    flat, loss = (next(stop for stop in rest if stop.step == step) for step in JOINED)
    before = first._replace(name="targets")
    rows = [lane([first, *main]), lane([before, flat]), lane([loss], "both into cross_entropy")]
    st.html(f'{style()}<div class="ls-path">{"".join(rows)}</div>')


def merged(stops: list[ForwardStep]) -> list[ForwardStep]:
    """All blocks as one box, since their shapes are equal; position rows have no box, since they are added to x."""
    places = next((stop for stop in stops if stop.step == "position_embedding"), None)
    if places is not None:
        added = f"add a row for each place, {format_shape(places.shape)}, the same in each window"
        stops = [stop._replace(step=added) if stop.step == "dropout" else stop for stop in stops if stop is not places]
    blocks = [stop for stop in stops if stop.step.startswith("blocks.")]
    if not blocks:
        return stops
    count = f"{len(blocks)} {'block' if len(blocks) == 1 else 'blocks'} of attention and MLP"
    return [
        stop._replace(step=count) if stop is blocks[-1] else stop
        for stop in stops
        if stop is blocks[-1] or stop not in blocks
    ]


def lane(stops: list[ForwardStep], enters: str = "") -> str:
    """One row of boxes, with an arrow before each that says what happens."""
    pieces = [f'<div class="ls-arrow">{html.escape(enters)} →</div>' if enters else "", box(stops[0])]
    for stop in stops[1:]:
        words = STEPS.get(stop.step, stop.step)
        pieces.append(f'<div class="ls-arrow">{html.escape(words)} →</div>{box(stop)}')
    return f'<div class="ls-lane">{"".join(pieces)}</div>'


def box(stop: ForwardStep) -> str:
    """A tensor: picture, name, shape, type. It holds only names of tensors and numbers."""
    rows, columns = (*stop.shape[:2], 1, 1)[:2] if len(stop.shape) != 1 else (1, stop.shape[0])
    behind = min(8, round(math.log2(stop.shape[2]))) if len(stop.shape) > 2 else 0
    shadow = ", ".join(f"{3 * i}px {-3 * i}px 0 -1px var(--ls-cell-{i % 2})" for i in range(1, behind + 1))
    size = f"width:{side(columns)}px;height:{side(rows)}px;box-shadow:{shadow or 'none'}"
    margin = f"margin:{3 * behind}px {3 * behind}px 0 0"
    return (
        f'<div class="ls-stop"><i style="{size};{margin}"></i><b>{format_shape(stop.shape)}</b>'
        f"<span>{html.escape(stop.name)} · {stop.dtype}</span></div>"
    )


def format_shape(shape: tuple[int, ...]) -> str:
    """A shape as Python writes it."""
    return f"({shape[0]:,},)" if len(shape) == 1 else f"({', '.join(f'{n:,}' for n in shape)})"


def side(size: int) -> int:
    """Pixels for a dimension of `size`."""
    return round(12 + 9 * math.log2(max(1, size)))


def style() -> str:
    """The picture's style sheet, in the theme's colours."""
    of = palette.colours(static.theme())
    ink, quiet, fill, line = of["text"], of["baseline"], of["train"], of["background"]
    return f"""<style>
.ls-path {{ --ls-cell-0: {fill}55; --ls-cell-1: {quiet}77; color: {ink}; font-size: 0.9375rem; line-height: 1.3; }}
.ls-lane {{ display: flex; flex-wrap: wrap; align-items: flex-end; gap: 10px 11px; padding: 8px 0 12px; }}
.ls-lane + .ls-lane {{ border-top: 1px solid {quiet}55; }}
.ls-stop {{ display: flex; flex-direction: column; align-items: flex-start; gap: 2px; }}
.ls-stop i {{ display: block; background-color: {fill}; border-radius: 2px; background-size: 9px 9px;
  background-image: linear-gradient({line}66 1px, transparent 1px),
  linear-gradient(90deg, {line}66 1px, transparent 1px); }}
.ls-stop b {{ font-size: 1.25rem; font-variant-numeric: tabular-nums; white-space: nowrap; }}
.ls-stop span, .ls-arrow {{ color: {quiet}; font-size: 0.875rem; }}
.ls-arrow {{ max-width: 112px; padding-bottom: 22px; }}
</style>"""
