"""A Chromium, servers for it to look at, and tabs that complain about what no tab should ever do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.served import Server, copy_project
from tests.browser.stage import PATIENCE, Stage

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
NAMES = "--host-resolver-rules=MAP *.example 127.0.0.1"  # for what stands behind a proxy
LOCAL = {"http", "https", "ws", "wss"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")  # Playwright keeps an event loop in this thread; no other test may meet it
def browser() -> Iterator[Browser]:
    """The Chromium of this machine; without one the tests are skipped, but not where they must run (CI)."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        missing = f"no Chromium found ({', '.join(CHROMIUM)}); install one to test the pages in a browser"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=[*FLAGS.split(), NAMES])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, so that one may go on editing while its tests run."""
    return copy_project(tmp_path_factory.mktemp("copy"))


@pytest.fixture(scope="package")
def server(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Loopscope that most tests share, with a data home that was empty at first."""
    server = Server(tmp_path_factory.mktemp("server"), project=project)
    yield server
    server.end()


@pytest.fixture
def serve(project: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """`serve(flags=(), **environment)`: one more Loopscope, for one test, ended with Ctrl-C."""
    servers: list[Server] = []

    def start(**options: Any) -> Server:
        servers.append(Server(tmp_path / f"server-{len(servers)}", project=project, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


class Watched:
    """What the tabs of a test asked for, and what they did that no tab should do."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.faults: list[str] = []

    def add(self, page: Page) -> None:
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.on("pageerror", lambda error: self.faults.append(f"{error.message}\n{error.stack}"))
        page.on("dialog", self._dialog)

    def _dialog(self, dialog: Any) -> None:
        self.faults.append(f"a dialog came up: {dialog.message}")
        dialog.dismiss()

    def outside(self, hosts: set[str]) -> list[str]:
        """The requests that went to another machine."""
        asked = [(urlsplit(url), url) for url in self.requests]
        return [url for parts, url in asked if parts.scheme in LOCAL and parts.hostname not in hosts]


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture(scope="package")
def contexts(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """One browser profile for each way of looking, so that what a server sends for keeps is kept."""
    made: dict[str, BrowserContext] = {}

    def context(**options: Any) -> BrowserContext:
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = browser.new_context(**{"viewport": {"width": 1600, "height": 900}, **options})
            made[key].set_default_timeout(PATIENCE)
        return made[key]

    yield context
    for one in made.values():
        one.close()


@pytest.fixture
def new_tab(contexts: Callable[..., BrowserContext], watched: Watched) -> Iterator[Callable[..., Stage]]:
    """`new_tab(server, url="", **options)`: a tab. None may leave the machine, fail, or ask something by a dialog."""
    pages: list[Page] = []
    hosts: set[str] = set()

    def open_tab(server: Server, url: str = "", **options: Any) -> Stage:
        hosts.add(str(urlsplit(url or server.url).hostname))
        page = contexts(**options).new_page()
        watched.add(page)
        pages.append(page)
        return Stage(page, url or server.url)

    yield open_tab
    for page in pages:
        page.close()
    assert not watched.faults
    assert not watched.outside(hosts)
