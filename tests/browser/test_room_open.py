"""The server's life: a display wall that starts by itself, a room full of people, and Ctrl-C with viewers there."""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.served import SECONDS_TO_END, Server
from tests.browser.stage import Stage

PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(b'a' * 16).decode()}\r\n\r\n"
)


def shake_hands(host: str, path: str) -> tuple[int, socket.socket]:
    """Ask for a WebSocket by hand: the status of the answer, and the connection, to be closed."""
    name, _, port = host.rpartition(":")
    plug = socket.create_connection((name, int(port)), 10)
    plug.sendall(HANDSHAKE.format(path=path, host=host).encode())
    return int(plug.recv(4096).split(b" ")[1]), plug


def ask(host: str, method: str, path: str) -> int:
    """The status of an answer; the path goes out exactly as it is written."""
    name, _, port = host.rpartition(":")
    with socket.create_connection((name, int(port)), 10) as plug:
        plug.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode())
        return int(plug.recv(4096).split(b" ")[1])


@pytest.mark.thorough
def test_a_display_wall_starts_by_itself_and_ctrl_c_ends_it_with_viewers_connected(
    serve: Callable[..., Server], new_tab: Callable[..., Stage]
) -> None:
    server = serve(LOOPSCOPE_START="preset=gpt-tiny&seed=7&max_steps=100000")
    wall, presenter = new_tab(server).open("/watch"), new_tab(server).open()
    for stage in (wall, presenter):
        stage.is_in("running")
        stage.reaches(3)
    expect(presenter.button("play")).to_have_text(re.compile("Pause"))
    assert presenter.keyed("seed").count() == 0 or presenter.keyed("seed").locator("input").input_value() == "7"
    asleep = [shake_hands(f"127.0.0.1:{server.port}", "/live") for _ in range(3)]
    assert [status for status, _ in asleep] == [101] * 3
    seconds = server.interrupt()
    print(f"ended {seconds:.2f} s after Ctrl-C")
    server.end()
    assert seconds <= SECONDS_TO_END
    for stage in (wall, presenter):
        expect(stage.page.get_by_text("Connection lost").first).to_be_visible()
    for _, plug in asleep:
        plug.close()


@pytest.mark.parametrize("query", ["preset=bigram&lr=fast", pytest.param("corpus=nowhere", marks=pytest.mark.thorough)])
def test_a_wrong_start_is_one_printed_line_and_the_server_comes_up(
    serve: Callable[..., Server], new_tab: Callable[..., Stage], query: str
) -> None:
    server = serve(LOOPSCOPE_START=query)
    said = [line for line in server.output.splitlines() if "LOOPSCOPE_START" in line]
    assert len(said) == 1
    assert query.rpartition("=")[2] in said[0]
    stage = new_tab(server).open()
    assert stage.run is None, "and the recorded example is on show until somebody presses Start"
    expect(stage.page.get_by_text("Example: a recorded run")).to_be_visible()
    stage.retried(lambda: len(stage.points()[0]) > 100)
    expect(stage.page.locator(".ls-sample").first).to_be_visible()
    expect(stage.button("play")).to_have_text(re.compile("Start"))


def test_an_open_room(serve: Callable[..., Server], new_tab: Callable[..., Stage]) -> None:
    server = serve(LOOPSCOPE_ROOM="1")
    presenter_address = re.search(r"http://\S+/\?token=\S+", server.output)
    audience_address = re.search(r"http://\S+/watch", server.output)
    assert presenter_address, server.output
    assert audience_address, server.output
    host = urlsplit(audience_address[0]).netloc
    url = f"http://{host}"

    for path in (
        "/", "/live", "/index.html", "/nonsense", "//watch", "/watch/", "/%77atch", "/watch/../", "/media/x", "/app.py",
        "/_stcore/health", "/_stcore/host-config", "/static/js/index.js", "/component/x", "/board.js/../train.py",
    ):  # fmt: skip
        assert ask(host, "GET", path) in (400, 403), path
    for method in ("PUT", "POST", "DELETE", "OPTIONS", "PATCH"):
        assert ask(host, method, "/_stcore/upload_file/a/b") == 403
        assert ask(host, method, "/watch") == 403
    for path, expected in (("/_stcore/stream", 403), ("/live?run=current", 101), ("/live/x", 403)):
        status, plug = shake_hands(host, path)
        plug.close()
        assert status == expected, path

    stranger = new_tab(server, url)
    refused = stranger.page.goto(url + "/")
    assert refused
    assert refused.status == 403
    phone = new_tab(server, url, **PHONE).open("/watch")
    assert phone.page.get_by_role("button", name="Start").count() == 0

    presenter = new_tab(server, url, locale="en-GB")  # a browser of their own, with the cookie
    presenter.open(presenter_address[0].removeprefix(url) + "&preset=bigram&speed=100&max_steps=1000000")
    assert "token" not in presenter.page.url
    presenter.start()
    phone.reaches(100)
    assert phone.run == presenter.run
    phone.is_in("running")
    expect(phone.loss).to_be_in_viewport()
    phone.retried(lambda: phone.points()[0][-1] > 100)
    wide = phone.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], "nothing sticks out at the side of a phone"
    presenter.press("Space")
    phone.is_in("paused")
    assert new_tab(server, url).page.goto(url + "/").status == 403  # type: ignore[union-attr]
