"""Long work that this session asked for: a bar with Cancel after a moment, while the page stays usable.

The work itself is a job of the engine, in a thread of its own; no other session waits for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

import streamlit as st

from engine.progress import Cancelled, Job, Report

T = TypeVar("T")

PATIENCE = 0.5  # seconds after which work counts as long
LOOK = 0.5  # seconds between two looks at it


class _NotOfLateLooks(logging.Filter):
    """A look that comes when its bar has gone already is no event, and Streamlit writes a line for each."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "fragment with id" not in str(record.msg)


_log = logging.getLogger("streamlit.runtime.app_session")
if not any(type(one).__name__ == _NotOfLateLooks.__name__ for one in _log.filters):  # pages are imported anew
    _log.addFilter(_NotOfLateLooks())


class Awaited(NamedTuple):
    """An action under way, and what follows in this session."""

    job: Job[Any]
    then: Callable[[Job[Any]], object]


class Kept(NamedTuple):
    """A result under way or there, and what it is of."""

    key: Hashable
    job: Job[Any]


def impatient() -> Report:
    """A report that gives up what takes long: for what is only worth having at once."""
    end = time.monotonic() + PATIENCE

    def report(what: str, done: int, total: int) -> None:
        if time.monotonic() > end:
            raise Cancelled(f"{what} takes long")

    return report


# -------------------------------------------------------------------- an action


def begin(work: Callable[[Report], T], then: Callable[[Job[T]], object]) -> None:
    """Do `work`; then `then` gets the finished job: at once where it is short, else while `action` is on the page.

    Only the newest action is awaited: one before it is cancelled.
    """
    if (before := st.session_state.pop("awaited", None)) is not None:
        before.job.cancel()
    job = Job(work).start()
    if job.wait(PATIENCE):
        then(job)
    else:
        st.session_state.awaited = Awaited(job, then)


def action() -> None:
    """How far the action under way is, with Cancel; nothing where there is none."""
    if "awaited" in st.session_state:
        with st.container(border=True):
            _watch_action()


@st.fragment(run_every=LOOK)
def _watch_action() -> None:
    awaited: Awaited | None = st.session_state.get("awaited")
    if awaited is None:
        return
    if awaited.job.done:
        del st.session_state.awaited
        awaited.then(awaited.job)
        st.rerun()
    _bar(awaited.job, "action")


# -------------------------------------------------------------------- a result


def result(name: str, key: Hashable, work: Callable[[Report], T]) -> T | None:
    """What `work` gives, kept in the session under `name` until `key` changes.

    None while it is under way, and after somebody cancelled it: a bar, or a button that begins again, is on the page
    then. Raises what the work raised.
    """
    place = f"work-{name}"
    kept: Kept | None = st.session_state.get(place)
    if kept is None or kept.key != key:
        if kept is not None:
            kept.job.cancel()
        kept = st.session_state[place] = Kept(key, Job(work).start())
    if not kept.job.wait(PATIENCE):
        _watch_result(name)
        return None
    try:
        return kept.job.result()  # type: ignore[no-any-return]
    except Cancelled as cancelled:
        st.text(str(cancelled))
        st.button("Begin again", key=f"again-{name}", on_click=lambda: st.session_state.pop(place, None))
        return None
    except Exception:
        del st.session_state[place]  # the next look may find what was missing
        raise


@st.fragment(run_every=LOOK)
def _watch_result(name: str) -> None:
    kept: Kept | None = st.session_state.get(f"work-{name}")
    if kept is None:
        return
    if kept.job.done:
        st.rerun()
    _bar(kept.job, name)


def _bar(job: Job[Any], name: str) -> None:
    what, done, total = job.stage
    far = f"{done:,} of {total:,}" if total else f"{time.monotonic() - job.began:.0f} s"
    st.progress(job.stage.share, f"{what}: {'ending' if job.cancelled else far}")
    st.button("Cancel", key=f"cancel-{name}", on_click=job.cancel, disabled=job.cancelled)
