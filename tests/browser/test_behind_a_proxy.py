"""Behind nginx: TLS before it, a path that is passed on, one that is taken off; with the room open."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.served import Server, free_port
from tests.browser.stage import PATIENCE, Stage

TLS = Path(__file__).parent.parent / "fixtures" / "tls"
CONFIGURATION = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.txt;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
  ssl_certificate {tls}/certificate.pem; ssl_certificate_key {tls}/key.pem;
  {sites}
}}
"""
SITE = (
    "server {{ listen 127.0.0.1:{port} ssl; location {path} {{ proxy_pass http://127.0.0.1:{to}{taken}; {headers} }} }}"
)
PASSED_ON = (
    "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;"
    "proxy_set_header Connection $connection_upgrade; proxy_set_header Upgrade $http_upgrade;"
)
# Host loses its port, and nobody says that it was TLS.
LOST = (
    "proxy_set_header Host $host;"
    "proxy_set_header Connection $connection_upgrade; proxy_set_header Upgrade $http_upgrade;"
)
STAGE = "?preset=bigram&speed=100&max_steps=1000000"


@dataclass
class Site:
    """What a browser opens, and the server that answers behind the proxy."""

    url: str
    server: Server

    @property
    def token(self) -> str:
        found = re.search(r"token=(\S+)", self.server.output)
        assert found
        return found[1]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[dict[str, Site]]:
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        pytest.skip("no nginx found; install it (Debian: nginx-light) to test what stands behind a proxy")
    folder = tmp_path_factory.mktemp("proxy")
    root, loop, hub, unnamed, plain, based = (free_port() for _ in range(6))
    urls = {
        "at the root": f"https://loop.example:{root}",
        "path passed on": f"https://loop.example:{loop}/loop",
        "path taken off": f"https://hub.example:{hub}/user/ann/proxy/8615",
        "headers lost": f"https://loop.example:{unnamed}/loop",
    }
    blocks = [
        SITE.format(port=root, path="/", to=plain, taken="", headers=PASSED_ON),
        SITE.format(port=loop, path="/loop", to=based, taken="", headers=PASSED_ON),
        SITE.format(port=hub, path="/user/ann/proxy/8615/", to=plain, taken="/", headers=LOST),
        SITE.format(port=unnamed, path="/loop", to=based, taken="", headers=LOST),
    ]
    (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, tls=TLS, sites="\n  ".join(blocks)))
    listed = f"{urls['at the root']},{urls['path taken off']}/"
    one = Server(folder / "root", project=project, port=plain, LOOPSCOPE_ROOM="1", LOOPSCOPE_HOSTS=listed)
    other = Server(folder / "loop", project=project, port=based, base="/loop", LOOPSCOPE_HOSTS="loop.example")
    command = [nginx, "-p", str(folder), "-c", "nginx.conf"]
    proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield {
        "at the root": Site(urls["at the root"], one),
        "path passed on": Site(urls["path passed on"], other),
        "path taken off": Site(urls["path taken off"], one),
        "headers lost": Site(urls["headers lost"], other),
    }
    proxy.terminate()
    proxy.wait()
    one.end()
    other.end()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("at the root", marks=pytest.mark.thorough),
        pytest.param("path passed on", marks=pytest.mark.thorough),
        "path taken off",
    ],
)
def test_board_watch_and_the_presenters_controls_are_live_and_strangers_are_refused(
    sites: dict[str, Site], new_tab: Callable[..., Stage], name: str
) -> None:
    site = sites[name]
    stranger = new_tab(site.server, site.url, ignore_https_errors=True)
    refused = stranger.page.goto(site.url + "/")
    assert refused and refused.status == 403
    stranger.page.get_by_role("link", name="watch the run").click()
    expect(stranger.header).to_be_visible(timeout=PATIENCE)
    assert stranger.page.url == f"{site.url}/watch"

    presenter = new_tab(site.server, site.url, ignore_https_errors=True, locale="en-GB")  # a browser of their own
    presenter.fresh(f"/{STAGE}&token={site.token}")
    assert presenter.page.url.startswith(f"{site.url}/?preset")
    presenter.start().reaches(20)
    stranger.is_in("running")
    stranger.reaches(20)
    assert stranger.run == presenter.run
    presenter.retried(lambda: len(presenter.points()[0]) > 5)
    presenter.press("Space")
    stranger.is_in("paused")

    presenter.page.goto(f"{site.url}/embeddings")  # a page of its own, not the first one
    expect(presenter.header).to_have_attribute("data-state", "paused", timeout=PATIENCE)
    expect(presenter.page.locator(".ls-lost")).to_be_hidden()


def test_a_page_that_may_not_connect_says_which_header_the_proxy_has_lost(
    sites: dict[str, Site], new_tab: Callable[..., Stage]
) -> None:
    site = sites["headers lost"]
    opened = site.url.removesuffix("/loop")
    stage = new_tab(site.server, site.url, ignore_https_errors=True)
    stage.page.goto(site.url + "/watch")
    said = stage.page.locator(".ls-lost")
    expect(said).to_contain_text(f"Host must be {opened.removeprefix('https://')} (nginx: ", timeout=PATIENCE)
    expect(said).to_contain_text(f"LOOPSCOPE_HOSTS={opened},loop.example ")
