"""`POST /answer`: who may answer what and how often, and what is refused, with which words and how early."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from engine.lessons.classroom import Classroom
from engine.lessons.poll import MOST_BROWSERS, MOST_POINTS, Character, Choice, Drawing, Number
from pages.server.answers import route as route_module
from pages.server.answers.browsers import BURST, MOST_KEPT, MOST_NEWCOMERS, Browsers
from pages.server.answers.route import CLOSED, MOST_BYTES, Answers
from pages.server.doorkeeper import Doorkeeper
from pages.server.gate import Gate
from pages.server.limits import limits_for
from pages.server.room import Room
from pages.server.seats import Seating

HOST = "127.0.0.1:8501"
URL = f"http://{HOST}"
JSON = {"Origin": URL, "Content-Type": "application/json"}
RATE = Choice(("falls", "rises", "stays"))
KINDS: dict[str, Any] = {
    "choice": RATE,
    "number": Number(1e-4, 10.0, log=True),
    "curve": Drawing(0, 1000, 0.0, 5.0),
    "character": Character(("a", "b", " ", "\n", "é")),
}
RIGHT: dict[str, list[Any]] = {
    "choice": [0, 2],
    "number": [1e-4, 1, 10.0, 0.02],
    "curve": [[[0, 4.2], [1000, 2.5]], [[i * 1000 / 63, 1.0] for i in range(64)]],
    "character": ["a", "\n", "é"],
}
WRONG: dict[str, list[Any]] = {
    "choice": [-1, 3, 1.0, True, "1", None, [], {}, 10**30, [0]],
    "number": [0, 1e-5, 10.1, True, "1", None, [1], {"value": 1}, 1e300, -1],
    "curve": [
        [], [[0, 1]], [[0, 1], [0, 1]], [[1, 1], [0, 1]], [[0, 1], [1001, 1]], [[0, 6], [1, 1]], [[0, 1, 2], [1, 1]],
        [[0, "1"], [1, 1]], [[0, True], [1, 1]], [[0, None], [1, 1]], {"0": 1}, "abc", 3, [0, 1], [[[0], 1], [1, 1]],
        [[i, 1.0] for i in range(MOST_POINTS + 1)],
    ],
    "character": ["", "ab", "c", "<b>", 1, None, ["a"], True, {"a": 1}, "a\0"],
}  # fmt: skip


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Class:
    """A classroom behind the gate, as phones reach it."""

    def __init__(self, room: Room | None = None) -> None:
        self.classroom, self.clock = Classroom(), Clock()
        self.browsers = Browsers(self.clock)
        self.app = Starlette(
            routes=[Route("/watch", self.browsers.welcomed(self._page))],
            middleware=[
                Middleware(Gate, pages=("/watch",), posts=("/answer",), room=room),
                Middleware(Answers, classroom=self.classroom, browsers=self.browsers),
            ],
        )
        self.classroom.ask("lr", "What does the loss do?", RATE)

    def _page(self, _: Request) -> Response:
        return PlainTextResponse("watch")

    @property
    def poll(self) -> Any:
        assert self.classroom.poll
        return self.classroom.poll

    def phone(self, watching: bool = True, **options: Any) -> TestClient:
        """A browser, with an id if it has been to /watch."""
        client = TestClient(self.app, **{"base_url": URL, "client": ("192.168.1.77", 5000), **options})
        if watching:
            client.get("/watch")
        return client

    def answer(self, phone: TestClient, value: Any = 1, question: str = "lr", **headers: str) -> Response:
        return phone.post("/answer", content=json.dumps({"question": question, "value": value}), headers=JSON | headers)  # type: ignore[return-value]


@pytest.fixture
def room() -> Class:
    return Class()


# Taken


@pytest.mark.parametrize("kind", KINDS)
def test_answers_of_each_kind_are_taken_and_wrong_values_are_not(room: Class, kind: str) -> None:
    room.classroom.ask("lr", "What?", KINDS[kind])
    phone = room.phone()
    for value in RIGHT[kind]:
        room.clock.now += 10
        reply = room.answer(phone, value)
        assert (reply.status_code, reply.content) == (204, b""), reply.text
    taken = room.poll.answers()
    assert len(taken) == 1, "one browser has one answer, however often it changes that"
    for value in WRONG[kind]:
        room.clock.now += 10
        reply = room.answer(phone, value)
        assert reply.status_code == 400, value
        assert reply.text.endswith(".\n")
        assert reply.text.count("\n") == 1
    assert room.poll.answers() == taken


def test_one_answer_a_browser_and_it_may_change_until_the_question_closes(room: Class) -> None:
    one, other = room.phone(), room.phone()
    for phone, value in ((one, 0), (other, 1), (one, 2), (one, 2)):
        assert room.answer(phone, value).status_code == 204
    assert room.poll.told() == {"counts": [0, 1, 1]}
    room.classroom.close()
    late = room.answer(one, 1)
    assert (late.status_code, late.text) == (409, CLOSED + "\n")
    assert room.poll.told() == {"counts": [0, 1, 1]}


def test_no_question_another_question_and_a_closed_one_are_409(room: Class) -> None:
    phone = room.phone()
    assert room.answer(phone, question="another").status_code == 409
    room.classroom.close()
    assert room.answer(phone).status_code == 409
    room.classroom.end()
    assert room.answer(phone).status_code == 409


def test_nothing_but_the_open_question_is_touched(room: Class) -> None:
    version, header = room.classroom.version, room.classroom.header()
    assert header
    room.answer(room.phone(), "<script>alert(1)</script>")
    assert room.classroom.version == version
    room.answer(room.phone(), 1)
    assert room.classroom.header() == header | {"count": 1}


# Ids


def test_an_id_is_handed_out_once_is_no_script_s_and_cannot_be_made_up(room: Class) -> None:
    phone = room.phone(watching=False)
    given_out = phone.get("/watch").headers["set-cookie"]
    (name,) = SimpleCookie(given_out)
    assert name == "loopscope_browser_8501"
    assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in given_out.split(";")}
    assert "Secure" not in given_out
    assert "Path" not in given_out
    assert "set-cookie" not in phone.get("/watch").headers
    assert "set-cookie" not in room.answer(phone).headers
    value = phone.cookies[name]
    id, _, signature = value.partition(".")
    for made_up in ("", ".", id, f"{id}.", f".{signature}", f"x{value}", f"{value}x", f"{id}.{signature[::-1]}", "a.b"):
        stranger = room.phone(watching=False, cookies={name: made_up})
        assert "set-cookie" in stranger.get("/watch").headers, made_up
    assert Class().browsers.known(scope_with(f"{name}={value}")) is None, "another process has another key"
    assert room.browsers.known(scope_with(f"{name}={value}")) == id
    assert room.browsers.known(scope_with(f"a=b; {name}=wrong; {name}={value}")) == id


def scope_with(cookie: str) -> dict[str, Any]:
    return {"type": "http", "scheme": "http", "server": ("127.0.0.1", 8501), "headers": [(b"cookie", cookie.encode())]}


def test_over_tls_the_cookie_is_secure(room: Class) -> None:
    phone = room.phone(watching=False, base_url=f"https://{HOST}")
    assert "Secure" in phone.get("/watch").headers["set-cookie"].split("; ")


def test_a_browser_without_an_id_gets_one_with_its_first_answer(room: Class) -> None:
    phone = room.phone(watching=False)
    assert "set-cookie" in room.answer(phone, 0).headers
    assert "set-cookie" not in room.answer(phone, 1).headers
    assert room.poll.told() == {"counts": [0, 1, 0]}


def test_a_flood_without_cookies_leaves_the_places_to_those_who_opened_the_page(room: Class) -> None:
    watching = room.phone()
    replies = [room.answer(room.phone(watching=False)).status_code for _ in range(MOST_NEWCOMERS + 20)]
    assert replies == [204] * MOST_NEWCOMERS + [429] * 20
    assert room.answer(watching).status_code == 204
    room.classroom.ask("next", "And now?", RATE)
    assert room.answer(room.phone(watching=False), question="next").status_code == 204


def test_at_most_a_thousand_browsers(room: Class) -> None:
    for number in range(MOST_BROWSERS):
        room.classroom.answer("lr", str(number), number % 3)
    reply = room.answer(room.phone())
    assert reply.status_code == 429
    assert "1,000" in reply.text
    assert room.poll.count == MOST_BROWSERS


# Too much


def test_one_request_a_second_with_a_burst_of_five(room: Class) -> None:
    phone, other = room.phone(), room.phone()
    assert [room.answer(phone).status_code for _ in range(BURST + 3)] == [204] * BURST + [429] * 3
    assert room.answer(other).status_code == 204, "each browser has its own"
    room.clock.now += 1
    assert [room.answer(phone).status_code for _ in range(2)] == [204, 429]
    room.clock.now += 3600
    assert [room.answer(phone).status_code for _ in range(BURST + 1)] == [204] * BURST + [429]


def test_wrong_answers_count_too(room: Class) -> None:
    phone = room.phone()
    assert [room.answer(phone, "x").status_code for _ in range(BURST + 1)] == [400] * BURST + [429]


def test_what_is_kept_of_browsers_is_little_and_soon_gone() -> None:
    clock = Clock()
    browsers = Browsers(clock)
    for number in range(MOST_KEPT + 500):
        browsers.may_send(str(number))
    assert len(browsers._left) == MOST_KEPT
    clock.now += BURST
    browsers.may_send("the next")
    assert len(browsers._left) == 1


# Wrong requests


def test_pages_of_others_and_those_that_name_no_origin_are_refused(room: Class) -> None:
    phone = room.phone()
    for origin in ("http://evil.example", "http://127.0.0.1:8502", "http://localhost:8501", "null", f"{URL}/x", ""):
        assert room.answer(phone, Origin=origin).status_code == 403, origin
    body = json.dumps({"question": "lr", "value": 1})
    reply = phone.post("/answer", content=body, headers={"Content-Type": "application/json"})
    assert (reply.status_code, reply.text.count("\n")) == (403, 1)
    reply = phone.post("/answer", content=body, headers=JSON | {"Host": "evil.example"})
    assert reply.status_code == 403
    assert room.poll.count == 0


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded", "multipart/form-data", "json"])
def test_other_types_are_415(room: Class, kind: str) -> None:
    """A form of another site cannot send JSON without asking first."""
    assert room.answer(room.phone(), **{"Content-Type": kind}).status_code == 415
    assert room.answer(room.phone(), **{"Content-Type": "Application/JSON; charset=utf-8"}).status_code == 204


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"1", b"null", b'"lr"', b"{}", b'{"question": "lr"}', b'{"value": 1}',
        b'{"question": 1, "value": 1}', b'{"question": null, "value": 1}', b'{"question": "lr", "value": NaN}',
        b'{"question": "lr", "value": 1}x',
        b'{"question": "lr", "value": ' + b"[" * 2000 + b"]" * 2000 + b"}", b"\xff\xfe", b"question=lr&value=1",
    ],
)  # fmt: skip
def test_what_is_no_answer_is_400(room: Class, body: bytes) -> None:
    reply = room.phone().post("/answer", content=body, headers=JSON)
    assert reply.status_code == 400
    assert reply.text.count("\n") == 1
    assert room.poll.count == 0


@given(
    body=st.binary(max_size=200)
    | st.text(max_size=80).map(lambda text: json.dumps({"question": "lr", "value": text}).encode())
)
def test_no_body_is_an_error_of_ours(body: bytes) -> None:
    room = Class()
    assert room.phone().post("/answer", content=body, headers=JSON).status_code in (400, 409)
    assert room.poll.count == 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "post", "TRACE"])
def test_other_methods_are_405(room: Class, method: str) -> None:
    reply = room.phone().request(method, "/answer", headers={"Origin": URL})
    if method != "post":  # the client writes it in capitals
        assert reply.status_code == 405
        assert reply.headers["allow"] == "POST"
    assert room.poll.count == 0


def test_an_open_room_lets_an_answer_through_and_no_other_post() -> None:
    room = Class(Room(port=8501, addresses=("192.168.1.20",)))
    phone = room.phone(base_url="http://192.168.1.20:8501")
    own = {"Origin": "http://192.168.1.20:8501"}
    assert room.answer(phone, **own).status_code == 204
    for path in ("/watch", "/", "/answer/", "//answer", "/answer/x", "/_stcore/upload_file/a/b"):
        assert phone.post(path, content=b"{}", headers=JSON | own, follow_redirects=False).status_code == 403, path
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        assert phone.request(method, "/answer", headers=own).status_code == 403
    assert room.poll.count == 1


# Bodies that are too long or too slow, as a server hands them on


def ask(room: Class, headers: dict[str, str], parts: list[bytes], more: bool = False) -> tuple[int, int]:
    """Send a body in parts past the gate; the status, and how many of the parts were taken."""
    taken, status = 0, 0

    async def receive() -> Any:
        nonlocal taken
        if taken == len(parts):
            await asyncio.sleep(60)
        taken += 1
        return {"type": "http.request", "body": parts[taken - 1], "more_body": more or taken < len(parts)}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    scope = {
        "type": "http", "method": "POST", "scheme": "http", "path": "/answer", "server": ("127.0.0.1", 8501),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    asyncio.run(Answers(room.app, room.classroom, room.browsers)(scope, receive, send))  # type: ignore[arg-type]
    return status, taken


def test_a_long_body_is_refused_unread(room: Class) -> None:
    assert ask(room, JSON | {"Content-Length": "1000000"}, [b"x" * 65_536] * 16) == (413, 0)
    assert ask(room, JSON | {"Content-Length": str(MOST_BYTES + 1)}, [b"x"]) == (413, 0)
    assert ask(room, JSON, [b"x" * 1000] * 1000) == (413, MOST_BYTES // 1000 + 1), "chunks, whose length is not told"


def test_whatever_is_known_to_be_in_vain_is_refused_unread(room: Class) -> None:
    assert ask(room, {"Content-Type": "text/plain"}, [b"x"]) == (415, 0)
    for _ in range(MOST_NEWCOMERS):
        room.browsers.may_come("lr")
    assert ask(room, JSON, [b"x"]) == (429, 0)
    room.classroom.close()
    assert ask(room, JSON, [b"x"]) == (409, 0)


def test_a_slow_body_is_waited_for_a_short_while(room: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route_module, "BODY_SECONDS", 0.05)
    assert ask(room, JSON, [b'{"question": "lr", '], more=True) == (408, 1)
    assert room.poll.count == 0


# A real server


class Served(Class):
    """The same under uvicorn, with the doorkeeper at its door, all from one address."""

    def __init__(self) -> None:
        super().__init__()
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port = listener.getsockname()[1]
        self.server = uvicorn.Server(uvicorn.Config(self.app, log_level="critical", lifespan="off"))
        limits = limits_for(1024, 100)
        Doorkeeper(limits, Seating(limits).answer_at_door).guard(self.server, [listener])
        self._thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listener]})
        self._thread.start()

    def head(self, length: int, *more: str) -> bytes:
        host = f"127.0.0.1:{self.port}"
        lines = ["POST /answer HTTP/1.1", f"Host: {host}", f"Origin: http://{host}", "Content-Type: application/json"]
        return "\r\n".join([*lines, f"Content-Length: {length}", *more, "", ""]).encode()

    def close(self) -> None:
        self.server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture
def served() -> Iterator[Served]:
    server = Served()
    yield server
    server.close()


@pytest.mark.parametrize("what", ["an answer", "of another site", "to another path", "of unknown length", "by PUT"])
def test_a_megabyte_is_not_read_to_its_end(served: Served, what: str) -> None:
    head = served.head(1_000_000)
    if what == "of another site":
        head = head.replace(b"Origin: http://127.0.0.1", b"Origin: http://evil.example")
    elif what == "to another path":
        head = head.replace(b"POST /answer", b"POST /watch").replace(
            b"Origin: http://127.0.0.1", b"Origin: http://e.example"
        )
    elif what == "of unknown length":
        head = head.replace(b"Content-Length: 1000000", b"Transfer-Encoding: chunked")
        served.classroom.close()
    elif what == "by PUT":
        head = head.replace(b"POST", b"PUT")
    expected = {"an answer": 413, "of unknown length": 409, "by PUT": 405}.get(what, 403)
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as sending:
        sending.sendall(head)
        assert sending.recv(65_536).startswith(f"HTTP/1.1 {expected}".encode())
        sent = 0
        with pytest.raises(OSError):
            for _ in range(1000):
                sent += sending.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
                time.sleep(0.001)
        assert sent < 1_000_000, "the server has closed the connection"


async def _phone(served: Served, number: int) -> int:
    """Come, open the page, and answer, by a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(f"GET /watch HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n\r\n".encode())
    page = await reader.readuntil(b"watch")
    (cookie,) = [line for line in page.decode().split("\r\n") if line.lower().startswith("set-cookie")]
    body = json.dumps({"question": "lr", "value": number % 3}).encode()
    writer.write(served.head(len(body), "Cookie: " + cookie.partition(": ")[2].partition(";")[0]) + body)
    status = int((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1])
    writer.close()
    return status


def test_four_hundred_phones_behind_one_address_are_all_counted(served: Served) -> None:
    async def all_of_them() -> list[int]:
        return await asyncio.wait_for(asyncio.gather(*(_phone(served, number) for number in range(400))), 60)

    assert asyncio.run(all_of_them()) == [204] * 400
    assert served.poll.told() == {"counts": [134, 133, 133]}
