"""What differs in the settings of the chosen runs, and what happened in each."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from engine.storage.index import Overview, differing
from pages.board.replay.export import written
from pages.charts import static
from pages.views.compare.overlays import DrawnRuns
from pages.views.compare.runs_table import MOST_ROWS_SHOWN, ROW, WHOLE


def side_by_side(drawn: DrawnRuns) -> None:
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
    """A column title for each run: its name, with its id where two have the same name."""
    names = [one.label for one in shown]
    reserved = ("setting", "step")
    return {
        one.label if names.count(one.label) == 1 and one.label not in reserved else f"{one.label} ({one.run.id})": one
        for one in shown
    }


def events(columns: list[str], drawn: DrawnRuns) -> pd.DataFrame:
    """One row for each event, by step."""
    told = [
        {"step": event.step, title: event.text}
        for title, (_, found) in zip(columns, drawn, strict=True)
        for event in found.events
    ]
    return pd.DataFrame(told, columns=["step", *columns]).sort_values("step", kind="stable")
