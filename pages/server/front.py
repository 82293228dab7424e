"""`GET /`: Streamlit's own page, with the board loaded before Streamlit.

Streamlit's script is large, and a board that it places has to wait for all of it. So this page loads the board first
(`client/early.js`), which draws the run in its final place; Streamlit's script follows once the first curve is drawn.
If Streamlit's page does not have the expected form, it is served unchanged.
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

ENTRY_SCRIPT = re.compile(r'<script type="module"[^>]* src="(\./static/js/[\w.-]+\.js)"></script>')
MODULE_PRELOAD = '<link rel="modulepreload" crossorigin href="./static/'
DARK, LIGHT = (f"{{background:{colours(theme)['background']}}}" for theme in ("dark", "light"))
BACKGROUND_STYLE = (
    f"<style>html{DARK}@media(prefers-color-scheme:light){{html{LIGHT}}}"
    f'html[data-theme="dark"]{DARK}html[data-theme="light"]{LIGHT}</style>'
)


@lru_cache(maxsize=1)
def front_page() -> str:
    """Streamlit's page, with its script and module preloads handed to `early.js`."""
    told = (Path(get_static_dir()) / "index.html").read_text(encoding="utf-8")
    found = ENTRY_SCRIPT.search(told)
    if found is None:
        return told
    modules = [f'<link rel="modulepreload" href="./{name}">' for name in ASSETS if name.endswith(".js")]
    first = [
        BACKGROUND_STYLE,
        '<link rel="preload" as="script" href="./vendor/plotly.min.js">',
        '<link rel="stylesheet" href="./board.css">',
        *modules,
        f'<script type="module" async src="./client/early.js" data-next="{found[1]}"></script>',
    ]
    told = told.replace(found[0], "\n    ".join(first))
    return told.replace(MODULE_PRELOAD, MODULE_PRELOAD.replace('rel="modulepreload"', "data-part"))


def front(_: Request) -> Response:
    """`GET /`: the page that the stage opens with."""
    return HTMLResponse(front_page(), headers={"Cache-Control": "no-cache"})
