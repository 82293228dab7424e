"""All stored runs as a table to choose from."""

from __future__ import annotations

import hashlib

import pandas as pd
import streamlit as st

from engine.runs.manager import run_manager
from engine.storage.index import Overview, differing
from pages.board.replay.export import written
from pages.charts import static
from pages.views.compare.loss_curves import MOST_RUNS

ROW, MOST_ROWS_SHOWN = 35, 9
IN_COLUMNS = ("model", "corpus")  # these have columns of their own
WHOLE = st.column_config.NumberColumn(format="localized")
COLUMNS = {
    "lowest validation loss": st.column_config.NumberColumn(
        format="%.4f", help="The lowest so far; beside it the step it was at."
    ),
    **dict.fromkeys(("at step", "steps", "max_steps", "vocab_size", "batch_size"), WHOLE),
    "parent": st.column_config.TextColumn(width=270, help="The run that it was forked from, and where."),
    "changed there": st.column_config.TextColumn(width=150, help="The knobs that were changed where it was forked."),
    "time, s": st.column_config.NumberColumn(format="%.1f", help="The steps' own times, pauses not counted."),
}


def runs_table(shown: list[Overview]) -> list[Overview]:
    """The table of all runs; returns the selected ones, at most MOST_RUNS."""
    static.heading(
        "Runs",
        "One row a run; click a column's title to sort, and the boxes at the left to choose (keys: arrows, then shift "
        "and space). The lower the validation loss the better, among runs on the same text and tokens; the settings "
        "are those that differ here.",
    )
    ids = [one.run.id for one in shown]
    key = f"runs-{hashlib.sha256(' '.join(ids).encode()).hexdigest()[:12]}"  # other rows, another table
    before = [ids.index(name) for name in st.session_state.get("compared", []) if name in ids]
    selected = st.dataframe(
        table_cells(shown),
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


def table_cells(shown: list[Overview]) -> pd.DataFrame:
    """The table's cells; a setting with values of several types becomes text."""
    settings = [name for name in differing(shown) if name not in IN_COLUMNS]
    rows = [
        {
            "name": one.label,
            "state": state_text(one),
            "model": "recorded" if one.run.recorded else one.settings.get("model", ""),
            "corpus": one.run.config.corpus if one.run.config and one.run.config.reads_text else "",
            "lowest validation loss": one.best_val_loss,
            "at step": one.best_val_step,
            "steps": one.updates,
            "time, s": one.seconds,
            "parent": one.parent,
            "changed there": one.turned,
            **{name: one.settings.get(name) for name in settings},
            "id": one.run.id,
        }
        for one in shown
    ]
    frame = pd.DataFrame(rows)
    for name in settings:
        if not all(value is None or type(value) in (int, float) for value in (row[name] for row in rows)):
            frame[name] = ["" if row[name] is None else written(row[name]) for row in rows]
    return frame.drop(columns=[name for name in ("parent", "changed there") if not frame[name].any()])


def state_text(one: Overview) -> str:
    """The state of a run in words."""
    here = run_manager().find(one.run.id)
    if here is not None:
        return here.state.value
    if one.run.reason is not None:
        return one.run.status
    return f"{one.run.state}, in another process" if one.run.live else one.run.state
