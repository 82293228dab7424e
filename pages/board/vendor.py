"""Plotly's script and Streamlit's typeface, out of the installed wheels, kept by a browser for a week.

Plotly's script spends most of its first second on the 45 kinds of traces that no chart here draws. As it is served,
it registers those in `FIRST` (and "scatter", which is built in), and the others when a chart first wants one of them:
`Plotly.registerRest()`. A script that is built otherwise is served as it is.
"""

from __future__ import annotations

import gzip
import re
from functools import lru_cache
from pathlib import Path

import plotly
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from streamlit.file_util import get_static_dir

PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
SCRIPT = "text/javascript"
FIRST = ("heatmap",)
REGISTERS = re.compile(r"([\w$]+)\.register\(\[((?:[\w$]+\(\),?)+)\]\)")
HANDS_ON = re.compile(r'var [\w$]+=W\(\([^)]*\)=>\{(?:"use strict";)?[\w$]+\.exports=([\w$]+)\(\)\}\)')
WRAPPED = re.compile(r"self : this, (?P<factory>\(\) => \{\n.*\n\})\)\);\s*", re.DOTALL)


def quick(script: str) -> str:
    """Plotly's `script`, registering first what is drawn here; unchanged if it is not built as expected."""
    found = REGISTERS.search(script)
    wrapped = WRAPPED.search(script)
    if found is None or wrapped is None:
        return script
    name, modules = found[1], re.findall(r"[\w$]+", found[2])
    first = [module for module in modules if _kind(script, module) in FIRST]
    if len(first) < len(FIRST):
        return script
    rest = [module for module in modules if module not in first]
    registered = (
        f"{name}.register([{_calls(first)}]),{name}.registerRest=()=>"
        f"{{{name}.register([{_calls(rest)}]);{name}.registerRest=null}}"
    )
    begin, end = wrapped.span("factory")
    # In brackets a function is compiled as it is read: 5 MB are not read twice.
    factory = f"({script[begin : found.start()]}{registered}{script[found.end() : end]})"
    return script[:begin] + factory + script[end:]


def _kind(script: str, module: str) -> str | None:
    """The kind of trace that a bundled module defines, itself or by handing on another one."""
    text = _text(script, module)
    handed_on = HANDS_ON.match(text)
    if handed_on:
        text = _text(script, handed_on[1])
    found = re.search(r'moduleType:"trace",name:"(\w+)"', text)
    return found[1] if found else None


def _text(script: str, module: str) -> str:
    begin = script.find(f"var {module}=W((")
    return script[begin : begin + 3000] if begin >= 0 else ""


def _calls(modules: list[str]) -> str:
    return ",".join(f"{module}()" for module in modules)


@lru_cache(maxsize=1)
def scripts() -> tuple[bytes, bytes]:
    """The script, plain and gzipped (4.8 MB and 1.5 MB); made once a process."""
    plain = quick(PLOTLY.read_text(encoding="utf-8")).encode()
    return plain, gzip.compress(plain, 6)


def plotly_script(request: Request) -> Response:
    """`GET /vendor/plotly.min.js`."""
    tag = f'"plotly-{plotly.__version__}-quick"'
    headers = {"Cache-Control": "public, max-age=604800", "ETag": tag, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    plain, compressed = scripts()
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(compressed, media_type=SCRIPT, headers={**headers, "Content-Encoding": "gzip"})
    return Response(plain, media_type=SCRIPT, headers=headers)


def typeface(_: Request) -> Response:
    """`GET /vendor/source-sans.woff2`: the typeface of Streamlit's pages, for the one that is not of Streamlit."""
    for font in (Path(get_static_dir()) / "static" / "media").glob("SourceSansVF-Upright*.woff2"):
        return FileResponse(font, media_type="font/woff2", headers={"Cache-Control": "public, max-age=604800"})
    return Response(status_code=404)
