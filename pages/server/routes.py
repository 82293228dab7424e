"""The HTTP routes beside Streamlit: charts, parts of a series, stored frames, notes, and the board's files."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import ref

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from engine.config import MAX_STEPS
from engine.link import DEFAULT_PRESET
from engine.presets import preset
from engine.runs.directory import SOURCE_NAMES
from engine.runs.manager import RunManager
from engine.storage import notes
from engine.storage.displayed_state import DisplayedState, displayed_state, displayed_step_before, displayed_steps
from engine.storage.metrics.schema import MetricsError
from engine.stream.downsampling import bin_starts
from engine.stream.history import Frame
from pages.board import vendor
from pages.board.board import ASSETS
from pages.charts.live_figures import MOST_CELLS
from pages.charts.pages import PANELS
from pages.charts.panel import RunInfo
from pages.server.answers.route import PATH as ANSWER
from pages.server.audience import for_audience, without_paths
from pages.server.front import front
from pages.server.hub import Hub
from pages.server.narration import AnyRun, narration
from pages.server.run_info import EXAMPLE, EXAMPLE_RUN, example_info, run_info

WATCH = Path(__file__).with_name("watch.html")
BUILD_SECONDS = 0.5
MOST_NAMES = 1000  # tokens that are sent by name; a vocabulary may have 50,257


class RunRoutes:
    """The routes that answer questions about a run."""

    def __init__(self, manager: RunManager) -> None:
        self.manager = manager

    def series(self, request: Request) -> Response:
        """`GET /series?run&channel&from&to`: at most 2,000 points of any stretch, and their means, as JSON."""
        query = request.query_params
        run = self.manager.source(query.get("run", "current"))
        if run is None:
            return PlainTextResponse("there is no such run", 404)
        try:
            first = max(0, int(float(query.get("from", "0"))))
            last = int(float(query["to"])) if "to" in query else None
        except (ValueError, OverflowError):
            return PlainTextResponse("from and to are steps; give whole numbers", 400)
        found = run.history.points_between(query.get("channel", ""), first, last)
        if found is None:
            return PlainTextResponse("this run has no such channel", 404)
        return _json(found._asdict())

    def panels(self, request: Request) -> Response:
        """`GET /panels?page&run`: the charts of a page for a run, as Plotly figures."""
        query = request.query_params
        page, run_id = query.get("page", "train"), query.get("run", "current")
        run = self.manager.source(run_id)
        if run is None and run_id not in (*SOURCE_NAMES, EXAMPLE_RUN):
            return PlainTextResponse("there is no such run", 404)
        if page not in PANELS:
            return PlainTextResponse(f"there is no page {page!r}", 404)
        if run and not run.built.wait(BUILD_SECONDS):  # the board asks again
            return PlainTextResponse("the model is still being built", 503)
        info = run_info(run) if run else example_info()
        previous = self.manager.previous
        ghost = previous.id if run is self.manager.current and previous and previous.step else None
        return _json(
            {
                "run": info.run,
                "title": without_paths(info.title) if for_audience(request) else info.title,
                "previous": ghost,
                **_token_names(info.tokens),
                "panels": _panels(page, info),
            }
        )

    def frame(self, request: Request) -> Response:
        """`GET /frame?run&step`: the stored state at or before a step, as a frame; without step, the list of steps.

        For the step that is restored in full, the tables are of that very step.
        """
        query = request.query_params
        run = self.manager.source(query.get("run", "current"))
        folder = run.folder if run else None
        if run is None or folder is None:
            return PlainTextResponse("there is no such run, or it is not stored", 404)
        try:
            asked = int(float(query["step"])) if "step" in query else None
        except (ValueError, OverflowError):
            return PlainTextResponse("step is a number of updates; give a whole number", 400)
        try:
            if asked is None:
                return _json({"steps": displayed_steps(folder)})
            made = self.manager.restored
            if made is not None and made.run is run and made.paused_state is not None and made.step == asked:
                moment = made.displayed_state(displayed_state(folder, asked))
                return _binary(_frame(run, moment))
            step = displayed_step_before(folder, max(-1, min(asked, MAX_STEPS)))
            if step is None:
                return PlainTextResponse("nothing is stored at or before that step", 404)
            if step == displayed_step_before(folder, MAX_STEPS):  # the newest one may still be added to
                return _binary(_frame(run, displayed_state(folder, step)))
            return _binary(_stored_frame(ref(run), folder, step))
        except MetricsError as error:
            why = "" if for_audience(request) else f" ({error})"
            return PlainTextResponse(f"the run's folder cannot be read{why}; try again", 503)

    def notes(self, request: Request) -> Response:
        """`GET /notes?run`: the notes pinned at steps of a run, as JSON; none for a run that is not stored."""
        run = self.manager.source(request.query_params.get("run", "current"))
        if run is None:
            return PlainTextResponse("there is no such run", 404)
        pinned = [note for note in notes.read(run.folder).notes if note.step is not None] if run.folder else []
        return _json({"notes": [{"step": note.step, "text": note.text} for note in pinned]})


def _token_names(tokens: tuple[str, ...]) -> dict[str, Any]:
    """The tokens that charts may name, and the first token of each group that a pooled table averages."""
    firsts = [tokens[place] for place in bin_starts(len(tokens))] if len(tokens) > MOST_CELLS else []
    return {"tokens": tokens[:MOST_NAMES], "vocab_size": len(tokens), "firsts": firsts}


@lru_cache(maxsize=128)
def _stored_frame(reference: ref[AnyRun], folder: Path, step: int) -> bytes:
    """A stored frame as it is sent, cached, though not the run; not for the newest one, which may still change."""
    run = reference()
    assert run is not None  # whoever asks holds it
    return _frame(run, displayed_state(folder, step))


def _frame(run: AnyRun, moment: DisplayedState) -> bytes:
    samples = [] if moment.sample is None else [moment.sample._asdict()]
    header = {
        "kind": "past",
        "run": run.id,
        "step": moment.step,
        "train_loss": run.history.recent_loss(moment.step, run.config is not None and run.config.reads_text),
        "scalars": moment.scalars,
        "samples": samples,
        "narration": narration(run, moment.step),
    }
    return Frame(header, list(moment.tables.items())).encode()


def _binary(message: bytes) -> Response:
    return Response(message, media_type="application/octet-stream")


@lru_cache(maxsize=8)
def _panels(page: str, info: RunInfo) -> list[dict[str, Any]]:
    return [panel.as_json() for panel in PANELS[page](info)]


def asset(name: str) -> Callable[[Request], Response]:
    """`GET /board.js` and its like: one of the board's own scripts and styles, by its name in ASSETS."""

    def answer(_: Request) -> Response:
        return FileResponse(ASSETS[name], headers={"Cache-Control": "no-cache"})

    return answer


def add_slash(request: Request) -> Response:
    """`GET /loop`, where that is the base path: on to `/loop/`, which the page's own addresses are relative to."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"./{request.url.path.rpartition('/')[2]}/{query}")


def watch(_: Request) -> Response:
    """`GET /watch`: the plain page for the audience."""
    return FileResponse(WATCH, headers={"Cache-Control": "no-cache"})


def example(_: Request) -> Response:
    """`GET /example`: a recorded snapshot, shown before the first Start."""
    return FileResponse(EXAMPLE, media_type="application/octet-stream", headers={"Cache-Control": "no-cache"})


def warm_up(manager: RunManager) -> None:
    """Do what the first visitor would otherwise wait for: imports, compression, a first step."""
    vendor.scripts()
    _panels("train", example_info())
    start = preset(DEFAULT_PRESET)
    manager.estimate(start.config, start.settings)


def routes(hub: Hub, base: str = "") -> list[BaseRoute]:
    """Everything that is served beside Streamlit, under `base`: "" or a path such as "/loop"."""
    answers = RunRoutes(hub.manager)
    return [
        *([Route(base, add_slash)] if base else []),
        Route(f"{base}/", hub.browsers.welcomed(front)),
        WebSocketRoute(f"{base}/live", hub.live),
        Route(f"{base}/series", answers.series),
        Route(f"{base}/panels", answers.panels),
        Route(f"{base}/frame", answers.frame),
        Route(f"{base}/notes", answers.notes),
        Route(f"{base}/example", example),
        Route(f"{base}/watch", hub.browsers.welcomed(watch)),
        *(Route(f"{base}/{name}", asset(name)) for name in ASSETS),
        Route(f"{base}/vendor/plotly.min.js", vendor.plotly_script),
        Route(f"{base}/vendor/source-sans.woff2", vendor.typeface),
    ]


PUBLIC_FILES = ("/vendor/plotly.min.js", "/vendor/source-sans.woff2", *(f"/{name}" for name in ASSETS))
PUBLIC_PAGES = (
    "/series",
    "/panels",
    "/frame",
    "/notes",
    "/example",
    "/watch",
    *PUBLIC_FILES,
)
PUBLIC_SOCKETS = ("/live",)
PUBLIC_POSTS = (ANSWER,)


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")
