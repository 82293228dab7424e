"""What the model is made of: every module and parameter, with shape, type and share."""

from __future__ import annotations

import re

import plotly.graph_objects as go
import streamlit as st

from engine.analysis.model_tree import Part, inspect_parameters, model_tree, share_by_part
from engine.lessons.results import percent
from pages.charts import static
from pages.charts.palette import TRAIN
from pages.views.inside.inspected_model import InspectedModel


def show(look: InspectedModel) -> None:
    """The tree, the counts by layer, and what `parameters()` and `_parameters` give."""
    model = look.model
    parts = model_tree(model)
    tensors = len(list(model.parameters()))
    st.text(f"{type(model).__name__}: {parts[0].count:,} numbers, parameter tensors: {tensors:,}.")
    left, right = st.columns([3, 2], gap="large")
    with left:
        static.heading(
            "Modules and parameters",
            "Each row is a module or a parameter of it, indented as they are nested; the bar is its share of all "
            "numbers. Healthy: the shares add up, and a tied weight counts once.",
        )
        st.dataframe(
            [row(part) for part in parts],
            hide_index=True,
            column_config={
                "numbers": st.column_config.NumberColumn("numbers", format="localized"),
                "share": st.column_config.ProgressColumn("share", format="percent", max_value=1.0),
            },
            key="inside_tree",
        )
    with right:
        counts = share_by_part(model)
        static.show(
            bars(counts),
            "inside_shares",
            "Numbers by layer",
            "How many trainable numbers each layer holds, from the input at the top to the output. In a small GPT the "
            "blocks hold most of them; with a large vocabulary the embedding and the head do.",
            height=max(150, 70 + 30 * len(counts)),
        )
        static.heading(
            "parameters() and _parameters",
            "What PyTorch gives for this model, tried out on a copy. Document 004 says that parameters() yields the "
            "trainable ones and that each module keeps them itself; compare.",
        )
        st.code(parameters_code(look), language="python", wrap_lines=True)


def row(part: Part) -> dict[str, str | int | float]:
    """A line of the tree."""
    name = part.path.rsplit(".", 1)[-1] or "model"
    return {
        "name": "\u2003" * part.depth + name,
        "kind": part.kind + (f", the same tensor as {part.same}" if part.same else ""),
        "shape": "" if part.shape is None else str(part.shape),
        "dtype": part.dtype,
        "numbers": part.count,
        "share": part.share,
        "_parameters": ", ".join(part.own),
        "trainable": "yes" if part.trainable else "no" if part.count or part.same else "",
    }


def bars(counts: dict[str, tuple[int, float]]) -> go.Figure:
    """Horizontal bars, the first layer on top."""
    names = list(counts)
    figure = static.plane("numbers", "")
    figure.add_bar(
        x=[count for count, _ in counts.values()],
        y=names,
        orientation="h",
        marker={"color": TRAIN},
        text=[f"{count:,} ({percent(share, 1)})" for count, share in counts.values()],
        textposition="auto",
        hovertemplate="%{y}: %{x:,}<extra></extra>",
    )
    figure.update_layout(yaxis={"type": "category", "autorange": "reversed"})
    return figure


def python_path(path: str) -> str:
    """The Python for what `path` names: modules in a list have their place in brackets."""
    return re.sub(r"\.(\d+)", r"[\1]", f"model.{path}")


def parameters_code(look: InspectedModel) -> str:
    """What PyTorch says about the parameters, as lines of Python with their results."""
    found = inspect_parameters(look.model)
    kept = list(found.kept.items())
    shown = kept[:3]
    lines = [f"list(model._parameters)  # {list(found.own)}"]
    lines += [f"list({python_path(path)}._parameters)  # {list(names)}" for path, names in shown if path]
    if len(kept) > len(shown):
        lines.append(f"# and so on in {len(kept) - len(shown)} more modules")
    first = ", ".join(found.names[:3]) + (f", … {len(found.names)} in all" if len(found.names) > 3 else "")
    lines += [
        "",
        f"p = model.parameters()  # a {found.kind}",
        f"len(list(p))  # {len(found.names)}: {first}",
        f"len(list(p))  # {found.again}: a generator is used up after one pass",
        "",
        f"{python_path(found.frozen)}.requires_grad_(False)  # freeze it",
        f"len(list(model.parameters()))  # {found.after_freezing}: the frozen one is still among them",
        f"sum(p.requires_grad for p in model.parameters())  # {found.trainable_after_freezing}",
    ]
    return "\n".join(lines)
