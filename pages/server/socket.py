"""The routes beside Streamlit: frames out of the engine, nothing in. Knows bytes and viewers, no charts.

The pump's thread encodes a frame once; the event loop sends the same bytes to everybody. A viewer that cannot keep up
is skipped, and gets a fresh snapshot when it can listen again, so no queue grows. What a viewer sends is dropped.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from engine.config import MAX_STEPS
from engine.errors import InputError
from engine.link import DEFAULT_PRESET
from engine.presets import preset
from engine.runs.manager import BY_NAME, RunManager
from engine.runs.race import Race
from engine.runs.run import Run
from engine.storage import displayed_state, notes
from engine.stream.downsampling import bins
from engine.stream.history import Frame
from engine.stream.pump import Frames, Source
from engine.text.baselines import Baselines
from engine.text.corpus import Corpus
from engine.text.points import read_points
from engine.tracking.external_run import ExternalRun
from pages.board import vendor
from pages.board.board import ASSETS
from pages.charts.bigram_table import inside_panels
from pages.charts.embeddings import embedding_panels
from pages.charts.line import line_panels
from pages.charts.race import race_panels
from pages.charts.training import MOST_CELLS, RECORDED, Panel, panels
from pages.server.front import front

HERE = Path(__file__).parent
EXAMPLE = HERE.parent.parent / "data" / "example.frame"
UNKNOWN_RUN = 4404
EXAMPLE_RUN = "example"
BUILD_SECONDS = 0.5
MOST_NAMES = 1000  # tokens that are sent by name; a vocabulary may have 50,257
PAGES: Mapping[str, Callable[[Facts], list[Panel]]] = {
    "train": panels,
    "step": lambda info: [],  # its header line alone
    "inside": lambda info: [],
    "inside-table": inside_panels,
    "first-steps": line_panels,
    "embeddings": embedding_panels,
    "race": race_panels,
    "data": lambda info: [],
    "compare": lambda info: [],
}


def no_run() -> Frame:
    """What a viewer of `current` sees before there is a run."""
    settings = preset(DEFAULT_PRESET).settings
    return Frame(
        {
            "kind": "snapshot",
            "run": None,
            "state": "ready",
            "message": "",
            "error": None,
            "warning": None,
            "settings": {**settings.model_dump(), "version": 0},
            "step": 0,
            "stage": 0,
            "max_steps": settings.max_steps,
            "steps_per_second": 0.0,
            "eta_s": None,
            "tokens_seen": 0,
            "epoch": 0,
            "epochs": None,
            "characters_per_token": 1.0,
            "passes": 0.0,
            "reads_text": True,
            "title": "",
            "device": "",
            "parameters": 0,
            "base_step": 0,
            "events": [],
            "samples": [],
        }
    )


class Viewer:
    """One open socket: which run it follows, and what is on its way to it."""

    BEHIND = 4

    def __init__(self, socket: WebSocket, follows: str) -> None:
        self.socket, self.follows = socket, follows
        self.outbox: deque[bytes] = deque()
        self.wake = asyncio.Event()
        self.needs_snapshot = True
        self.shown: Source | None = None
        self.gone = False

    @property
    def behind(self) -> bool:
        """Are so many frames unsent that the next one is skipped?"""
        return len(self.outbox) >= self.BEHIND

    def push(self, message: bytes) -> None:
        """Queue a message (on the event loop)."""
        self.outbox.append(message)
        self.wake.set()

    async def send(self) -> None:
        """Send what is queued, for as long as the socket lives."""
        while True:
            await self.wake.wait()
            self.wake.clear()
            while self.outbox:
                await self.socket.send_bytes(self.outbox[0])
                self.outbox.popleft()
            if self.gone:
                await self.socket.close(UNKNOWN_RUN, "this run is no longer here")
                return


class Hub:
    """All viewers of all runs."""

    def __init__(self, manager: RunManager) -> None:
        self.manager = manager
        self.viewers: set[Viewer] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._library = 0

    def open(self) -> None:
        """Begin to listen to the pump (called on the event loop that will send)."""
        self._loop = asyncio.get_running_loop()
        self.manager.pump.subscribe(self.publish)

    def publish(self, frames: Frames) -> None:
        """On the pump's thread: encode each run's frame once, and hand it to the loop with who gets it."""
        viewers = list(self.viewers)
        if not viewers or self._loop is None or self._loop.is_closed():
            return
        library = self.manager.listed
        if library != self._library:  # the list of texts is in every header, and this one may be quiet
            self._library = library
            for viewer in viewers:
                viewer.needs_snapshot = True
        deltas = {source.id: frame for source, frame in frames}
        encoded: dict[tuple[str | None, str], bytes] = {}
        post: list[tuple[Viewer, bytes | None]] = []
        for viewer in viewers:
            run = self.manager.shown(viewer.follows)
            if run is None and viewer.follows not in BY_NAME:
                post.append((viewer, None))
                continue
            run_id = run.id if run else None
            if viewer.behind:
                viewer.needs_snapshot = True
                continue
            kind = "snapshot" if viewer.needs_snapshot or viewer.shown is not run else "delta"
            if kind == "delta" and deltas.get(run_id or "") is None:
                continue
            if (run_id, kind) not in encoded:
                frame = run.history.snapshot(run.header()) if run and kind == "snapshot" else deltas.get(run_id or "")
                frame = frame or no_run()
                frame.header["library"] = library
                encoded[run_id, kind] = frame.encode()
            viewer.needs_snapshot, viewer.shown = False, run
            post.append((viewer, encoded[run_id, kind]))
        if post:
            self._loop.call_soon_threadsafe(_deliver, post)

    async def live(self, socket: WebSocket) -> None:
        """`GET /live?run=<id|current>`: a snapshot, then deltas, for as long as the viewer stays."""
        follows = socket.query_params.get("run", "current")
        await socket.accept()
        if follows not in BY_NAME and self.manager.shown(follows) is None:
            try:
                await asyncio.to_thread(self.manager.elsewhere.follow, follows)
            except InputError:
                await socket.close(UNKNOWN_RUN, "no such run")
                return
        viewer = Viewer(socket, follows)
        self.viewers.add(viewer)
        sending = asyncio.create_task(viewer.send())
        try:
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass  # a viewer has no say
        except WebSocketDisconnect:
            pass
        finally:
            self.viewers.discard(viewer)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def close(self) -> None:
        """Say goodbye to all viewers, so that the server can end at once."""
        viewers = list(self.viewers)
        await asyncio.gather(*(v.socket.close(1001, "the server is ending") for v in viewers), return_exceptions=True)

    def series(self, request: Request) -> Response:
        """`GET /series?run&channel&from&to`: at most 2,000 points of any stretch, and their means, as JSON."""
        query = request.query_params
        run = self.manager.shown(query.get("run", "current"))
        if run is None:
            return PlainTextResponse("there is no such run", 404)
        try:
            first = max(0, int(float(query.get("from", "0"))))
            last = int(float(query["to"])) if "to" in query else None
        except (ValueError, OverflowError):
            return PlainTextResponse("from and to are steps; give whole numbers", 400)
        found = run.history.stretch(query.get("channel", ""), first, last)
        if found is None:
            return PlainTextResponse("this run has no such channel", 404)
        return _json(found._asdict())

    def panels(self, request: Request) -> Response:
        """`GET /panels?page&run`: the charts of a page for a run, as Plotly figures."""
        query = request.query_params
        page, run_id = query.get("page", "train"), query.get("run", "current")
        run = self.manager.shown(run_id)
        if run is None and run_id not in (*BY_NAME, EXAMPLE_RUN):
            return PlainTextResponse("there is no such run", 404)
        if page not in PAGES:
            return PlainTextResponse(f"there is no page {page!r}", 404)
        if run and not run.built.wait(BUILD_SECONDS):  # the board asks again
            return PlainTextResponse("the model is still being built", 503)
        facts = facts_of(run) if run else example_facts()
        previous = self.manager.previous
        ghost = previous.id if run is self.manager.current and previous and previous.step else None
        return _json(
            {
                "run": facts.run,
                "title": facts.title,
                "previous": ghost,
                **_names(facts.tokens),
                "panels": _charts(page, facts),
            }
        )

    def frame(self, request: Request) -> Response:
        """`GET /frame?run&step`: the stored moment at or before a step, as a frame; without step, which there are.

        Of the moment that is opened in full, the step itself has its tables.
        """
        query = request.query_params
        run = self.manager.shown(query.get("run", "current"))
        folder = run.folder if run else None
        if run is None or folder is None:
            return PlainTextResponse("there is no such run, or it is not stored", 404)
        try:
            asked = int(float(query["step"])) if "step" in query else None
        except (ValueError, OverflowError):
            return PlainTextResponse("step is a number of updates; give a whole number", 400)
        try:
            if asked is None:
                return _json({"steps": displayed_state.frames(folder)})
            made = self.manager.reopened
            if made is not None and made.run is run and made.moment is not None and made.step == asked:
                return _binary(_frame(run.id, made.shown(displayed_state.moment_at(folder, asked))))
            step = displayed_state.frame_before(folder, max(-1, min(asked, MAX_STEPS)))
            if step is None:
                return PlainTextResponse("nothing is stored at or before that step", 404)
            is_newest = step == displayed_state.frame_before(folder, MAX_STEPS)
            return _binary(
                _frame(run.id, displayed_state.moment_at(folder, step)) if is_newest else _past(run.id, folder, step)
            )
        except sqlite3.Error as error:
            return PlainTextResponse(f"the run's folder cannot be read ({error}); try again", 503)

    def notes(self, request: Request) -> Response:
        """`GET /notes?run`: what people pinned at a step of a run, as JSON; of one that is not stored there is none."""
        run = self.manager.shown(request.query_params.get("run", "current"))
        if run is None:
            return PlainTextResponse("there is no such run", 404)
        pinned = [note for note in notes.read(run.folder).notes if note.step is not None] if run.folder else []
        return _json({"notes": [{"step": note.step, "text": note.text} for note in pinned]})


@dataclass(frozen=True)
class Facts:
    """What a run's charts depend on (`figures.RunInfo`)."""

    run: str
    title: str
    model: str
    tokens: tuple[str, ...]
    baselines: Baselines | None
    layers: tuple[str, ...]
    epochs: int | None = None
    points: tuple[tuple[float, float], ...] = ()
    """What a line learns from."""
    former: str | None = None
    """The text that a fine-tuned model learnt before."""
    channels: tuple[str, ...] = ()
    """What a recorded run has to show, by name."""
    lanes: tuple[str, ...] = ()
    """The names of those that race, forked from a run or not."""
    forked: bool = False


def facts_of(run: Run | Race | ExternalRun) -> Facts:
    """The facts of a run whose model is built, or that was recorded."""
    if run.config is None:
        assert isinstance(run, ExternalRun)
        return Facts(run.id, run.title, RECORDED, (), None, run.layers, channels=run.channels)
    former = run.dataset.former if isinstance(run.dataset, Corpus) else None
    return Facts(
        run.id,
        run.title,
        run.config.model,
        run.dataset.tokenizer.vocab if isinstance(run.dataset, Corpus) else (),
        run.baselines,
        run.layers,
        run.config.epochs,
        tuple(read_points(run.config.points)) if run.config.model == "line" else (),
        None if former is None else former.title,
        lanes=run.names if isinstance(run, Race) else (),
        forked=isinstance(run, Race) and run.forked,
    )


@lru_cache(maxsize=1)
def example_facts() -> Facts:
    """The facts of the recorded example; its header carries them."""
    frame = EXAMPLE.read_bytes()
    header = orjson.loads(frame[4 : 4 + int.from_bytes(frame[:4], "little")])
    facts = header["facts"]
    return Facts(
        EXAMPLE_RUN,
        header["title"],
        facts["model"],
        tuple(facts["tokens"]),
        Baselines(**facts["baselines"]),
        tuple(facts["layers"]),
    )


def _names(tokens: tuple[str, ...]) -> dict[str, Any]:
    """The tokens that charts may name: the first ones; and the first of each group that a pooled table averages."""
    firsts = [tokens[place] for place in bins(len(tokens))] if len(tokens) > MOST_CELLS else []
    return {"tokens": tokens[:MOST_NAMES], "vocab_size": len(tokens), "firsts": firsts}


@lru_cache(maxsize=128)
def _past(run_id: str, folder: Path, step: int) -> bytes:
    """A stored moment on the wire; the newest one may still be added to, those before it do not change."""
    return _frame(run_id, displayed_state.moment_at(folder, step))


def _frame(run_id: str, moment: displayed_state.DisplayedState) -> bytes:
    samples = [] if moment.sample is None else [moment.sample._asdict()]
    header = {"kind": "past", "run": run_id, "step": moment.step, "scalars": moment.scalars, "samples": samples}
    return Frame(header, list(moment.tables.items())).encode()


def _binary(message: bytes) -> Response:
    return Response(message, media_type="application/octet-stream")


@lru_cache(maxsize=8)
def _charts(page: str, facts: Facts) -> list[dict[str, Any]]:
    return [panel.as_json() for panel in PAGES[page](facts)]


def asset(request: Request) -> Response:
    """`GET /board.js` and its like: the board's own scripts and styles, by their names in ASSETS alone."""
    return FileResponse(ASSETS[request.url.path.removeprefix("/")], headers={"Cache-Control": "no-cache"})


def watch(_: Request) -> Response:
    """`GET /watch`: the plain page for the audience."""
    return FileResponse(HERE / "watch.html", headers={"Cache-Control": "no-cache"})


def example(_: Request) -> Response:
    """`GET /example`: a recorded snapshot, shown before the first Start."""
    return FileResponse(EXAMPLE, media_type="application/octet-stream", headers={"Cache-Control": "no-cache"})


def warm_up(manager: RunManager) -> None:
    """Do once, before anybody waits, what the first visitor would wait for: imports, compression, a first step."""
    vendor.scripts()
    _charts("train", example_facts())
    start = preset(DEFAULT_PRESET)
    manager.estimate(start.config, start.settings)


def routes(hub: Hub) -> list[BaseRoute]:
    """Everything that is served beside Streamlit."""
    return [
        Route("/", front),
        WebSocketRoute("/live", hub.live),
        Route("/series", hub.series),
        Route("/panels", hub.panels),
        Route("/frame", hub.frame),
        Route("/notes", hub.notes),
        Route("/example", example),
        Route("/watch", watch),
        *(Route(f"/{name}", asset) for name in ASSETS),
        Route("/vendor/plotly.min.js", vendor.plotly_script),
    ]


PUBLIC_PAGES = (
    "/series",
    "/panels",
    "/frame",
    "/notes",
    "/example",
    "/watch",
    "/vendor/plotly.min.js",
    *(f"/{name}" for name in ASSETS),
)
PUBLIC_SOCKETS = ("/live",)


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


def _deliver(post: list[tuple[Viewer, bytes | None]]) -> None:
    for viewer, message in post:
        if message is None:
            viewer.gone = True
            viewer.wake.set()
        else:
            viewer.push(message)
