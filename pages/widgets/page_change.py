"""Nothing that is asked by the page one leaves takes part in the change to the next one.

A part of a page (a fragment, as the board's is) may ask to be drawn anew after a click on the way to another page and
before the browser has heard of that one. Streamlit (1.67) takes the request, and with it the old page for the current
one: the click is lost, or the browser clears the new page away, and only its heading is left.
"""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.scriptrunner import ScriptRunner


class Asked(NamedTuple):
    """A session has asked for `page`, from `left`; the `runner` draws it."""

    page: str
    left: str
    runner: ScriptRunner | None


def ignore_the_page_left() -> None:
    """Have sessions ignore what another page than theirs asks for while one is being drawn. For the lifespan's start.

    After that Streamlit itself ignores it, since it has forgotten the other page's fragments.
    """
    newest: WeakKeyDictionary[AppSession, Asked] = WeakKeyDictionary()
    request_rerun = AppSession.request_rerun

    def request(self: AppSession, client_state: ClientState | None) -> None:
        page = client_state.page_script_hash if client_state else ""
        before = self._pages_manager.current_page_script_hash
        if not (client_state and client_state.fragment_id):
            request_rerun(self, client_state)
            newest[self] = Asked(page, before, self._scriptrunner)
        elif self._scriptrunner is None or page == drawn_page(newest.get(self), before, self._scriptrunner):
            request_rerun(self, client_state)

    AppSession.request_rerun = request  # type: ignore[method-assign]


def drawn_page(asked: Asked | None, current: str, runner: ScriptRunner) -> str:
    """The page that `runner` draws: the `current` one, or the one that it was `asked` for and has not begun yet."""
    if asked and asked.page and asked.runner is runner and current == asked.left:
        return asked.page
    return current
