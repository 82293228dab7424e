"""Record a training loop of one's own, so that it can be watched on the stage while it runs, and compared after it.

    from loopscope import record  # `from engine import record` in a checkout that is not installed

    with record("my run", lr=1e-3) as log:
        for step in range(1, 1001):
            ...
            log(step, loss=loss)

Works in a script or a notebook, without Streamlit. It writes a run folder as the engine's own runs do: their writer
has a thread of its own, waits for a disk that refuses, and packs a million steps into little. Programs in other
languages write a file of lines instead (`json_lines`). The model stays the loop's own: such a run can be watched,
compared, exported and replayed, not continued.
"""

from __future__ import annotations

import operator
import platform
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from ..console import complain
from ..errors import InputError
from ..paths import home
from ..storage.command_inbox import ALL, KNOBS, Command, CommandInbox
from ..storage.metrics.json_lines import JsonLineParser, Recorded, Setting
from ..storage.writer import RunWriter, new_run_id
from ..stream.messages import Event, Record, Turn, drain_queue

LISTEN_SECONDS = 0.2


class Recorder:
    """A loop that is being recorded: call it once a step. Made by `record`."""

    def __init__(self, folder: Path, recorded: Recorded, live: Sequence[str]) -> None:
        self.id = folder.name
        self.stopped = False
        """Has somebody asked the loop to stop? Only if it honours that."""
        self._settings = dict(recorded.settings)
        self._parser = JsonLineParser()
        self._commands: SimpleQueue[Command | InputError] = SimpleQueue()
        self._store = RunWriter(folder, _start(folder, recorded))
        self._inbox = CommandInbox(folder, live) if live else None
        self._closed = threading.Event()
        self._listening: threading.Thread | None = None
        self._write([Event(0, "started", "started")])
        self._at = time.perf_counter()
        if self._inbox is not None:
            self._listening = threading.Thread(target=self._listen, name=f"recording {self.id}", daemon=True)
            self._listening.start()

    @property
    def settings(self) -> Mapping[str, Setting]:
        """The settings as they are now: those in `live` change while the loop runs."""
        return self._settings

    @property
    def problem(self) -> str | None:
        """What is not being saved, and why; None while all is well."""
        return self._store.problem

    def __call__(self, step: int, **numbers: Any) -> None:
        """Record what was measured at `step`: `loss`, `grad_norm`, `lr`, `val_loss`, and any others by their names.

        A number may be a tensor of one element; one on a GPU is waited for. Steps grow from call to call. Returns at
        once, unless somebody has paused a loop that honours it. InputError says what is not possible.
        """
        self._check_open()
        now = time.perf_counter()
        row = {name: _number(value) for name, value in numbers.items() if value is not None}
        row.setdefault("seconds", now - self._at)
        if "lr" in self._settings:
            row.setdefault("lr", self._settings["lr"])
        if "loss" not in row:  # they are a step's own
            row = {name: value for name, value in row.items() if name in numbers}
        self._write(self._parser.numbers(_whole(step), row))
        self._at = now
        self._apply_commands()

    def table(self, name: str, cells: Any) -> None:
        """Record a table (rows, columns) at the step of the last call: an array, a tensor, or rows of numbers."""
        self._check_open()
        if hasattr(cells, "detach"):
            cells = cells.detach().cpu().float().numpy()
        self._write(self._parser.table(self._parser.step, name, cells))

    def sample(self, text: str) -> None:
        """Record a text that the model wrote."""
        self._check_open()
        self._write(self._parser.sample(self._parser.step, text))

    def event(self, text: str) -> None:
        """Record something that happened: it is marked on every chart."""
        self._check_open()
        self._write(self._parser.event(self._parser.step, text))

    def close(self, state: str = "done", message: str | None = None) -> None:
        """End the recording; a second call changes nothing."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._listening is not None:
            self._listening.join()
        step = self._parser.step
        self._write([Event(step, state, message or f"{state} at step {step:,}")])
        if not self._store.close():
            complain(f"warning: {self._store.problem or f'run {self.id} is not whole on the disk'}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close("stopped" if self.stopped else "done")
        elif issubclass(kind, KeyboardInterrupt | GeneratorExit | SystemExit):
            self.close("stopped")
        else:
            self.close("failed", f"{kind.__name__}: {error}"[:2000])

    def _write(self, records: list[Record]) -> None:
        self._store.put(records)

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise InputError(f"run {self.id} is closed; record a new one")

    def _listen(self) -> None:
        """On its own thread: what was asked for waits here for the end of the step."""
        assert self._inbox is not None
        while not self._closed.wait(LISTEN_SECONDS):
            for command in self._inbox.receive():
                self._commands.put(command)
        self._inbox.close()

    def _apply_commands(self) -> None:
        """Between two steps: do what was asked; a pause is waited through."""
        paused = self._apply(drain_queue(self._commands))
        if not paused:
            return
        step = self._parser.step
        self._write([Event(step, "paused", f"paused at step {step:,}")])
        while paused and not self.stopped and not self._closed.is_set():
            time.sleep(LISTEN_SECONDS / 4)
            paused = self._apply(drain_queue(self._commands), paused)
        self._write([Event(step, "resumed", "resumed")])
        self._at = time.perf_counter()  # a pause is no part of a step

    def _apply(self, commands: list[Command | InputError], paused: bool = False) -> bool:
        step = self._parser.step
        for command in commands:
            if isinstance(command, InputError):
                self._write([Event(step, "mailbox", str(command))])
                continue
            for name, value in command.settings.items():
                self._write([Event(step, name, f"{name} {self._settings[name]} → {value}")])
                self._settings[name] = value
            if command.settings:
                self._write([Turn(step, 0, dict(self._settings))])
            if command.verb == "stop":
                self.stopped = True
                self._write([Event(step, "asked to stop", "asked to stop")])
            elif command.verb is not None:
                paused = command.verb == "pause"
        return paused


def record(name: str, *, max_steps: int | None = None, live: Sequence[str] = (), **settings: Any) -> Recorder:
    """Begin to record a run called `name`, with what it was set to, for people to compare.

    max_steps: where the loop will end, if it is known. live: what may be turned from outside while it runs, and the
    loop then honours by looking: "lr" (in `log.settings["lr"]`), other settings that LiveSettings has, "stop" (in
    `log.stopped`), and "pause", which needs no look. InputError says what is not possible.
    """
    for one in live:
        if one not in ALL:
            raise InputError(f"live {one!r} is not possible; choose of {', '.join(ALL)}")
        if one in KNOBS and one not in settings:
            raise InputError(f"live {one!r} has no value to begin with; write {one}=…")
    recorded = Recorded.of({"name": name, "settings": settings, "max_steps": max_steps})
    return Recorder(home() / "runs" / new_run_id(), recorded, live)


def _start(folder: Path, recorded: Recorded) -> dict[str, Any]:
    environment = {"python": platform.python_version(), "platform": platform.platform()}
    return {"run": folder.name, "recorded": recorded.model_dump(), "parent": None, "environment": environment}


def _number(value: Any) -> Any:
    """A tensor or numpy scalar as a float; whatever is no number is left for the parser to refuse."""
    if type(value) in (int, float) or not hasattr(value, "item"):
        return value
    if hasattr(value, "detach"):
        value = value.detach()
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return value


def _whole(step: Any) -> Any:
    try:
        return operator.index(step)
    except TypeError:
        return step
