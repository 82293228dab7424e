"""The headers of every answer: who may frame the pages, and what they may load."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from engine.errors import InputError
from pages.server.gate import Gate
from pages.server.headers import SecurityHeaders, framing_sites, hash_of


def client(*sites: str) -> TestClient:
    def hello(_: object) -> PlainTextResponse:
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route("/", hello)], middleware=[Middleware(SecurityHeaders, sites=sites), Middleware(Gate)])
    return TestClient(app, base_url="http://localhost:8501")


@pytest.mark.parametrize(
    ("path", "host", "status"), [("/", "localhost", 200), ("/no", "localhost", 404), ("/", "evil", 403)]
)
def test_every_answer_may_be_framed_by_its_own_site_alone(path: str, host: str, status: int) -> None:
    answer = client().get(path, headers={"host": f"{host}:8501"})
    assert answer.status_code == status
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"].split("; ")
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]


def test_listed_sites_may_frame_the_pages() -> None:
    answer = client("https://school.example").get("/")
    assert "frame-ancestors 'self' https://school.example" in answer.headers["content-security-policy"]
    assert "x-frame-options" not in answer.headers


def test_scripts_within_a_page_run_by_their_hash_alone() -> None:
    page = "<script src='a.js'></script><script type=module>\nalert(1)</script>"
    app = SecurityHeaders(Starlette(), pages=[page])
    policy = dict(app.headers)[b"content-security-policy"].decode()
    assert f"script-src 'self' blob: {hash_of(chr(10) + 'alert(1)')};" in policy + ";"
    assert "'unsafe-eval'" not in policy


def test_nothing_is_loaded_from_elsewhere() -> None:
    policy = client().get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy and "object-src 'none'" in policy and "http" not in policy


@pytest.mark.parametrize("text", ["", "  ", "https://a.example", "http://*.b.example:8080 https://c.example"])
def test_framing_sites_are_origins(text: str) -> None:
    assert framing_sites(text) == tuple(text.split())


@pytest.mark.parametrize(
    "text",
    ["*", "a.example", "https://a.example/path", "https://a.example; script-src *", "'none'", "javascript:x", "https:"],
)
def test_what_is_no_origin_is_refused_by_name(text: str) -> None:
    with pytest.raises(InputError, match=r"LOOPSCOPE_FRAME_ANCESTORS has .*https://school\.example"):
        framing_sites(text)
