"""The doorkeeper: how many connections are open, in total and of one address, and which of them has to go.

uvicorn accepts whatever comes and waits for a request's headers for ever. Here a connection is counted where it is
accepted. When there are too many, those that ask for nothing (no whole request head yet, or none since the last answer)
make room, the oldest first; where all are busy the newcomer gets a 503. One that asks for nothing for HEAD_SECONDS
is closed in any case.

All of this happens on the event loop, which shares its interpreter with training, so that a crowd costs steps by what
each of its connections costs here. Where the system can (Linux), one is therefore accepted with its first words, or
after ASK_SECONDS without any, and then nobody makes room for it; and who is to be sent away again by `answer` is told
so here, before uvicorn makes anything for it.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from pages.server.limits import Limits

if TYPE_CHECKING:
    import uvicorn

HEAD_SECONDS = 10.0
ASK_SECONDS = 1
HEAD_BYTES = 8192  # a longer head is left to the server
LOOK_SECONDS = 1.0
SLACK = 32  # connections beyond the limit for the moment in which older ones are closed
AT_ONCE = 16  # let in before the event loop turns to those that are in: they may take the last seats
PAUSE_SECONDS = 0.02
QUIET_SECONDS = 60.0
SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
REFUSAL = "too many connections are open here; try again in a few seconds\n"
REFUSED = (
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 5\r\n"
    f"Connection: close\r\nCache-Control: no-store\r\nContent-Length: {len(REFUSAL)}\r\n\r\n{REFUSAL}"
).encode()

Peer = tuple[str, int]
Answer = Callable[[str, Callable[[], bytes]], bytes | None]
"""answer(address, peek): what a connection is told instead of being let in; None lets it in.

`peek` gives what it has said so far, and leaves it to be read.
"""


class Connection(socket.socket):
    """An accepted connection, which tells its doorkeeper when it is closed."""

    __slots__ = ("answered", "closing", "keeper", "peer", "silent_since")

    def __init__(self, accepted: socket.socket, peer: Peer, keeper: Doorkeeper) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self.peer, self.keeper = peer, keeper
        self.silent_since = keeper.clock()
        """Since when it has asked for nothing."""
        self.answered: object = None
        """The request that it was last seen with."""
        self.closing = False

    def close(self) -> None:
        """Close it, as any socket, and be counted no more."""
        super().close()
        self.keeper.forget(self)

    @property
    def has_unread(self) -> bool:
        """Has something come that its server has not read yet? On a busy machine that may be a whole request."""
        return bool(self.peek(1))

    def peek(self, most: int = HEAD_BYTES) -> bytes:
        """What has come and is still to be read, without waiting; empty where that is nothing."""
        try:
            return self.recv(most, socket.MSG_PEEK)
        except OSError:
            return b""

    def shut(self) -> None:
        """Have its server see the end of it, and close it."""
        self.closing = True
        with suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)


class Doorkeeper:
    """Counts the connections of some uvicorn servers, all on one event loop."""

    def __init__(
        self, limits: Limits, answer: Answer = lambda address, peek: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits, self.answer, self.clock = limits, answer, clock
        self.open: dict[Connection, None] = {}
        """All connections, the oldest first."""
        self._held: Counter[str] = Counter()
        """Of each address, without those that are being closed."""
        self._servers: list[uvicorn.Server] = []
        self._said = -QUIET_SECONDS
        self._in_turn = 0
        """Let in since the event loop had its last turn."""

    def guard(self, server: uvicorn.Server, listeners: Sequence[Any]) -> None:
        """Stand at these listening sockets of `server` (asyncio's wrappers of them too)."""
        self._servers.append(server)
        refusal = b"" if server.config.is_ssl else REFUSED
        deferred = [_accept_those_that_ask(listener) for listener in listeners]
        keeper = self

        class Guarded(socket.socket):
            __slots__ = ()

            def accept(self) -> tuple[socket.socket, Any]:
                return keeper.admit(self, refusal, all(deferred))

        for listener in listeners:
            # The class of the socket that asyncio already holds: it has no other place to ask at.
            getattr(listener, "_sock", listener).__class__ = Guarded

    async def keep(self) -> None:
        """Look each second for connections that ask for nothing; until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Close those that have asked for nothing for HEAD_SECONDS."""
        now = self.clock()
        for connection in self._silent():
            if now - connection.silent_since > HEAD_SECONDS and not connection.has_unread:
                self._shut(connection)

    def admit(
        self, listener: socket.socket, refusal: bytes = REFUSED, asked_first: bool = False
    ) -> tuple[socket.socket, Any]:
        """The next connection that may come in, with its address, as `accept` does; BlockingIOError if there is none.

        `refusal` is what one that may not is told before it is closed; with `asked_first` they come with their first
        words, or late.
        """
        for _ in range(SLACK):
            if self._in_turn >= AT_ONCE:
                self._in_turn = 0
                break
            if len(self.open) >= self.limits.connections + SLACK:
                time.sleep(PAUSE_SECONDS / 10)  # those that are closed are gone after the event loop's next round
                break
            try:
                accepted, address = socket.socket.accept(listener)
            except OSError as error:
                if error.errno not in SHORT:
                    raise
                self._run_short(error)
                break
            connection = Connection(accepted, (str(address[0]), int(address[1])), self)
            connection.setblocking(False)
            told = self._reason_to_refuse(connection, refusal, asked_first)
            if told is None:
                self.open[connection] = None
                self._held[connection.peer[0]] += 1
                self._in_turn += 1
                return connection, address
            _refuse(connection, told)
        raise BlockingIOError

    def _reason_to_refuse(self, connection: Connection, refusal: bytes, asked_first: bool) -> bytes | None:
        """What a newcomer is told that may not come in; None if it may."""
        address = connection.peer[0]
        told = self.answer(address, connection.peek)
        if told is not None or self._is_free_for(address):
            return told
        if asked_first and not connection.has_unread:
            return refusal
        return None if self._make_room_for(address) else refusal

    def forget(self, connection: Connection) -> None:
        """Count a connection no more."""
        if connection in self.open:
            del self.open[connection]
            if not connection.closing:
                self._release(connection)

    def _release(self, connection: Connection) -> None:
        address = connection.peer[0]
        self._held[address] -= 1
        if not self._held[address]:
            del self._held[address]

    def _shut(self, connection: Connection) -> None:
        if not connection.closing:
            self._release(connection)
        connection.shut()

    def _is_free_for(self, address: str) -> bool:
        """Is there room for one more of that address?"""
        return self._held.total() < self.limits.connections and self._held[address] < self.limits.connections_each

    def _make_room_for(self, address: str) -> bool:
        """Close silent connections so that one of that address may come; False if there are none."""
        crowded = self._held[address] >= self.limits.connections_each
        silent = [one for one in self._silent() if not one.closing and (not crowded or one.peer[0] == address)]
        if not crowded and silent:  # of the address that holds the most, so that no crowd costs a single one its place
            most = max({one.peer[0] for one in silent}, key=self._held.__getitem__)
            silent = [one for one in silent if one.peer[0] == most]
        gone = list(islice((one for one in silent if not one.has_unread), SLACK // 2))
        for one in gone:
            self._shut(one)
        return bool(gone)

    def _silent(self) -> list[Connection]:
        """Those that ask for nothing now, the oldest first; how long they have done so is brought up to date."""
        protocols: list[Any] = [one for server in self._servers for one in server.server_state.connections]
        requests = {protocol.client: _request(protocol) for protocol in protocols}
        now, silent = self.clock(), []
        for connection in self.open:
            request, busy = requests.get(connection.peer, (None, False))
            if busy or request is not connection.answered:
                connection.answered, connection.silent_since = request, now
            if not busy:
                silent.append(connection)
        return silent

    def _run_short(self, error: OSError) -> None:
        """No descriptor is left: close silent connections, say so once in a while, and give the others a moment."""
        for connection in self._silent()[:SLACK]:
            self._shut(connection)
        if self.clock() - self._said >= QUIET_SECONDS:
            self._said = self.clock()
            with suppress(OSError, ValueError):
                print(
                    f"No connection can be accepted now ({error.strerror}): {len(self.open)} are open. Those that ask "
                    "for nothing are closed; let this process open more files (ulimit -n) if the audience is large.",
                    file=sys.stderr,
                    flush=True,
                )
        time.sleep(PAUSE_SECONDS)


def _accept_those_that_ask(listener: Any) -> bool:
    """Have connections wait to be accepted until they say something, for ASK_SECONDS; can the system do that?"""
    option = getattr(socket, "TCP_DEFER_ACCEPT", None)
    if option is None:
        return False
    with suppress(OSError):
        listener.setsockopt(socket.IPPROTO_TCP, option, ASK_SECONDS)
        return True
    return False


def _request(protocol: Any) -> tuple[object, bool]:
    """The request that a connection of uvicorn is with or was last with, and whether it is under way."""
    if protocol.transport is None or protocol.transport.is_closing():
        return protocol, False
    if hasattr(protocol, "cycle"):
        return protocol.cycle, protocol.cycle is not None and not protocol.cycle.response_complete
    return protocol, not getattr(protocol, "close_sent", False)  # a WebSocket


def _refuse(connection: Connection, refusal: bytes) -> None:
    """Tell a client why, as far as it listens, and close."""
    with suppress(OSError):
        with suppress(BlockingIOError):
            connection.recv(65_536)  # what is left unread would turn the answer into a reset
        connection.send(refusal)
    connection.close()
