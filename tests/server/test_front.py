"""The first page: the board before Streamlit's own script, and nothing lost of what Streamlit sends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.file_util import get_static_dir

from pages.board.board import ASSETS
from pages.server import front

INDEX = Path(get_static_dir()) / "index.html"


@pytest.fixture
def fresh() -> Iterator[None]:
    """A process that has not made the page yet."""
    front.front_page.cache_clear()
    yield
    front.front_page.cache_clear()


def linked(html: str) -> set[str]:
    return set(re.findall(r'(?:src|href|data-next)="\./([^"]+)"', html))


def test_the_board_comes_before_streamlit_and_nothing_of_streamlit_is_lost() -> None:
    told, own = front.front_page(), INDEX.read_text(encoding="utf-8")
    entry = front.ENTRY_SCRIPT.search(own)
    assert entry, "Streamlit's page has changed: the board would wait for all of its script"
    assert f'src="./client/early.js" data-next="{entry[1]}"' in told
    assert f'src="{entry[1]}"' not in told, "the board's script asks for it"
    assert 'modulepreload" crossorigin' not in told, "and for its parts"
    board = {name for name in ASSETS if name.endswith((".js", ".css"))} | {"vendor/plotly.min.js"}
    assert linked(told) == linked(own) | board
    assert told.count("data-part") == own.count("modulepreload") > 20


@pytest.mark.usefixtures("fresh")
def test_a_page_that_is_built_otherwise_goes_out_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = '<html><head><script src="/static/other.js"></script></head></html>'
    (tmp_path / "index.html").write_text(other)
    monkeypatch.setattr(front, "get_static_dir", lambda: str(tmp_path))
    assert front.front_page() == other
