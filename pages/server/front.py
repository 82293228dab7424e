"""`GET /`: Streamlit's own page, with the board loaded before Streamlit.

Streamlit's script is large, and a board that it places has to wait for all of it. So this page loads the board first
(`client/early.js`), which draws the run in its final place; Streamlit's script follows once the first curve is drawn,
and last, while nothing else is going on, what other pages are made of: charts, tables, code.
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
IMPORTED = re.compile(r'(?:from|import)"\./([\w.-]+\.js)"')
LATER = ("PlotlyChart", "DataFrame", "Table", "StreamlitSyntaxHighlighter", "TextArea", "Selectbox")
"""Streamlit's modules that other pages need, the largest first."""
IMPORTS_END = 20_000  # characters: imports stand at the beginning
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
    styles = [f'<link rel="stylesheet" href="./{name}">' for name in ASSETS if name.endswith(".css")]
    modules = [f'<link rel="modulepreload" href="./{name}">' for name in ASSETS if name.endswith(".js")]
    first = [
        BACKGROUND_STYLE,
        '<link rel="preload" as="script" href="./vendor/plotly.min.js">',
        *styles,
        *modules,
        f'<script type="module" async src="./client/early.js" data-next="{found[1]}"></script>',
    ]
    later = [f'<link data-later crossorigin href="./static/js/{name}">' for name in later_modules() if name not in told]
    told = told.replace(found[0], "\n    ".join([*first, *later]))
    return told.replace(MODULE_PRELOAD, MODULE_PRELOAD.replace('rel="modulepreload"', "data-part"))


def later_modules() -> list[str]:
    """The files of Streamlit's modules LATER and of all that they import; without those that this version lacks."""
    folder = Path(get_static_dir()) / "static" / "js"
    files = dict.fromkeys(path.name for name in LATER for path in folder.glob(f"{name}.*.js"))
    for name in (waiting := list(files)):  # grows
        with (folder / name).open(encoding="utf-8") as script:
            imports = IMPORTED.findall(script.read(IMPORTS_END))
        for found in imports:
            if found not in files and (folder / found).is_file():
                files[found] = None
                waiting.append(found)
    return list(files)


def front(_: Request) -> Response:
    """`GET /`: the page that the stage opens with."""
    return HTMLResponse(front_page(), headers={"Cache-Control": "no-cache"})
