"""What a crowd that holds thousands of connections costs: a server of few descriptors, before, in and after a flood."""

from __future__ import annotations

import contextlib
import http.client
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from websockets.sync.client import connect

from tests.bench.figures import Figure
from tests.bench.room import Child, Server

ELSEWHERE = "127.0.0.2"  # on Linux all of 127/8 is this machine
DESCRIPTORS = (1024, 256)
SOCKETS = SILENT = 1500
BACK_WITHIN = 10.0


def crowd(device: str, quick: bool) -> list[Figure]:
    """1,500 sockets and 1,500 silent connections of one address for 30 s, on 1,024 and on 256 descriptors."""
    figures = []
    for descriptors in DESCRIPTORS:
        for room in (False, True):
            figures += _flooded(descriptors, room, 8.0 if quick else 30.0)
    return figures


def _flooded(descriptors: int, room: bool, seconds: float) -> list[Figure]:
    part = f"{descriptors:,} descriptors, {'open room' if room else 'closed'}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "log.txt"
        environment = {"LOOPSCOPE_ROOM": "1"} if room else {}
        server = Server(Path(folder), descriptors=descriptors, log=log, **environment)
        flood = Child(["-m", "tests.bench.flood", str(server.port)])
        try:
            while server.do("step")["step"] < 2000:
                time.sleep(0.2)
            visit = Visit(server, server.do("token")["token"] if room else None)
            process = psutil.Process(server.process.pid)
            before, share_before, loop_before = _rate(server, process, seconds / 2)
            page_before = visit.page()
            snapshot, lines = _newest_snapshot(folder), _lines(log)
            flood.ask(json.dumps({"sockets": SOCKETS, "silent": SILENT}))
            time.sleep(2.0)
            during, share, loop = _rate(server, process, seconds / 2)
            pages = [visit.page() for _ in range(5)]
            watched = visit.watch()
            standing = flood.ask("{}")
            more, more_share, more_loop = _rate(server, process, seconds / 2)
            held, written = process.num_fds(), _newest_snapshot(folder)
            flood.ask(json.dumps({"sockets": 0, "silent": 0}))
            gone = time.monotonic()
            back = _until(lambda: process.num_fds() < 120, 6 * BACK_WITHIN) - gone
            after, share_after, loop_after = _rate(server, process, seconds / 2)
            state, grown = server.do("step")["state"], _lines(log) - lines
        finally:
            flood.end()
            server.end()
        alone, crowded = (before + after) / 2, (during + more) / 2
        cores = f"{before:,.0f} before, {during:,.0f} and {more:,.0f} in it, {after:,.0f} after; cores of the server: "
        cores += ", ".join(f"{one:.2f}" for one in (share_before, share, more_share, share_after))
        taken = (loop + more_loop - loop_before - loop_after) / 2
        stands = f"{standing['sockets']} sockets, {standing['silent']} silent ones stand; {held} descriptors"
        return [
            Figure(part, f"{part}: steps/s in the flood / alone", crowded / alone, target=0.9, note=cores),
            Figure(
                part,
                f"{part}: cores that the flood takes of the event loop",
                taken,
                "ratio",
                0.1,
                at_most=True,
                note=", ".join(f"{one:.2f}" for one in (loop_before, loop, more_loop, loop_after)),
            ),
            Figure(part, f"{part}: next snapshot written", float(written > snapshot), "yes", 1, note=f"{written:,}"),
            Figure(
                part,
                f"{part}: presenter's page, slowest of 5",
                max(pages),
                "s",
                2,
                at_most=True,
                note=f"{page_before:.2f} s before; {stands}",
            ),
            Figure(part, f"{part}: /watch from {ELSEWHERE}, first frame", watched, "s", 10, at_most=True),
            Figure(part, f"{part}: lines in the log", float(grown), "lines", 19, at_most=True, note=f"run {state}"),
            Figure(part, f"{part}: all is back after", back, "s", BACK_WITHIN, at_most=True),
        ]


class Visit:
    """Visits of a presenter on this machine, and of one of the audience from elsewhere."""

    def __init__(self, server: Server, token: str | None) -> None:
        self.port = server.port
        self._cookie = {} if token is None else {"Cookie": f"loopscope_presenter_{server.port}={token}"}

    def page(self) -> float:
        """Seconds for what the presenter's page needs: its files, a frame, and Streamlit's socket."""
        began = time.monotonic()
        for path in ("/", "/board.js", "/panels?page=train&run=current"):
            _get(self.port, path, self._cookie)
        origin = f"http://127.0.0.1:{self.port}"
        for path in ("live?run=current", "_stcore/stream"):
            with connect(
                f"ws://127.0.0.1:{self.port}/{path}", additional_headers=self._cookie, origin=origin, max_size=None
            ) as socket:
                if path.startswith("live"):
                    socket.recv(timeout=30)
        return time.monotonic() - began

    def watch(self) -> float:
        """Seconds to the audience's page from another address, and its first frame."""
        began = time.monotonic()
        _get(self.port, "/watch", {}, ELSEWHERE)
        with connect(
            f"ws://127.0.0.1:{self.port}/live?run=current",
            source_address=(ELSEWHERE, 0),
            origin=f"http://127.0.0.1:{self.port}",
            max_size=None,
        ) as socket:
            socket.recv(timeout=30)
        return time.monotonic() - began


def _get(port: int, path: str, headers: dict[str, str], source: str = "127.0.0.1") -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60, source_address=(source, 0))
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}: {body[:200]!r}")
    return body


def _rate(server: Server, process: psutil.Process, seconds: float) -> tuple[float, float, float]:
    """Steps a second over the next `seconds`, and how many cores the server and its event loop had for them."""
    used, of_loop = sum(process.cpu_times()[:2]), loop_seconds(process)
    rate = server.rate(seconds)
    now, now_of_loop = sum(process.cpu_times()[:2]), loop_seconds(process)
    return rate, (now - used) / seconds, (now_of_loop - of_loop) / seconds


def loop_seconds(process: psutil.Process) -> float:
    """The processor time of the event loop, which is the main thread's."""
    return next(one.user_time + one.system_time for one in process.threads() if one.id == process.pid)


def _newest_snapshot(folder: str) -> int:
    found: list[Any] = [int(path.name[5:]) for path in Path(folder).glob("runs/*/snapshots/step-*")]
    return max(found, default=-1)


def _lines(log: Path) -> int:
    with contextlib.suppress(OSError):
        return log.read_bytes().count(b"\n")
    return 0


def _until(holds: Callable[[], bool], seconds: float) -> float:
    """When it held for the first time, on the monotonic clock; infinity if it did not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return time.monotonic()
        time.sleep(0.1)
    return float("inf")
