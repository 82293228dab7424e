"""What the stages' views share: pickers for a position and a weight, tables of numbers, notes on the documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
import torch
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor

from engine.analysis.gradient_check import index_of_largest
from pages.views.shared.inspected_step import InspectedStep
from pages.widgets import fields

MOST_OPTIONS = 2000
Found = TypeVar("Found")
MOST_LINES = 10


def choice_state(name: str, value: Any, options: tuple[Any, ...] = ()) -> tuple[str, Any, Callable[[], None]]:
    """A widget's key, start value and on_change; a choice is kept while other stages are on show."""
    widget = f"step_{name}"
    key, start = fields.tracked(widget, st.session_state.setdefault("step_chosen", {}).get(name, value), options)
    return key, start, fields.change_handler(widget, key, name, _choose)


def _choose(name: str, value: Any) -> None:
    st.session_state.step_chosen[name] = value


def cached(shown: InspectedStep, what: str, compute: Callable[[], Found]) -> Found:
    """The result of `compute` for the stage on show; computed once, since a page is rerun more often than a step."""
    at, found = st.session_state.get("step_found", ("", {}))
    if at != shown.key:
        found = {}
        st.session_state.step_found = shown.key, found
    if what not in found:
        found[what] = compute()
    return cast(Found, found[what])


def short(value: float) -> str:
    """A number for a table: four digits, and a real minus sign."""
    return f"{value + 0.0:.4g}".replace("-", "−")


def digits(value: float) -> str:
    """A number with every digit that tells a float32 from its neighbours."""
    return f"{value:.9g}".replace("-", "−")


def number_table(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> None:
    """A table of constants and numbers; never of text from a corpus."""
    st.table(pd.DataFrame(rows, columns=list(columns)).set_index(columns[0]))


def scrollable(lines: int) -> DeltaGenerator:
    """A container for a table of so many lines, which scrolls if it is long."""
    return st.container(height=420, border=False) if lines > MOST_LINES else st.container()


def fewer_ticks(figure: go.Figure) -> go.Figure:
    """The heatmap with fewer numbers on its axes, all upright, so that they have room on a phone too."""
    for axis, most in (("xaxis", 8), ("yaxis", 26)):
        shown = figure.layout[axis]
        every = -(-len(shown.tickvals) // most)
        shown.update(tickvals=shown.tickvals[::every], ticktext=shown.ticktext[::every], tickangle=0)
    return figure


def document_note(document: str, says: str, here: str) -> None:
    """What a document says, and what the tensors of this step say. `says` is a constant, `here` words and numbers."""
    with st.container(border=True):
        st.caption(f"What {document} says")
        st.text(says)
        st.caption("What is seen here")
        st.text(here)


def place_of(shown: InspectedStep) -> tuple[int, int]:
    """The place of the batch that is followed: (row, position)."""
    chosen = st.session_state.setdefault("step_chosen", {})
    rows, steps = shown.copy.whole.targets.shape
    keys = zip(_place_keys(shown), (rows, steps), strict=True)
    return tuple(min(chosen.get(key, min(count // 2, 3)), count - 1) for key, count in keys)


def choose_place(shown: InspectedStep, row: int, position: int) -> None:
    """Follow another place of the batch."""
    for key, value in zip(_place_keys(shown), (row, position), strict=True):
        _choose(key, value)


def _place_keys(shown: InspectedStep) -> tuple[str, str]:
    rows, steps = shown.copy.whole.targets.shape
    return f"row_{rows}", f"position_{steps}"


def position_picker(shown: InspectedStep) -> tuple[int, int]:
    """Choose a window and a position in it: (row, t)."""
    rows, steps = shown.trainer.inputs.shape
    one, other = st.columns(2)
    with one:
        row = _slider("window (row of the batch)", f"row_{rows}", rows)
    with other:
        step = _slider("position in the window", f"position_{steps}", steps)
    return row, step


def _slider(label: str, key: str, count: int) -> int:
    if count < 2:
        return 0
    key, start, react = choice_state(key, min(count // 2, 3))
    return int(st.slider(label, 0, count - 1, start, key=key, on_change=react))


def parameter_picker(shown: InspectedStep) -> str:
    """Choose a parameter, by name."""
    names = list(shown.parameters)
    sizes = {name: tuple(p.shape) for name, p in shown.parameters.items()}
    key, start, react = choice_state(f"parameter_{shown.config.model}_{len(names)}", names[0])
    place = names.index(start) if start in names else 0
    chosen = st.selectbox(
        "parameter", names, place, key=key, format_func=lambda name: f"{name} {sizes[name]}", on_change=react
    )
    return str(chosen)


def weight_picker(shown: InspectedStep) -> tuple[str, tuple[int, ...]]:
    """Choose one weight: its parameter's name and its index; at first that of the largest gradient."""
    columns = st.columns([4, 2, 2, 3], vertical_alignment="bottom")
    with columns[0]:
        name = parameter_picker(shown)
    tensor = shown.parameters[name]
    picked: dict[str, tuple[int, ...]] = st.session_state.setdefault("step_weight", {})
    spot = picked.get(_shape_key(shown, name), index_of_largest(gradient_of(shown, name)))
    for axis, (column, size) in enumerate(zip(columns[1:], tensor.shape, strict=False)):
        with column:
            _index(shown, name, axis, spot, size)
    if spot:
        columns[3].button(
            "The largest gradient",
            key="step_largest",
            on_click=_forget,
            args=(_shape_key(shown, name),),
            help="Follow the weight with the largest gradient of this batch.",
            width="stretch",
        )
    return name, spot


def gradient_of(shown: InspectedStep, name: str) -> Tensor:
    """The gradient of a parameter; zeros where there is none."""
    found = shown.parameters[name].grad
    return torch.zeros_like(shown.parameters[name]) if found is None else found.detach()


def tokens_on(shown: InspectedStep, name: str, axis: int) -> tuple[str, ...] | None:
    """The tokens' visible names where an axis of a parameter counts tokens, else None."""
    counted = {("token_embedding.weight", 0), ("head.weight", 0)}
    if "pairs" in shown.model.features:
        counted.add(("token_embedding.weight", 1))
    return shown.labels if (name, axis) in counted else None


def weight_name(shown: InspectedStep, name: str, spot: Sequence[int]) -> str:
    """A weight as Python writes it: token_embedding.weight[3, 17]."""
    return f"{name}[{', '.join(map(str, spot))}]" if spot else name


def _forget(key: str) -> None:
    st.session_state.step_weight.pop(key, None)


def _shape_key(shown: InspectedStep, name: str) -> str:
    return f"{name} {tuple(shown.parameters[name].shape)}"


def _index(shown: InspectedStep, name: str, axis: int, spot: tuple[int, ...], size: int) -> None:
    """Choose one index; it follows the largest gradient until somebody chooses."""
    label = "row" if axis == 0 else "column"
    widget = f"step_index_{axis}"

    def choose(_: str, value: int) -> None:
        st.session_state.step_weight[_shape_key(shown, name)] = (*spot[:axis], int(value), *spot[axis + 1 :])

    tokens = tokens_on(shown, name, axis)
    if tokens and size <= MOST_OPTIONS:
        options = tuple(range(size))
        key, start = fields.tracked(widget, spot[axis], (name, size))
        st.selectbox(
            label,
            options,
            start,
            key=key,
            format_func=lambda i: f"{i}: {tokens[i]}",
            on_change=fields.change_handler(widget, key, "", choose),
        )
    else:
        key, start = fields.tracked(widget, spot[axis], (name, size))
        st.number_input(
            label, 0, size - 1, min(start, size - 1), key=key, on_change=fields.change_handler(widget, key, "", choose)
        )
