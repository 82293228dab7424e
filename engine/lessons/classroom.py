"""The lesson under way on this server: one, as there is one current run. All pages and phones see the same scene."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

from .poll import Closed, Kind, Poll


class Classroom:
    """Which question stands before the room, and what is told of it. Any thread may call it."""

    def __init__(self) -> None:
        self.poll: Poll | None = None
        self.hidden = False
        """Has the presenter hidden the distribution?"""
        self._revealed: dict[str, Any] = {}
        self._before: dict[str, Any] | None = None
        self._version = 0
        self._lock = threading.Lock()

    @property
    def version(self) -> tuple[int, int]:
        """Another one whenever `header` says something else."""
        return self._version, self.poll.count if self.poll else 0

    def ask(self, id: str, text: str, kind: Kind, before: dict[str, Any] | None = None) -> None:
        """Put a question before the room, open. before: what was said when it was asked first."""
        with self._lock:
            self.poll, self._revealed, self.hidden = Poll(id, text, kind), {}, False
            self._before = before
            self._version += 1

    def close(self) -> None:
        """Take no more answers; the distribution is told from now on."""
        with self._lock:
            if self.poll is not None:
                self.poll.close()
            self._version += 1

    def reveal(self, answer: Any, because: str, reasons: Mapping[int, str] | None = None) -> None:
        """Say what came out: an option's place, a number or the points of a curve, and the explanation.

        reasons: why one may have chosen a wrong option, by its place.
        """
        with self._lock:
            told = {str(place): reason for place, reason in (reasons or {}).items()}
            self._revealed = {"right": answer, "because": because, "reasons": told}
            self._version += 1

    def touch(self) -> None:
        """Have every page drawn anew: something of the lesson that no question tells is another one."""
        with self._lock:
            self._version += 1

    def hide(self, hidden: bool) -> None:
        """Hide the distribution, or show it again."""
        with self._lock:
            self.hidden = hidden
            self._version += 1

    def end(self) -> None:
        """Take the question away."""
        with self._lock:
            self.poll, self._revealed = None, {}
            self._version += 1

    def answer(self, question: str, browser: str, value: object) -> None:
        """Take a browser's answer to the question with that id; Refused, Closed or Full say why not."""
        poll = self.poll
        if poll is None or poll.id != question:
            raise Closed("this question is closed; wait for the next one")
        poll.answer(browser, value)

    def header(self) -> dict[str, Any] | None:
        """The question for the header of a frame; None where none is asked."""
        with self._lock:
            poll, revealed, hidden, before = self.poll, self._revealed, self.hidden, self._before
        if poll is None:
            return None
        header = {**poll.header(), **revealed, "hidden": hidden}
        if hidden:
            header.pop("distribution", None)
        elif not header["open"] and before is not None:
            header["before"] = before
        return header


@cache
def classroom() -> Classroom:
    """This process's one."""
    return Classroom()
