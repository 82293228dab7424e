"""The losses of the chosen runs on one chart, and the controls for how they are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import zip_longest

import streamlit as st

from engine.storage.curves import Curves, curves
from engine.storage.index import Overview
from engine.storage.metrics.schema import MetricsError
from pages.charts import static
from pages.views.compare import loss_curves
from pages.views.compare.loss_curves import CHOICES, WINDOWS, View

MOST_AT_FIRST = 2  # numbers of their own that are on show before anybody has chosen

DrawnRuns = list[tuple[Overview, Curves]]


def read_curves(chosen: list[Overview]) -> DrawnRuns:
    """The curves of the runs that can be read; for the others, say why not."""
    drawn: DrawnRuns = []
    for one in chosen:
        if one.run.reason is not None:
            st.text(f"{one.label} {one.run.status}.")
            continue
        try:
            found = curves(one)
        except (MetricsError, ValueError) as error:
            st.text(f"{one.label} cannot be read: metrics.db is damaged ({error}).")
            continue
        if one.run.unread:
            why = "\n".join(one.run.unread_because)
            st.text(f"{one.label}: {one.run.unread:,} lines of records.jsonl cannot be read in full.\n{why}")
        if found.damaged:
            st.text(f"{one.label}: {found.damaged:,} blocks of steps are damaged and left out.")
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
    """What the chosen runs have of training and validation losses, and of numbers of their own."""
    view = overlay_controls(drawn)
    if len({(one.settings.get("corpus"), one.settings.get("tokenizer")) for one, _ in drawn}) > 1:
        st.caption("These runs differ in their text or tokens: a loss per token is not the same measure in each.")
    if view.by == "tokens" and (unknown := [one.label for one, _ in drawn if not counts_tokens(one)]):
        st.text(f"These count no tokens, and are left out here: {', '.join(unknown)}.")
    gone = {} if view.log_y else loss_curves.off_scale(drawn, "val") | loss_curves.off_scale(drawn, "train")
    if gone:
        far = ", ".join(f"{name} up to {loss:.4g}" for name, loss in gone.values())
        st.text(f'Far above the chart: {far}. "log loss" shows all of it.')
    charts: list[Callable[[], None]] = []
    if any(len(found.loss) for _, found in drawn):
        charts.append(lambda: _training(drawn, view))
    if any(len(found.val_loss) for _, found in drawn):
        charts.append(lambda: _validation(drawn, view))
    charts += [partial(_own, drawn, view, name) for name in _chosen_numbers(drawn)]
    if drawn and not charts:
        st.text("None of these runs has told a loss yet.")
    for pair in zip_longest(charts[::2], charts[1::2]):
        for column, chart in zip(st.columns(2, gap="medium"), pair, strict=True):
            if chart is not None:
                with column:
                    chart()


def _chosen_numbers(drawn: DrawnRuns) -> list[str]:
    """Which of the numbers that recorded runs told are compared too: at first those that several of them have."""
    count = Counter(name for _, found in drawn for name in found.own)
    if not count:
        return []
    shared = [name for name, runs in count.items() if runs > 1][:MOST_AT_FIRST]
    return st.multiselect("numbers of their own", list(count), default=shared, key=f"compare_own {sorted(count)}")


def _training(drawn: DrawnRuns, view: View) -> None:
    static.show(
        loss_curves.losses(drawn, "train", view),
        "compare_train",
        "Training loss",
        "The loss of each step's batch, one colour a run: bold is the moving average, faint the losses themselves, "
        "a star is a note. Healthy curves fall; of two on the same text and tokens the lower one learns more.",
        picture="training-loss",
    )


def _validation(drawn: DrawnRuns, view: View) -> None:
    static.show(
        loss_curves.losses(drawn, "val", view),
        "compare_val",
        "Validation loss",
        "The loss on text that training never shows, measured now and then on the same batches. Healthy is a fall "
        "along with the training loss; a rise while that one falls is overfitting.",
        picture="validation-loss",
    )


def _own(drawn: DrawnRuns, view: View, name: str) -> None:
    static.show(
        loss_curves.own_numbers(drawn, name, view),
        f"compare_own_{name}",
        "A number of their own",
        "A number that these recorded loops told under this name. What is healthy for it, their authors know.",
        picture="own-number",
    )
