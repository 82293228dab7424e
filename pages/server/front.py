"""The first page as it goes out: Streamlit's own, with the board before it.

Streamlit's script is large, and a board that it places waits for all of it. So the page asks for the board first
(`client/early.js`), which draws the run where it will stand; Streamlit's script follows when the first curve is drawn.
Knows no run. A page of Streamlit's that is built otherwise goes out as it is.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from streamlit.file_util import get_static_dir

from pages.board.board import ASSETS
from pages.charts.palette import colours

ENTRY = re.compile(r'<script type="module"[^>]* src="(\./static/js/[\w.-]+\.js)"></script>')
PARTS = '<link rel="modulepreload" crossorigin href="./static/'
DARK, LIGHT = (f"{{background:{colours(theme)['background']}}}" for theme in ("dark", "light"))
GROUND = (
    f"<style>html{DARK}@media(prefers-color-scheme:light){{html{LIGHT}}}"
    f'html[data-theme="dark"]{DARK}html[data-theme="light"]{LIGHT}</style>'
)


@lru_cache(maxsize=1)
def page() -> str:
    """Streamlit's page, its script and the parts of it handed to `early.js`."""
    told = (Path(get_static_dir()) / "index.html").read_text(encoding="utf-8")
    found = ENTRY.search(told)
    if found is None:
        return told
    modules = [f'<link rel="modulepreload" href="./{name}">' for name in ASSETS if name.endswith(".js")]
    first = [
        GROUND,
        '<link rel="preload" as="script" href="./vendor/plotly.min.js">',
        '<link rel="stylesheet" href="./board.css">',
        *modules,
        f'<script type="module" async src="./client/early.js" data-next="{found[1]}"></script>',
    ]
    told = told.replace(found[0], "\n    ".join(first))
    return told.replace(PARTS, PARTS.replace('rel="modulepreload"', "data-part"))


def front(_: Request) -> Response:
    """`GET /`: the page that the stage opens with."""
    return HTMLResponse(page(), headers={"Cache-Control": "no-cache"})
