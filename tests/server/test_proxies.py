"""Proxies in front of the gate: what each passes on, what a refusal says, and that what it advises works."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import streamlit as st
from streamlit import net_util
from streamlit.web.server.starlette import starlette_websocket

from pages.server import room as rooms
from pages.server.addresses import Authority, ListedHost, Origin, is_loopback, read_hosts, setting_with
from pages.server.gate import Gate
from pages.server.room import Room, configured

TOKEN = "the-presenters-token"
UPSTREAM = "127.0.0.1:8501"


@dataclass(frozen=True)
class Proxy:
    """What lies between a browser and the server: `opened` is the address in the browser, `host` what the server gets.

    `proto` is what X-Forwarded-Proto says, "" without it; the server takes it from a proxy on its own machine.
    """

    opened: str
    host: str
    proto: str = ""
    words: tuple[str, ...] = ()
    """Of the first refusal, when the name alone is listed; none where it works then."""

    @property
    def origin(self) -> Origin:
        origin = Origin.read(self.opened)
        assert origin
        return origin

    @property
    def sent(self) -> str:
        """The Host header that the browser sent."""
        return self.opened.partition("://")[2]


PROXIES = {
    "none at all": Proxy("http://lectern:8501", "lectern:8501"),
    "every header passed on": Proxy("https://loop.example", "loop.example", "https"),
    "every header passed on, own port": Proxy("https://loop.example:8443", "loop.example:8443", "https"),
    "own port without X-Forwarded-Proto": Proxy("https://loop.example:8443", "loop.example:8443"),
    "TLS without X-Forwarded-Proto": Proxy(
        "https://loop.example", "loop.example", words=("X-Forwarded-Proto must be https",)
    ),
    "X-Forwarded-Proto says http": Proxy(
        "https://loop.example", "loop.example", "http", words=("X-Forwarded-Proto must be https",)
    ),
    "Host $host and another port": Proxy(
        "https://loop.example:8443", "loop.example", "https", words=("Host must be loop.example:8443",)
    ),
    "Host $host and another port, plain": Proxy(
        "http://loop.example:8080", "loop.example", words=("Host must be loop.example:8080",)
    ),
    "Host $host and no X-Forwarded-Proto": Proxy(
        "https://loop.example:8443", "loop.example", words=("Host must be loop.example:8443",)
    ),
    "Host $host:$proxy_port": Proxy(
        "https://loop.example", "loop.example:8501", "https", ("Host must be loop.example",)
    ),
    "Host rewritten to the upstream's": Proxy(
        "https://loop.example",
        UPSTREAM,
        words=("Host must be loop.example (", "X-Forwarded-Proto must be https"),
    ),
    "Host rewritten to localhost, plain": Proxy(
        "http://loop.example", "localhost", words=("Host must be loop.example",)
    ),
    "forwarded port with a foreign origin": Proxy(
        "https://able-lamp-8501.preview.example", "localhost:8501", "https", ("Host must be able-lamp-8501.",)
    ),
    "upstream's name in nginx": Proxy("http://loop.example", "loopscope_backend", words=("Host must be loop.example",)),
    "IPv6 and another port": Proxy(
        "http://[2001:db8::7]:8080", "[2001:db8::7]", words=("Host must be [2001:db8::7]:8080",)
    ),
}


def gate_for(setting: str, base: str = "") -> Gate:
    """The gate of a server that was started with this setting; "" is a closed one."""
    listed, problems = read_hosts(setting)
    assert not problems
    room = Room(8501, (), listed=listed, base=base, token=TOKEN) if listed else None
    return Gate(_passed, pages=("/watch", "/board.js"), files=("/board.js",), sockets=("/live",), base=base, room=room)


class Passed(Exception):
    """The request went through; carries what Streamlit would see."""

    def __init__(self, scope: Any) -> None:
        self.headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}


async def _passed(scope: Any, receive: Any, send: Any) -> None:
    raise Passed(scope)


def send(
    gate: Gate,
    proxy: Proxy,
    path: str,
    *,
    kind: str = "http",
    method: str = "GET",
    cookie: bool = False,
    origin: str | None = None,
    with_origin: bool = False,
) -> str:
    """What comes back of a browser's request through the proxy: a refusal's words, or "passed"."""
    browser = {"host": proxy.host}
    secure = proxy.origin.scheme == "https"
    if secure or proxy.origin.authority.name == "localhost":
        browser["sec-fetch-mode"] = "navigate"
    if kind == "websocket" or method == "POST" or with_origin:
        browser["origin"] = proxy.opened if origin is None else origin
    if cookie and gate.room:
        browser["cookie"] = f"{gate.room.cookie}={TOKEN}"
    forwarded = proxy.proto == "https"
    scope: dict[str, Any] = {
        "type": kind,
        "scheme": {"http": "https" if forwarded else "http", "websocket": "wss" if forwarded else "ws"}[kind],
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in browser.items()],
        "client": ("127.0.0.1", 1),
        **({"method": method} if kind == "http" else {}),
    }
    sent: list[dict[str, Any]] = []

    async def answer(message: Any) -> None:
        sent.append(message)

    try:
        asyncio.run(gate(scope, None, answer))  # type: ignore[arg-type]
    except Passed as passed:
        if kind == "websocket":
            headers = passed.headers
            assert starlette_websocket._is_origin_allowed(headers["origin"], headers["host"]), "by Streamlit, too"
        return "passed"
    return b"".join(message.get("body", b"") for message in sent).decode()


def refusal(gate: Gate, proxy: Proxy) -> str | None:
    """What a presenter and the audience are refused with behind the proxy; None where all of it works."""
    front = send(gate, proxy, "/")
    if "LOOPSCOPE_HOSTS" in front:
        return front
    stream = send(gate, proxy, "/_stcore/stream", kind="websocket", cookie=True)
    if stream == "passed":
        assert gate.room is None or "belongs to the presenter" in front, "without the token nobody gets the controls"
        assert send(gate, proxy, "/", cookie=True) == "passed"
        assert send(gate, proxy, "/live", kind="websocket") == "passed"
        if gate.room:
            assert send(gate, proxy, "/_stcore/stream", kind="websocket") != "passed"
        return None
    return send(gate, proxy, "/live", method="POST", cookie=True)  # a socket's refusal has no words of its own


@pytest.fixture(autouse=True)
def no_questions_to_the_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> None:
        raise AssertionError("Streamlit's check would ask a server on the internet for this machine's address")

    monkeypatch.setattr(net_util, "get_external_ip", ask)


@pytest.mark.parametrize("proxy", PROXIES.values(), ids=PROXIES)
def test_what_a_refusal_advises_works_when_followed(proxy: Proxy) -> None:
    setting, rounds = "", 0
    while (words := refusal(gate_for(setting), proxy)) is not None:
        found = re.search(r"LOOPSCOPE_HOSTS=(\S+) (?:if|instead)", words)
        assert found, f"no advice in: {words}"
        assert words.count("\n") == 1
        setting, rounds = found[1], rounds + 1
        assert rounds <= 3, f"{setting}: {words}"
    assert rounds >= 1, "a closed room serves this machine"
    room = gate_for(setting).room
    assert room
    assert room.audience == f"{proxy.opened}/watch", "and the address that is printed is the one in the browser"


@pytest.mark.parametrize("proxy", PROXIES.values(), ids=PROXIES)
def test_where_the_name_is_listed_a_refusal_says_which_header_is_missing(proxy: Proxy) -> None:
    name = ListedHost(proxy.origin.authority.name)
    gate = gate_for(f"{name},loopscope_backend")
    words = refusal(gate, proxy)
    if not proxy.words:
        assert words is None
        return
    assert words
    for expected in proxy.words:
        assert expected in words
    assert ("X-Forwarded-Proto" in words) == any("X-Forwarded-Proto" in expected for expected in proxy.words)
    mended = replace(proxy, host=proxy.sent, proto=proxy.origin.scheme if "X-Forwarded" in words else proxy.proto)
    assert refusal(gate, mended) is None, "and with that header it works"


@pytest.mark.parametrize(
    "origin", ["https://loop.example:8443", "http://loop.example:8501", "https://evil.example", "null"]
)
def test_the_boards_own_files_come_whatever_the_proxy_has_made_of_the_headers(origin: str) -> None:
    def asked(path: str, **options: Any) -> str:
        return send(gate_for("loop.example"), PROXIES["Host $host and another port"], path, origin=origin, **options)

    assert asked("/board.js", with_origin=True) == "passed", "to show the words of the refusal"
    assert asked("/watch", with_origin=True) != "passed"
    assert asked("/board.js", method="POST") != "passed"


@pytest.mark.parametrize("proxy", PROXIES.values(), ids=PROXIES)
def test_what_is_listed_lets_no_other_site_in(proxy: Proxy) -> None:
    gate = gate_for(f"{proxy.opened},loopscope_backend")
    name, port = proxy.origin.authority.name, proxy.origin.authority.port
    others = [
        "https://evil.example",
        f"{proxy.opened}.evil.example",
        f"https://evil.{name}",
        f"http://{name}:{port + 1}",
    ]
    for origin in [*others, "null", ""]:
        for path, kind in (
            ("/_stcore/stream", "websocket"),
            ("/_stcore/upload_file/a/b", "http"),
            ("/live", "websocket"),
        ):
            answer = send(gate, proxy, path, kind=kind, method="POST", cookie=True, origin=origin)
            assert answer != "passed", (origin, path)
    assert send(gate, proxy, "/_stcore/stream", kind="websocket", cookie=True) == "passed"


@pytest.mark.parametrize(
    ("asked", "base", "way"),
    [
        ("/", "", "./watch"),
        ("/step", "", "./watch"),
        ("/static/js/x.js", "", "./../../watch"),
        ("/loop/", "/loop", "./../loop/watch"),
        ("/loop", "/loop", "./loop/watch"),
        ("/loop/step", "/loop", "./../loop/watch"),
        ("/elsewhere", "/loop", "./loop/watch"),
    ],
)
def test_refusals_link_rightly_under_a_base_path(asked: str, base: str, way: str) -> None:
    proxy = Proxy("https://loop.example", "loop.example", "https")
    gate = gate_for("https://loop.example", base)
    assert f'href="{way}"' in send(gate, proxy, asked)
    assert send(gate, proxy, f"{base}/watch") == "passed"
    assert send(gate, proxy, f"{base}/live", kind="websocket") == "passed"
    if base:
        assert send(gate, proxy, "/watch") != "passed"
        assert send(gate, proxy, "/live", kind="websocket") != "passed"


@pytest.mark.parametrize(
    ("text", "entry", "address"),
    [
        ("lectern", ListedHost("lectern"), "http://lectern:8501/loop"),
        ("Lectern:80", ListedHost("lectern", port=80), "http://lectern/loop"),
        ("https://loop.example", ListedHost("loop.example", "https"), "https://loop.example/loop"),
        ("https://loop.example:443/", ListedHost("loop.example", "https", 443), "https://loop.example/loop"),
        (
            "HTTPS://hub.example/user/Ann/proxy/8501/",
            ListedHost("hub.example", "https", None, "/user/Ann/proxy/8501"),
            "https://hub.example/user/Ann/proxy/8501",
        ),
        ("[2001:DB8:0::1]:8080", ListedHost("2001:db8::1", port=8080), "http://[2001:db8::1]:8080/loop"),
        ("*.school.example", ListedHost("*.school.example"), None),
        ("*", ListedHost("*"), None),
    ],
)
def test_an_entry_is_a_name_or_an_address(text: str, entry: ListedHost, address: str | None) -> None:
    assert read_hosts(text) == ((entry,), ())
    assert read_hosts(str(entry))[0] == (entry,), "written as it is read"
    assert entry.address("http", 8501, "/loop") == address


@pytest.mark.parametrize(
    "text", ["ftp://x", "https://", "loop.example:99999", "a@b", "[::1", "loop.example?x", "<b>", ":80"]
)
def test_an_entry_that_cannot_be_read_is_told_in_a_sentence(text: str) -> None:
    listed, (problem,) = read_hosts(f"lectern, {text}")
    assert listed == (ListedHost("lectern"),)
    assert text in problem and "write it as" in problem


def test_a_new_address_comes_before_those_listed() -> None:
    listed, _ = read_hosts("loop.example, https://loop.example:8443/lab")
    assert (
        setting_with("https://new", listed) == "LOOPSCOPE_HOSTS=https://new,loop.example,https://loop.example:8443/lab"
    )
    assert setting_with("loop.example", listed).count("loop.example,") == 1


@pytest.fixture
def option() -> Iterator[Any]:
    """`option(name, value)` sets an option of Streamlit's, until the test is over."""
    before: dict[str, Any] = {}

    def change(name: str, value: Any) -> None:
        before.setdefault(name, st.config.get_option(name))
        st.config.set_option(name, value)

    yield change
    for name, value in before.items():
        st.config.set_option(name, value)


def test_names_for_streamlit_reach_the_gate_and_shut_nobody_out(option: Any) -> None:
    option("server.address", "127.0.0.1")
    option("server.allowedHosts", ["localhost", "loop.example", "*.school.example"])
    rooms.leave_hosts_to_the_gate()
    for host in ("loop.example", "127.0.0.1:8501", "localhost", "192.168.1.20:8501", "[::1]:8501"):
        assert starlette_websocket.is_host_allowed(host), "by Streamlit's own check"
    room = configured({})
    assert room and room.answers_to("loop.example") and room.answers_to("a.school.example")
    assert not room.answers_to("evil.example")


@pytest.mark.parametrize(
    ("address", "environment", "opened"),
    [
        ("127.0.0.1", {}, False),
        ("localhost", {}, False),
        ("127.0.0.1", {"LOOPSCOPE_HOSTS": "  "}, False),
        ("127.0.0.1", {"LOOPSCOPE_HOSTS": "loop.example"}, True),
        ("127.0.0.1", {"LOOPSCOPE_ROOM": "1"}, True),
        ("0.0.0.0", {}, True),
        ("::", {}, True),
        (None, {}, True),
        ("192.168.1.9", {}, True),
    ],
)
def test_whoever_can_be_reached_by_more_than_loopback_asks_for_the_token(
    option: Any, address: str | None, environment: dict[str, str], opened: bool
) -> None:
    option("server.address", address)
    option("server.allowedHosts", [])
    room = configured(environment, [])
    assert (room is not None) is opened
    if room:
        host = room.audience.split("/")[2].rpartition(":")[0]
        assert room.answers_to(host) or is_loopback(host), "the address that is printed is not refused"
        assert Authority.read(host, "http")


def test_a_closed_room_prints_an_address_that_works(option: Any) -> None:
    option("server.address", "127.0.0.1")
    option("server.port", 8501)
    assert rooms.own_address() == "http://127.0.0.1:8501"
    option("server.baseUrlPath", "/loop/")
    assert rooms.own_address() == "http://127.0.0.1:8501/loop/"
    option("server.sslCertFile", "own.pem")
    option("server.sslKeyFile", "own.key")
    assert rooms.own_address() == "https://127.0.0.1:8501/loop/"
