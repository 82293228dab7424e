"""The room: the server opened to the local network. Addresses, the presenter's token, the QR code, a second listener.

Who may see what is decided by the gate. No packet is sent to find an address, and nothing is kept between two calls, so
a page may ask again at any time.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from io import StringIO
from typing import TYPE_CHECKING, TextIO

import psutil  # type: ignore[import-untyped]
import segno
import streamlit as st
import uvicorn
from streamlit.url_util import make_url_path

from engine.paths import dashboard_command
from pages.server.addresses import SETTING, ListedHost, is_this_machine, read_hosts, site
from pages.server.doorkeeper import Doorkeeper

if TYPE_CHECKING:
    from asyncio.trsock import TransportSocket

    from starlette.types import ASGIApp

LOOPBACK = "127.0.0.1"
EVERYWHERE = frozenset({"", "0.0.0.0", "::"})
# An address kept for examples: asking for the way to it tells which network card leads out. Nothing is sent.
FAR_AWAY = ("192.0.2.1", 9)
VIEWER_MESSAGE_BYTES = 1 << 20
SHUTDOWN_SECONDS = 1


@dataclass(frozen=True)
class Room:
    """An open room: its addresses, and the token that makes a visitor the presenter.

    `addresses` are those that it can be reached at: this machine's IPv4 addresses on the local network, the likeliest
    first; empty without a network. `listed` is what LOOPSCOPE_HOSTS says, `base` the path that all addresses begin
    with ("" or as "/loop"), `certificate` the files of TLS and its key; None for plain http.
    """

    port: int
    addresses: tuple[str, ...]
    names: tuple[str, ...] = ()
    listed: tuple[ListedHost, ...] = ()
    base: str = ""
    certificate: tuple[str, str] | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def answers_to(self, name: str) -> bool:
        """May a Host header, in small letters, call this machine so, besides loopback?"""
        own = {known.lower() for known in (*self.addresses, *self.names)}
        return name in own or any(listed.matches(name) for listed in self.listed)

    @property
    def cookie(self) -> str:
        """The name of the presenter's cookie. Browsers share cookies between ports, so the port is part of it."""
        return f"loopscope_presenter_{self.port}"

    @property
    def presenter(self) -> str:
        """The address that makes its visitor the presenter. Never to be shown to the room."""
        return f"{self._address}/?token={self.token}"

    @property
    def audience(self) -> str:
        """The address that everybody may watch at."""
        return f"{self._address}/watch"

    @property
    def _address(self) -> str:
        """The first address that is listed, else the likeliest of its own; without a slash at the end."""
        scheme = "https" if self.certificate else "http"
        listed = (host.address(scheme, self.port, self.base) for host in self.listed)
        own = self.addresses[0] if self.addresses else LOOPBACK
        return next(filter(None, listed), site(scheme, own, self.port) + self.base)


def is_requested(environment: Mapping[str, str] = os.environ, arguments: Sequence[str] | None = None) -> bool:
    """Whether the room is to be open: `LOOPSCOPE_ROOM=1`, or `--room` behind `streamlit run app.py --`."""
    given = sys.argv[1:] if arguments is None else arguments
    return environment.get("LOOPSCOPE_ROOM", "").strip() == "1" or "--room" in given


def configured(environment: Mapping[str, str] = os.environ, arguments: Sequence[str] | None = None) -> Room | None:
    """The room that the settings ask for, with a token of its own; None where this machine alone is served.

    It is asked for by itself (`is_requested`), or follows from being reachable: at another address than loopback, or by
    the names in LOOPSCOPE_HOSTS or Streamlit's `server.allowedHosts`.
    """
    option = st.config.get_option
    bound = option("server.address") or ""
    requested = is_requested(environment, arguments)
    everywhere = requested or bound in EVERYWHERE
    listed = listed_hosts(environment)
    if not (everywhere or listed or not is_this_machine(bound)):
        return None
    own = local_addresses() if everywhere else () if is_this_machine(bound) else (bound,)
    return Room(
        option("server.port"),
        own,
        machine_names() if everywhere else (),
        listed,
        base_path(),
        certificate(),
    )


def own_address() -> str:
    """The address of a closed room, which this machine alone can open."""
    name, port, base = st.config.get_option("server.address"), st.config.get_option("server.port"), base_path()
    return site("https" if certificate() else "http", name, port) + (f"{base}/" if base else "")


def listed_hosts(environment: Mapping[str, str] = os.environ) -> tuple[ListedHost, ...]:
    """What LOOPSCOPE_HOSTS lists, and the names of `server.allowedHosts` besides loopback."""
    names = [name for name in st.config.get_option("server.allowedHosts") if name != "*" and not is_this_machine(name)]
    return read_hosts(environment.get(SETTING, ""))[0] + read_hosts(",".join(names))[0]


def base_path() -> str:
    """The path that all addresses begin with: "" or as "/loop"; Streamlit's `server.baseUrlPath`."""
    return make_url_path(st.config.get_option("server.baseUrlPath"), "").rstrip("/")


def certificate() -> tuple[str, str] | None:
    """The files of the certificate and its key that Streamlit serves TLS with; None for plain http."""
    file, key = st.config.get_option("server.sslCertFile"), st.config.get_option("server.sslKeyFile")
    return (file, key) if file and key else None


def leave_hosts_to_the_gate() -> None:
    """Make Streamlit allow every Host: where `server.allowedHosts` is given, it would shut out loopback and the room.

    The gate has judged the Host before. The names stay in the list, from where `listed_hosts` takes them.
    """
    names = st.config.get_option("server.allowedHosts")
    if names:
        st.config.set_option("server.allowedHosts", [*names, "*"])


def local_addresses() -> tuple[str, ...]:
    """This machine's IPv4 addresses without loopback, the one of the default route first."""
    first = _default_route_address()
    states = psutil.net_if_stats()
    found = {
        entry.address
        for card, entries in psutil.net_if_addrs().items()
        if card in states and states[card].isup
        for entry in entries
        if entry.family == socket.AF_INET and not entry.address.startswith("127.")
    }
    # An address that a card gave itself because no network answered (169.254) is the last that anybody will reach.
    return tuple(sorted(found, key=lambda address: (address != first, address.startswith("169.254."), address)))


def machine_names() -> tuple[str, ...]:
    """This machine's host name, and the same name under `.local`."""
    name = socket.gethostname().lower()
    return (name, f"{name.removesuffix('.local')}.local") if name else ()


def _default_route_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(FAR_AWAY)
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def qr_svg(address: str) -> str:
    """A QR code of `address` as an `<svg>` that fills its place; dark on white in either theme, as cameras want it."""
    return str(segno.make(address, error="m", micro=False).svg_inline(border=3, omitsize=True))


def announce(room: Room, out: TextIO | None = None) -> None:
    """Print the presenter's address, the audience's, and the audience's QR code."""
    stream = sys.stdout if out is None else out
    where = (
        "" if room.addresses or room.listed else "  Only this machine can reach it: there is no network to listen on.\n"
    )
    print(
        f"\n  The room is open.\n{where}\n  Presenter (keep it to yourself): {room.presenter}\n"
        f"  Audience: {room.audience}\n",
        file=stream,
        flush=True,
    )
    drawn = StringIO()
    segno.make(room.audience, error="m", micro=False).terminal(drawn, border=2, compact=True)
    code = drawn.getvalue()
    if stream.isatty():
        # The blocks are the light part; on a light terminal they would come out dark, and few cameras read that.
        code = "\n".join(f"\x1b[97;40m{line}\x1b[0m" for line in code.splitlines())
    try:
        print(code, file=stream, flush=True)
    except UnicodeEncodeError:
        print("  (This terminal cannot draw the QR code; the stage shows it.)", file=stream, flush=True)


class _Listener(uvicorn.Server):
    """A second server in the first one's loop. Signals stay with the first, and it stops when the first does."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        first = _first_server()
        return await super().on_tick(counter) or (first is not None and first.should_exit)


@asynccontextmanager
async def serve_on_network(
    app: ASGIApp, room: Room | None, *, bound: str | None, doorkeeper: Doorkeeper | None = None
) -> AsyncIterator[None]:
    """Serve `app` on the local network too, inside the `with` block. Without a room it does nothing.

    Streamlit binds its address before it reads app.py, so the room cannot move it: it listens on its own, at the same
    port, on each of the room's addresses that `bound` (`server.address`) does not already cover.
    """
    if room is None:
        yield
        return
    covered = {address for address in room.addresses if (bound or "") in EVERYWHERE or address == bound}
    opened = {address: _listen(address, room.port) for address in room.addresses if address not in covered}
    reached = tuple(address for address in room.addresses if address in covered or opened[address])
    announce(replace(room, addresses=reached))
    server = _Listener(
        uvicorn.Config(
            app,
            ssl_certfile=room.certificate[0] if room.certificate else None,
            ssl_keyfile=room.certificate[1] if room.certificate else None,
            lifespan="off",
            ws="websockets-sansio",
            ws_max_size=VIEWER_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            proxy_headers=False,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )
    listeners = [listener for listener in opened.values() if listener]
    if doorkeeper is not None:
        doorkeeper.guard(server, listeners)
    serving = asyncio.create_task(server.serve(sockets=listeners))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def _listen(address: str, port: int) -> socket.socket | None:
    try:
        listener = socket.create_server((address, port), backlog=2048)
    except OSError as error:
        print(
            f"  The room cannot be opened at {address}:{port} ({error.strerror}); "
            f"stop what uses the port, or choose another: {dashboard_command(f'--server.port {port + 1} -- --room')}",
            file=sys.stderr,
            flush=True,
        )
        return None
    listener.setblocking(False)
    _set_nodelay(listener)
    return listener


def shorten_shutdown(seconds: int = SHUTDOWN_SECONDS) -> None:
    """Make the process end quickly after Ctrl-C; for the lifespan's start.

    Without a bound on the wait for open connections, one viewer that no longer reads (a phone asleep) holds the
    process for ever after Ctrl-C, and Streamlit offers no setting for it. And the interpreter's last garbage
    collections would walk through everything that torch and Streamlit have loaded, for a second or more.
    """
    atexit.register(gc.freeze)
    server = _first_server()
    if server is not None:
        server.config.timeout_graceful_shutdown = seconds
        stop_on_hangup(server)


def stop_on_hangup(server: uvicorn.Server) -> None:
    """Have SIGHUP, which a closed terminal sends, end the server in order; one that `nohup` ignores stays ignored."""
    number = getattr(signal, "SIGHUP", None)  # Windows has none
    if number is not None and signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, server.handle_exit)


async def at_first_listener(doorkeeper: Doorkeeper | None = None) -> None:
    """See to Streamlit's own listener as soon as it listens; for the lifespan's start.

    The doorkeeper stands at it, and Nagle's algorithm is off: Streamlit creates that socket so that asyncio does not
    recognise it as TCP and leaves the algorithm on. A small answer then waits some 40 ms for the browser to acknowledge
    its header, for each of a page's many files.
    """
    server = _first_server()
    while server is not None and not server.should_exit:
        if server.started:
            listeners = [listener for listening in server.servers for listener in listening.sockets]
            for listener in listeners:
                _set_nodelay(listener)
            if doorkeeper is not None:
                doorkeeper.guard(server, listeners)
            return
        await asyncio.sleep(0.01)


def _set_nodelay(listener: socket.socket | TransportSocket) -> None:
    """Connections inherit it from the socket that accepts them."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def is_pressed_again() -> bool:
    """Was Ctrl-C pressed a second time?"""
    server = _first_server()
    return server is not None and server.force_exit


def _first_server() -> uvicorn.Server | None:
    """The server that Streamlit started, while it runs: it is the one that answers to Ctrl-C."""
    server = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    return server if isinstance(server, uvicorn.Server) else None
