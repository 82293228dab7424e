"""The frame socket: the engine's frames go out to all viewers, and nothing comes in.

The pump's thread encodes a frame once; the event loop sends the same bytes to everybody. A viewer that cannot keep up
is skipped, and gets a fresh snapshot when it can listen again, so no queue grows. What a viewer sends is dropped. The
question that stands before the room goes out with the next frame, or in one of its own where there is no other.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from engine.errors import InputError
from engine.lessons.classroom import classroom
from engine.link import DEFAULT_PRESET
from engine.presets import preset
from engine.runs.directory import SOURCE_NAMES
from engine.runs.manager import RunManager
from engine.stream.history import Frame
from engine.stream.pump import Frames, Pump, Source
from engine.stream.status import status_of_no_run
from pages.server.answers.browsers import Browsers
from pages.server.audience import audience_frame, for_audience
from pages.server.narration import Narrations
from pages.server.seats import STANDING

UNKNOWN_RUN = 4404
AT_ONCE = 24  # viewers; between two such groups the event loop answers others
COUNT_SECONDS = 0.5  # between two frames for no more than another number of answers
STANDING_SECONDS = 1.5  # between two frames to one without a seat, where there is nothing to tell
BESIDE_SNAPSHOT = 4_000  # bytes of a question that a snapshot, which is large, may have besides


def no_run() -> Frame:
    """What a viewer of `current` sees before there is a run."""
    status = status_of_no_run(preset(DEFAULT_PRESET).settings)
    return Frame({**status.header(), "kind": "snapshot", "base_step": 0, "events": [], "samples": []})


def no_news(source: Source | None) -> Frame:
    """What a viewer gets who has heard nothing for a while: a frame that changes nothing on show."""
    if source is None:
        return no_run()
    return Frame({**source.status().header(), "kind": "delta", "base_step": 0, "events": [], "samples": []})


class Viewer:
    """One open socket: the run it follows, and the messages still to be sent."""

    BEHIND = 4

    def __init__(self, socket: WebSocket, follows: str) -> None:
        self.socket, self.follows = socket, follows
        self.audience = for_audience(socket)
        self.standing: str | None = socket.scope.get(STANDING)  # why it has no seat: it hears of questions alone
        self.outbox: deque[bytes] = deque()
        self.wake = asyncio.Event()
        self.needs_snapshot = True
        self.source: Source | None = None
        self.told = 0.0  # when it was sent something last, by the monotonic clock
        self.question: tuple[int, int] | None = None  # which one it was told last; None: nothing yet
        self.gone = False

    @property
    def behind(self) -> bool:
        """Are so many frames waiting that the next one is skipped?"""
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


class Question:
    """The question as frames tell it, each viewer once: it may be long, and frames are many."""

    def __init__(self, version: tuple[int, int], header: dict[str, Any] | None, at: float) -> None:
        self.version, self.header, self.at = version, header, at
        self.is_small = len(orjson.dumps(header)) <= BESIDE_SNAPSHOT

    def is_news_for(self, viewer: Viewer) -> bool:
        """Has the viewer still to be told? The audience does not hear how many have answered."""
        if viewer.question is None or viewer.question[0] != self.version[0]:
            return True
        return not viewer.audience and viewer.question != self.version


class Hub:
    """All viewers of all runs."""

    def __init__(self, manager: RunManager) -> None:
        self.manager = manager
        self.classroom = classroom()
        self.browsers = Browsers()
        self.viewers: set[Viewer] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._library = 0
        self._narrations = Narrations()
        self._question: Question | None = None

    def open(self) -> None:
        """Subscribe to the pump. Call it on the event loop that will send."""
        self._loop = asyncio.get_running_loop()
        self.manager.pump.subscribe(self.publish)

    def publish(self, frames: Frames) -> None:
        """Encode each run's frame once for each kind of viewer, for the event loop to send. Runs on the pump's thread.

        The presenter sees all of it, the audience the header that `audience` makes.
        """
        viewers = sorted(self.viewers, key=lambda viewer: viewer.audience)  # who turns the knobs sees them first
        if not viewers or self._loop is None or self._loop.is_closed():
            return
        library = self.manager.lists_version
        if library != self._library:  # the list of texts is in every header, and this one may be quiet
            self._library = library
            for viewer in viewers:
                viewer.needs_snapshot = True
        now = time.monotonic()
        question = self._newest_question(now)
        deltas = {source.id: frame for source, frame in frames}
        made: dict[tuple[str | None, str], Frame] = {}
        encoded: dict[tuple[str | None, str, bool, bool, str | None], bytes] = {}
        post: list[tuple[Viewer, bytes | None]] = []
        for viewer in viewers:
            run = self.manager.source(viewer.follows)
            if run is None and viewer.follows not in SOURCE_NAMES:
                post.append((viewer, None))
                continue
            run_id = run.id if run else None
            if viewer.behind:
                viewer.needs_snapshot = True
                continue
            kind, asks = self._due(viewer, run, deltas.get(run_id or "") is not None, question, now)
            if kind is None:
                continue
            if (run_id, kind) not in made:
                if run and kind == "snapshot":
                    frame = run.history.snapshot(run.status().header())
                else:
                    delta = deltas.get(run_id or "") if kind == "delta" else None
                    frame = delta or no_news(run)
                frame.header["library"] = library
                frame.header["lesson"] = question.version[0]
                frame.header["narration"] = self._narrations.newest(run) if run else None
                made[run_id, kind] = frame
            key = (run_id, kind, viewer.audience, asks, viewer.standing)
            if key not in encoded:
                frame = made[run_id, kind]
                more: dict[str, Any] = {"question": question.header} if asks else {}
                if viewer.standing:
                    more["standing"] = viewer.standing
                frame = Frame(frame.header | more, frame.arrays)
                encoded[key] = (audience_frame(frame) if viewer.audience else frame).encode()
            viewer.needs_snapshot, viewer.source, viewer.told = False, run, now
            if asks:
                viewer.question = question.version
            post.append((viewer, encoded[key]))
        if post:
            self._loop.call_soon_threadsafe(_deliver, self._loop, post)

    def _due(
        self, viewer: Viewer, run: Source | None, news: bool, question: Question, now: float
    ) -> tuple[str | None, bool]:
        """The kind of frame that a viewer is to get now, if any, and whether the question goes with it.

        Whether there is `news` of its run, the question or nothing, it hears within HEARTBEAT_SECONDS.
        """
        asks = question.is_news_for(viewer)
        if viewer.standing:
            return ("no news" if asks or now - viewer.told >= STANDING_SECONDS else None), asks
        if viewer.needs_snapshot or viewer.source is not run:
            return "snapshot", asks and question.is_small
        if news:
            return "delta", asks
        return ("no news" if asks or now - viewer.told >= Pump.HEARTBEAT_SECONDS else None), asks

    def _newest_question(self, now: float) -> Question:
        """What stands before the room; another number of answers alone is news every COUNT_SECONDS."""
        kept, version = self._question, self.classroom.version
        if (
            kept is None
            or version[0] != kept.version[0]
            or (version != kept.version and now - kept.at >= COUNT_SECONDS)
        ):
            kept = self._question = Question(version, self.classroom.header(), now)
        return kept

    async def live(self, socket: WebSocket) -> None:
        """`GET /live?run=<id|current>[&audience]`: a snapshot, then deltas, for as long as the viewer stays."""
        follows = socket.query_params.get("run", "current")
        await socket.accept(headers=self.browsers.cookie_for(socket.scope))
        if follows not in SOURCE_NAMES and self.manager.source(follows) is None:
            try:
                await asyncio.to_thread(self.manager.external_runs.follow, follows)
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
        """Close all sockets, so that the server can end at once."""
        viewers = list(self.viewers)
        await asyncio.gather(*(v.socket.close(1001, "the server is ending") for v in viewers), return_exceptions=True)


def _deliver(loop: asyncio.AbstractEventLoop, post: list[tuple[Viewer, bytes | None]]) -> None:
    """Hand each viewer its message, a group at a time."""
    for viewer, message in post[:AT_ONCE]:
        if message is None:
            viewer.gone = True
            viewer.wake.set()
        else:
            viewer.push(message)
    if len(post) > AT_ONCE:
        loop.call_soon(_deliver, loop, post[AT_ONCE:])
