"""Style sheets: what would make every page slow to draw is not in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = Path(__file__).resolve().parents[2] / "pages"
SHEETS = [path for path in PAGES.rglob("*") if path.suffix in (".css", ".py", ".html")]
# What a `:has()`, with brackets in brackets in it, decides about an element elsewhere: "A:has(B) C"
HAS = re.compile(r"([^\s{};,>+~]*):has\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)[^\s{},]*(\s[^{},]*)?\s*[,{]")


def costly(sheet: str) -> list[str]:
    """Selectors by which each change of the page, such as measuring a label, has all its elements matched anew."""
    told = re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)
    return [
        found[0]
        for found in HAS.finditer(told)
        if (elsewhere := (found[2] or "").strip()) and ("[" in elsewhere or found[1] in ("body", "html", ""))
    ]


def test_no_has_makes_the_browser_look_through_the_whole_page_at_each_change() -> None:
    assert [found for path in SHEETS for found in costly(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("selector", "costs"),
    [
        ('body:has(> .ls-early > .ls-board) [data-testid="stMain"]', True),
        ('body:has(button:not([aria-label^="Help"]):is(:focus, [aria-expanded="true"]):hover) .tip', True),
        ('[data-testid="stNumberInput"]:has([role="alert"]) [data-testid="InputInstructions"]', True),
        ('.stNumberInput:has(> [role="alert"]) > [data-testid="InputInstructions"]', True),
        ("body:has(button:hover)", False),
        ('[data-testid="stNumberInput"]:has([role="alert"])', False),
        (".stColumn:has(.st-key-controls) + .stColumn", False),
        (".ls-board:not(:has(.ls-panel))", False),
        (".ls-top:has(.ls-choice) .ls-save", False),
        ('.ls-early:not(:empty) ~ * [data-testid="stMain"]', False),
    ],
)
def test_what_is_costly(selector: str, costs: bool) -> None:
    assert bool(costly(selector + " { display: none; }")) is costs
