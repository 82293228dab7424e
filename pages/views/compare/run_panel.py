"""One stored run: continuing it, its name and notes, downloads, and deleting it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import streamlit as st

from engine.config import MAX_STEPS
from engine.errors import InputError
from engine.progress import Cancelled, Job, Report
from engine.runs.manager import RunActive, run_manager
from engine.runs.run import Run
from engine.storage import export, notes, trash
from engine.storage.index import Overview
from engine.storage.metrics.schema import MetricsError
from engine.storage.reader import StoredRun
from pages.board.replay.export import page_of
from pages.views.train import external_run
from pages.widgets import actions, notices, plan, waiting
from pages.widgets.over import over


def run_panel(chosen: list[Overview], all_runs: list[Overview]) -> None:
    """Everything about one of the chosen runs."""
    if not chosen:
        st.text("Select one run to open it, two to six to compare them.")
        return
    one = chosen[0]
    if len(chosen) > 1:
        names = {shown.run.id: shown.label for shown in chosen}
        picked = st.selectbox("run", list(names), format_func=lambda run: names[run], key="compare_one")
        one = next(shown for shown in chosen if shown.run.id == picked)
    st.text(f"{one.label}\n{one.run.status}")
    continue_section(one)
    name_and_notes(one)
    if one.run.reason is None:
        downloads(one)
    delete_section(one, [other.name for other in all_runs if other.parent.startswith(f"{one.run.id} ")])


# -------------------------------------------------------------------- going on


def continue_section(one: Overview) -> None:
    """Continue the run on Train; if another one is under way, ask first."""
    run, house = one.run, run_manager()
    if house.current is not None and house.current.id == run.id:
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
        with st.container(key="asks_at_right"):
            asking = st.session_state.get("asking_resume", ("", ""))[0] == run.id
            st.button(
                "Continue this run",
                key="continue",
                type="primary",
                icon=":material/play_arrow:",
                width="stretch",
                on_click=continue_run,
                args=(run.id, False),
                disabled=asking,
                help="Opens it on Train, paused at its newest snapshot. Later steps are made again, bit for bit.",
            )
            if asking:
                confirmation(run.id)


def confirmation(name: str) -> None:
    """Another run is under way: stop that one and go on with this, or cancel."""
    with over("button"):
        st.text(f"{st.session_state.asking_resume[1]}. Stop it and continue this one?")
        yes, no = st.columns(2)
        yes.button(
            "Stop it", key="resume_yes", type="primary", on_click=continue_run, args=(name, True), width="stretch"
        )
        no.button(
            "Cancel", key="resume_no", on_click=lambda: st.session_state.pop("asking_resume", None), width="stretch"
        )


def continue_run(name: str, replace: bool) -> None:
    """Make a stored run the current one; ask if another run is under way, say what prevents it."""
    st.session_state.pop("asking_resume", None)

    def done(job: Job[Run]) -> None:
        try:
            if actions.finish(job, plan.follow):
                to_train()
        except RunActive as active:
            st.session_state.asking_resume = name, str(active)
        except (OSError, ValueError, MetricsError) as error:
            notices.add(f"run {name} cannot be continued: its folder is damaged, or cannot be written ({error})")

    waiting.begin(lambda report: run_manager().resume(name, replace, report), done)


def bring_back() -> None:
    """Make the previous run the current one again."""
    actions.undo()
    to_train()


def to_train() -> None:
    """Open Train in the next rerun: a callback cannot switch pages."""
    st.session_state.to_train = True


# -------------------------------------------------------------------- names and notes


def name_and_notes(one: Overview) -> None:
    """Its name, and the notes about it."""
    folder, key = one.run.folder, f"name-{one.run.id}"
    st.text_input(
        "name",
        one.notes.name,
        key=key,
        max_chars=notes.LONGEST_NAME,
        placeholder=one.label,
        on_change=lambda: try_or_notify(notes.rename, folder, st.session_state[key]),
    )
    for place, note in enumerate(one.notes.notes):
        words, cross = st.columns([6, 1], vertical_alignment="center", gap="small")
        words.text(note.text if note.step is None else f"step {note.step:,}: {note.text}")
        cross.button(
            "",
            key=f"remove-{one.run.id}-{place}",
            icon=":material/close:",
            type="tertiary",
            on_click=try_or_notify,
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
    """Save the note, and empty its field."""
    state = st.session_state
    try:
        notes.add(run.folder, state[f"note-{run.id}"], state[f"note_step-{run.id}"])
    except InputError as error:
        notices.add(str(error))
    else:
        state[f"note-{run.id}"] = ""


def try_or_notify(verb: Callable[..., Any], *args: Any) -> None:
    """Call `verb`; a notice says why where it cannot be done."""
    try:
        verb(*args)
    except InputError as error:
        notices.add(str(error))


# -------------------------------------------------------------------- taking away


def downloads(one: Overview) -> None:
    """Files to take away: each is made when it is asked for, with a bar where that is long, and can then be saved."""
    run = one.run
    with st.popover("Download", icon=":material/download:", width="stretch"):
        weights = ("Weights as safetensors", ".safetensors", BYTES, partial(export.weights_file, run), WEIGHTS)
        for label, ending, kind, work, help in (
            ("Replay as HTML", ".html", "text/html", partial(page_of, one), REPLAY),
            ("Metrics as CSV", ".csv", "text/csv", partial(export.metrics_csv, run), CSV),
            *(() if run.recorded else (weights,)),
        ):
            st.button(
                label,
                key=f"take{ending}",
                on_click=make,
                args=(f"{run.id}{ending}", kind, work),
                width="stretch",
                help=help,
            )
    made: Made | None = st.session_state.get("made")
    if made is not None and made.name.startswith(run.id):
        st.download_button(
            f"Save {made.name} ({len(made.content) / 1e6:.1f} MB)",
            made.content,
            made.name,
            made.kind,
            key="save",
            type="primary",
            icon=":material/download:",
            on_click="ignore",
            width="stretch",
        )


class Made(NamedTuple):
    """A file that has been made to be taken away."""

    name: str
    kind: str
    content: bytes


def make(name: str, kind: str, work: Callable[[Report], bytes]) -> None:
    """Make a file; a notice says why where it cannot be made."""
    st.session_state.pop("made", None)

    def done(job: Job[bytes]) -> None:
        try:
            st.session_state.made = Made(name, kind, job.result())
        except Cancelled:  # this person did it
            return
        except (InputError, MetricsError, OSError, ValueError) as error:
            notices.add(f"{name} cannot be made: {error}")

    waiting.begin(work, done)


BYTES = "application/octet-stream"
REPLAY = "One file with the charts, the events, and the tables and samples to move through. It needs no network."
CSV = "One row a step: loss, gradient norm, learning rate, seconds, and what was measured now and then."
WEIGHTS = "The newest snapshot, with the configuration in the file's metadata."


# -------------------------------------------------------------------- deleting


def delete_section(one: Overview, forks: list[str]) -> None:
    """Remove the run from the list; `deleted_runs` brings it back. `forks` are the names of its forks."""
    if one.run.live or run_manager().find(one.run.id) is not None:
        return
    with st.popover("Delete", icon=":material/delete:", width="stretch"):
        st.text("It leaves the list and stays on the disk until you bring it back.")
        if forks:
            st.text(f"Forked from it, and going back before the fork only with it: {', '.join(forks)}.")
        st.button("Delete this run", key="delete", on_click=delete, args=(one.run.id,))


def delete(name: str) -> None:
    """Delete a run, and offer to undo it."""
    try_or_notify(trash.delete, name)
    if name in trash.deleted():
        st.session_state.just_deleted = name


def deleted_runs() -> None:
    """Bring back the run deleted just now, or any other."""
    gone = trash.deleted()
    if not gone:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if (last := st.session_state.get("just_deleted")) in gone:
            st.text(f"Deleted {last}.", width="content")
            st.button("Undo", key="undo_delete", icon=":material/undo:", on_click=try_or_notify, args=(BACK, last))
        with st.popover("Deleted runs", icon=":material/delete:"):
            st.selectbox("run", gone, key="deleted_run")
            st.button("Bring back", key="back", on_click=lambda: try_or_notify(BACK, st.session_state.deleted_run))


BACK = trash.bring_back
