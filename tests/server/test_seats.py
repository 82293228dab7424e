"""Seats: who gets a socket, who is told to come back, and who gives a place up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pages.server import seats as module
from pages.server.gate import PRESENTER
from pages.server.limits import Limits
from pages.server.seats import Seats

LIMITS = Limits(connections=40, connections_each=30, audience=6, audience_each=2, audience_of_proxy=4, presenter=3)
PHONE, OTHER, PROXY = "192.168.1.7", "192.168.1.8", "127.0.0.1"


class Room:
    """Seats before an application that stays until its socket is closed."""

    def __init__(self) -> None:
        self.seats = Seats(self._stay, LIMITS)
        self.sockets: list[Socket] = []

    async def _stay(self, scope: Any, receive: Any, send: Any) -> None:
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
        room = Room()
        await scene(room)
        for socket in room.sockets:
            if socket.seated:
                await socket.leave()
        assert not room.seats.taken

    asyncio.run(asyncio.wait_for(play(), 30))


def test_one_phone_takes_its_seats_and_is_told_to_come_back() -> None:
    async def scene(room: Room) -> None:
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
    async def scene(room: Room) -> None:
        crowd = [await room.come(f"192.168.1.{place}") for place in range(20, 40)]
        assert sum(one.seated for one in crowd) == LIMITS.audience
        assert crowd[-1].closed["reason"] == module.ALL_TAKEN
        for path in ("/live", "/_stcore/stream"):
            assert (await room.come(PHONE, presenter=True, path=path)).seated

    played(scene)


def test_behind_a_proxy_one_address_may_be_the_room_but_not_all_of_it() -> None:
    async def scene(room: Room) -> None:
        crowd = [await room.come(PROXY) for _ in range(20)]
        assert sum(one.seated for one in crowd) == LIMITS.audience_of_proxy
        assert (await room.come(OTHER)).seated

    played(scene)


def test_a_new_page_of_the_presenter_takes_the_place_of_a_program_then_of_the_oldest() -> None:
    async def scene(room: Room) -> None:
        first, program, third = [await room.come(PROXY, presenter=True, page=page) for page in (True, False, True)]
        assert (await room.come(PROXY, presenter=True)).seated
        assert not program.seated and program.closed["code"] == 1013
        assert (await room.come(PROXY, presenter=True)).seated
        assert not first.seated and first.closed["reason"] == module.NEWER and third.seated
        stream = await room.come(PROXY, presenter=True, path="/_stcore/stream")
        assert stream.seated and third.seated, "frames and Streamlit's sockets do not push each other out"

    played(scene)


def test_programs_on_this_machine_turn_nobody_out() -> None:
    async def scene(room: Room) -> None:
        pages = [await room.come(PROXY, presenter=True) for _ in range(2)]
        programs = [await room.come(PROXY, presenter=True, page=False) for _ in range(50)]
        assert all(page.seated for page in pages)
        assert sum(program.seated for program in programs) == 1
        assert programs[-1].closed["reason"] == module.ALL_TAKEN

    played(scene)


def test_what_is_sent_to_a_place_that_was_given_up_is_dropped() -> None:
    async def scene(room: Room) -> None:
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

    asyncio.run(Seats(app, LIMITS)({"type": kind}, None, None))  # type: ignore[arg-type]
    assert passed == [kind]
