"""The first page: the board before Streamlit's own script, and nothing lost of what Streamlit sends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from streamlit.file_util import get_static_dir

from engine.runs.manager import run_manager
from pages.board.board import ASSETS
from pages.server import front, routes
from pages.server.hub import Hub

INDEX = Path(get_static_dir()) / "index.html"


@pytest.fixture
def fresh() -> Iterator[None]:
    """A process that has not made the page yet."""
    front.front_page.cache_clear()
    yield
    front.front_page.cache_clear()


def linked(html: str) -> set[str]:
    return set(re.findall(r'(?:src|href|data-next)="\./([^"]+)"', html))


def later() -> set[str]:
    return {f"static/js/{name}" for name in front.later_modules()}


def test_what_other_pages_are_made_of_is_asked_for_last_and_by_names_that_streamlit_has() -> None:
    names = front.later_modules()
    first = dict.fromkeys(name.partition(".")[0] for name in names)
    assert list(first)[: len(front.LATER)] == list(front.LATER), "Streamlit has renamed one: its first use will be slow"
    for name in names:
        imports = front.IMPORTED.findall((INDEX.parent / "static" / "js" / name).read_text(encoding="utf-8"))
        assert set(imports) <= set(names), f"what {name} imports would be asked for only when it has come"
    told = front.front_page()
    assert told.index("client/early.js") < told.index("data-later")
    assert told.count("PlotlyChart") == 1 and told.count("data-later") == len(later() - linked(INDEX.read_text()))


def test_the_board_comes_before_streamlit_and_nothing_of_streamlit_is_lost() -> None:
    told, own = front.front_page(), INDEX.read_text(encoding="utf-8")
    entry = front.ENTRY_SCRIPT.search(own)
    assert entry, "Streamlit's page has changed: the board would wait for all of its script"
    assert f'src="./client/early.js" data-next="{entry[1]}"' in told
    assert f'src="{entry[1]}"' not in told, "the board's script asks for it"
    assert 'modulepreload" crossorigin' not in told, "and for its parts"
    board = {name for name in ASSETS if name.endswith((".js", ".css"))} | {"vendor/plotly.min.js"}
    assert linked(told) == linked(own) | board | later()
    assert told.count("data-part") == own.count("modulepreload") > 20


@pytest.mark.usefixtures("fresh")
def test_a_page_that_is_built_otherwise_goes_out_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = '<html><head><script src="/static/other.js"></script></head></html>'
    (tmp_path / "index.html").write_text(other)
    monkeypatch.setattr(front, "get_static_dir", lambda: str(tmp_path))
    assert front.front_page() == other


@pytest.mark.parametrize("base", ["", "/loop", "/a/b"])
def test_every_address_of_the_first_page_and_of_watch_is_answered_under_the_base_path(base: str) -> None:
    served = {
        route.path for route in routes.routes(Hub(run_manager()), base) if isinstance(route, Route | WebSocketRoute)
    }
    own = linked(INDEX.read_text(encoding="utf-8")) | later()
    wanted = {urljoin(f"{base}/", f"./{link}") for link in linked(front.front_page()) - own}
    watch = (Path(routes.__file__).parent / "watch.html").read_text(encoding="utf-8")
    wanted |= {urljoin(f"{base}/watch", link) for link in re.findall(r'(?:href="|from ")((?!data:)[^"]+)', watch)}
    assert len(wanted) > 20 and wanted <= served
    assert all(path == base or path.startswith(f"{base}/") for path in served)


def test_the_base_path_itself_leads_to_its_page() -> None:
    app = Starlette(routes=routes.routes(Hub(run_manager()), "/loop"))
    with TestClient(app) as browser:
        for asked, way in (("/loop", "./loop/"), ("/loop?preset=bigram&lr=0.003", "./loop/?preset=bigram&lr=0.003")):
            answer = browser.get(asked, follow_redirects=False)
            assert answer.headers["location"] == way, "relative: a proxy may have taken off a part of the path"
            assert browser.get(asked).text == front.front_page()
        assert browser.get("/loop/watch").text.startswith("<!doctype html>")
        assert browser.get("/watch").status_code == 404
