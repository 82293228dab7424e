"""Names, contrast and roles on every page, as axe-core finds them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.served import ROOT, Server
from tests.browser.stage import PATIENCE, Stage
from tests.browser.test_pages import PAGES, go

AXE = ROOT / "tests/js/node_modules/axe-core/axe.min.js"
FINDINGS = """axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
  violations.filter(({ impact }) => impact === "serious" || impact === "critical").flatMap(({ id, nodes }) =>
    nodes.map(({ html, any }) => `${id}: ${html.slice(0, 200)} (${any[0]?.message ?? ""})`)))"""


@pytest.fixture
def axe() -> str:
    """The script of axe-core, which `npm ci --prefix tests/js` brings."""
    if not AXE.exists():
        missing = "axe-core is not there: npm ci --prefix tests/js"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return AXE.read_text(encoding="utf-8")


@pytest.mark.parametrize("theme", ["dark", pytest.param("light", marks=pytest.mark.thorough)])
def test_axe_finds_nothing_serious_on_any_page(
    server: Server, new_tab: Callable[..., Stage], axe: str, theme: str
) -> None:
    stage = new_tab(server, color_scheme=theme).fresh("/?preset=bigram&speed=100&max_steps=1000000").start()
    stage.reaches(50)
    found: dict[str, Any] = {}
    for page in ("Train", *PAGES):
        if page != "Train":
            go(stage, page)
        expect(stage.page.locator("h1").first).to_be_attached(timeout=PATIENCE)
        expect(stage.page.locator('[data-stale="true"]')).to_have_count(0, timeout=PATIENCE)  # these are faint
        stage.page.evaluate("Promise.all(document.getAnimations().map(({ finished }) => finished.catch(() => null)))")
        stage.page.evaluate(axe)
        found[page] = stage.page.evaluate(FINDINGS)
    assert not any(found.values()), "\n".join(f"{page}: {one}" for page, all_of in found.items() for one in all_of)
