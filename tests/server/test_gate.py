"""The gate, spoken to in plain ASGI, as a server would: what gets through, what is refused, and what the token does."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from pages.server.addresses import Authority, read_hosts
from pages.server.gate import Gate
from pages.server.room import Room

TOKEN = "the-presenters-token"
ROOM = Room(port=8501, addresses=("192.168.1.20", "10.0.0.5"), names=("lectern", "lectern.local"), token=TOKEN)
PAGES = ("/watch", "/series", "/board/board.js", "/vendor/plotly.min.js")
SOCKETS = ("/live",)
POSTS = ("/answer",)
CLOSED: dict[str, Any] = {"pages": PAGES, "sockets": SOCKETS, "posts": POSTS}
OPEN: dict[str, Any] = {**CLOSED, "room": ROOM}
HOME = ("127.0.0.1", 50000)
NEIGHBOUR = ("192.168.1.77", 50000)
HTTP, WS = "http://192.168.1.20:8501", "ws://192.168.1.20:8501"
COOKIE = f"{ROOM.cookie}={TOKEN}"


class Reply:
    """What came back: the status (403 also for a socket closed before it was accepted), headers, body."""

    def __init__(self, sent: list[dict[str, Any]], passed: bool) -> None:
        start = sent[0]
        self.passed = passed
        self.status = 403 if start["type"] == "websocket.close" else start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start.get("headers", ())}
        self.body = b"".join(message.get("body", b"") for message in sent[1:]).decode()


def ask(
    target: str = "/",
    headers: list[tuple[str, str]] | None = None,
    *,
    host: str | None = "127.0.0.1:8501",
    client: tuple[str, int] | None = HOME,
    method: str = "GET",
    kind: str = "http",
    scheme: str | None = None,
    gate: dict[str, Any] = CLOSED,
) -> Reply:
    """Send one request through a gate, the way uvicorn describes it, to an application that answers anything."""
    sent: list[dict[str, Any]] = []
    passed: list[bool] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        passed.append(True)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request"}

    raw, _, query = target.partition("?")
    given_headers = [*([("host", host)] if host is not None else []), *(headers or [])]
    scope = {
        "type": kind,
        "scheme": scheme or ("ws" if kind == "websocket" else "http"),
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in given_headers],
        "client": client,
        "server": ("127.0.0.1", 8501),
    }
    if kind == "http":
        scope["method"] = method
    asyncio.run(Gate(behind, **gate)(scope, receive, send))
    return Reply(sent, bool(passed))


def listing(hosts: str, base: str = "") -> dict[str, Any]:
    """A gate that answers to what LOOPSCOPE_HOSTS lists, with no room on the network."""
    listed, problems = read_hosts(hosts)
    assert not problems
    return {**CLOSED, "base": base, "room": Room(8501, (), listed=listed, base=base, token=TOKEN)}


def ask_socket(target: str = "/live", origin: str | None = None, **options: Any) -> Reply:
    headers = [*options.pop("headers", []), *([("origin", origin)] if origin is not None else [])]
    return ask(target, headers, kind="websocket", **options)


# A closed room


LOOPBACK_HOSTS = "127.0.0.1:8501 127.0.0.1 localhost:8501 LocalHost:9 [::1]:8501 [0:0:0:0:0:0:0:1] 127.8.8.8:1"
LISTED_HOSTS = "192.168.1.9:8501 lab.school.example LAB.School.Example:80"


@pytest.mark.parametrize("host", LOOPBACK_HOSTS.split())
def test_closed_room_answers_to_loopback(host: str) -> None:
    assert ask(host=host).passed


@pytest.mark.parametrize("host", [*LOOPBACK_HOSTS.split(), *LISTED_HOSTS.split()])
def test_listed_host_and_no_room_hands_the_controls_to_nobody_without_the_token(host: str) -> None:
    gate = listing("192.168.1.9, *.school.example")
    assert ask("/", host=host, gate=gate).status == 403
    assert not ask_socket("/_stcore/stream", "http://" + host, host=host, gate=gate).passed
    assert ask("/watch", host=host, gate=gate).passed
    assert ask("/", [("cookie", COOKIE)], host=host, gate=gate).passed


STRANGE_HOSTS = """
    evil.example evil.example:8501 127.0.0.1.evil.example localhost.evil.example localhost. localhost:8501@evil.example
    evil.example@127.0.0.1 127.0.0.1:8501/ 127.0.0.1: 127.0.0.1:0 127.0.0.1:99999 127.0.0.1:\xb9 [::1 ::1 [::2]:8501
    [evil]:1 0.0.0.0:8501 2130706433 127.1 192.168.1.99 school.example 127.0.0.1,evil.example
"""


@pytest.mark.parametrize("host", [*STRANGE_HOSTS.split(), None, "", "127.0.0.1 "])
def test_closed_room_refuses_every_other_host(host: str | None) -> None:
    reply = ask(host=host)
    assert not reply.passed
    assert reply.status == 403
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["content-type"].startswith("text/plain")
    assert reply.body.count("\n") == 1
    assert not ask_socket(host=host, origin="http://" + (host or "")).passed


def test_refusal_names_the_host_and_the_remedy() -> None:
    assert "LOOPSCOPE_HOSTS=http://evil.example:8501 if" in ask(host="evil.example:8501").body


def test_two_host_headers_are_refused() -> None:
    assert not ask(headers=[("host", "evil.example")]).passed
    assert not ask(headers=[("host", "127.0.0.1:8501")]).passed


def test_forwarded_host_changes_nothing() -> None:
    forged = [("x-forwarded-host", "127.0.0.1:8501"), ("forwarded", "host=127.0.0.1:8501")]
    assert not ask(headers=forged, host="evil.example").passed
    assert ask(headers=[("x-forwarded-host", "evil.example")]).passed


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8501", "http://127.0.0.1:8501"),
        ("localhost:8501", "http://LOCALHOST:8501"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("localhost", "http://localhost:80"),
        ("[::1]:8501", "http://[::1]:8501"),
    ],
)
def test_own_pages_may_connect(host: str, origin: str) -> None:
    assert ask_socket(host=host, origin=origin, client=NEIGHBOUR).passed
    assert ask(host=host, headers=[("origin", origin)], method="POST").passed


STRANGE_ORIGINS = """
    http://evil.example http://evil.example:8501 http://127.0.0.1:8502 http://127.0.0.1 null http://localhost:8501 file://
    http://127.0.0.1:8501.evil.example http://127.0.0.1:8501/ http://evil@127.0.0.1:8501 ftp://127.0.0.1:8501
    127.0.0.1:8501 chrome-extension://127.0.0.1:8501
"""


@pytest.mark.parametrize("origin", [*STRANGE_ORIGINS.split(), ""])
def test_pages_of_others_may_not(origin: str) -> None:
    assert not ask_socket(origin=origin).passed
    assert ask_socket(origin=origin).status == 403
    assert not ask(headers=[("origin", origin)], method="POST").passed


def test_two_origins_are_refused() -> None:
    own = ("origin", "http://127.0.0.1:8501")
    assert not ask_socket(headers=[own], origin="http://127.0.0.1:8501").passed
    assert not ask_socket(headers=[own], origin="http://evil.example").passed


def test_default_port_follows_the_scheme() -> None:
    assert ask_socket(host="localhost", origin="https://localhost", scheme="wss").passed
    assert not ask_socket(host="localhost", origin="http://localhost", scheme="wss").passed


@pytest.mark.parametrize(
    ("client", "passed"),
    [
        (HOME, True),
        (("::1", 1), True),
        (("::ffff:127.0.0.1", 1), True),
        (NEIGHBOUR, False),
        (("localhost", 1), False),
        (("", 0), False),
        (None, False),
    ],
)
def test_socket_without_origin_comes_from_this_machine_only(client: tuple[str, int] | None, passed: bool) -> None:
    assert ask_socket(client=client).passed is passed
    # A page is asked for without an Origin by every browser.
    assert ask(client=client).passed


# An open room


@pytest.mark.parametrize("client", [HOME, NEIGHBOUR])
def test_audience_gets_its_pages_and_nothing_else(client: tuple[str, int]) -> None:
    for path in PAGES:
        assert ask(path, client=client, gate=OPEN).passed
        assert ask(path + "?run=current", client=client, gate=OPEN, method="HEAD").passed
        assert not ask(path, client=client, gate=OPEN, method="POST").passed
    for path in (
        "/",
        "/live",
        "/_stcore/health",
        "/_stcore/host-config",
        "/_stcore/upload_file/a/b",
        "/static/js/x.js",
    ):
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
            reply = ask(path, client=client, gate=OPEN, method=method)
            assert not reply.passed
            assert reply.status == 403


METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "post")


@pytest.mark.parametrize("method", METHODS)
def test_audience_may_post_an_answer_from_a_page_of_this_server_and_nothing_else(method: str) -> None:
    common: dict[str, Any] = {"host": "192.168.1.20:8501", "client": NEIGHBOUR, "gate": OPEN, "method": method}
    own = [("origin", HTTP)]
    assert ask("/answer", own, **common).passed is (method == "POST")
    assert ask("/answer?question=1", own, **common).passed is (method == "POST")
    for origin in (
        "http://evil.example",
        "http://192.168.1.20",
        "http://192.168.1.20:8502",
        "http://lectern:8501",
        "null",
    ):
        assert not ask("/answer", [("origin", origin)], **common).passed
    for path in (
        "/answer/",
        "//answer",
        "/answer/.",
        "/%61nswer",
        "/answer%2f",
        "/Answer",
        "/watch/../answer",
        "/answers",
    ):
        assert not ask(path, own, **common).passed, path
    for path in ("/watch", "/series", "/live", "/", "/_stcore/upload_file/a/b"):
        assert ask(path, own, **common).passed is (path in PAGES and method in ("GET", "HEAD")), path
    assert not ask_socket("/answer", HTTP, host="192.168.1.20:8501", client=NEIGHBOUR, gate=OPEN).passed


@pytest.mark.parametrize("client", [HOME, NEIGHBOUR])
def test_an_answer_without_an_origin_is_refused_whoever_sends_it(client: tuple[str, int]) -> None:
    """Every browser names it with a POST."""
    for gate, headers in ((CLOSED, []), (OPEN, []), (OPEN, [("cookie", COOKIE)])):
        reply = ask("/answer", headers, client=client, method="POST", gate=gate)
        assert (reply.passed, reply.status, reply.body.count("\n")) == (False, 403, 1)
        own = [*headers, ("origin", "http://127.0.0.1:8501")]
        assert ask("/answer", own, client=client, method="POST", gate=gate).passed
        assert not ask("/answer", [*own, own[-1]], client=client, method="POST", gate=gate).passed, "two of them"


def test_an_answer_of_a_listed_page_gets_through() -> None:
    gate = listing("https://loop.example/lab", base="/lab")
    own = [("origin", "https://loop.example")]
    assert ask("/lab/answer", own, client=NEIGHBOUR, method="POST", gate=gate).passed
    assert not ask("/answer", own, client=NEIGHBOUR, method="POST", gate=gate).passed


def test_audience_gets_its_socket_and_no_other() -> None:
    host, origin = "192.168.1.20:8501", HTTP
    assert ask_socket("/live?run=current", origin, host=host, client=NEIGHBOUR, gate=OPEN).passed
    assert not ask_socket("/live", None, host=host, client=NEIGHBOUR, gate=OPEN).passed
    for path in ("/_stcore/stream", "/watch", "/", "/live/", "/x/live", "/_stcore/stream?token=" + TOKEN):
        assert not ask_socket(path, origin, host=host, client=NEIGHBOUR, gate=OPEN).passed
        assert not ask_socket(path, None, gate=OPEN).passed


def test_open_room_answers_to_the_machines_names_only() -> None:
    for host in (
        "192.168.1.20:8501",
        "10.0.0.5:8501",
        "lectern:8501",
        "Lectern.Local",
        "localhost:8501",
    ):
        assert ask("/watch", host=host, client=NEIGHBOUR, gate=OPEN).passed
    for host in ("192.168.1.21:8501", "evil.example:8501", "lectern.evil.example"):
        assert not ask("/watch", host=host, gate=OPEN).passed
        assert not ask(f"/?token={TOKEN}", host=host, gate=OPEN).passed


SPELLINGS = """
    //watch /watch/ /watch/. /watch/.. /watch/../ /watch/../_stcore/stream /./watch /WATCH /Watch /watch%2f
    /watch%2F..%2F /%2e%2e/watch /watch/%2e%2e/ /%77atch /watch%00 /watch;x /watch%3ftoken=the-presenters-token
    watch * /watch%0a /watch\\.. http://127.0.0.1:8501/watch /board/ /board/../app.py /board/board.js/ /board//board.js
    /vendor/plotly.min.js%00.css
"""


@pytest.mark.parametrize("target", [*SPELLINGS.split(), ""])
def test_no_other_spelling_of_a_path_gets_through(target: str) -> None:
    assert not ask(target, gate=OPEN).passed
    assert not ask_socket(target, gate=OPEN).passed


def test_refusal_in_the_room_points_to_the_audiences_page() -> None:
    reply = ask("/<script>", gate=OPEN, client=NEIGHBOUR)
    assert 'href="./watch"' in reply.body
    assert TOKEN not in reply.body
    assert "<script" not in reply.body
    assert reply.headers["referrer-policy"] == "no-referrer"


def test_token_becomes_a_cookie_and_leaves_the_address() -> None:
    reply = ask(f"/train?preset=bigram&token={TOKEN}&lr=0.003", gate=OPEN, client=NEIGHBOUR, host="lectern:8501")
    assert not reply.passed
    assert reply.status == 303
    assert reply.headers["location"] == "./train?preset=bigram&lr=0.003"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["cache-control"] == "no-store"
    cookie = reply.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE};")
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
    assert "Path" not in cookie, "behind a proxy that takes off a part of the path, others may live beside it"
    assert "Secure" not in cookie
    assert "Secure" in ask(f"/?token={TOKEN}", gate=OPEN, scheme="https").headers["set-cookie"]


WRONG_TOKENS = """
    /?token= /?token=wrong /?token /?Token=RIGHT /?token=RIGHTx /?token=x-RIGHT /?token=RIGHT&token=RIGHT
    /?token=wrong&token=RIGHT /?token=RIGHT&token=wrong /?x=token=RIGHT /?token=%ffRIGHT /#token=RIGHT /?tokenRIGHT
"""


@pytest.mark.parametrize("target", WRONG_TOKENS.replace("RIGHT", TOKEN).split())
def test_wrong_missing_or_repeated_tokens_open_nothing(target: str) -> None:
    reply = ask(target, gate=OPEN)
    assert not reply.passed
    assert reply.status == 403
    assert "set-cookie" not in reply.headers


def test_token_is_taken_from_a_page_request_only() -> None:
    assert ask(f"/?token={TOKEN}", gate=OPEN, method="POST").status == 403
    assert ask("/", [("authorization", f"Bearer {TOKEN}"), ("x-token", TOKEN)], gate=OPEN).status == 403
    # A closed room has no token; Streamlit gets the query as it is.
    assert ask(f"/?token={TOKEN}").passed


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "//evil.example/%2e%2e", "evil.example", "/\r\nx"]
)
def test_welcome_never_leads_to_another_host(path: str) -> None:
    reply = ask(f"{path}?token={TOKEN}", gate=OPEN)
    assert reply.status == 303
    assert urlsplit(urljoin(HTTP + "/" + path.lstrip("/"), reply.headers["location"])).netloc == urlsplit(HTTP).netloc
    assert reply.headers["location"].startswith("./")


def test_cookie_opens_everything() -> None:
    origin = HTTP
    common: dict[str, Any] = {"host": "192.168.1.20:8501", "client": NEIGHBOUR, "gate": OPEN}
    assert ask("/", [("cookie", COOKIE)], **common).passed
    assert ask("/glossary?preset=bigram", [("cookie", f"a=b; {COOKIE}; c=d")], **common).passed
    assert ask("/_stcore/upload_file/a/b", [("cookie", COOKIE), ("origin", origin)], method="PUT", **common).passed
    assert ask_socket("/_stcore/stream", origin, headers=[("cookie", COOKIE)], **common).passed


def test_cookie_does_not_help_another_site() -> None:
    evil = [("cookie", COOKIE), ("origin", "http://evil.example")]
    assert not ask("/_stcore/upload_file/a/b", evil, method="PUT", gate=OPEN).passed
    assert not ask_socket("/_stcore/stream", "http://evil.example", headers=[("cookie", COOKIE)], gate=OPEN).passed
    assert not ask("/", [("cookie", COOKIE)], host="evil.example", gate=OPEN).passed


WRONG_COOKIES = """
    ; = NAME NAME= NAME=wrong =RIGHT RIGHT other=RIGHT NAMEx=RIGHT NAME="RIGHT" NAME=RIGHT= \xff=\xfe NAME=\xffRIGHT
    loopscope_presenter_8502=RIGHT NAME=RIGHT,x
"""


@pytest.mark.parametrize(
    "cookie", [*WRONG_COOKIES.replace("NAME", ROOM.cookie).replace("RIGHT", TOKEN).split(), "", "; ; =;"]
)
def test_malformed_and_wrong_cookies_open_nothing(cookie: str) -> None:
    assert not ask("/", [("cookie", cookie)], gate=OPEN).passed
    assert not ask_socket("/_stcore/stream", headers=[("cookie", cookie)], gate=OPEN).passed
    # They shut nobody out either.
    assert ask("/", [("cookie", cookie), ("cookie", COOKIE)], gate=OPEN).passed
    assert ask("/watch", [("cookie", cookie)], gate=OPEN).passed


SEGMENTS = st.sampled_from(
    ["watch", "live", "series", "board", "board.js", "_stcore", "stream", "..", ".", "", "%2e%2e", "%2f", "WATCH", "a"]
)
TRICKY = st.lists(SEGMENTS, max_size=6).map(lambda parts: "/" + "/".join(parts))
NEAR = st.tuples(st.sampled_from(PAGES + SOCKETS + POSTS), st.text(max_size=4), st.text(max_size=4)).map(
    lambda parts: quote(parts[1], safe="/%.;\\") + parts[0] + quote(parts[2], safe="/%.;\\#")
)
ANYTHING = st.text(st.characters(codec="ascii", exclude_characters="?"), max_size=40)


@given(
    target=TRICKY | NEAR | ANYTHING,
    query=st.sampled_from(["", "?run=current", "?token=wrong", "?token=/watch"]),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "CONNECT"]),
    kind=st.sampled_from(["http", "websocket"]),
    cookie=st.text(st.characters(codec="latin-1"), max_size=20),
    origin=st.sampled_from([None, "http://127.0.0.1:8501", "http://evil.example"]),
)
def test_nothing_outside_the_list_gets_through_without_the_token(
    target: str, query: str, method: str, kind: str, cookie: str, origin: str | None
) -> None:
    headers = [("cookie", cookie), *([] if origin is None else [("origin", origin)])]
    reply = ask(target + query, headers, method=method, kind=kind, gate=OPEN)
    if kind == "websocket":
        listed = target in SOCKETS
    elif method == "POST":
        listed = target in POSTS and origin is not None
    else:
        listed = target in PAGES and method in ("GET", "HEAD")
    assert reply.passed is (listed and origin != "http://evil.example")
    assert reply.passed or reply.status == 403


@given(host=st.text(st.characters(codec="latin-1"), max_size=30))
def test_any_host_is_answered_or_refused_never_an_error(host: str) -> None:
    assert ask(host=host).status in (200, 403)
    ask_socket(host=host, origin="http://" + host)


# Before a real application


def application() -> Starlette:
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.url.path)

    routes = [WebSocketRoute("/live", echo), WebSocketRoute("/_stcore/stream", echo), Route("/{rest:path}", page)]
    return Starlette(routes=routes, middleware=[Middleware(Gate, **OPEN)])


def test_presenter_follows_the_link_and_stays_in() -> None:
    with TestClient(application(), base_url=HTTP) as browser:
        assert browser.get("/").status_code == 403
        assert browser.get("/watch").text == "/watch"
        arrived = browser.get("/?token=" + TOKEN + "&preset=bigram")
        assert arrived.status_code == 200
        assert "token" not in str(arrived.url)
        assert browser.get("/glossary").status_code == 200
        with browser.websocket_connect(f"{WS}/_stcore/stream", headers={"origin": HTTP}) as socket:
            assert socket.receive_text() == "hello"


def test_refused_socket_is_never_accepted() -> None:
    with TestClient(application(), base_url=HTTP, client=NEIGHBOUR) as browser:
        origin = {"origin": HTTP}
        with browser.websocket_connect(f"{WS}/live", headers=origin) as socket:
            assert socket.receive_text() == "hello"
        for path, headers in (("/_stcore/stream", origin), ("/live", {}), ("/live", {"origin": "http://evil.example"})):
            with pytest.raises(WebSocketDisconnect), browser.websocket_connect(WS + path, headers=headers):
                pass


def test_shutdown_of_a_stuck_viewer_is_silent_and_errors_are_not() -> None:
    async def stuck(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("broken")

    scope = {
        "type": "websocket",
        "scheme": "ws",
        "path": "/live",
        "headers": [(b"host", b"localhost")],
        "client": HOME,
    }

    async def visit(app: Any) -> asyncio.Task[None]:
        viewer = asyncio.create_task(Gate(app)(scope, None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        viewer.cancel()
        await asyncio.wait([viewer])
        return viewer

    assert asyncio.run(visit(stuck)).exception() is None
    assert str(asyncio.run(visit(broken)).exception()) == "broken"


def test_authority_reads_what_a_url_can_hold() -> None:
    assert Authority.read("Lectern.Local:8501", "http") == Authority("lectern.local", 8501)
    assert Authority.read("[2001:DB8:0:0:0:0:0:1]", "https") == Authority("2001:db8::1", 443)
    assert Authority.read("[2001:db8::1::2]:80", "http") is None
