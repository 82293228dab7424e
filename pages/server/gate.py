"""The gate: who is served what, decided before Streamlit, its socket and its uploads see a byte.

A closed room serves this machine: Host must be loopback, which keeps other sites from reaching in through a DNS name of
theirs; an Origin must equal the Host. An open room also answers to its own names and to those that LOOPSCOPE_HOSTS
lists, and to pages of the origins listed there; it serves the audience a short list of exact paths, and everything else
to whoever holds the presenter's token. Decisions use headers and paths only.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from pages.server.addresses import Authority, Origin, is_loopback, is_this_machine, setting_with

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from pages.server.room import Room

SAFE_METHODS = frozenset({"GET", "HEAD"})
POLICY_VIOLATION = 1008
PRESENTER = "loopscope.presenter"  # in the scope of what the gate lets through
# A refusal is never kept by a browser, and an address with a token in it never travels on as a referrer.
PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
REFUSAL_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Loopscope</title>
<body style="font:18px/1.5 system-ui;max-width:34em;margin:12vh auto;padding:0 1em;color:#15202B;background:#fff">
<p>This page belongs to the presenter. You can <a href="{watch}">watch the run</a>.</p>
<p>If you are the presenter, open the address with the token that the terminal shows.
If you have already done so and came here from another site, <a href="">open this page again</a>.</p>
"""


class Gate:
    """ASGI middleware before everything else.

    `pages` are the audience's exact paths over HTTP, `sockets` its exact WebSocket paths, both under the base path
    `base` ("" or as "/loop"): with an open room, all that anybody gets without the token. `files` are those of `pages`
    that hold code and no word of a run: browsers ask for scripts with an Origin, and where a proxy has spoilt that, the
    board must still come, to say so. `posts` are the paths that the audience may send something to, from a page of this
    server alone: whoever names no Origin may not, the presenter included.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        pages: Collection[str] = (),
        sockets: Collection[str] = (),
        files: Collection[str] = (),
        posts: Collection[str] = (),
        base: str = "",
        room: Room | None = None,
    ) -> None:
        self.app = app
        self.pages = frozenset(base + path for path in pages)
        self.sockets = frozenset(base + path for path in sockets)
        self.files = frozenset(base + path for path in files)
        self.posts = frozenset(base + path for path in posts)
        self.base = base
        self.room = room
        self.listed = room.listed if room else ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        answer = self._answer(scope)
        if answer is None:
            try:
                presenter = self.room is None or holds_token(Headers(scope=scope), self.room)
                await self.app({**_with_own_origin(scope), PRESENTER: presenter}, receive, send)
            except asyncio.CancelledError:
                # Only the server's shutdown cancels a request: a viewer that no longer reads. Nothing is left to say.
                return
        elif scope["type"] == "http":
            await answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})

    def _answer(self, scope: Scope) -> Response | None:
        """None lets the request through; a response is what it gets instead."""
        headers = Headers(scope=scope)
        refusal = self._stranger(scope, headers)
        if refusal:
            return PlainTextResponse(refusal + "\n", status_code=403, headers=_for_refusal(scope))
        if self.room is None:
            return None
        if _brings_token(scope, self.room):
            return _welcome(scope, self.room)
        if holds_token(headers, self.room) or self._is_for_audience(scope):
            return None
        page = REFUSAL_PAGE.format(watch=self._way_to_watch(scope))
        return HTMLResponse(page, status_code=403, headers=_for_refusal(scope))

    def _stranger(self, scope: Scope, headers: Headers) -> str | None:
        """What is wrong with where a request comes from, in one sentence; None if nothing is."""
        named = headers.getlist("host")
        host = Authority.read(named[0], scope["scheme"]) if len(named) == 1 else None
        if host is None:
            return "A request needs exactly one well-formed Host header."
        open_to_all = scope["type"] == "http" and scope["method"] in SAFE_METHODS and scope["path"] in self.files
        origins = [] if open_to_all else headers.getlist("origin")
        origin = Origin.read(origins[0]) if len(origins) == 1 else None
        if not self._is_known(host.name):
            seen = origin or _guessed(named[0], scope["scheme"], headers)
            return (
                f"This server does not answer to {host.name}; open it by the address that the terminal shows, or start "
                f"it with {setting_with(str(seen), self.listed)} if that is the address in your browser."
            )
        if origins and origin is None:
            return "A page of another site may not use this server; open it by the address that the terminal shows."
        if origin and origin.authority != host and not any(listed.allows(origin) for listed in self.listed):
            return self._mismatch(origin, named[0], scope["scheme"])
        client = scope.get("client")
        if scope["type"] == "websocket" and not origins and not (client and is_loopback(client[0])):
            return "A client that names no Origin may connect from this machine only."
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self.posts and not origins:
            return "This is taken from a page of this server only; open that and send it from there."
        return None

    def _mismatch(self, origin: Origin, host: str, scheme: str) -> str:
        """Why a page of `origin` may not connect by `host`, and which of a proxy's headers would make them equal."""
        sent, wrong = str(origin).partition("://")[2], []
        if host.lower() != sent:
            wrong.append(f"Host must be {sent} (nginx: proxy_set_header Host $http_host)")
        if scheme not in (origin.scheme, origin.scheme.replace("http", "ws")) and origin.has_default_port:
            wrong.append(
                f"X-Forwarded-Proto must be {origin.scheme} (nginx: proxy_set_header X-Forwarded-Proto $scheme)"
            )
        return (
            f"The page was opened at {origin}, Host says {host}, and a page of another site may not use this server. "
            f"If {origin} is your own address, a proxy in between changes headers: {' and '.join(wrong)}. "
            f"Set that there, or start with {setting_with(str(origin), self.listed)} instead."
        )

    def _is_known(self, name: str) -> bool:
        return is_this_machine(name) or (self.room is not None and self.room.answers_to(name))

    def _way_to_watch(self, scope: Scope) -> str:
        """The audience's page as an address relative to the one asked for, which a proxy may have shortened."""
        raw: bytes = scope.get("raw_path", b"/")
        return "./" + "../" * (raw.count(b"/") - 1) + f"{self.base}/watch".lstrip("/")

    def _is_for_audience(self, scope: Scope) -> bool:
        """Is it an address of the list, spelled exactly? Escapes, doubled slashes and `..` never are."""
        path = scope["path"]
        if scope.get("raw_path", path.encode()) != path.encode():
            return False
        if scope["type"] == "websocket":
            return path in self.sockets
        if scope["method"] == "POST":
            return path in self.posts
        return path in self.pages and scope["method"] in SAFE_METHODS


def is_presenter(scope: Scope) -> bool:
    """Has the gate let this through as the presenter's? In a closed room everybody on this machine is."""
    return bool(scope.get(PRESENTER, False))


def _for_refusal(scope: Scope) -> dict[str, str]:
    """The headers of a refusal: of what is sent along with the request nothing more is read."""
    sends = scope["type"] == "http" and scope["method"] not in SAFE_METHODS
    return PRIVATE | ({"Connection": "close"} if sends else {})


def holds_token(headers: Headers, room: Room) -> bool:
    """Does a request carry the presenter's token in its cookie?"""
    return any(_same(value, room.token) for value in cookies(headers, room.cookie))


def _brings_token(scope: Scope, room: Room) -> bool:
    if scope["type"] != "http" or scope["method"] not in SAFE_METHODS:
        return False
    tokens = [unquote_plus(value) for name, value in _query(scope) if name == "token"]
    return len(tokens) == 1 and _same(tokens[0], room.token)


def _welcome(scope: Scope, room: Room) -> Response:
    """Keep the token in a cookie that no script reads, and take it out of the address bar.

    Where the page stands for the browser is not known behind a proxy that takes off a part of the path: the way on is
    relative, and the cookie names no path, so that browsers send it to the page's own neighbours alone.
    """
    rest = "&".join(f"{name}={value}" for name, value in _query(scope) if name != "token")
    response = RedirectResponse(_same_page(scope) + (f"?{rest}" if rest else ""), status_code=303, headers=PRIVATE)
    secure = scope["scheme"] == "https"
    response.set_cookie(room.cookie, room.token, path=None, httponly=True, samesite="strict", secure=secure)
    return response


def _with_own_origin(scope: Scope) -> Scope:
    """The request with its Origin as the Host has it.

    The gate has judged the Origin. Streamlit would do so by another list, for which it asks a server on the internet
    for this machine's address.
    """
    host = Headers(scope=scope)["host"].encode("latin-1")
    own = (b"https://" if scope["scheme"] in ("https", "wss") else b"http://") + host
    return {**scope, "headers": [(name, own if name == b"origin" else value) for name, value in scope["headers"]]}


def _guessed(host: str, scheme: str, headers: Headers) -> Origin:
    """Where the browser stands, as far as a request without an Origin tells.

    Over plain http a browser sends no Sec-Fetch headers, except to its own machine: with them, TLS ends at a proxy.
    """
    secure = scheme in ("https", "wss") or "sec-fetch-mode" in headers
    authority = Authority.read(host, "https" if secure else "http")
    assert authority is not None, "read before"
    return Origin("https" if secure else "http", authority)


def _same_page(scope: Scope) -> str:
    """The page itself as a relative address, safe in a Location: it never leads to another host."""
    raw: bytes = scope.get("raw_path", b"/")
    page = raw.decode("latin-1").rpartition("/")[2]
    return f"./{page}" if re.fullmatch(r"[!-~]*", page) else "./"


def _query(scope: Scope) -> Iterator[tuple[str, str]]:
    """The query's names and values as they were sent, names decoded."""
    for pair in scope.get("query_string", b"").decode("latin-1").split("&"):
        name, equals, value = pair.partition("=")
        if name or equals:
            yield unquote_plus(name), value


def cookies(headers: Headers, wanted: str) -> Iterator[str]:
    """The values of all cookies of that name, as they were sent."""
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == wanted:
                yield value


def _same(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode(errors="replace"), token.encode())
