"""The routes beside Streamlit, over real connections: frames are read by a decoder of the tests' own.

The routes are served by uvicorn as Streamlit sets it up; where the gate counts, by the real app.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from engine.config import LiveSettings, RunConfig, changed
from engine.paths import home
from engine.presets import preset
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.storage import notes
from engine.storage.writer import RunWriter
from engine.stream.downsampling import bin_starts
from engine.stream.history import Frame
from engine.stream.messages import Event, Scalars
from engine.stream.pump import Pump
from engine.stream.series import GAPS
from engine.stream.status import State
from pages.board.board import ASSETS
from pages.board.vendor import PLOTLY, quick
from pages.server import narration, routes
from pages.server.answers.route import Answers
from pages.server.gate import Gate
from pages.server.hub import Hub
from tests.browser.served import Server

CONTRACT = {
    "kind": str,
    "run": str | None,
    "state": str,
    "message": str,
    "error": str | None,
    "settings": dict,
    "step": int,
    "max_steps": int,
    "steps_per_second": float | int,
    "tokens_seen": int,
    "base_step": int,
    "arrays": list,
    "events": list,
    "samples": list,
}
LIVE_SETTINGS = {*LiveSettings.model_fields, "version"}


@dataclass
class Received:
    """A frame as the contract describes it: the header, and each array by its name."""

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def steps(self, channel: str) -> list[int]:
        """The steps of a scalar channel's points."""
        if channel not in self.arrays:
            return []
        return [int(offset) + self.header["base_step"] for offset in self.arrays[channel][0]]

    def values(self, channel: str) -> list[float]:
        """The values of a scalar channel's points."""
        return self.arrays[channel][1].tolist() if channel in self.arrays else []


def decode(message: bytes | str) -> Received:
    """Read a frame byte by byte as design and contract say, and complain about anything else."""
    assert isinstance(message, bytes), "frames are binary"
    (length,) = struct.unpack_from("<I", message, 0)
    assert length % 4 == 0
    text = message[4 : 4 + length].decode("utf-8")
    assert text.rstrip(" ").endswith("}"), "padded with spaces and nothing else"
    header = json.loads(text)
    for key, kind in CONTRACT.items():
        assert isinstance(header[key], kind), key
    assert header["kind"] in ("snapshot", "delta")
    assert header["state"] in {state.value for state in State}
    arrays, at = {}, 4 + length
    for entry in header["arrays"]:
        count = int(np.prod(entry["shape"]))
        assert entry["name"] not in arrays
        arrays[entry["name"]] = np.frombuffer(message, "<f4", count, at).reshape(entry["shape"])
        at += 4 * count
    assert at == len(message), "nothing follows the arrays"
    return Received(header, arrays)


def listening_socket() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


class Served:
    """A hub behind the gate and uvicorn, in a thread. The pump is turned by hand, so that every frame is known."""

    def __init__(self, manager: RunManager) -> None:
        self.manager, self.hub = manager, Hub(manager)
        app = Starlette(
            routes=[Route("/open", self._open), *routes.routes(self.hub)],
            middleware=[
                Middleware(Gate, pages=routes.PUBLIC_PAGES, sockets=routes.PUBLIC_SOCKETS, posts=routes.PUBLIC_POSTS),
                Middleware(Answers, classroom=self.hub.classroom, browsers=self.hub.browsers),
            ],
        )
        listener = listening_socket()
        self.port = listener.getsockname()[1]
        settings = uvicorn.Config(app, ws="websockets-sansio", ws_per_message_deflate=False, log_level="critical")
        self._server = uvicorn.Server(settings)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]})
        self._thread.start()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        assert self.http.get("/open").status_code == 200

    async def _open(self, _: Any) -> Any:
        self.hub.open()
        return routes.PlainTextResponse("")

    def turn(self) -> None:
        """One beat of the pump: drain, make the frames, hand them on."""
        self.manager.pump.drain()
        self.hub.publish(self.manager.pump.frames())

    def viewer(self, run: str = "current", **options: Any) -> ClientConnection:
        """A socket that the hub knows of."""
        before = len(self.hub.viewers)
        viewer = connect(f"ws://127.0.0.1:{self.port}/live?run={run}", compression=None, ping_interval=None, **options)
        while len(self.hub.viewers) == before:
            pass
        return viewer

    def close(self) -> None:
        self.http.close()
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()


CONFIG = preset("bigram").config.model_copy(update={"corpus": "tiny", "observe_every": 5, "eval_every": 5})
SETTINGS = changed(preset("bigram").settings, speed="unlimited", max_steps=100_000)


@pytest.fixture
def served(manager: RunManager) -> Iterator[Served]:
    manager.pump.stop()
    served = Served(manager)
    yield served
    served.close()


@pytest.fixture
def stepped(served: Served, wait_until: Callable[..., None]) -> Callable[..., Run]:
    """`stepped(count, run=None)`: a run (a new one without `run`) that has made `count` more steps and waits."""

    def step(count: int, run: Run | None = None, config: RunConfig = CONFIG) -> Run:
        run = run or served.manager.prepare(config, SETTINGS, replace=True)
        goal = run.step + count
        run.make_steps(count)
        wait_until(lambda: run.step == goal and run.state is State.PAUSED)
        return run

    return step


def read(viewer: ClientConnection) -> Received:
    return decode(viewer.recv(timeout=30))


def test_without_a_run_the_first_frame_is_an_empty_snapshot(served: Served) -> None:
    with served.viewer() as viewer:
        served.turn()
        frame = read(viewer)
    assert (frame.header["kind"], frame.header["run"], frame.header["state"]) == ("snapshot", None, "ready")
    assert frame.arrays == {}


def test_a_viewer_who_has_heard_nothing_for_a_second_hears_that_the_server_lives(
    served: Served, stepped: Callable[..., Run]
) -> None:
    def heard_by(viewer: ClientConnection) -> Received:
        read(viewer)
        for one in served.hub.viewers:
            one.told -= Pump.HEARTBEAT_SECONDS
        served.hub.publish([])
        return read(viewer)

    with served.viewer() as viewer:
        served.turn()
        assert heard_by(viewer).header["run"] is None
    run = stepped(5)
    with served.viewer(run.id) as viewer:
        served.turn()
        frame = heard_by(viewer)
        assert (frame.header["kind"], frame.header["run"], frame.header["step"]) == ("delta", run.id, 5)
        assert not (frame.arrays or frame.header["events"] or frame.header["samples"])


def test_snapshot_first_then_deltas_and_together_they_are_every_step(
    served: Served, stepped: Callable[..., Run]
) -> None:
    run = stepped(10)
    served.turn()
    with served.viewer() as viewer, served.viewer(run.id) as other:
        frames = []
        for beat in range(4):
            if beat:
                stepped(7, run)
            served.turn()
            message = viewer.recv(timeout=30)
            assert other.recv(timeout=30) == message, "everybody gets the same bytes"
            frames.append(decode(message))
    assert [frame.header["kind"] for frame in frames] == ["snapshot", "delta", "delta", "delta"]
    last = frames[-1].header
    assert (last["run"], last["state"], last["step"], last["max_steps"]) == (run.id, "paused", 31, 100_000)
    assert last["tokens_seen"] == 31 * 32 * 8
    assert last["settings"].keys() == LIVE_SETTINGS
    kept = run.history.series
    for channel in ("train/loss", "grad_norm"):
        assert [step for frame in frames for step in frame.steps(channel)] == list(range(1, 32))
        seen = np.array([value for frame in frames for value in frame.values(channel)], np.float32)
        assert np.array_equal(seen, kept[channel].view(1000)[1])
    looked = [step for frame in frames for step in frame.steps("val/loss")]
    assert looked == kept["val/loss"].view(1000)[0].tolist()
    assert {0, 5, 10, 15, 20, 25, 30} <= set(looked)
    size = run.corpus.tokenizer.vocab_size
    assert frames[0].arrays["weights/token_embedding"].shape == (size, size)
    assert frames[0].header["samples"][0].keys() >= {"step", "text"}
    assert frames[0].header["events"][-1].keys() >= {"step", "name", "text"}


def test_events_come_once_and_all_of_them_to_who_comes_later(served: Served, stepped: Callable[..., Run]) -> None:
    run = stepped(3)
    with served.viewer() as viewer:
        served.turn()
        read(viewer)
        run.tune(changed(SETTINGS, lr=0.5))
        stepped(1, run)
        served.turn()
        mine = [event for event in read(viewer).header["events"] if event["name"] == "lr"]
        assert [(event["step"], event["text"]) for event in mine] == [(3, "lr 0.001 → 0.5")]
        stepped(1, run)
        served.turn()
        assert "lr" not in [event["name"] for event in read(viewer).header["events"]]
        with served.viewer() as later:
            served.turn()
            assert mine[0] in read(later).header["events"]


def test_the_narrators_line_comes_with_the_frames_and_scrubbing_has_the_line_of_that_moment(
    served: Served, stepped: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narration, "SECONDS", 0.0)
    run = stepped(3)
    with served.viewer() as viewer, served.viewer("current&audience") as audience:
        served.turn()
        told = read(viewer).header["narration"]
        assert told == read(audience).header["narration"]
        assert told["step"] == 0 and told["text"].startswith("Untrained")
        run.tune(changed(SETTINGS, lr=0.5))
        stepped(2, run)
        served.turn()
        told = read(viewer).header["narration"]
        assert told == {"step": 3, "text": "Learning rate raised from 0.001 to 0.5 at step 3: watch the bend."}
    assert run.store is not None and run.store.flush()
    header = {}
    for step in (2, 5):
        answer = served.http.get("/frame", params={"run": run.id, "step": step}).content
        header[step] = json.loads(answer[4 : 4 + int.from_bytes(answer[:4], "little")])
    assert header[2]["step"] < 3 and header[2]["narration"]["text"].startswith("Untrained")
    assert header[5]["step"] == 5 and header[5]["narration"] == told


def test_a_tab_that_was_open_and_one_that_came_later_are_told_the_same_training_loss(
    served: Served, stepped: Callable[..., Run]
) -> None:
    run = stepped(3)
    with served.viewer() as early:
        served.turn()
        assert read(early).header["train_loss"] is not None
        stepped(9, run)
        served.turn()
        with served.viewer() as late:
            served.turn()
            told = [read(viewer).header["train_loss"] for viewer in (early, late)]
    losses = run.history.series["train/loss"].view(100).values
    assert told == [pytest.approx(losses[-5:].mean(), rel=1e-6)] * 2
    assert run.store is not None and run.store.flush()
    answer = served.http.get("/frame", params={"run": run.id, "step": 12}).content
    header = json.loads(answer[4 : 4 + int.from_bytes(answer[:4], "little")])
    assert (header["step"], header["train_loss"]) == (12, told[0]), "scrubbed too"


def test_a_line_is_made_at_most_once_a_second(stepped: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run, made = stepped(1), []
    monkeypatch.setattr(narration, "narration", lambda run: made.append(run))
    narrations = narration.Narrations(iter([0.0, 0.5, 0.9, 1.0, 1.9]).__next__)
    for _ in range(5):
        narrations.newest(run)
    assert made == [run, run]


def test_current_moves_on_to_a_new_run_with_a_snapshot(served: Served, stepped: Callable[..., Run]) -> None:
    first = stepped(5)
    with served.viewer() as following, served.viewer(first.id) as faithful:
        served.turn()
        assert read(following).header["run"] == read(faithful).header["run"] == first.id
        second = stepped(2)
        served.turn()
        frame = read(following)
        assert (frame.header["kind"], frame.header["run"]) == ("snapshot", second.id)
        assert frame.steps("train/loss") == [1, 2]
        assert read(faithful).header["run"] == first.id


def test_a_run_that_goes_closes_its_viewers_with_4404(served: Served, stepped: Callable[..., Run]) -> None:
    first = stepped(1)
    with served.viewer(first.id) as viewer:
        served.turn()
        read(viewer)
        stepped(1)
        stepped(1)
        served.turn()
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                viewer.recv(timeout=30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4404


def test_unknown_run_closes_with_4404(served: Served) -> None:
    with connect(f"ws://127.0.0.1:{served.port}/live?run=nobody") as viewer, pytest.raises(ConnectionClosed) as closed:
        viewer.recv(timeout=30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4404


def test_a_run_elsewhere_is_streamed_by_its_id_and_on_the_stage(served: Served, stepped: Callable[..., Run]) -> None:
    writer = RunWriter(
        home() / "runs" / "elsewhere", {"config": CONFIG.model_dump(), "settings": SETTINGS.model_dump()}
    )

    def wrote(first: int, last: int) -> None:
        writer.put([Scalars(i, i / 8, 1.0, 0.5, 0.01) for i in range(first, last + 1)])
        assert writer.flush()
        served.manager.external_runs.refresh()
        served.turn()

    writer.put([Event(0, "started", "started")])
    wrote(1, 5)
    with served.viewer("elsewhere") as viewer, served.viewer() as stage:
        served.turn()
        first = read(viewer)
        assert (first.header["kind"], first.header["run"], first.header["state"]) == (
            "snapshot",
            "elsewhere",
            "running",
        )
        assert first.header["elsewhere"] is True and first.steps("train/loss") == [1, 2, 3, 4, 5]
        assert read(stage).header["run"] is None
        wrote(6, 8)
        more = read(viewer)
        assert more.header["kind"] == "delta" and more.steps("train/loss") == [6, 7, 8]
        assert more.values("train/loss") == [6 / 8, 7 / 8, 1.0]
        served.manager.watch("elsewhere")
        served.turn()
        shown = read(stage)
        assert shown.header["kind"] == "snapshot" and shown.steps("train/loss") == list(range(1, 9))
        told = served.http.get("/panels", params={"run": "current"}).json()
        assert told["run"] == "elsewhere" and told["tokens"] == list(
            served.manager.datasets.load_corpus(CONFIG).tokenizer.vocab
        )
        part = served.http.get("/series", params={"run": "elsewhere", "channel": "train/loss", "from": 3, "to": 4})
        assert part.json()["steps"] == [3, 4]
        run = stepped(2)
        served.turn()
        while (frame := read(stage)).header["run"] != run.id:
            pass
        assert frame.header["kind"] == "snapshot"
        writer.close()
        served.manager.external_runs.refresh()
        served.turn()
        while not (gone := read(viewer)).header["interrupted"]:
            pass
        assert gone.header["state"] == "stopped"


def test_what_a_viewer_sends_changes_nothing(served: Served, stepped: Callable[..., Run]) -> None:
    run = stepped(3)
    with served.viewer() as viewer:
        served.turn()
        read(viewer)
        for message in ('{"command": "stop"}', '{"lr": 9}', b"\x00" * 5000, "x" * 500_000, "", b""):
            viewer.send(message)
        viewer.ping().wait(30)  # the server has read all of it
        before = run.settings, run.version, run.state, served.manager.current
        stepped(1, run)
        served.turn()
        assert read(viewer).steps("train/loss") == [4]
        assert before == (run.settings, run.version, run.state, served.manager.current)


def test_a_slow_viewer_is_skipped_and_has_no_gap_after_its_next_snapshot(
    served: Served, stepped: Callable[..., Run], wait_until: Callable[..., None]
) -> None:
    run = stepped(1)
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    narrow.connect(("127.0.0.1", served.port))
    beats, ballast = 60, np.zeros((2, 50_000), np.float32)  # 400 kB a frame

    def turn() -> None:
        served.manager.pump.drain()
        (frame,) = [frame for source, frame in served.manager.pump.frames() if source is run]
        assert isinstance(frame, Frame)
        served.hub.publish([(run, Frame(frame.header, [*frame.arrays, ("ballast", ballast)]))])

    with served.viewer() as quick, served.viewer(sock=narrow, max_queue=1) as slow:
        (late,) = [viewer for viewer in served.hub.viewers if viewer.socket.client.port == narrow.getsockname()[1]]
        seen_by_quick, longest = [], 0
        for _ in range(beats):
            stepped(1, run)
            turn()
            seen_by_quick += read(quick).steps("train/loss")
            longest = max(longest, len(late.outbox))
        assert seen_by_quick == list(range(1, beats + 2)), "one slow viewer holds nobody else up"
        assert longest <= late.BEHIND, "what waits for a slow viewer does not grow"

        seen: list[int] = []
        kinds: list[str] = []
        again = False
        while not seen or seen[-1] < run.step:
            frame = read(slow)
            kinds.append(frame.header["kind"])
            if frame.header["kind"] == "snapshot":
                seen = []
            seen += frame.steps("train/loss")
            if not again and not late.outbox:
                again = True
                stepped(1, run)
                turn()
        assert kinds[0] == "snapshot"
        assert "snapshot" in kinds[1:], "it missed frames, so it began anew"
        assert len(kinds) < beats / 2, "it was skipped"
        assert seen == list(range(1, run.step + 1))


def test_a_closed_viewer_is_forgotten(served: Served, wait_until: Callable[..., None]) -> None:
    with served.viewer():
        assert len(served.hub.viewers) == 1
    wait_until(lambda: not served.hub.viewers)
    served.turn()


def test_series_shows_every_step_of_a_stretch(served: Served, stepped: Callable[..., Run]) -> None:
    run = stepped(2500)
    served.manager.pump.drain()
    losses = run.history.series["train/loss"].view(10**6)[1]
    told = served.http.get("/series", params={"run": run.id, "channel": "train/loss", "from": 1200, "to": 1300}).json()
    assert told["steps"] == list(range(1200, 1301))
    assert np.array_equal(np.array(told["values"], np.float32), losses[1199:1300])
    whole = served.http.get("/series", params={"run": "current", "channel": "train/loss"}).json()
    assert len(whole["steps"]) == len(whole["values"]) <= 2000
    assert (whole["steps"][0], whole["steps"][-1]) == (1, 2500)
    assert max(whole["values"]) == losses.max()
    assert min(whole["values"]) == losses.min()


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"run": "nobody", "channel": "train/loss"}, 404),
        ({"channel": "nothing"}, 404),
        ({}, 404),
        ({"channel": "train/loss", "from": "first"}, 400),
        ({"channel": "train/loss", "to": "nan"}, 400),
        ({"channel": "train/loss", "from": "1e400"}, 400),
        ({"channel": "train/loss", "from": "-5", "to": "2"}, 200),
        ({"channel": "train/loss", "from": "9", "to": "2"}, 200),
        ({"channel": "train/loss", "from": "1e30", "to": "1e31"}, 200),
    ],
)
def test_series_answers_odd_questions(
    served: Served, stepped: Callable[..., Run], query: dict[str, str], status: int
) -> None:
    stepped(3)
    served.manager.pump.drain()
    assert served.http.get("/series", params=query).status_code == status


@pytest.mark.parametrize("name", ["bigram", "gpt-tiny"])
def test_every_trace_is_fed_by_a_channel_that_the_stream_has(
    served: Served, stepped: Callable[..., Run], name: str
) -> None:
    run = stepped(10, config=preset(name).config.model_copy(update={"corpus": "tiny", "observe_every": 5}))
    told = served.http.get("/panels", params={"page": "train", "run": run.id}).json()
    assert told["run"] == run.id
    assert told["title"] == run.title
    assert told["tokens"] == list(run.corpus.tokenizer.vocab)
    assert {panel["kind"] for panel in told["panels"]} == {"plot", "samples"}
    for panel in told["panels"]:
        assert panel.keys() >= {"key", "title", "help", "area", "kind", "figure"}
    with served.viewer() as viewer:
        served.turn()
        channels = read(viewer).arrays.keys()
    traces = [trace for panel in told["panels"] if panel["figure"] for trace in panel["figure"]["data"]]
    wanted = {trace["meta"]["channel"] for trace in traces if "channel" in trace.get("meta", {})}
    wanted = {name.removesuffix(GAPS) for name in wanted}  # there are gaps only where a number is none
    wanted |= {view["channel"] for trace in traces for view in trace.get("meta", {}).get("views", [])}
    assert wanted
    assert wanted <= channels


def test_the_names_of_a_large_vocabulary_are_bounded() -> None:
    vocab = tuple(f"token {number}" for number in range(50_257))
    told = routes._token_names(vocab)
    assert told["vocab_size"] == 50_257
    assert told["firsts"] == [vocab[start] for start in bin_starts(50_257)] and len(told["firsts"]) == 96
    assert len(json.dumps(told)) < 20_000
    assert routes._token_names(tuple("abc")) == {"tokens": tuple("abc"), "vocab_size": 3, "firsts": []}


def test_panels_name_the_run_before_as_the_ghost(served: Served, stepped: Callable[..., Run]) -> None:
    first = stepped(3)
    assert served.http.get("/panels").json()["previous"] is None
    stepped(1)
    assert served.http.get("/panels", params={"page": "train"}).json()["previous"] == first.id


def test_panels_of_the_recorded_example_and_of_nothing(served: Served) -> None:
    told = served.http.get("/panels", params={"page": "train", "run": "example"}).json()
    assert told["run"] == "example"
    assert served.http.get("/panels").json() == told
    assert served.http.get("/panels", params={"run": "nobody"}).status_code == 404
    assert served.http.get("/panels", params={"page": "<b>"}).status_code == 404


def test_the_recorded_example_is_a_frame_that_feeds_its_panels(served: Served) -> None:
    frame = decode(served.http.get("/example").content)
    assert frame.header["kind"] == "snapshot"
    assert frame.header["samples"]
    told = served.http.get("/panels", params={"run": "example"}).json()
    traces = [trace for panel in told["panels"] if panel["figure"] for trace in panel["figure"]["data"]]
    wanted = {trace["meta"]["channel"] for trace in traces if "channel" in trace.get("meta", {})}
    assert {name.removesuffix(GAPS) for name in wanted} <= frame.arrays.keys()


def test_plotly_comes_compressed_and_is_kept_for_a_week(served: Served) -> None:
    script = quick(PLOTLY.read_text(encoding="utf-8")).encode()
    with served.http.stream("GET", "/vendor/plotly.min.js", headers={"Accept-Encoding": "gzip, br"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert "max-age=604800" in answer.headers["cache-control"]
    assert "accept-encoding" in answer.headers["vary"].lower()
    assert answer.headers["content-type"].startswith("text/javascript")
    assert len(raw) < len(script) / 2.5
    assert gzip.decompress(raw) == script
    plain = served.http.get("/vendor/plotly.min.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == script


def test_assets_are_served_by_their_names_alone(served: Served) -> None:
    for name, path in ASSETS.items():
        answer = served.http.get(f"/{name}")
        assert answer.content == path.read_bytes()
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["content-type"].startswith({".js": "text/javascript", ".css": "text/css"}[path.suffix])
    others = ("board.py", "package.json", "globals.d.ts", "replay/replay.js", "charts/", "charts/..%2fboard.py")
    for name in (*others, "watch.html", "vendor/plotly.py", "..%2froutes.py", "example.frame"):
        assert served.http.get(f"/{name}").status_code in (403, 404)


# The real app


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("socket"))
    yield server
    server.end()


def test_the_app_sends_a_snapshot_at_once(app: Server) -> None:
    with connect(f"ws://127.0.0.1:{app.port}/live?run=current", origin=app.url) as viewer:
        assert read(viewer).header["kind"] == "snapshot"
    with connect(f"ws://127.0.0.1:{app.port}/live") as viewer:
        assert read(viewer).header["run"] is None


@pytest.mark.parametrize("path", ["/live?run=current", "/_stcore/stream"])
@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (None, "http://evil.example"),
        (None, "http://127.0.0.1"),
        (None, "http://localhost:{port}"),
        (None, "http://127.0.0.1.evil.example:{port}"),
        (None, "null"),
        ("evil.example:{port}", "http://evil.example:{port}"),
        ("evil.example:{port}", None),
    ],
)
def test_the_app_lets_no_other_site_listen(app: Server, path: str, host: str | None, origin: str | None) -> None:
    headers = {"Host": host.format(port=app.port)} if host else {}
    with pytest.raises(InvalidStatus) as refused, connect_as(app, path, origin, headers):
        pass
    assert refused.value.response.status_code == 403


def connect_as(app: Server, path: str, origin: str | None, headers: dict[str, str]) -> ClientConnection:
    """Connect to the app whatever name and origin the request claims."""
    claimed = headers.get("Host", f"127.0.0.1:{app.port}")
    plug = socket.create_connection(("127.0.0.1", app.port))
    return connect(
        f"ws://{claimed}{path}",
        sock=plug,
        origin=origin.format(port=app.port) if origin else None,  # type: ignore[arg-type]
    )


def test_the_app_refuses_pages_to_other_sites(app: Server) -> None:
    for path in ("/", "/watch", "/series?channel=train/loss", "/_stcore/health"):
        assert app.get(path, Host="evil.example")[0] == 403
        assert app.get(path, Origin="http://evil.example")[0] == 403
        assert app.get(path)[0] in (200, 404)


def test_many_messages_to_the_app_change_nothing(app: Server) -> None:
    with connect(f"ws://127.0.0.1:{app.port}/live", origin=app.url) as viewer:
        first = read(viewer)
        for number in range(200):
            viewer.send(json.dumps({"command": "start", "number": number}))
        viewer.ping().wait(30)
    with connect(f"ws://127.0.0.1:{app.port}/live", origin=app.url) as viewer:
        second = read(viewer)
    assert first.header == second.header


def test_an_earlier_moment_comes_as_it_was(served: Served) -> None:
    served.manager.prepare_demo("line", CONFIG, SETTINGS)
    assert served.http.get("/frame", params={"run": "line"}).status_code == 404, "a side lane is not stored"
    run = served.manager.prepare(CONFIG, SETTINGS)
    before: dict[int, bytes] = {}
    for _ in range(3):
        goal = run.step + 5
        run.make_steps(5)
        step, weights = run.copy_weights()
        while step < goal:
            step, weights = run.copy_weights()
        before[step] = weights["token_embedding.weight"].numpy().astype("<f2").astype("<f4").tobytes()
    served.manager.flush(run)
    told = served.http.get("/frame", params={"run": "current"}).json()["steps"]
    assert {0, 5, 10, 15} <= set(told)
    for step, table in before.items():
        for asked in (step, step + 0.5):
            answer = served.http.get("/frame", params={"run": run.id, "step": asked})
            message = answer.content
            (length,) = struct.unpack_from("<I", message, 0)
            header = json.loads(message[4 : 4 + length])
            assert (header["kind"], header["run"], header["step"]) == ("past", run.id, step)
            assert header["samples"][0]["step"] <= step and header["scalars"]["train/loss"] > 0
            at = 4 + length
            for entry in header["arrays"]:
                size = 4 * int(np.prod(entry["shape"]))
                if entry["name"] == "weights/token_embedding":
                    assert message[at : at + size] == table
                at += size
            assert at == len(message)
    assert run.step == 15, "looking back changes nothing"


def test_a_sample_that_is_taken_at_the_newest_moment_comes_with_it(served: Served, stepped: Callable[..., Run]) -> None:
    run = stepped(5)
    asked = {"run": run.id, "step": 5}
    served.manager.flush(run)
    before = served.http.get("/frame", params=asked).content
    sample = run.sample("ab", 8, 1.0, None, 3)
    served.manager.flush(run)
    assert json.dumps(sample.text).encode() not in before
    assert json.dumps(sample.text).encode() in served.http.get("/frame", params=asked).content


def test_the_moment_that_is_opened_comes_with_its_own_tables(served: Served, stepped: Callable[..., Run]) -> None:
    run = stepped(23)
    _, weights = run.copy_weights()
    stepped(9, run)
    made = served.manager.restore_step(23)
    assert made.wait(30) and made.error == ""
    for asked, exact in ((23, True), (22, False), (24, False)):
        message = served.http.get("/frame", params={"run": run.id, "step": asked}).content
        (length,) = struct.unpack_from("<I", message, 0)
        header = json.loads(message[4 : 4 + length])
        table = weights["token_embedding.weight"].numpy().astype("<f4").tobytes()
        assert (table in message) is exact, "what is stored of a step has 16 bits a number"
        assert header["step"] == 23 or not exact
        assert "projection/token_embedding" in [entry["name"] for entry in header["arrays"]]


def test_notes_that_are_pinned_come_for_the_charts(served: Served) -> None:
    run = served.manager.prepare(CONFIG, SETTINGS)
    assert run.store is not None
    assert served.http.get("/notes").json() == {"notes": []}
    lane = preset("document-002-line")
    served.manager.prepare_demo("line", lane.config, lane.settings)
    assert served.http.get("/notes", params={"run": "line"}).json() == {"notes": []}, "it is not stored"
    notes.add(run.store.folder, "of the whole run")
    notes.add(run.store.folder, "<b>here</b>", 7)
    assert served.http.get("/notes", params={"run": run.id}).json() == {"notes": [{"step": 7, "text": "<b>here</b>"}]}
    assert served.http.get("/notes", params={"run": "../x"}).status_code == 404


@pytest.mark.parametrize(("query", "status"), [({"run": "x"}, 404), ({"step": "soon"}, 400), ({"step": "-3"}, 404)])
def test_an_earlier_moment_that_is_not_there(served: Served, query: dict[str, str], status: int) -> None:
    run = served.manager.prepare(CONFIG, SETTINGS)
    run.wait()
    served.manager.flush(run)
    assert served.http.get("/frame", params=query).status_code == status
