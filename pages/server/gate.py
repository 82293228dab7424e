"""The gate: who is served what, decided before Streamlit, its socket and its uploads see a byte.

A closed room serves this machine: Host must be loopback or a configured name, which keeps other sites from reaching in
through a DNS name of theirs; an Origin must equal the Host. An open room serves the audience a short list of exact
paths, and everything else to whoever holds the presenter's token. Decisions use headers and paths only.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from pages.server.room import Room

AUTHORITY = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#@]+)")
DEFAULT_PORT = {"http": 80, "ws": 80, "https": 443, "wss": 443}
WILDCARDS = frozenset({"0.0.0.0", "::"})
SAFE_METHODS = frozenset({"GET", "HEAD"})
POLICY_VIOLATION = 1008
PRESENTER = "loopscope.presenter"  # in the scope of what the gate lets through
# A refusal is never kept by a browser, and an address with a token in it never travels on as a referrer.
PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
REFUSAL_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Loopscope</title>
<body style="font:18px/1.5 system-ui;max-width:34em;margin:12vh auto;padding:0 1em;color:#15202B;background:#fff">
<p>This page belongs to the presenter. You can watch the run at <a href="/watch">/watch</a>.</p>
<p>If you are the presenter, open the address with the token that the terminal shows.
If you have already done so and came here from another site, <a href="">open this page again</a>.</p>
"""


@dataclass(frozen=True)
class Authority:
    """A host and its port, as a Host header or an Origin names them."""

    name: str
    port: int

    @classmethod
    def read(cls, text: str, scheme: str) -> Authority | None:
        """The host and port in `text`; the scheme's own port where none is named. None if it is malformed."""
        match = AUTHORITY.fullmatch(text.lower())
        if match is None:
            return None
        name = match["name"] or _address(match["six"])
        port = int(match["port"]) if match["port"] else DEFAULT_PORT[scheme]
        return cls(name, port) if name and 0 < port < 65536 else None


class Gate:
    """ASGI middleware before everything else.

    `pages` are the audience's exact paths over HTTP, `sockets` its exact WebSocket paths: with an open room, all that
    anybody gets without the token. `hosts` are the names this server answers to besides loopback (the configured
    address, allowed hosts; `*.example.com` is understood); None and addresses that mean "every interface" are
    ignored.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        pages: Collection[str] = (),
        sockets: Collection[str] = (),
        hosts: Iterable[str | None] = (),
        room: Room | None = None,
    ) -> None:
        self.app = app
        self.pages = frozenset(pages)
        self.sockets = frozenset(sockets)
        self.room = room
        known = {host.strip().lower() for host in hosts if host} | set(room.hosts if room else ())
        self.hosts = known - WILDCARDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        answer = self._answer(scope)
        if answer is None:
            try:
                presenter = self.room is None or _is_presenter(Headers(scope=scope), self.room)
                await self.app({**scope, PRESENTER: presenter}, receive, send)
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
            return PlainTextResponse(refusal + "\n", status_code=403, headers=PRIVATE)
        if self.room is None:
            return None
        if _brings_token(scope, self.room):
            return _welcome(scope, self.room)
        if _is_presenter(headers, self.room) or self._is_for_audience(scope):
            return None
        return HTMLResponse(REFUSAL_PAGE, status_code=403, headers=PRIVATE)

    def _stranger(self, scope: Scope, headers: Headers) -> str | None:
        """What is wrong with where a request comes from, in one sentence; None if nothing is."""
        named = headers.getlist("host")
        host = Authority.read(named[0], scope["scheme"]) if len(named) == 1 else None
        if host is None:
            return "A request needs exactly one well-formed Host header."
        if not self._is_known(host.name):
            return (
                f"This server does not answer to {host.name}; open it by the address that the terminal shows, "
                f"or add {host.name} to server.allowedHosts in .streamlit/config.toml."
            )
        origins = headers.getlist("origin")
        if any(_read_origin(origin) != host for origin in origins) or len(origins) > 1:
            return "A page of another site may not use this server; open it by the address that the terminal shows."
        client = scope.get("client")
        if scope["type"] == "websocket" and not origins and not (client and _is_loopback(client[0])):
            return "A client that names no Origin may connect from this machine only."
        return None

    def _is_known(self, name: str) -> bool:
        return name == "localhost" or _is_loopback(name) or any(fnmatchcase(name, host) for host in self.hosts)

    def _is_for_audience(self, scope: Scope) -> bool:
        """Is it an address of the list, spelled exactly? Escapes, doubled slashes and `..` never are."""
        path = scope["path"]
        if scope.get("raw_path", path.encode()) != path.encode():
            return False
        if scope["type"] == "websocket":
            return path in self.sockets
        return path in self.pages and scope["method"] in SAFE_METHODS


def is_presenter(scope: Scope) -> bool:
    """Has the gate let this through as the presenter's? In a closed room everybody on this machine is."""
    return bool(scope.get(PRESENTER, False))


def _brings_token(scope: Scope, room: Room) -> bool:
    if scope["type"] != "http" or scope["method"] not in SAFE_METHODS:
        return False
    tokens = [unquote_plus(value) for name, value in _query(scope) if name == "token"]
    return len(tokens) == 1 and _same(tokens[0], room.token)


def _welcome(scope: Scope, room: Room) -> Response:
    """Keep the token in a cookie that no script reads, and take it out of the address bar."""
    rest = "&".join(f"{name}={value}" for name, value in _query(scope) if name != "token")
    response = RedirectResponse(_path(scope) + (f"?{rest}" if rest else ""), status_code=303, headers=PRIVATE)
    secure = scope["scheme"] == "https"
    response.set_cookie(room.cookie, room.token, httponly=True, samesite="strict", secure=secure)
    return response


def _is_presenter(headers: Headers, room: Room) -> bool:
    return any(_same(value, room.token) for value in _cookies(headers, room.cookie))


def _path(scope: Scope) -> str:
    """The path as it was sent, safe in a Location: never one that leads to another host."""
    raw: bytes = scope.get("raw_path", b"/")
    path = raw.decode("latin-1")
    return path if re.fullmatch(r"/(?![/\\])[!-~]*", path) else "/"


def _query(scope: Scope) -> Iterator[tuple[str, str]]:
    """The query's names and values as they were sent, names decoded."""
    for pair in scope.get("query_string", b"").decode("latin-1").split("&"):
        name, equals, value = pair.partition("=")
        if name or equals:
            yield unquote_plus(name), value


def _cookies(headers: Headers, wanted: str) -> Iterator[str]:
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == wanted:
                yield value


def _read_origin(text: str) -> Authority | None:
    match = ORIGIN.fullmatch(text.strip().lower())
    return Authority.read(match["authority"], match["scheme"]) if match else None


def _same(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode(errors="replace"), token.encode())


def _address(text: str) -> str:
    """An IPv6 address in its shortest spelling; empty if it is none."""
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    """Is `name` a loopback address? False for names that are not addresses."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
