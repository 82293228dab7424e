"""The room: addresses, token, QR code and the second listener, with a real server on a second loopback address."""

from __future__ import annotations

import asyncio
import io
import re
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil  # type: ignore[import-untyped]
import pytest
import segno
import uvicorn
from starlette.responses import PlainTextResponse

from pages.server import room as rooms
from pages.server.room import (
    Room,
    announce,
    configured,
    is_requested,
    qr_svg,
    serve_on_network,
    shorten_shutdown,
)

# Linux answers on all of 127/8, so this stands for an address of the local network.
NETWORK = "127.0.0.2"
TLS = Path(__file__).parent.parent / "fixtures" / "tls"


def can_bind(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def can_connect(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


second_address = pytest.mark.skipif(not can_bind(NETWORK), reason=f"this machine does not answer at {NETWORK}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("hello")(scope, receive, send)


@pytest.mark.parametrize(
    ("environment", "arguments", "expected"),
    [
        ({}, [], False),
        ({"LOOPSCOPE_ROOM": "1"}, [], True),
        ({"LOOPSCOPE_ROOM": " 1 "}, [], True),
        ({"LOOPSCOPE_ROOM": "0"}, [], False),
        ({"LOOPSCOPE_ROOM": ""}, [], False),
        ({}, ["--room"], True),
        ({}, ["--rooms"], False),
    ],
)
def test_room_is_opened_by_its_variable_or_its_flag(
    environment: dict[str, str], arguments: list[str], expected: bool
) -> None:
    assert is_requested(environment, arguments) is expected


def test_flag_is_read_from_what_streamlit_passes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["app.py", "--room"])
    assert is_requested({})
    monkeypatch.setattr("sys.argv", ["--room"])
    assert not is_requested({})


def test_token_is_long_new_each_time_and_hidden() -> None:
    one, other = Room(8501, ()), Room(8501, ())
    assert one.token != other.token
    assert len(one.token) >= 32
    assert re.fullmatch(r"[A-Za-z0-9_-]+", one.token)
    assert one.token not in repr(one)


def test_addresses_name_the_first_network() -> None:
    room = Room(8502, ("192.168.1.20", "10.0.0.5"), ("Lectern",), token="abc")
    assert room.presenter == "http://192.168.1.20:8502/?token=abc"
    assert room.audience == "http://192.168.1.20:8502/watch"
    assert all(room.answers_to(name) for name in ("192.168.1.20", "10.0.0.5", "lectern"))
    assert not room.answers_to("lectern.example")
    assert room.cookie != Room(8503, ()).cookie


def test_room_without_a_network_stays_on_this_machine() -> None:
    out = io.StringIO()
    announce(Room(8501, ()), out)
    assert "no network to listen on" in out.getvalue()
    assert "http://127.0.0.1:8501/watch" in out.getvalue()


def test_this_machines_addresses_can_be_listened_on() -> None:
    room = configured({"LOOPSCOPE_ROOM": "1"})
    assert room
    for address in room.addresses:
        assert not address.startswith("127.")
        assert can_bind(address)
    assert room.answers_to(socket.gethostname().lower())


def test_likeliest_address_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Card:
        def __init__(self, address: str, family: int = socket.AF_INET) -> None:
            self.address, self.family = address, family

    class State:
        def __init__(self, isup: bool) -> None:
            self.isup = isup

    cards = {
        "lo": [Card("127.0.0.1"), Card("::1", socket.AF_INET6)],
        "wifi": [Card("192.168.1.20"), Card("fe80::1", socket.AF_INET6)],
        "bridge": [Card("172.17.0.1")],
        "cable": [Card("169.254.7.7")],
        "off": [Card("10.9.9.9")],
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: cards)
    monkeypatch.setattr(psutil, "net_if_stats", lambda: {name: State(name != "off") for name in cards})
    monkeypatch.setattr(rooms, "_default_route_address", lambda: "192.168.1.20")
    assert rooms.local_addresses() == ("192.168.1.20", "172.17.0.1", "169.254.7.7")
    monkeypatch.setattr(rooms, "_default_route_address", lambda: "")
    assert rooms.local_addresses() == ("172.17.0.1", "192.168.1.20", "169.254.7.7")


def test_qr_code_is_an_svg_of_the_address() -> None:
    svg = qr_svg("http://192.168.1.20:8501/watch")
    assert svg.startswith("<svg ")
    assert "viewBox=" in svg
    assert "width=" not in svg
    assert svg == segno.make("http://192.168.1.20:8501/watch", error="m", micro=False).svg_inline(
        border=3, omitsize=True
    )
    assert svg != qr_svg("http://192.168.1.21:8501/watch")


def test_announcement_draws_the_audiences_address_only() -> None:
    room = Room(8501, ("192.168.1.20",))
    out = io.StringIO()
    announce(room, out)
    text = out.getvalue()
    assert text.count(room.token) == 1
    assert room.presenter in text
    assert room.audience in text
    drawn = io.StringIO()
    segno.make(room.audience, error="m", micro=False).terminal(drawn, border=2, compact=True)
    assert drawn.getvalue() in text


def test_announcement_survives_a_terminal_without_blocks() -> None:
    buffer = io.BytesIO()
    out = io.TextIOWrapper(buffer, encoding="cp1252", newline="\n")
    announce(Room(8501, ("192.168.1.20",)), out)
    out.flush()
    assert b"cannot draw the QR code" in buffer.getvalue()


async def fetch(url: str, **options: Any) -> str:
    async with httpx.AsyncClient(**options) as client:
        for _ in range(100):
            try:
                return (await client.get(url)).text
            except httpx.ConnectError:
                await asyncio.sleep(0.05)
    raise AssertionError(f"nothing answers at {url}")


@second_address
def test_room_listens_on_the_network_beside_the_first_server() -> None:
    port = free_port()

    async def scene() -> None:
        before = signal.getsignal(signal.SIGINT)
        with socket.create_server(("127.0.0.1", port)):
            async with serve_on_network(hello, Room(port, (NETWORK,)), bound="127.0.0.1"):
                assert await fetch(f"http://{NETWORK}:{port}/") == "hello"
                assert signal.getsignal(signal.SIGINT) is before
        with socket.create_server((NETWORK, port)):
            pass

    asyncio.run(asyncio.wait_for(scene(), 20))


@second_address
def test_with_a_certificate_the_rooms_own_listener_serves_tls_alone() -> None:
    port = free_port()
    room = Room(port, (NETWORK,), certificate=(str(TLS / "certificate.pem"), str(TLS / "key.pem")))

    async def scheme(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse(scope["scheme"])(scope, receive, send)

    async def scene() -> None:
        async with serve_on_network(scheme, room, bound="127.0.0.1"):
            trusted = ssl.create_default_context(cafile=room.certificate[0] if room.certificate else None)
            assert await fetch(f"https://{NETWORK}:{port}/", verify=trusted) == "https", "so that its cookie is Secure"
            with pytest.raises(httpx.TransportError):
                await fetch(f"http://{NETWORK}:{port}/")

    asyncio.run(asyncio.wait_for(scene(), 60))


def test_with_a_certificate_every_address_is_https() -> None:
    room = Room(8501, ("192.168.1.20",), certificate=("own.pem", "own.key"))
    assert room.presenter == f"https://192.168.1.20:8501/?token={room.token}"
    assert room.audience == "https://192.168.1.20:8501/watch"
    out = io.StringIO()
    announce(room, out)
    assert "http://" not in out.getvalue()


@second_address
def test_viewer_that_no_longer_reads_does_not_hold_the_end() -> None:
    port = free_port()

    async def flood(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
        except asyncio.CancelledError:
            return

    async def scene() -> float:
        async with serve_on_network(flood, Room(port, (NETWORK,)), bound="127.0.0.1"):
            _, writer = await asyncio.open_connection(NETWORK, port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(0.3)
            start = asyncio.get_running_loop().time()
        writer.close()
        return asyncio.get_running_loop().time() - start

    assert asyncio.run(asyncio.wait_for(scene(), 20)) < 2.5


@second_address
def test_taken_port_is_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server((NETWORK, 0)) as taken:
        port = taken.getsockname()[1]

        async def scene() -> None:
            async with serve_on_network(hello, Room(port, (NETWORK,)), bound="127.0.0.1"):
                pass

        asyncio.run(scene())
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert f"{NETWORK}:{port}" in printed.err
    assert "--server.port" in printed.err
    assert "no network to listen on" in printed.out


@pytest.mark.parametrize("bound", [None, "", "0.0.0.0", "::", NETWORK])
def test_address_that_streamlit_has_bound_is_not_bound_again(
    bound: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(address: str, port: int) -> None:
        raise AssertionError(f"{address} is already listened on")

    monkeypatch.setattr(rooms, "_listen", refuse)

    async def scene() -> None:
        async with serve_on_network(hello, Room(8501, (NETWORK,)), bound=bound):
            pass

    asyncio.run(scene())


def test_closed_room_listens_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene() -> None:
        async with serve_on_network(hello, None, bound="127.0.0.1"):
            pass

    asyncio.run(scene())
    assert capsys.readouterr().out == ""


@pytest.fixture
def restored_signal() -> Any:
    numbers = [signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("restored_signal")
def test_shutdown_of_the_serving_server_is_bounded() -> None:
    server = uvicorn.Server(uvicorn.Config(hello))
    signal.signal(signal.SIGINT, server.handle_exit)
    shorten_shutdown(1)
    assert server.config.timeout_graceful_shutdown == 1


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no hang-up")
@pytest.mark.usefixtures("restored_signal")
@pytest.mark.parametrize("ignored", [False, True], ids=["terminal", "nohup"])
def test_sighup_ends_the_server_in_order_as_ctrl_c_does(ignored: bool) -> None:
    server = uvicorn.Server(uvicorn.Config(hello))
    signal.signal(signal.SIGINT, server.handle_exit)
    signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    shorten_shutdown()
    signal.raise_signal(signal.SIGHUP)
    assert server.should_exit is not ignored


@second_address
@pytest.mark.usefixtures("restored_signal")
def test_room_closes_as_soon_as_the_serving_server_is_told_to_stop() -> None:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(hello))

    async def scene() -> None:
        async with serve_on_network(hello, Room(port, (NETWORK,)), bound="127.0.0.1"):
            await fetch(f"http://{NETWORK}:{port}/")
            signal.signal(signal.SIGINT, server.handle_exit)
            server.should_exit = True
            while can_connect(NETWORK, port):
                await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(scene(), 20))


@pytest.mark.usefixtures("restored_signal")
def test_small_answers_are_sent_at_once_on_a_socket_made_as_streamlit_makes_it() -> None:
    listener = socket.socket(socket.AF_INET)  # its protocol is 0, which asyncio does not know for TCP
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = uvicorn.Server(uvicorn.Config(hello, lifespan="off", log_config=None))

    async def scene() -> None:
        signal.signal(signal.SIGINT, server.handle_exit)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await rooms.at_first_listener()
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        server.should_exit = True
        await serving

    asyncio.run(asyncio.wait_for(scene(), 20))


@second_address
def test_so_they_are_in_the_room() -> None:
    port = free_port()
    listener = rooms._listen(NETWORK, port)
    assert listener is not None
    with listener, socket.create_connection((NETWORK, port)):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.usefixtures("restored_signal")
def test_other_handlers_are_left_alone() -> None:
    for handler in (signal.default_int_handler, signal.SIG_IGN, io.StringIO().write):
        signal.signal(signal.SIGINT, handler)  # type: ignore[arg-type]
        shorten_shutdown()
        assert signal.getsignal(signal.SIGINT) == handler
