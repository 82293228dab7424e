"""A real server, and what an audience, a presenter and a browser cost it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from websockets.sync.client import connect

from tests.bench.figures import Figure, interleave, p95, ratio, told
from tests.bench.loops import ENDLESS, text
from tests.bench.serve import MARK
from tests.browser.served import ROOT, free_port

VIEWERS = 30
KILO = 1000
MEGA = 1_000_000
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
SETTLE = 1.0
CHART = '.ls-panel[data-panel="loss"] .js-plotly-plot .main-svg'
COUNT_DRAWN = """() => {
  const chart = document.querySelector('.ls-panel[data-panel="loss"] .js-plotly-plot');
  window.drawn = 0;
  chart.on("plotly_afterplot", () => window.drawn++);
}"""
COME_UP = 120.0
LESSONS = ("step", "inside", "embeddings", "first_steps", "data", "glossary")


class Child:
    """A process that answers lines with lines of JSON."""

    def __init__(
        self,
        command: list[str],
        mark: str = "",
        descriptors: int | None = None,
        log: Path = Path(os.devnull),
        **environment: str,
    ) -> None:
        self._mark = mark
        bounded = [] if descriptors is None else ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh"]
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [*bounded, sys.executable, *command],
                cwd=ROOT,
                env=os.environ | environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def ask(self, line: str) -> Any:
        """Send a line; the answer."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        for answer in self.process.stdout:
            if answer.startswith(self._mark):
                told = json.loads(answer[len(self._mark) :])
                if "error" in told:
                    raise RuntimeError(told["error"])
                return told
        raise RuntimeError(f"{' '.join(map(str, self.process.args))} ended")

    def end(self) -> None:
        """Ctrl-C, and if that is not enough, the end."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Server(Child):
    """Loopscope, training the bigram on the bench's text without an end."""

    def __init__(self, folder: Path, **options: Any) -> None:
        corpora = folder / "corpora"
        corpora.mkdir(parents=True)
        (corpora / "bench.txt").write_text(text(), encoding="utf-8")
        self.port = free_port()
        super().__init__(
            ["-m", "tests.bench.serve", str(self.port)],
            MARK,
            LOOPSCOPE_HOME=str(folder),
            LOOPSCOPE_START=f"preset=bigram&corpus=bench&speed=unlimited&max_steps={ENDLESS}",
            **options,
        )
        deadline = time.monotonic() + COME_UP
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/watch", timeout=5).close()
                return
            time.sleep(0.1)
        self.end()
        raise RuntimeError("the server did not come up")

    @property
    def live(self) -> str:
        """Where frames come from."""
        return f"ws://127.0.0.1:{self.port}/live?run=current"

    def do(self, name: str, **arguments: Any) -> Any:
        """Have the bench's thread in the server do something."""
        return self.ask(json.dumps({"do": name, **arguments}))

    def rate(self, seconds: float) -> float:
        """Steps a second over the next `seconds`."""
        before = self.do("step")
        time.sleep(seconds)
        after = self.do("step")
        return (after["step"] - before["step"]) / (after["at"] - before["at"])


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server that has passed its first 2,000 steps, in which it looks more often than later."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder))
        try:
            while server.do("step")["step"] < 2000:
                time.sleep(0.2)
            yield server
        finally:
            server.end()


def audience(device: str, quick: bool) -> list[Figure]:
    """30 sockets at 10 frames a second and a knob turned each second, against the same server alone."""
    seconds, rounds = (2.0, 2) if quick else (6.0, 7)
    with serving() as server:
        crowd = Child(["-m", "tests.bench.viewers", server.live])
        try:

            def alone() -> float:
                crowd.ask("0")
                server.do("turn", every=0)
                time.sleep(SETTLE)
                return server.rate(seconds)

            def watched() -> float:
                crowd.ask(str(VIEWERS))
                server.do("turn", every=1.0)
                time.sleep(SETTLE)
                return server.rate(seconds)

            rates = interleave({"alone": alone, "watched": watched}, rounds)
            watched()
            traffic, commands, arrivals = _traffic(server, crowd, quick)
        finally:
            crowd.end()
    name = f"with {VIEWERS} viewers and a turning knob / alone"
    return [
        Figure("audience", name, ratio(rates, "watched", "alone"), target=0.95, note=told(rates, "watched", "alone")),
        Figure("audience", "frames to a viewer", traffic["frames"] / VIEWERS / traffic["seconds"], "1/s"),
        Figure(
            "audience",
            "bytes to a viewer",
            traffic["bytes"] / VIEWERS / traffic["seconds"] / KILO,
            "kB/s",
            target=64,
            at_most=True,
        ),
        Figure("audience", f"command to applied step, p95, {VIEWERS} viewers", p95(commands), "ms", 50, at_most=True),
        Figure("audience", f"step to frame received, p95, {VIEWERS} viewers", p95(arrivals), "ms", 200, at_most=True),
    ]


def _traffic(server: Server, crowd: Child, quick: bool) -> tuple[dict[str, Any], list[float], list[float]]:
    crowd.ask("")
    time.sleep(3.0 if quick else 10.0)
    traffic = crowd.ask("")
    commands = server.do("commands", count=30 if quick else 200)["ms"]
    crowd.ask("")
    stamps = server.do("stamp", seconds=3.0 if quick else 10.0)["stamps"]
    time.sleep(0.5)
    seen = crowd.ask("")["seen"]
    arrivals, frame = [], 0
    for at, step in stamps:  # a step has arrived with the first frame that reaches as far
        while frame < len(seen) and seen[frame][1] < step:
            frame += 1
        if frame < len(seen):
            arrivals.append(1000 * (seen[frame][0] - at))
    return traffic, commands, arrivals


def browser(device: str, quick: bool) -> list[Figure]:
    """One Chromium on the audience's page, then on the presenter's, against the same server with the browser idle."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        return [Figure("browser", "one real browser", None, note="no Chromium found")]
    from playwright.sync_api import sync_playwright

    figures = []
    with serving() as server, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=FLAGS)
        for what, path in (("/watch", "/watch"), ("the stage", "/")):
            tab = Tab(chromium.new_page(viewport={"width": 1600, "height": 900}), server, path, 3.0 if quick else 8.0)
            rates = interleave({"away": tab.away, "looking": tab.looking}, 2 if quick else 5)
            tab.page.close()
            value, note = ratio(rates, "looking", "away"), told(rates, "looking", "away")
            drawn = f"the loss chart drawn {statistics.median(tab.drawn):.1f} times a second"
            figures += [
                Figure("browser", f"one browser on {what} / alone", value, target=0.80, note=note),
                Figure("browser", f"frames received in {what}", statistics.median(tab.frames), "1/s", 8, note=drawn),
            ]
        chromium.close()
    return figures


class Tab:
    """A browser's tab that looks at the server for some seconds, or at nothing."""

    def __init__(self, page: Any, server: Server, path: str, seconds: float) -> None:
        self.page, self._server, self._seconds = page, server, seconds
        self._address = f"http://127.0.0.1:{server.port}{path}"
        self._arrived = 0
        self.frames: list[float] = []
        self.drawn: list[float] = []
        page.on("websocket", self._listen)

    def _listen(self, socket: Any) -> None:
        if "/live" in socket.url:
            socket.on("framereceived", self._count)

    def _count(self, _: Any) -> None:
        self._arrived += 1

    def away(self) -> float:
        """Steps a second while the tab shows nothing."""
        self.page.goto("about:blank")
        self.page.wait_for_timeout(1000 * SETTLE)
        return self._server.rate(self._seconds)

    def looking(self) -> float:
        """Steps a second while it shows the run."""
        self.page.goto(self._address)
        self.page.wait_for_selector(CHART, timeout=60_000)
        self.page.wait_for_timeout(3000 * SETTLE)
        self.page.evaluate(COUNT_DRAWN)
        before, first = self._server.do("step"), self._arrived
        self.page.wait_for_timeout(1000 * self._seconds)  # in which Playwright hears of frames
        after, last = self._server.do("step"), self._arrived
        passed = after["at"] - before["at"]
        self.frames.append((last - first) / passed)
        self.drawn.append(self.page.evaluate("window.drawn") / passed)
        return (after["step"] - before["step"]) / passed


def lessons(device: str, quick: bool) -> list[Figure]:
    """Each page beside the stage, opened during a run at full speed: the training over 30 s, its loading included."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        return [Figure("lessons", "the other pages", None, note="no Chromium found")]
    from playwright.sync_api import sync_playwright

    seconds, rounds = (8.0, 1) if quick else (30.0, 3)
    figures = []
    with serving() as server, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=FLAGS)
        for path in LESSONS:
            page = chromium.new_page(viewport={"width": 1600, "height": 900})

            def away(page: Any = page) -> float:
                page.goto("about:blank")
                page.wait_for_timeout(1000 * SETTLE)
                return server.rate(seconds / 2)

            def looking(page: Any = page, path: str = path) -> float:
                before = server.do("step")
                page.goto(f"http://127.0.0.1:{server.port}/{path}")
                page.wait_for_timeout(1000 * seconds)
                after = server.do("step")
                return (after["step"] - before["step"]) / (after["at"] - before["at"])

            rates = interleave({"away": away, "looking": looking}, rounds)
            page.close()
            value, note = ratio(rates, "looking", "away"), told(rates, "looking", "away")
            figures.append(Figure("lessons", f"a tab on {path} / alone", value, target=0.90, note=note))
        chromium.close()
    return figures


def length(device: str, quick: bool) -> list[Figure]:
    """What a viewer's first message and the server's memory come to as a run grows."""
    milestones = (3_000, 10_000, 20_000) if quick else (1_000, 100_000, 1_000_000)
    figures, memory = [], {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder))
        process = psutil.Process(server.process.pid)
        try:
            for milestone in milestones:
                while (now := server.do("step"))["step"] < milestone:
                    if now["state"] != "running":
                        raise RuntimeError(f"the run is {now['state']}")
                    time.sleep(0.5)
                with connect(server.live, max_size=None, compression=None) as socket:
                    size = len(socket.recv())
                memory[milestone] = process.memory_info().rss / MEGA
                name = f"snapshot at step {milestone:,}"
                figures.append(Figure("length", name, size / KILO, "kB", target=256, at_most=True))
        finally:
            server.end()
    early, late = milestones[1:]
    name = f"resident memory, step {early:,} to {late:,}"
    note = f"{memory[early]:.0f} MB to {memory[late]:.0f} MB"
    return [*figures, Figure("length", name, memory[late] - memory[early], "MB", target=64, at_most=True, note=note)]


def heap(device: str, quick: bool) -> list[Figure]:
    """A browser's heap on /watch, each half minute over ten minutes: its widest departure from the mean.

    Each size is the least of eight, collected, so that it is what the page holds: a frame that is just being read and
    drawn adds up to 2 MB. The ten minutes begin after two of warming up, in which the browser compiles the code that
    it runs most (about 0.5 MB of it); the note gives the sizes of those two as well.
    """
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        return [Figure("heap", "browser heap", None, note="no Chromium found")]
    from playwright.sync_api import sync_playwright

    warming, looks, pause = (1, 4, 5_000) if quick else (4, 20, 30_000)
    with serving() as server, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=FLAGS)
        page = chromium.new_page(viewport={"width": 1600, "height": 900})
        page.goto(f"http://127.0.0.1:{server.port}/watch")
        page.wait_for_selector(CHART, timeout=60_000)
        inspector = page.context.new_cdp_session(page)
        sizes = []
        for _ in range(warming + looks):
            page.wait_for_timeout(pause)
            held = []
            for odd in range(8):
                page.wait_for_timeout(211 + 37 * odd)  # out of step with the frames
                inspector.send("HeapProfiler.collectGarbage")
                held.append(inspector.send("Runtime.getHeapUsage")["usedSize"] / MEGA)
            sizes.append(min(held))
        chromium.close()
    early, sizes = sizes[:warming], sizes[warming:]
    mean = sum(sizes) / len(sizes)
    widest = max(abs(size / mean - 1) for size in sizes)
    note = f"{sizes[0]:.1f} MB at first, {sizes[-1]:.1f} MB at last, between {min(sizes):.1f} and {max(sizes):.1f} MB "
    note += (
        f"in {looks * pause / 60_000:.1f} minutes; before, warming up: {', '.join(f'{size:.1f}' for size in early)} MB"
    )
    return [
        Figure("heap", "browser heap, widest departure from its mean", widest, target=0.10, at_most=True, note=note)
    ]
