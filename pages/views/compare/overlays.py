"""The losses of the chosen runs on one chart, and the controls for how they are drawn."""

from __future__ import annotations

import streamlit as st

from engine.storage.curves import Curves, curves
from engine.storage.index import Overview
from engine.storage.metrics.schema import MetricsError
from pages.charts import static
from pages.views.compare import loss_curves
from pages.views.compare.loss_curves import CHOICES, WINDOWS, View

DrawnRuns = list[tuple[Overview, Curves]]


def read_curves(chosen: list[Overview]) -> DrawnRuns:
    """The curves of the runs that can be read; for the others, say why not."""
    drawn: DrawnRuns = []
    for one in chosen:
        if one.run.reason is not None:
            st.text(f"{one.name} {one.run.status}.")
            continue
        try:
            found = curves(one)
        except (MetricsError, ValueError) as error:
            st.text(f"{one.name} cannot be read: metrics.db is damaged ({error}).")
            continue
        if one.run.unread:
            why = "\n".join(one.run.unread_because)
            st.text(f"{one.name}: {one.run.unread:,} lines of records.jsonl cannot be read in full.\n{why}")
        if found.damaged:
            st.text(f"{one.name}: {found.damaged:,} blocks of steps are damaged and left out.")
        drawn.append((one, found))
    return drawn


def overlay_controls(drawn: DrawnRuns) -> View:
    """The widgets for how the curves are drawn."""
    longest = max((float(found.steps[-1]) for _, found in drawn if len(found.steps)), default=0.0)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        by = st.segmented_control("along", CHOICES, default="steps", key="compare_by", required=True)
        window = st.select_slider(
            "smoothing, steps",
            WINDOWS,
            loss_curves.usual_window(longest),
            format_func=lambda window: f"{window:,}" if window else "off",
            key="compare_window",
            width=260,
        )
        log_x = st.checkbox("log axis below", key="compare_log_x")
        log_y = st.checkbox("log loss", key="compare_log_y")
    return View(by or "steps", window, log_x, log_y)


def counts_tokens(shown: Overview) -> bool:
    """Is it known how many tokens the run has seen: does it read a text, and was it not recorded from elsewhere?"""
    return shown.run.config is not None and shown.run.config.reads_text


def overlays(drawn: DrawnRuns) -> None:
    """Training and validation losses of the chosen runs."""
    view = overlay_controls(drawn)
    if len({(one.settings.get("corpus"), one.settings.get("tokenizer")) for one, _ in drawn}) > 1:
        st.caption("These runs differ in their text or tokens: a loss per token is not the same measure in each.")
    if view.by == "tokens" and (unknown := [one.name for one, _ in drawn if not counts_tokens(one)]):
        st.text(f"These count no tokens, and are left out here: {', '.join(unknown)}.")
    gone = {} if view.log_y else loss_curves.off_scale(drawn, "val") | loss_curves.off_scale(drawn, "train")
    if gone:
        far = ", ".join(f"{name} up to {loss:.4g}" for name, loss in gone.values())
        st.text(f'Far above the chart: {far}. "log loss" shows all of it.')
    left, right = st.columns(2, gap="medium")
    with left:
        static.show(
            loss_curves.losses(drawn, "train", view),
            "compare_train",
            "Training loss",
            "The loss of each step's batch, one colour a run: bold is the moving average, faint the losses themselves, "
            "a star is a note. Healthy curves fall; of two on the same text and tokens the lower one learns more.",
            picture="training-loss",
        )
    with right:
        static.show(
            loss_curves.losses(drawn, "val", view),
            "compare_val",
            "Validation loss",
            "The loss on text that training never shows, measured now and then on the same batches. Healthy is a fall "
            "along with the training loss; a rise while that one falls is overfitting.",
            picture="validation-loss",
        )
