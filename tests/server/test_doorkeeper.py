"""The doorkeeper at a real uvicorn server: what is held, who makes room, and what is said when nothing is left."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from pages.server import doorkeeper as module
from pages.server import limits as limits_module
from pages.server.doorkeeper import Doorkeeper
from pages.server.limits import Limits, descriptors_in_use, limits_for, raise_descriptor_limit
from pages.server.room import Room
from pages.server.seats import YOURS_TAKEN, Seating, Seats

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
SMALL = Limits(connections=12, connections_each=8, audience=6, audience_each=2, audience_of_proxy=4, presenter=2)
Wait = Callable[..., None]


class Guarded:
    """A uvicorn server in a thread with a doorkeeper; its clock is the test's."""

    def __init__(self, limits: Limits = SMALL) -> None:
        self.now = 0.0
        room = Room(8501, ())
        self.seating = Seating(limits, room)
        self.keeper = Doorkeeper(limits, self.seating.answer_at_door, clock=lambda: self.now)
        self.release = threading.Event()
        self.let_in = 0
        app = Starlette(
            routes=[Route("/", self._answer), Route("/slow", self._slow), WebSocketRoute("/socket", self._socket)],
            middleware=[Middleware(Seats, seating=self.seating)],
        )
        listener = socket.create_server((HERE, 0), backlog=2048)
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(app, ws="websockets-sansio", log_level="critical", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        config.load()
        made = config.ws_protocol_class

        def count(**options: Any) -> Any:
            self.let_in += 1
            return made(**options)

        config.ws_protocol_class = count
        self.keeper.guard(self.server, [listener])
        self._thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listener]})
        self._thread.start()

    async def _answer(self, _: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    async def _slow(self, _: Any) -> PlainTextResponse:
        await asyncio.to_thread(self.release.wait, 30)
        return PlainTextResponse("at last")

    async def _socket(self, web: WebSocket) -> None:
        await web.accept()
        while (await web.receive())["type"] != "websocket.disconnect":
            pass

    def silent(self, source: str = HERE) -> socket.socket:
        return socket.create_connection((HERE, self.port), timeout=30, source_address=(source, 0))

    def ask(self, path: str = "/", source: str = HERE) -> socket.socket:
        asking = self.silent(source)
        asking.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return asking

    def answer(self, path: str = "/", source: str = HERE) -> str:
        with self.ask(path, source) as asking:
            return read(asking)

    def close(self) -> None:
        self.release.set()
        self.server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()


def read(connection: socket.socket) -> str:
    """One whole answer; empty where the other side has closed."""
    told = ""
    try:
        while not (found := re.search(r"content-length: (\d+).*?\r\n\r\n", told, re.I | re.S)) or len(
            told
        ) < found.end() + int(found[1]):
            part = connection.recv(65_536).decode()
            if not part:
                break
            told += part
    except ConnectionResetError:
        pass
    return told


def stands(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False
    finally:
        connection.setblocking(True)


with_first_words = pytest.mark.skipif(
    not hasattr(socket, "TCP_DEFER_ACCEPT"), reason="here connections are accepted before they say anything"
)


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    server = Guarded()
    yield server
    server.close()


def test_silent_connections_of_one_address_make_room_and_everybody_is_answered(
    guarded: Guarded, wait_until: Wait
) -> None:
    held = [guarded.silent() for _ in range(200)]
    wait_until(lambda: guarded.answer().startswith("HTTP/1.1 200"))
    assert guarded.answer(source=ELSEWHERE).startswith("HTTP/1.1 200")
    wait_until(lambda: sum(map(stands, held)) <= SMALL.connections_each)
    assert len(guarded.keeper.open) <= SMALL.connections + module.SLACK
    for one in held:
        one.close()
    wait_until(lambda: not guarded.keeper.open)
    assert not guarded.keeper._held


def test_an_address_that_is_busy_to_its_limit_gets_503_and_others_are_served(
    guarded: Guarded, wait_until: Wait
) -> None:
    busy = [guarded.ask("/slow") for _ in range(SMALL.connections_each)]
    wait_until(lambda: len(guarded.server.server_state.tasks) == SMALL.connections_each)
    refused = guarded.answer()
    assert refused.startswith("HTTP/1.1 503") and "Retry-After" in refused and module.REFUSAL in refused
    assert guarded.answer(source=ELSEWHERE).startswith("HTTP/1.1 200")
    guarded.release.set()
    assert all("at last" in read(one) for one in busy)
    wait_until(lambda: guarded.answer().startswith("HTTP/1.1 200"))
    for one in busy:
        one.close()


def test_a_silent_one_goes_for_a_newcomer_and_the_busy_stay(guarded: Guarded, wait_until: Wait) -> None:
    busy = [guarded.ask("/slow") for _ in range(SMALL.connections_each - 1)]
    wait_until(lambda: len(guarded.server.server_state.tasks) == len(busy))
    silent = guarded.silent()
    wait_until(lambda: len(guarded.keeper.open) == SMALL.connections_each)
    assert guarded.answer().startswith("HTTP/1.1 200")
    wait_until(lambda: not stands(silent))
    guarded.release.set()
    assert all("at last" in read(one) for one in busy)
    for one in [*busy, silent]:
        one.close()


@with_first_words
def test_a_flood_of_sockets_without_seats_is_sent_back_at_the_door(guarded: Guarded, wait_until: Wait) -> None:
    """uvicorn makes nothing for them, and each reads the reason."""
    address = f"ws://{HERE}:{guarded.port}/socket"
    seated = [connect(address) for _ in range(SMALL.audience_of_proxy)]
    wait_until(lambda: len(guarded.seating.taken) == len(seated))
    for _ in range(30):
        with connect(address) as refused, pytest.raises(ConnectionClosed) as closed:
            refused.recv(timeout=30)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, YOURS_TAKEN)
    assert guarded.let_in == len(seated) == len(guarded.keeper.open)
    assert guarded.answer().startswith("HTTP/1.1 200"), "a page of the same address is served"
    with connect(address, sock=guarded.silent(ELSEWHERE)) as elsewhere:
        elsewhere.ping().wait(30)
    seated.pop().close()
    wait_until(lambda: len(guarded.seating.taken) == len(seated))
    with connect(address) as next_one:
        next_one.ping().wait(30)
    for one in seated:
        one.close()


@with_first_words
def test_a_flood_of_silent_connections_turns_nobody_out(guarded: Guarded, wait_until: Wait) -> None:
    """One that says nothing is no reason to close another, which would come back as well."""
    first = [guarded.silent() for _ in range(SMALL.connections_each)]
    wait_until(lambda: len(guarded.keeper.open) == len(first))
    more = [guarded.silent() for _ in range(40)]
    assert all(read(one).startswith("HTTP/1.1 503") for one in more)
    assert all(map(stands, first))
    for one in [*first, *more]:
        one.close()


def test_a_flood_is_let_in_a_few_at_a_time() -> None:
    keeper = Doorkeeper(limits_for(None))
    with socket.create_server((HERE, 0)) as listener:
        listener.setblocking(False)
        come = [socket.create_connection(listener.getsockname()) for _ in range(3 * module.AT_ONCE)]
        for turn in range(1, 4):
            with pytest.raises(BlockingIOError):
                while True:
                    keeper.admit(listener)
            assert len(keeper.open) == turn * module.AT_ONCE
        for one in [*come, *keeper.open]:
            one.close()


@pytest.mark.parametrize("said", ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\nX-Long: 1\r\n"])
def test_a_request_head_that_does_not_end_is_closed_after_its_time(
    guarded: Guarded, wait_until: Wait, said: str
) -> None:
    slow = guarded.silent()
    slow.sendall(said.encode())
    wait_until(lambda: len(guarded.keeper.open) == 1)
    (connection,) = guarded.keeper.open
    wait_until(lambda: not connection.has_unread)
    guarded.now += module.HEAD_SECONDS - 1
    look(guarded)
    assert stands(slow)
    guarded.now += 2
    look(guarded)
    wait_until(lambda: not guarded.keeper.open)
    assert read(slow) == ""
    slow.close()


def test_one_that_asks_again_and_again_and_a_socket_stay(guarded: Guarded, wait_until: Wait) -> None:
    with connect(f"ws://{HERE}:{guarded.port}/socket") as web, guarded.silent() as asking:
        for _ in range(6):
            asking.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert "hello" in read(asking)
            guarded.now += module.HEAD_SECONDS - 1
            look(guarded)
        web.ping().wait(30)
        assert len(guarded.keeper.open) == 2
    wait_until(lambda: not guarded.keeper.open)


def test_a_request_that_the_server_has_not_come_to_read_is_not_closed(guarded: Guarded, wait_until: Wait) -> None:
    """A machine so busy that seconds pass between two rounds of the event loop."""
    asking = guarded.silent()
    wait_until(lambda: len(guarded.keeper.open) == 1)

    def stall() -> None:
        asking.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        (connection,) = guarded.keeper.open
        while not connection.has_unread:
            pass
        guarded.now += 3 * module.HEAD_SECONDS
        guarded.keeper.look()

    guarded.server.servers[0].get_loop().call_soon_threadsafe(stall)
    assert "hello" in read(asking)
    asking.close()


def look(guarded: Guarded) -> None:
    """Have the doorkeeper look, on the server's own loop."""
    done = threading.Event()
    loop = guarded.server.servers[0].get_loop()
    loop.call_soon_threadsafe(lambda: (guarded.keeper.look(), done.set()))
    assert done.wait(30)


def test_accept_without_a_descriptor_is_one_line_and_a_pause(
    guarded: Guarded, wait_until: Wait, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    silent = guarded.silent()
    wait_until(lambda: len(guarded.keeper.open) == 1)
    with socket.create_server((HERE, 0)) as other, monkeypatch.context() as patch:
        patch.setattr(socket.socket, "accept", refuse)
        for _ in range(50):
            with pytest.raises(BlockingIOError):
                guarded.keeper.admit(other)
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and "Too many open files" in printed and "ulimit -n" in printed
    assert len(pauses) >= 50
    wait_until(lambda: not stands(silent))
    silent.close()


def refuse(_: Any) -> Any:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.parametrize(
    ("descriptors", "in_use"), [(64, 20), (256, 20), (256, 60), (1024, 40), (4096, 40), (10_240, 40), (65_536, 40)]
)
def test_the_limits_leave_descriptors_for_files(descriptors: int, in_use: int) -> None:
    limits = limits_for(descriptors, in_use)
    if descriptors >= 256:
        assert limits.connections + module.SLACK + in_use + limits_module.KEPT_FREE // 2 <= descriptors
    assert limits.audience_each < limits.audience < limits.connections
    assert limits.audience_each <= limits.audience_of_proxy < limits.audience
    assert limits.audience + 2 * limits.presenter <= limits.connections + module.SLACK
    assert limits.connections_each < limits.connections
    assert limits.presenter >= 16


def test_without_a_limit_there_are_as_many_as_are_of_use() -> None:
    assert limits_for(None).connections == limits_module.MOST


@pytest.mark.parametrize(
    ("soft", "hard", "refused_above", "reached"),
    [
        (1024, 4096, 10**9, 4096),
        (1024, 1024, 10**9, 1024),
        (1024, 10**9, 10**9, limits_module.WANTED),
        (256, -1, limits_module.MACOS_MOST, limits_module.MACOS_MOST),
        (256, -1, 256, 256),
        (-1, -1, 10**9, limits_module.WANTED),
        (500_000, 10**6, 10**9, 500_000),
    ],
)
def test_the_descriptor_limit_is_raised_as_far_as_the_system_lets(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, refused_above: int, reached: int
) -> None:
    resource = pytest.importorskip("resource")
    set_to: list[int] = []

    def setrlimit(_: int, wanted: tuple[int, int]) -> None:
        if wanted[0] > refused_above:
            raise ValueError("current limit exceeds maximum limit")
        set_to.append(wanted[0])

    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    assert raise_descriptor_limit() == reached
    assert set_to in ([], [reached])


def test_descriptors_in_use_are_counted() -> None:
    before = descriptors_in_use()
    with Path(os.devnull).open():
        assert descriptors_in_use() in (before + 1, 0)
