"""Fetching from a server of our own: whole and right, or nothing at all."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.errors import InputError
from engine.text import download
from engine.text.download import PinnedFile
from engine.text.library import Library

TEXT = b"a line of text\n" * 20_000
Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A web server on this machine that gives the one answer it was told to."""

    def __init__(self) -> None:
        self.answer: Answer = send(TEXT)
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/text.txt"


def send(content: bytes, length: int | None = None, status: int = 200) -> Answer:
    """Answer with `content`, saying that it has `length` bytes."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content) if length is None else length))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def drop_the_line(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


@pytest.fixture
def known(server: Server) -> PinnedFile:
    digest = hashlib.sha256(TEXT).hexdigest()
    return PinnedFile("a-text", "A Text", server.url, len(TEXT), len(TEXT), digest, "somebody", "public domain")


@pytest.fixture
def library(tmp_path: Path, known: PinnedFile) -> Library:
    return Library(tmp_path, known=[known])


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_text_is_fetched_once_with_progress(library: Library, server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    entry = library.fetch("a text", lambda done, total: told.append((done, total)))
    assert (entry.name, entry.kind, entry.path) == ("a-text", "fetched", tmp_path / "downloads" / "a-text.txt")
    assert library.load_name("a-text")[0] == TEXT.decode()
    assert told[-1] == (len(TEXT), len(TEXT))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert len(told) > 2
    assert library.version == 1
    assert library.fetch("a-text") == entry
    assert server.asked == 1
    assert files(tmp_path) == ["a-text.txt"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (send(b"not found", status=404), "Not Found"),
        (send(TEXT.replace(b"line", b"lime")), "what it sent is another text: the sha256 differs"),
        (send(TEXT[:1000]), "it ended after 1,000 of 300,000 bytes"),
        (send(TEXT + b"more"), "it sent more than the 300,000 bytes of that text"),
        (drop_the_line, "Remote end closed connection without response"),
    ],
)
def test_a_failed_fetch_leaves_nothing_and_says_why(
    library: Library, server: Server, tmp_path: Path, answer: Answer, why: str
) -> None:
    server.answer = answer
    with pytest.raises(InputError) as error:
        library.fetch("a-text")
    assert str(error.value) == (
        f"A Text could not be fetched from {server.url} ({why}); check the connection, "
        f"or put the file into {tmp_path / 'corpora'} by hand"
    )
    assert files(tmp_path) == []
    assert library.version == 0
    server.answer = send(TEXT)
    assert library.fetch("a-text").kind == "fetched"


def test_a_line_that_breaks_half_way_leaves_nothing(library: Library, server: Server, tmp_path: Path) -> None:
    def half(handler: BaseHTTPRequestHandler) -> None:
        send(TEXT[:1000], length=len(TEXT))(handler)
        handler.close_connection = True

    server.answer = half
    with pytest.raises(InputError, match="could not be fetched"):
        library.fetch("a-text")
    assert files(tmp_path) == []


def test_a_server_that_is_silent_is_given_up(
    library: Library, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    server.answer = lambda _: over.wait(10) and None
    monkeypatch.setattr(download, "_TIMEOUT", 0.05)
    with pytest.raises(InputError, match="timed out"):
        library.fetch("a-text")
    over.set()
    assert files(tmp_path) == []


def test_no_server_at_all_is_explained(tmp_path: Path, known: PinnedFile) -> None:
    away = replace(known, url="http://127.0.0.1:9/")
    with pytest.raises(InputError, match=r"\(connection refused\); check the connection"):
        Library(tmp_path, known=[away]).fetch("a-text")
    nowhere = replace(known, url="http://no-such-host.invalid/")
    with pytest.raises(InputError, match="could not be fetched"):
        Library(tmp_path, known=[nowhere]).fetch("a-text")


def test_what_progress_raises_ends_the_download(library: Library, tmp_path: Path) -> None:
    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        library.fetch("a-text", cancel)
    assert files(tmp_path) == []


def test_a_damaged_download_is_fetched_again(library: Library, server: Server, tmp_path: Path) -> None:
    library.downloads.mkdir()
    (library.downloads / "a-text.txt").write_bytes(TEXT[:10])
    assert library.entry("a-text").kind == "fetchable"
    with pytest.raises(InputError, match=r"not on this machine yet; run `python -m engine fetch a-text`"):
        library.load_name("a-text")
    assert library.fetch("a-text").kind == "fetched"
    assert library.load_name("a-text")[0] == TEXT.decode()


def test_only_known_texts_are_fetched(library: Library, server: Server) -> None:
    with pytest.raises(InputError, match="is not one to fetch; choose one of a-text"):
        library.fetch("lamplighters")
    with pytest.raises(InputError, match="there is no corpus 'http://example"):
        library.fetch("http://example.com/x.txt")
    assert server.asked == 0


def test_a_home_that_cannot_be_written_says_so(tmp_path: Path, known: PinnedFile) -> None:
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(InputError, match="A Text could not be fetched"):
        Library(tmp_path / "home", known=[known]).fetch("a-text")
