"""Browsers that answer: each known by a random id in a cookie, and by nothing else. How much each may send.

The id is signed with a key of this process, so that none can be made up; nothing is kept of a browser but its allowance
of the last seconds.
"""

from __future__ import annotations

import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from pages.server.gate import cookies

if TYPE_CHECKING:
    from starlette.types import Scope

A_SECOND = 1.0  # requests of a browser
BURST = 5
MOST_KEPT = 4096  # allowances; one that has not been used for BURST seconds is whole again and not kept
MOST_NEWCOMERS = 500  # browsers that answer a question without having opened a page that hands out an id

Endpoint = Callable[[Request], Response]


class Browsers:
    """Hands out ids, knows them again, and counts what each sends. Its counts are for the event loop alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._left: dict[str, tuple[float, float]] = {}
        """By id, the one used last at the end: what was left of its allowance, and when."""
        self._newcomers = ("", 0)

    # ---- who it is

    def known(self, scope: Scope) -> str | None:
        """The id of the browser that asks; None where it brings none that was handed out here."""
        for value in cookies(Headers(scope=scope), _name(scope)):
            id, _, signature = value.partition(".")
            if secrets.compare_digest(signature.encode(), self._signature(id).encode()):
                return id
        return None

    def new_cookie(self, scope: Scope) -> tuple[str, tuple[bytes, bytes]]:
        """A new id, and the header that hands it out.

        As the presenter's, the cookie names no path: behind a proxy that takes off a part of it others live beside us.
        """
        id = secrets.token_urlsafe(12)
        secure = "; Secure" if scope["scheme"] in ("https", "wss") else ""
        cookie = f"{_name(scope)}={id}.{self._signature(id)}; HttpOnly; SameSite=Strict{secure}"
        return id, (b"set-cookie", cookie.encode())

    def cookie_for(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """The header that hands an id to a browser that has none."""
        return [] if self.known(scope) else [self.new_cookie(scope)[1]]

    def welcomed(self, page: Endpoint) -> Endpoint:
        """A page that hands an id to each browser that has none.

        Who comes by a link on another site brings no cookie, though there may be one: the socket, which is asked for
        from the page itself, then sees it.
        """

        def answer(request: Request) -> Response:
            response = page(request)
            if request.headers.get("sec-fetch-site") != "cross-site":
                response.raw_headers += self.cookie_for(request.scope)
            return response

        return answer

    def _signature(self, id: str) -> str:
        made = blake2b(id.encode(), key=self._key, digest_size=18)
        return urlsafe_b64encode(made.digest()).decode()

    # ---- how much it may send

    def may_send(self, browser: str) -> bool:
        """Take one request from a browser's allowance; False where nothing is left of it."""
        now = self._clock()
        left, at = self._left.pop(browser, (BURST, now))
        left = min(BURST, left + A_SECOND * (now - at))
        may = left >= 1
        self._left[browser] = (left - may, now)
        while len(self._left) > MOST_KEPT or self._is_whole_again(next(iter(self._left)), now):
            del self._left[next(iter(self._left))]
        return may

    def may_come(self, question: str) -> bool:
        """Count a browser without an id that answers; False where too many have done so for this question.

        Whoever sends no cookie is a new browser each time: all of them together get a part of the places, so that the
        others stay free for those that have opened a page.
        """
        asked, count = self._newcomers
        count = count if asked == question else 0
        self._newcomers = (question, min(count + 1, MOST_NEWCOMERS))
        return count < MOST_NEWCOMERS

    def _is_whole_again(self, browser: str, now: float) -> bool:
        left, at = self._left[browser]
        return left + A_SECOND * (now - at) >= BURST


def _name(scope: Scope) -> str:
    """The cookie's name. Browsers share cookies between ports, so the port is part of it."""
    return f"loopscope_browser_{(scope.get('server') or ('', 0))[1]}"
