"""Compare: the runs that were stored, as a table; two to six of them laid over each other; one of them opened.

Everything is read from the run folders. A session keeps which runs it has chosen, and how it draws them.
"""

from __future__ import annotations

import hashlib
import sqlite3

import pandas as pd
import streamlit as st

from engine.paths import home
from engine.runs.manager import run_manager
from engine.storage.curves import Curves, curves
from engine.storage.index import Overview, differing, overviews
from pages.board.board import board, shown_of
from pages.board.replay.export import written
from pages.charts import static
from pages.views.compare import overlay, run_panel
from pages.views.compare.overlay import CHOICES, MOST_RUNS, WINDOWS, View
from pages.views.train import external_run
from pages.widgets import actions
from pages.widgets.style import STYLE

Drawn = list[tuple[Overview, Curves]]
ROW, MOST_ROWS_SHOWN = 35, 9
IN_COLUMNS = ("model", "corpus")  # these have columns of their own
# Without a run there is no header line. Streamlit's own CSV of a table would write names such as "=1+1" as formulas.
OWN_STYLE = """<style>
.st-key-header .ls-board.ls-example { display: none; }
[data-testid="stElementToolbar"] button[aria-label^="Download as CSV"] { display: none; }
</style>"""
WHOLE = st.column_config.NumberColumn(format="localized")
COLUMNS = {
    "validation loss": st.column_config.NumberColumn(format="%.4f", help="The best so far, and the step it was at."),
    **dict.fromkeys(("at step", "steps", "max_steps", "vocab_size", "batch_size"), WHOLE),
    "parent": st.column_config.TextColumn(width=270, help="The run that it was forked from, and where."),
    "turned there": st.column_config.TextColumn(width=150, help="The knobs that were turned where it was forked."),
    "time, s": st.column_config.NumberColumn(format="%.1f", help="The steps' own times, pauses not counted."),
}


# -------------------------------------------------------------------- the list


def table(shown: list[Overview]) -> list[Overview]:
    """All runs; returns those that are selected, at most MOST_RUNS."""
    static.heading(
        "Runs",
        "One row a run; click a column's title to sort, and the boxes at the left to choose. The lower the validation "
        "loss the better, among runs on the same text and tokens; the settings are those that differ here.",
    )
    ids = [one.run.id for one in shown]
    key = f"runs-{hashlib.sha256(' '.join(ids).encode()).hexdigest()[:12]}"  # other rows, another table
    before = [ids.index(name) for name in st.session_state.get("compared", []) if name in ids]
    selected = st.dataframe(
        frame_of(shown),
        key=key,
        hide_index=True,
        height=ROW * (min(len(shown), MOST_ROWS_SHOWN) + 1) + 3,
        column_config=COLUMNS,
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": before}},
        placeholder="",
    )
    rows = [row for row in selected.selection.rows if row < len(ids)]
    st.session_state.compared = [ids[row] for row in rows]
    if len(rows) > MOST_RUNS:
        st.text(f"{len(rows)} runs are selected; the first {MOST_RUNS} are drawn.")
    return [shown[row] for row in rows[:MOST_RUNS]]


def frame_of(shown: list[Overview]) -> pd.DataFrame:
    """The table's cells; a setting whose values are of several kinds is written as text."""
    settings = [name for name in differing(shown) if name not in IN_COLUMNS]
    rows = [
        {
            "name": one.name,
            "state": standing(one),
            "model": "recorded" if one.run.recorded else one.settings.get("model", ""),
            "corpus": one.run.config.corpus if one.run.config and one.run.config.reads_text else "",
            "validation loss": one.best_val_loss,
            "at step": one.best_val_step,
            "steps": one.updates,
            "time, s": one.seconds,
            "parent": one.parent,
            "turned there": one.turned,
            **{name: one.settings.get(name) for name in settings},
        }
        for one in shown
    ]
    frame = pd.DataFrame(rows)
    for name in settings:
        if not all(value is None or type(value) in (int, float) for value in (row[name] for row in rows)):
            frame[name] = ["" if row[name] is None else str(row[name]) for row in rows]
    return frame.drop(columns=[name for name in ("parent", "turned there") if not frame[name].any()])


def standing(one: Overview) -> str:
    """Where a run stands, in words."""
    here = run_manager().find(one.run.id)
    if here is not None:
        return here.state.value
    if one.run.reason is not None:
        return one.run.standing
    return f"{one.run.state}, in another process" if one.run.live else one.run.state


# -------------------------------------------------------------------- laid over each other


def read(chosen: list[Overview]) -> Drawn:
    """The curves of those that can be opened; of the others the reason is said."""
    drawn: Drawn = []
    for one in chosen:
        if one.run.reason is not None:
            st.text(f"{one.name} {one.run.standing}.")
            continue
        try:
            found = curves(one)
        except (sqlite3.Error, ValueError) as error:
            st.text(f"{one.name} cannot be read: metrics.db is damaged ({error}).")
            continue
        if one.run.unread:
            st.text(f"{one.name}: {one.run.unread:,} lines of records.jsonl cannot be read and are left out.")
        if found.damaged:
            st.text(f"{one.name}: {found.damaged:,} blocks of steps are damaged and left out.")
        drawn.append((one, found))
    return drawn


def controls(drawn: Drawn) -> View:
    """How the curves are drawn."""
    longest = max((float(found.steps[-1]) for _, found in drawn if len(found.steps)), default=0.0)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        by = st.segmented_control("along", CHOICES, default="steps", key="compare_by", required=True)
        window = st.select_slider(
            "smoothing, steps",
            WINDOWS,
            overlay.usual_window(longest),
            format_func=lambda window: f"{window:,}" if window else "off",
            key="compare_window",
            width=260,
        )
        log_x = st.checkbox("log axis below", key="compare_log_x")
        log_y = st.checkbox("log loss", key="compare_log_y")
    return View(by or "steps", window, log_x, log_y)


def overlays(drawn: Drawn) -> None:
    """Training and validation losses of the chosen runs."""
    view = controls(drawn)
    if len({(one.settings.get("corpus"), one.settings.get("tokenizer")) for one, _ in drawn}) > 1:
        st.caption("These runs differ in their text or tokens: a loss per token is not the same measure in each.")
    if view.by == "tokens" and (unknown := [one.name for one, _ in drawn if one.run.recorded]):
        st.text(f"How many tokens these have seen is not told, and they are left out here: {', '.join(unknown)}.")
    gone = {} if view.log_y else overlay.beyond(drawn, "val") | overlay.beyond(drawn, "train")
    if gone:
        far = ", ".join(f"{name} up to {loss:.4g}" for name, loss in gone.values())
        st.text(f'Far above the chart: {far}. "log loss" shows all of it.')
    left, right = st.columns(2, gap="medium")
    with left:
        static.show(
            overlay.losses(drawn, "train", view),
            "compare_train",
            "Training loss",
            "The loss of each step's batch, one colour a run: bold is the moving average, faint the losses themselves, "
            "a star is a note. Healthy curves fall; of two on the same text and tokens the lower one learns more.",
            picture="training-loss",
        )
    with right:
        static.show(
            overlay.losses(drawn, "val", view),
            "compare_val",
            "Validation loss",
            "The loss on text that training never shows, measured now and then on the same batches. Healthy is a fall "
            "along with the training loss; a rise while that one falls is overfitting.",
            picture="validation-loss",
        )


# -------------------------------------------------------------------- side by side


def side_by_side(drawn: Drawn) -> None:
    """What differs in the settings, and what happened in each run."""
    shown = [one for one, _ in drawn]
    columns = titles(shown)
    left, right = st.columns(2, gap="medium")
    with left:
        static.heading(
            "Settings that differ",
            "What each run began with, a fork where it left its parent; a setting that is the same in all of them is "
            "left out. One difference at a time tells what it does; runs that differ in many things tell little.",
        )
        names = differing(shown)
        if names:
            cells = {title: [written(one.settings.get(name, "")) for name in names] for title, one in columns.items()}
            st.dataframe(
                pd.DataFrame({"setting": names, **cells}),
                hide_index=True,
                key="compare_settings",
                column_config={"setting": st.column_config.TextColumn(width=120)},
            )
        else:
            st.text("None: these runs began with the same settings.")
    with right:
        static.heading(
            "Events",
            "What happened after which step, one column a run: knobs that were turned, pauses, warnings, the end. "
            "Look here first where two curves part that began alike.",
        )
        told = events(list(columns), drawn)
        st.dataframe(
            told,
            hide_index=True,
            height=ROW * (min(len(told), MOST_ROWS_SHOWN) + 1) + 3,
            column_config={"step": WHOLE},
            key="compare_events",
            placeholder="",
        )


def titles(shown: list[Overview]) -> dict[str, Overview]:
    """A column's title for each run: its name, with its id where two are called alike."""
    names = [one.name for one in shown]
    reserved = ("setting", "step")
    return {
        one.name if names.count(one.name) == 1 and one.name not in reserved else f"{one.name} ({one.run.id})": one
        for one in shown
    }


def events(columns: list[str], drawn: Drawn) -> pd.DataFrame:
    """One row for each event, by step."""
    told = [
        {"step": event.step, title: event.text}
        for title, (_, found) in zip(columns, drawn, strict=True)
        for event in found.events
    ]
    return pd.DataFrame(told, columns=["step", *columns]).sort_values("step", kind="stable")


@st.fragment
def page() -> None:
    """The page."""
    if st.session_state.pop("to_train", False):
        st.switch_page("train.py")
    st.html(STYLE + OWN_STYLE)
    actions.plan()
    with st.container(key="header"):
        board("compare", shown=shown_of(run_manager().current))
    for sentence in st.session_state.pop("notices", None) or []:
        st.text(sentence)
    run_panel.deleted()
    external_run.offer("to_train")
    shown = overviews()
    if not shown:
        st.text(f"No runs yet in {home() / 'runs'}. Start one on Train: all of them are kept here.")
        return
    left, right = st.columns([7, 2], gap="medium")
    with left:
        chosen = table(shown)
        drawn = read(chosen)
        if drawn:
            overlays(drawn)
        if len(drawn) > 1:
            side_by_side(drawn)
    with right:
        run_panel.panel(chosen, shown)


page()
