"""Seats: who gets a socket, who is told to come back, and who gives a place up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from pages.server import seats as module
from pages.server.gate import PRESENTER
from pages.server.limits import Limits, limits_for
from pages.server.room import Room
from pages.server.seats import STANDING, Seat, Seating, Seats

LIMITS = Limits(connections=40, connections_each=30, audience=6, audience_each=2, audience_of_proxy=4, presenter=3)
ROOM = Room(port=8501, addresses=(), token="t0ken")
PHONE, OTHER, PROXY = "192.168.1.7", "192.168.1.8", "127.0.0.1"


class Hall:
    """Seats before an application that stays until its socket is closed."""

    def __init__(self) -> None:
        self.seating = Seating(LIMITS, ROOM)
        self.seats = Seats(self._stay, self.seating)
        self.sockets: list[Socket] = []

    async def _stay(self, scope: Any, receive: Any, send: Any) -> None:
        next(one for one in self.sockets[::-1] if one.inbox.get == receive).scope = scope
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": "more"})

    async def come(self, address: str, presenter: bool = False, page: bool = True, path: str = "/live") -> Socket:
        socket = Socket(self.seats, address, presenter, page, path)
        self.sockets.append(socket)
        await settled()
        return socket


class Socket:
    def __init__(self, seats: Seats, address: str, presenter: bool, page: bool, path: str) -> None:
        self.sent: list[dict[str, Any]] = []
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        headers = [(b"origin", b"http://here")] if page else []
        scope = {"type": "websocket", "path": path, "client": (address, 1), "headers": headers, PRESENTER: presenter}
        self.scope: dict[str, Any] = scope
        self.task = asyncio.create_task(seats(scope, self.inbox.get, self._send))

    async def _send(self, message: Any) -> None:
        self.sent.append(message)
        if message["type"] == "websocket.close":
            self.inbox.put_nowait({"type": "websocket.disconnect"})

    @property
    def seated(self) -> bool:
        return not self.task.done()

    @property
    def closed(self) -> dict[str, Any]:
        assert self.task.done()
        return self.sent[-1]

    async def leave(self) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect"})
        await self.task


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def played(scene: Any) -> None:
    async def play() -> None:
        room = Hall()
        await scene(room)
        for socket in room.sockets:
            if socket.seated:
                await socket.leave()
        assert not room.seating.taken

    asyncio.run(asyncio.wait_for(play(), 30))


def test_one_phone_takes_its_seats_and_is_told_to_come_back() -> None:
    async def scene(room: Hall) -> None:
        first = [await room.come(PHONE) for _ in range(2)]
        third = await room.come(PHONE)
        assert all(one.seated for one in first) and not third.seated
        assert third.closed == {"type": "websocket.close", "code": 1013, "reason": module.YOURS_TAKEN}
        assert third.sent[0]["type"] == "websocket.accept", "a page cannot read why a handshake failed"
        assert (await room.come(OTHER)).seated
        await first[0].leave()
        assert (await room.come(PHONE)).seated

    played(scene)


def test_all_seats_of_the_audience_taken_leave_the_presenter_room() -> None:
    async def scene(room: Hall) -> None:
        crowd = [await room.come(f"192.168.1.{place}") for place in range(20, 40)]
        assert sum(one.seated for one in crowd) == LIMITS.audience
        assert crowd[-1].closed["reason"] == module.ALL_TAKEN
        for path in ("/live", "/_stcore/stream"):
            assert (await room.come(PHONE, presenter=True, path=path)).seated

    played(scene)


def test_behind_a_proxy_one_address_may_be_the_room_but_not_all_of_it() -> None:
    async def scene(room: Hall) -> None:
        crowd = [await room.come(PROXY) for _ in range(20)]
        assert sum(one.seated for one in crowd) == LIMITS.audience_of_proxy
        assert (await room.come(OTHER)).seated

    played(scene)


def test_a_new_page_of_the_presenter_takes_the_place_of_a_program_then_of_the_oldest() -> None:
    async def scene(room: Hall) -> None:
        first, program, third = [await room.come(PROXY, presenter=True, page=page) for page in (True, False, True)]
        assert (await room.come(PROXY, presenter=True)).seated
        assert not program.seated and program.closed["code"] == 1013
        assert (await room.come(PROXY, presenter=True)).seated
        assert not first.seated and first.closed["reason"] == module.NEWER and third.seated
        stream = await room.come(PROXY, presenter=True, path="/_stcore/stream")
        assert stream.seated and third.seated, "frames and Streamlit's sockets do not push each other out"

    played(scene)


def test_programs_on_this_machine_turn_nobody_out() -> None:
    async def scene(room: Hall) -> None:
        pages = [await room.come(PROXY, presenter=True) for _ in range(2)]
        programs = [await room.come(PROXY, presenter=True, page=False) for _ in range(50)]
        assert all(page.seated for page in pages)
        assert sum(program.seated for program in programs) == 1
        assert programs[-1].closed["reason"] == module.ALL_TAKEN

    played(scene)


def test_what_is_sent_to_a_place_that_was_given_up_is_dropped() -> None:
    async def scene(room: Hall) -> None:
        first = await room.come(PROXY, presenter=True)
        for _ in range(LIMITS.presenter):
            await room.come(PROXY, presenter=True)
        first.inbox.put_nowait({"type": "websocket.receive"})
        await settled()
        assert first.closed["type"] == "websocket.close"

    played(scene)


@pytest.mark.parametrize("kind", ["http", "lifespan"])
def test_other_requests_pass(kind: str) -> None:
    passed: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["type"])

    asyncio.run(Seats(app, Seating(LIMITS))({"type": kind}, None, None))  # type: ignore[arg-type]
    assert passed == [kind]


TOKEN = "Cookie: a=b; loopscope_presenter_8501=t0ken"
PAGE = "Origin: http://here"


def handshake(*headers: str, target: str = "/live?run=current", method: str = "GET", end: str = "\r\n\r\n") -> bytes:
    own = ("Host: here", "Upgrade: WebSocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    return ("\r\n".join((f"{method} {target} HTTP/1.1", *own, *headers)) + end).encode()


def seating_with(held: dict[str, int], presenter: int = 0, room: Room | None = ROOM) -> Seating:
    seating = Seating(LIMITS, room)
    for address, count in held.items():
        for _ in range(count):
            seating.taken[Seat(scope_of(address))] = None  # type: ignore[assignment]
    for _ in range(presenter):
        seating.taken[Seat({**scope_of(PHONE), PRESENTER: True})] = None  # type: ignore[assignment]
    return seating


def scope_of(address: str) -> dict[str, Any]:
    return {"type": "websocket", "path": "/live", "client": (address, 1), "headers": []}


FULL, MINE = {"192.168.1.9": LIMITS.audience}, {PHONE: LIMITS.audience_each}


@pytest.mark.parametrize(
    ("held", "address", "said", "reason"),
    [
        ({}, PHONE, handshake(), None),
        (FULL, PHONE, handshake(), module.ALL_TAKEN),
        (MINE, PHONE, handshake(), module.YOURS_TAKEN),
        (MINE, PHONE, handshake(PAGE), module.YOURS_TAKEN),
        (MINE, OTHER, handshake(PAGE), None),
        (MINE, PHONE, handshake(TOKEN), None),
        (MINE, PHONE, handshake(TOKEN.replace("t0ken", "guess")), module.YOURS_TAKEN),
        (MINE, PHONE, handshake("X-Forwarded-For: 10.0.0.1"), module.YOURS_TAKEN),
        (FULL, PROXY, handshake("X-Forwarded-For: 10.0.0.1"), None),
        (FULL, PHONE, handshake(target="/_stcore/stream"), module.ALL_TAKEN),
        (FULL, PHONE, handshake(method="POST"), None),
        (FULL, PHONE, handshake(end="\r\n"), None),
        (FULL, PHONE, handshake("Sec-WebSocket-Key: again"), None),
        (FULL, PHONE, b"GET /watch HTTP/1.1\r\nHost: here\r\n\r\n", None),
        (FULL, PHONE, b"", None),
        (FULL, PHONE, b"\x16\x03\x01\x02\x00\x01", None),
        (FULL, PHONE, b"\r\n\r\n", None),
        (FULL, PHONE, b"GET /live HTTP/1.1\r\n\xff\xfe\r\n\r\n", None),
    ],
)
def test_who_is_answered_at_the_door(held: dict[str, int], address: str, said: bytes, reason: str | None) -> None:
    answer = seating_with(held).answer_at_door(address, lambda: said)
    if reason is None:
        assert answer is None
    else:
        assert answer is not None
        head, _, frame = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ") and b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        assert frame == bytes((0x88, len(reason) + 2, 0x03, 0xF5)) + reason.encode()


@pytest.mark.parametrize(("said", "refused"), [(handshake(), True), (handshake(PAGE), False)])
@pytest.mark.parametrize(("room", "cookie"), [(None, ()), (ROOM, (TOKEN,))])
def test_the_presenters_page_is_let_in_at_the_door_and_a_program_is_not(
    said: bytes, refused: bool, room: Room | None, cookie: tuple[str, ...]
) -> None:
    seating = seating_with({}, presenter=LIMITS.presenter, room=room)
    for line in cookie:
        said = said.replace(b"\r\n\r\n", f"\r\n{line}\r\n\r\n".encode())
    assert (seating.answer_at_door(PHONE, lambda: said) is not None) == refused


def test_at_the_door_nothing_is_looked_at_while_there_are_seats() -> None:
    def peek() -> bytes:
        raise AssertionError("a system call for nothing")

    assert seating_with({PHONE: 1}).answer_at_door(PHONE, peek) is None


def test_a_room_of_phones_behind_one_address_gets_its_seats_and_the_rest_reads_why() -> None:
    async def scene(room: Hall) -> None:
        phones = [await room.come(PHONE) for _ in range(40)]
        assert sum(one.seated for one in phones) == LIMITS.audience_each
        for _ in range(360):
            answer = room.seating.answer_at_door(PHONE, lambda: handshake(PAGE))
            assert answer is not None and module.YOURS_TAKEN.encode() in answer
        await next(one for one in phones if one.seated).leave()
        assert room.seating.answer_at_door(PHONE, lambda: handshake(PAGE)) is None
        assert (await room.come(PHONE)).seated

    played(scene)


def test_who_finds_no_seat_may_stand_and_the_rest_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = replace(LIMITS, standing=5, standing_each=3)

    async def scene(room: Hall) -> None:
        monkeypatch.setattr(room.seating, "limits", limits)
        phones = [await room.come(PHONE) for _ in range(limits.audience_each + limits.standing_each)]
        assert all(one.seated for one in phones)
        assert [STANDING in one.scope for one in phones] == [False] * limits.audience_each + [
            True
        ] * limits.standing_each
        assert phones[-1].scope[STANDING] == module.YOURS_TAKEN
        late = await room.come(PHONE)
        assert (late.closed["code"], late.closed["reason"]) == (module.TRY_AGAIN_LATER, module.YOURS_TAKEN)
        assert room.seating.answer_at_door(PHONE, lambda: handshake(PAGE)) is not None
        other = await room.come(OTHER)
        assert other.seated and STANDING not in other.scope, "those who stand take nobody's seat"
        await phones[-1].leave()
        assert room.seating.answer_at_door(PHONE, lambda: handshake(PAGE)) is None
        assert (await room.come(PHONE)).scope[STANDING] == module.YOURS_TAKEN
        assert not (await room.come(PHONE, path="/_stcore/stream")).seated, "there is nothing else to stand for"

    played(scene)


def test_a_school_behind_one_address_hears_of_questions() -> None:
    for descriptors in (4096, 10_240, 65_536):
        limits = limits_for(descriptors, 60)
        assert limits.audience_each + limits.standing_each >= 400
        assert limits.audience + limits.standing + 2 * limits.presenter < limits.connections_each
