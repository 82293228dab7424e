"""Seats: how many sockets the presenter and the audience may hold, behind the gate, which says who is who.

The audience's seats are numbered in total and for each address. Whoever comes when they are taken may stand: hear of
the questions and answer them, without the live charts, which are what costs. Where the standing places are taken too,
one is told to come back later (close code 1013), and the board does. The presenter's seats are separate: a page always
gets one, and where all are taken the oldest socket gives its seat up, those of programs before those of pages.

A crowd that comes back every few seconds would keep the event loop busy with handshakes alone, and training waits for
the same interpreter. So the doorkeeper asks here before it lets a connection in, and whoever would find no seat gets
the very same answer at the door, for a small part of the work.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from websockets.frames import Close, Frame, Opcode
from websockets.utils import accept_key

from pages.server.addresses import is_loopback
from pages.server.gate import PRESENTER, holds_token, is_presenter
from pages.server.limits import Limits

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from pages.server.room import Room

TRY_AGAIN_LATER = 1013
ALL_TAKEN = "All seats are taken"
YOURS_TAKEN = "Too many pages watch from your address"
NEWER = "A newer page of the presenter took this place"
FRAMES = "/live"
STANDING = "loopscope.standing"  # in the scope of a socket without a seat: why it has none


class Seat:
    """One open socket."""

    def __init__(self, scope: Scope) -> None:
        client = scope.get("client")
        self.presenter = is_presenter(scope)
        self.address = str(client[0]) if client else ""
        self.frames = scope["path"].endswith(FRAMES)
        self.of_page = "origin" in Headers(scope=scope)
        self.given_up = False
        self.standing = False


class Seating:
    """Who holds which seat. `room` says who the presenter is; None: everybody."""

    def __init__(self, limits: Limits, room: Room | None = None) -> None:
        self.limits, self.room = limits, room
        self.taken: dict[Seat, Send] = {}
        """Those that are held, the oldest first, each with the way to its socket."""

    def refusal(self, seat: Seat) -> str | None:
        """Why there is no such seat; None if there is, or if one of the presenter's can be given up for it."""
        if seat.presenter:
            # A program that comes again and again would turn out everybody.
            return ALL_TAKEN if len(self.alike(seat)) >= self.limits.presenter and not seat.of_page else None
        return self._refusal_at(seat.address)

    def _refusal_at(self, address: str) -> str | None:
        """Why one of the audience finds no seat."""
        held = Counter(other.address for other in self.taken if not (other.presenter or other.standing))
        if held.total() >= self.limits.audience:
            return ALL_TAKEN
        each = self.limits.audience_of_proxy if is_loopback(address) else self.limits.audience_each
        return YOURS_TAKEN if held[address] >= each else None

    def may_stand(self, seat: Seat) -> bool:
        """Is there a standing place for one of the audience who finds no seat?"""
        standing = [other.address for other in self.taken if other.standing]
        free = len(standing) < self.limits.standing and standing.count(seat.address) < self.limits.standing_each
        return free and seat.frames and not seat.presenter

    def alike(self, seat: Seat) -> list[Seat]:
        """The presenter's seats of that kind, the oldest first."""
        return [other for other in self.taken if other.presenter and other.frames == seat.frames]

    def answer_at_door(self, address: str, peek: Callable[[], bytes]) -> bytes | None:
        """What a connection of `address` is told instead of being let in; None lets it in.

        `peek` gives the first bytes that came. Only a whole handshake of a WebSocket for which there is no seat is
        answered, as `Seats` would: accepted, and closed with the reason. A stranger learns no more from that than that
        all is taken; of one behind a proxy only the server finds out the address.
        """
        if len(self.taken) < min(self.limits.presenter, self.limits.audience_each):
            return None
        scope = _handshake(peek(), address)
        if scope is None:
            return None
        headers = Headers(scope=scope)
        if is_loopback(address) and "x-forwarded-for" in headers:
            return None
        scope[PRESENTER] = self.room is None or holds_token(headers, self.room)
        seat = Seat(scope)
        reason = self.refusal(seat)
        return (
            None
            if reason is None or self.may_stand(seat)
            else _accepted(headers["sec-websocket-key"]) + _closed(reason)
        )


class Seats:
    """ASGI middleware: counts sockets, and refuses those for which there is no seat."""

    def __init__(self, app: ASGIApp, seating: Seating) -> None:
        self.app, self.seating = app, seating
        self._closing: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        seat = Seat(scope)
        refusal = self.seating.refusal(seat)
        if refusal is not None and self.seating.may_stand(seat):
            seat.standing, scope = True, {**scope, STANDING: refusal}
        elif refusal is not None:
            await send({"type": "websocket.accept"})  # a page can read the reason of a close, and of nothing else
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": refusal})
            return
        if seat.presenter:
            self._make_room(seat)

        async def send_while_held(message: Message) -> None:
            if not seat.given_up:
                await send(message)

        self.seating.taken[seat] = send
        try:
            await self.app(scope, receive, send_while_held)
        finally:
            self.seating.taken.pop(seat, None)

    def _make_room(self, seat: Seat) -> None:
        """Have a socket of the presenter give up its seat where all are taken."""
        alike = self.seating.alike(seat)
        if len(alike) < self.seating.limits.presenter:
            return
        yields = next((other for other in alike if not other.of_page), alike[0])
        send = self.seating.taken.pop(yields)
        yields.given_up = True
        close = send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": NEWER})
        task = asyncio.ensure_future(close)
        self._closing.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._closing.discard(task)
        if not task.cancelled():
            task.exception()  # it had gone already


def _handshake(said: bytes, address: str) -> Scope | None:
    """A WebSocket's whole opening handshake, as far as it matters here; None for anything else."""
    head, end, _ = said.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    words = first.split(b" ")
    if not end or len(words) != 3 or words[0] != b"GET":
        return None
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    if (b"upgrade", b"websocket") not in ((name, value.lower()) for name, value in headers):
        return None
    if sum(name == b"sec-websocket-key" for name, _ in headers) != 1:
        return None
    path = words[1].partition(b"?")[0].decode("latin-1")
    return {"type": "websocket", "path": path, "headers": headers, "client": (address, 0)}


def _accepted(key: str) -> bytes:
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n"
    ).encode()


@lru_cache(maxsize=4)
def _closed(reason: str) -> bytes:
    return Frame(Opcode.CLOSE, Close(TRY_AGAIN_LATER, reason).serialize()).serialize(mask=False)
