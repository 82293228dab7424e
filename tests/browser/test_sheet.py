"""The sheet to print, as a printer gets it."""

from __future__ import annotations

import re

from playwright.sync_api import Browser

from engine.lessons import sheet


def test_the_sheet_prints_on_two_pages(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content(sheet.page())
    printed = page.pdf(prefer_css_page_size=True)
    page.close()
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 2
