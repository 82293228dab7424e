"""What the page that is left still asks for does not come between a click and its page."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.runtime.app_session import AppSession

from pages.widgets.page_change import ignore_the_page_left


class Session:
    """A session of Streamlit's, as far as this goes: it stands on a page, and may be drawing one."""

    def __init__(self, page: str) -> None:
        self._pages_manager = SimpleNamespace(current_page_script_hash=page)
        self._scriptrunner: object | None = None
        self.taken: list[str] = []

    def reaches(self, page: str) -> None:
        """Its run has come to the navigation."""
        self._pages_manager.current_page_script_hash = page

    def ends(self) -> None:
        """Its run is over."""
        self._scriptrunner = None


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`ask(session, page, fragment)`: is it taken?"""

    def take(session: Session, state: ClientState | None) -> None:
        session.taken.append(state.page_script_hash if state else "")
        if state is None or not state.fragment_id or session._scriptrunner is None:
            session._scriptrunner = object()

    monkeypatch.setattr(AppSession, "request_rerun", take)
    ignore_the_page_left()

    def ask(session: Session, page: str | None, fragment: str = "") -> bool:
        before = len(session.taken)
        state = None if page is None else ClientState(page_script_hash=page, fragment_id=fragment)
        AppSession.request_rerun(session, state)  # type: ignore[arg-type]
        return len(session.taken) > before

    return ask


def test_the_page_that_is_left_asks_for_nothing_until_the_next_one_is_drawn(ask: Any) -> None:
    session = Session("train")
    assert ask(session, "train", "board")
    assert ask(session, "step")
    assert not ask(session, "train", "board"), "before the new run has begun"
    session.reaches("step")
    assert not ask(session, "train", "board"), "while it runs"
    assert ask(session, "step", "board")
    session.ends()
    assert ask(session, "train", "board"), "now Streamlit knows that this fragment is gone"


def test_back_again_before_the_first_page_was_reached(ask: Any) -> None:
    session = Session("train")
    assert ask(session, "step") and ask(session, "train")
    assert ask(session, "train", "board") and not ask(session, "step", "board")
    session.reaches("train")
    assert ask(session, "train", "board") and not ask(session, "step", "board")


def test_a_run_that_switches_the_page_by_itself(ask: Any) -> None:
    session = Session("compare")
    assert ask(session, "compare")
    session.reaches("train")
    assert ask(session, "train", "board") and not ask(session, "compare", "board")


def test_a_first_visit_and_an_edited_file_name_no_page(ask: Any) -> None:
    session = Session("")
    assert ask(session, "")
    session.reaches("train")
    assert ask(session, "train", "board")
    assert ask(session, None)
    assert ask(session, "train", "board")
