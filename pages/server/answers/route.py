"""`POST /answer`: the one thing that an audience can send. It touches no run, no setting and no file.

What is wrong with a request is found out as early as it can be: what is too much, too large or too late is answered
without its body having been read. A room answers all at once while a run trains in the same interpreter, so this stands
right behind the gate: on the way through Streamlit's own layers an answer would cost twice as much.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response

from engine.lessons.classroom import Classroom
from engine.lessons.poll import Closed, Full, Refused
from pages.server.answers.browsers import Browsers
from pages.server.gate import PRIVATE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/answer"
MOST_BYTES = 4096
BODY_SECONDS = 5.0
CLOSED = "No question is open; wait for the next one."
TOO_MUCH = "That was too fast; wait a second and send it again."
TOO_MANY = "Too many browsers without a cookie have answered; load this page again, with cookies allowed."
WRONG_TYPE = "An answer is JSON; send it as application/json."
TOO_LARGE = f"An answer has at most {MOST_BYTES:,} bytes; send fewer."
TOO_SLOW = "The answer did not come in time; send it again."
UNREAD = {"Connection": "close"}  # what is still to come of the request is not waited for
NO_ANSWER = 'Send {"question": its id, "value": the answer}.'


class Answers:
    """ASGI middleware: takes a browser's answer to the open question, or says in a sentence why not.

    Everything but what comes to `base` and PATH goes on to the application.
    """

    def __init__(self, app: ASGIApp, classroom: Classroom, browsers: Browsers, base: str = "") -> None:
        self.app, self.classroom, self.browsers = app, classroom, browsers
        self.path = base + PATH

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self.path:
            await self.app(scope, receive, send)
            return
        browser = self.browsers.known(scope)
        response = self._refused_unread(scope, browser) or await self._taken(scope, receive, browser)
        await response(scope, receive, send)

    def _refused_unread(self, scope: Scope, browser: str | None) -> Response | None:
        """What is wrong as far as the head of the request tells; None if nothing is."""
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        short = length.isdecimal() and int(length) <= MOST_BYTES
        rest = {} if short else UNREAD
        if scope["method"] != "POST":
            return _told(405, "Send an answer with POST.", {"Allow": "POST", **rest})
        if length and not short:
            return _told(413, TOO_LARGE, UNREAD)
        poll = self.classroom.poll
        if poll is None or not poll.open:
            return _told(409, CLOSED, rest)
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return _told(415, WRONG_TYPE, rest)
        if browser is not None and not self.browsers.may_send(browser):
            return _told(429, TOO_MUCH, {"Retry-After": "1", **rest})
        if browser is None and not self.browsers.may_come(poll.id):
            return _told(429, TOO_MANY, rest)
        return None

    async def _taken(self, scope: Scope, receive: Receive, browser: str | None) -> Response:
        handed_out = None
        if browser is None:
            browser, handed_out = self.browsers.new_cookie(scope)
        try:
            response = self._answer(browser, await _body(receive))
        except TimeoutError:
            response = _told(408, TOO_SLOW, UNREAD)
        if handed_out is not None:
            response.raw_headers.append(handed_out)
        return response

    def _answer(self, browser: str, body: bytes | None) -> Response:
        if body is None:
            return _told(413, TOO_LARGE, UNREAD)
        read = _read(body)
        if read is None:
            return _told(400, NO_ANSWER)
        try:
            self.classroom.answer(read[0], browser, read[1])
        except Closed:
            return _told(409, CLOSED)
        except Full as error:
            return _told(429, _sentence(error))
        except Refused as error:
            return _told(400, _sentence(error))
        return Response(status_code=204, headers=PRIVATE)


async def _body(receive: Receive) -> bytes | None:
    """The body; None where it is longer than MOST_BYTES. TimeoutError where it takes longer than BODY_SECONDS."""
    body = bytearray()
    async with asyncio.timeout(BODY_SECONDS):
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > MOST_BYTES:
                return None
            if not message.get("more_body"):
                return bytes(body)


def _read(body: bytes) -> tuple[str, Any] | None:
    """The question's id and the value; None where there are none."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(told, dict) or not isinstance(told.get("question"), str) or "value" not in told:
        return None
    return told["question"], told["value"]


def _told(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(sentence + "\n", status, {**PRIVATE, **(headers or {})})


def _sentence(error: Refused) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
