"""Seats: how many sockets the presenter and the audience may hold, behind the gate, which says who is who.

The audience's seats are numbered in total and for each address; whoever comes when they are taken is told to come back
later (close code 1013), and the board does. The presenter's are separate: a page always gets one, and where all are
taken the oldest socket gives its seat up, those of programs before those of pages.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers

from pages.server.addresses import is_loopback
from pages.server.gate import is_presenter
from pages.server.limits import Limits

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

TRY_AGAIN_LATER = 1013
ALL_TAKEN = "All seats are taken"
YOURS_TAKEN = "Too many pages watch from your address"
NEWER = "A newer page of the presenter took this place"
FRAMES = "/live"


class Seat:
    """One open socket."""

    def __init__(self, scope: Scope, send: Send) -> None:
        client = scope.get("client")
        self.presenter = is_presenter(scope)
        self.address = str(client[0]) if client else ""
        self.frames = scope["path"].endswith(FRAMES)
        self.of_page = "origin" in Headers(scope=scope)
        self.given_up = False
        self._send = send

    async def send(self, message: Message) -> None:
        """Send, until the seat is given up."""
        if not self.given_up:
            await self._send(message)

    async def give_up(self) -> None:
        """Close the socket: somebody else takes its place."""
        await self._send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": NEWER})


class Seats:
    """ASGI middleware: counts sockets, and refuses those for which there is no seat."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app, self.limits = app, limits
        self.taken: dict[Seat, None] = {}
        """Those that are held, the oldest first."""
        self._closing: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        seat = Seat(scope, send)
        refusal = self._make_room(seat) if seat.presenter else self._refusal(seat)
        if refusal is not None:
            await send({"type": "websocket.accept"})  # a page can read the reason of a close, and of nothing else
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": refusal})
            return
        self.taken[seat] = None
        try:
            await self.app(scope, receive, seat.send)
        finally:
            self.taken.pop(seat, None)

    def _refusal(self, seat: Seat) -> str | None:
        """Why there is no seat for one of the audience; None if there is."""
        held = Counter(other.address for other in self.taken if not other.presenter)
        if held.total() >= self.limits.audience:
            return ALL_TAKEN
        each = self.limits.audience_of_proxy if is_loopback(seat.address) else self.limits.audience_each
        return YOURS_TAKEN if held[seat.address] >= each else None

    def _make_room(self, seat: Seat) -> str | None:
        """Have a socket of the presenter give up its seat where all are taken; why there is none for this one."""
        alike = [other for other in self.taken if other.presenter and other.frames == seat.frames]
        if len(alike) < self.limits.presenter:
            return None
        if not seat.of_page:  # a program that comes again and again would turn out everybody
            return ALL_TAKEN
        yields = next((other for other in alike if not other.of_page), alike[0])
        del self.taken[yields]
        yields.given_up = True
        task = asyncio.ensure_future(yields.give_up())
        self._closing.add(task)
        task.add_done_callback(self._forget)
        return None

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._closing.discard(task)
        if not task.cancelled():
            task.exception()  # it had gone already
