"""One stored run: going on with it, its name and notes, deleting it, and what can be taken away. Knows no charts."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable
from typing import Any

import streamlit as st

from engine.config import MAX_STEPS
from engine.errors import InputError
from engine.runs.manager import RunActive, run_manager
from engine.storage import export, notes, trash
from engine.storage.index import Overview
from engine.storage.reader import StoredRun
from pages.board.replay.export import page_of
from pages.views.train import external_run
from pages.widgets import actions


def panel(chosen: list[Overview], all_runs: list[Overview]) -> None:
    """One of the chosen runs, opened."""
    if not chosen:
        st.text("Select one run to open it, two to six to compare them.")
        return
    one = chosen[0]
    if len(chosen) > 1:
        names = {shown.run.id: shown.name for shown in chosen}
        picked = st.selectbox("run", list(names), format_func=lambda run: names[run], key="compare_one")
        one = next(shown for shown in chosen if shown.run.id == picked)
    st.text(f"{one.name}\n{one.run.standing}")
    continuing(one)
    naming(one)
    if one.run.reason is None:
        taking_away(one)
    deleting(one, [other.name for other in all_runs if other.parent.startswith(f"{one.run.id} ")])


# -------------------------------------------------------------------- going on


def continuing(one: Overview) -> None:
    """The way back onto the stage; a run under way is asked about first."""
    run, house = one.run, run_manager()
    if "asking_resume" in st.session_state and st.session_state.asking_resume[0] == run.id:
        question(run.id)
    elif house.current is not None and house.current.id == run.id:
        st.button("Show it on Train", key="show", icon=":material/arrow_forward:", width="stretch", on_click=to_train)
    elif house.previous is not None and house.previous.id == run.id:
        st.text("It is the run before the current one, kept open.")
        st.button("Bring it back", key="bring_back", icon=":material/undo:", width="stretch", on_click=bring_back)
    elif run.live and house.find(run.id) is None:
        st.text("Another process is writing this run. Stop it there, then it can be continued here.")
        st.button(
            "Watch it on Train",
            key="watch",
            icon=":material/visibility:",
            width="stretch",
            on_click=external_run.watch,
            args=(run.id, "to_train"),
        )
    elif run.recorded is not None:
        st.text("It was recorded from a loop elsewhere: it can be compared and taken away, not continued here.")
    elif run.reason is None:
        st.button(
            "Continue this run",
            key="continue",
            type="primary",
            icon=":material/play_arrow:",
            width="stretch",
            on_click=go_on,
            args=(run.id, False),
            help="Opens it on Train, paused at its newest snapshot. Later steps are made again, bit for bit.",
        )


def question(name: str) -> None:
    """Another run is under way: stop that one and go on with this, or cancel."""
    with st.container(border=True):
        st.text(f"{st.session_state.asking_resume[1]}. Stop it and continue this one?")
        yes, no = st.columns(2)
        yes.button("Stop it", key="resume_yes", type="primary", on_click=go_on, args=(name, True), width="stretch")
        no.button(
            "Cancel", key="resume_no", on_click=lambda: st.session_state.pop("asking_resume", None), width="stretch"
        )


def go_on(name: str, replace: bool) -> None:
    """Make a stored run the current one; what stands against it is asked or said."""
    st.session_state.pop("asking_resume", None)
    try:
        run = run_manager().resume(name, replace)
    except RunActive as active:
        st.session_state.asking_resume = name, str(active)
    except InputError as error:
        actions.say(str(error))
    except (OSError, ValueError, sqlite3.Error, zlib.error) as error:
        actions.say(f"run {name} cannot be continued: its folder is damaged, or cannot be written ({error})")
    else:
        actions.replan(config=run.config, settings=run.settings)
        st.session_state.planned = False
        to_train()


def bring_back() -> None:
    """The run before the current one becomes the current one again."""
    actions.bring_back()
    to_train()


def to_train() -> None:
    """Open Train once this click has been seen to: a callback cannot switch pages."""
    st.session_state.to_train = True


# -------------------------------------------------------------------- names and notes


def naming(one: Overview) -> None:
    """What people call it, and what they wrote about it."""
    folder, key = one.run.folder, f"name-{one.run.id}"
    st.text_input(
        "name",
        one.notes.name,
        key=key,
        max_chars=notes.LONGEST_NAME,
        placeholder=one.run.id,
        on_change=lambda: attempt(notes.rename, folder, st.session_state[key]),
    )
    for place, note in enumerate(one.notes.notes):
        words, cross = st.columns([6, 1], vertical_alignment="center", gap="small")
        words.text(note.text if note.step is None else f"step {note.step:,}: {note.text}")
        cross.button(
            "",
            key=f"remove-{one.run.id}-{place}",
            icon=":material/close:",
            type="tertiary",
            on_click=attempt,
            args=(notes.remove, folder, note),
            help="Remove this note.",
        )
    with st.popover("Add a note", icon=":material/edit_note:", width="stretch"):
        st.text_area("note", key=f"note-{one.run.id}", max_chars=notes.LONGEST_NOTE)
        st.number_input(
            "at step (empty: of the whole run)", 0, MAX_STEPS, None, key=f"note_step-{one.run.id}", placeholder="none"
        )
        st.button("Add", key="add_note", type="primary", on_click=add_note, args=(one.run,))


def add_note(run: StoredRun) -> None:
    """Keep the note that was written, and empty its field."""
    state = st.session_state
    try:
        notes.add(run.folder, state[f"note-{run.id}"], state[f"note_step-{run.id}"])
    except InputError as error:
        actions.say(str(error))
    else:
        state[f"note-{run.id}"] = ""


def attempt(verb: Callable[..., Any], *args: Any) -> None:
    """Do it, or say why it cannot be done."""
    try:
        verb(*args)
    except InputError as error:
        actions.say(str(error))


# -------------------------------------------------------------------- taking away


def taking_away(one: Overview) -> None:
    """Files to keep or to hand out; each is made when it is asked for."""
    run = one.run
    with st.popover("Take away", icon=":material/download:", width="stretch"):
        weights = ("Weights as safetensors", ".safetensors", BYTES, lambda: export.weights_file(run), WEIGHTS)
        for label, ending, kind, made, help in (
            ("Replay as HTML", ".html", "text/html", lambda: page_of(one), REPLAY),
            ("Metrics as CSV", ".csv", "text/csv", lambda: csv(run), CSV),
            *(() if run.recorded else (weights,)),
        ):
            st.download_button(
                label,
                made,
                f"{run.id}{ending}",
                kind,
                key=f"take{ending}",
                on_click="ignore",
                width="stretch",
                help=help,
            )


def csv(run: StoredRun) -> bytes:
    """Every step and every look as a table."""
    return export.metrics_table(run).to_csv(index=False).encode()


BYTES = "application/octet-stream"
REPLAY = "One file with the charts, the events, and the tables and samples to move through. It needs no network."
CSV = "One row a step: loss, gradient norm, learning rate, seconds, and what was measured now and then."
WEIGHTS = "The newest snapshot, with the configuration in the file's metadata."


# -------------------------------------------------------------------- deleting


def deleting(one: Overview, forks: list[str]) -> None:
    """Out of the list; `deleted` brings it back. `forks` are called so that were forked from it."""
    if one.run.live or run_manager().find(one.run.id) is not None:
        return
    with st.popover("Delete", icon=":material/delete:", width="stretch"):
        st.text("It leaves the list and stays on the disk until you bring it back.")
        if forks:
            st.text(f"Forked from it, and going back before the fork only with it: {', '.join(forks)}.")
        st.button("Delete this run", key="delete", on_click=delete, args=(one.run.id,))


def delete(name: str) -> None:
    """Delete a run, and offer to undo it."""
    attempt(trash.delete, name)
    if name in trash.deleted():
        st.session_state.just_deleted = name


def deleted() -> None:
    """What can be brought back: the run deleted just now, and all the others."""
    gone = trash.deleted()
    if not gone:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if (last := st.session_state.get("just_deleted")) in gone:
            st.text(f"Deleted {last}.", width="content")
            st.button("Undo", key="undo_delete", icon=":material/undo:", on_click=attempt, args=(BACK, last))
        with st.popover("Deleted runs", icon=":material/delete:"):
            st.selectbox("run", gone, key="deleted_run")
            st.button("Bring back", key="back", on_click=lambda: attempt(BACK, st.session_state.deleted_run))


BACK = trash.bring_back
