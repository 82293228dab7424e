"""Headers that every answer carries, Streamlit's included: who may frame these pages, and what they may load.

`LOOPSCOPE_FRAME_ANCESTORS` lists the sites, by their origins, that may show these pages in a frame of theirs besides
this one itself: "https://school.example https://*.course.example".
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from typing import TYPE_CHECKING

from engine.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SETTING = "LOOPSCOPE_FRAME_ANCESTORS"
SITE = re.compile(r"https?://(\*\.)?[A-Za-z0-9.-]+(:\d{1,5})?")
# Streamlit and Plotly write styles into their pages, and Streamlit's components come as blobs. Of scripts within a page
# only those run that are in the pages served here, each by its hash.
INLINE = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.S)
SOURCES = (
    "default-src 'self'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "media-src 'self' data: blob:",
    "connect-src 'self' ws: wss: data: blob:",
    "worker-src 'self' blob:",
    "frame-src 'self' data: blob:",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
)


def framing_sites(text: str | None = None) -> tuple[str, ...]:
    """The sites that the setting lists; InputError for one that is no origin."""
    sites = tuple((os.environ.get(SETTING, "") if text is None else text).split())
    for site in sites:
        if not SITE.fullmatch(site):
            raise InputError(
                f"{SETTING} has {site[:80]!r}; list origins such as https://school.example, between spaces"
            )
    return sites


def hash_of(script: str) -> str:
    """What names a script within a page in a policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


class SecurityHeaders:
    """ASGI middleware around everything else.

    `sites` may frame the pages besides their own; `pages` are the texts of those that have scripts within.
    """

    def __init__(self, app: ASGIApp, sites: Sequence[str] = (), pages: Sequence[str] = ()) -> None:
        self.app = app
        hashes = [hash_of(script) for page in pages for script in INLINE.findall(page)]
        scripts = " ".join(("script-src 'self' blob:", *hashes))
        policy = "; ".join((*SOURCES, scripts, " ".join(("frame-ancestors 'self'", *sites))))
        self.headers = [(b"content-security-policy", policy.encode()), (b"x-content-type-options", b"nosniff")]
        if not sites:  # an older header, which can name no other site
            self.headers.append((b"x-frame-options", b"SAMEORIGIN"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                given = list(message.get("headers", ()))
                names = {name.lower() for name, _ in given}
                message = {**message, "headers": given + [own for own in self.headers if own[0] not in names]}
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] != "lifespan" else send)
