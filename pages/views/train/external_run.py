"""A run that another process trains: the offer to watch it, and its controls while it is on the stage.

The page asks and the run's own process decides: a change goes into the run's inbox, and the widgets show what its
folder says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from engine.errors import InputError
from engine.runs.manager import run_manager
from engine.storage import command_inbox, notes
from engine.storage.reader import StoredRun
from engine.tracking.external_run import ExternalRun
from pages.widgets import fields, notices

MOST_OFFERED = 3
ALIVE = ("running", "paused", "ready")


def offer_to_watch(after: str = "") -> None:
    """The runs that other processes train now, each with a button to watch it.

    `after` is a key to set in the session once one is watched, so that the page can go on to Train.
    """
    found = [run for run in run_manager().external_runs.live() if run.id != getattr(run_manager().watched, "id", None)]
    for run in found[:MOST_OFFERED]:
        with st.container(border=True, key=f"elsewhere-{run.id}", horizontal=bool(after), vertical_alignment="center"):
            st.text(f"A run is being trained elsewhere: {name_of(run)}.", width="content" if after else "stretch")
            st.button(
                "Watch it",
                key=f"watch-{run.id}",
                width="content" if after else "stretch",
                on_click=watch,
                args=(run.id, after),
            )
    if len(found) > MOST_OFFERED:
        st.text(f"And {len(found) - MOST_OFFERED:,} more: Compare lists all runs.")


def name_of(run: StoredRun) -> str:
    """Its name, else a description."""
    if given := notes.read(run.folder).name:
        return given
    if run.recorded is not None:
        return run.recorded.name or run.id
    return f"{run.config.model} on {run.config.corpus}" if run.config else run.id


def watch(run_id: str, after: str = "") -> None:
    """Show it on the stage, for everybody."""
    try:
        run_manager().watch(run_id)
    except InputError as error:
        notices.add(str(error))
    else:
        if after:
            st.session_state[after] = True


def external_run_panel(run: ExternalRun) -> None:
    """The controls that the run's own process accepts."""
    st.text(f"{run.title}\ntrained elsewhere, {run.stored_state}")
    transport(run)
    if "lr" in run.settings and _possible(run.settings["lr"]):
        fields.learning_rate(*rate_of(run), disabled=not _accepts(run, "lr"))
    for name in ("max_steps", "batch_size"):
        if type(value := run.settings.get(name)) is int and value > 0:
            fields.whole_number(
                name,
                value,
                lambda field, chosen: request_setting(run, field, chosen),
                label=name.replace("_", " "),
                key=f"{name}_elsewhere",
                disabled=not _accepts(run, name),
            )
    st.caption(explanation(run))


def brief_panel(run: ExternalRun) -> None:
    """What a lesson needs of it, in the presenter's bar."""
    transport(run)
    if "lr" in run.settings and _possible(run.settings["lr"]):
        fields.exact_rate(*rate_of(run), disabled=not _accepts(run, "lr"))


def rate_of(run: ExternalRun) -> tuple[float, fields.OnChange, Callable[[int], None]]:
    """Its learning rate, and what asks for another or for the next one."""
    lr = float(run.settings["lr"])
    return (
        lr,
        lambda name, value: request_setting(run, name, value),
        lambda up: request_setting(run, "lr", fields.next_rate(lr, up)),
    )


def transport(run: ExternalRun) -> None:
    """Pause, resume, stop, and leave."""
    verb = "resume" if run.state == "paused" else "pause"
    st.button(
        verb.capitalize(),
        key="tell_play",
        icon=":material/play_arrow:" if verb == "resume" else ":material/pause:",
        shortcut="Space",
        width="stretch",
        disabled=not _accepts(run, "pause"),
        on_click=request_command,
        args=(run, verb),
        help="Ask its process to pause or resume. Key: space.",
    )
    with st.container(horizontal=True, gap="xsmall", key="tell_verbs"):
        st.button(
            "Stop",
            key="tell_stop",
            icon=":material/stop:",
            width="stretch",
            disabled=not _accepts(run, "stop"),
            on_click=request_command,
            args=(run, "stop"),
            help="Ask its process to end the run.",
        )
        st.button(
            "Leave",
            key="leave",
            icon=":material/undo:",
            width="stretch",
            on_click=lambda: run_manager().stop_watching(),
            help="Back to this server's own run. The other one goes on.",
        )


def explanation(run: ExternalRun) -> str:
    """What its process accepts; or why nothing can be changed from here."""
    if run.state not in ALIVE:
        more = "download it" if run.config is None else "continue it, or download it"
        return f"This run is {run.stored_state}: no process is there to turn its knobs. Compare can {more}."
    if run.takes:
        taken = ", ".join(name.replace("_", " ") for name in run.takes)
        return f"Its process honours {taken}, at the next step; nothing else turns from here."
    if run.config is None:
        return 'Its loop honours nothing from outside; record(…, live=("lr", "stop")) would let it.'
    return "Its knobs turn only where it is trained: that process takes nothing from outside."


def request_setting(run: ExternalRun, name: str, value: Any) -> None:
    """Ask for a setting to be changed."""
    _attempt(lambda: command_inbox.send_settings(run.folder, **{name: value}))


def request_command(run: ExternalRun, verb: str) -> None:
    """Ask for a command: pause, resume, stop."""
    _attempt(lambda: command_inbox.send_verb(run.folder, verb))


def _attempt(ask: Any) -> None:
    try:
        ask()
    except InputError as error:
        notices.add(str(error))


def _accepts(run: ExternalRun, what: str) -> bool:
    return run.state in ALIVE and what in run.takes


def _possible(lr: object) -> bool:
    """Can the slider show it? A recorded loop may call anything its lr."""
    low, high = fields.bounds(fields.field_of("lr"))
    return type(lr) in (int, float) and (low or 0.0) < float(lr) <= (high or float("inf"))  # type: ignore[arg-type]
