"""Record a training loop of one's own, so that it can be watched on the stage while it runs, and compared after it.

    from loopscope import record  # `from engine import record` in a checkout that is not installed

    log = record("my run", lr=1e-3)
    for step in range(1, 1001):
        ...
        log(step, loss=loss)

Works in a script or a notebook, without Streamlit. It writes a run folder as the engine's own runs do: their writer
has a thread of its own, waits for a disk that refuses, and packs a million steps into little. When the process ends,
however it ends, all that was logged is there, with how it ended (`process_end`); `log.close()`, or `with record(…) as
log:`, ends a recording earlier. Programs in other languages write a file of lines instead (`json_lines`). The model
stays the loop's own: such a run can be watched, compared, exported and replayed, not continued.

Watching never ends what it watches: what is not possible is told once on stderr and as an event of the run, and the
rest is kept (`loop_parser`, `recorded`). With strict=True it raises InputError.
"""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from ..console import complain
from ..errors import InputError
from ..paths import home
from ..storage.command_inbox import ALL, KNOBS, Command, CommandInbox
from ..storage.metrics.loop_parser import LoopParser
from ..storage.metrics.recorded import Recorded, Setting, as_number, kind_of, shown, text_of
from ..storage.writer import RunWriter, new_run_id
from ..stream.messages import Event, Record, Turn, drain_queue
from ..stream.status import ENDED
from . import process_end

LISTEN_SECONDS = 0.2
MOST_WARNINGS = 40


class Recorder:
    """A loop that is being recorded: call it once a step. Made by `record`."""

    def __init__(self, folder: Path, recorded: Recorded, live: Sequence[str], warnings: _Warnings) -> None:
        self.id = folder.name
        self.stopped = False
        """Has somebody asked the loop to stop? Only if it honours that."""
        self._settings = dict(recorded.settings)
        self._lr = as_number(self._settings.get("lr"))
        self._warnings = warnings
        self._parser = LoopParser(warnings.report)
        self._closed_by = ""
        self._store = RunWriter(folder, _start(folder, recorded))
        self._storage = _Storage(self._store)
        self._listener = _Listener(CommandInbox(folder, live)) if live else None
        self._write([Event(0, "started", "started")])
        self._write_warnings()
        self._at = time.perf_counter()
        process_end.close_at_end(self)

    @property
    def settings(self) -> Mapping[str, Setting]:
        """The settings as they are now: those in `live` change while the loop runs."""
        return self._settings

    @property
    def step(self) -> int:
        """The step that was reported last."""
        return self._parser.step

    @property
    def problem(self) -> str | None:
        """What is not being saved, and why; None while all is well."""
        return self._store.problem

    def __call__(self, step: Any = None, numbers: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Record what was measured at `step`: `loss`, `grad_norm`, `lr`, `val_loss`, and any others by their names.

        A number may be a tensor of one element; one on a GPU is waited for. Names that are no identifiers go into a
        dictionary: `log(step, {"train/loss": loss})`. Steps grow from call to call; without one, or as a keyword, it is
        `step=`, or the one after the last. Returns at once, unless somebody has paused a loop that honours it.
        """
        if self._closed_by:
            return self._refuse_late()
        now = time.perf_counter()
        if numbers is not None or type(step) is not int:
            step, named = self._sorted_out(step, numbers, named)
        otherwise = {"seconds": now - self._at}
        if self._lr is not None:
            otherwise["lr"] = self._lr
        self._write(self._parser.numbers(step, named, otherwise))
        if self._warnings.new:
            self._write_warnings()
        self._at = now
        if self._listener is not None:
            self._apply_commands(self._listener)
        return None

    def table(self, name: str, cells: Any) -> None:
        """Record a table (rows, columns) at the step of the last call: an array, a tensor, or rows of numbers.

        Of a side above 96 neighbours are averaged; a row of numbers is a table of one row.
        """
        self._tell(lambda: self._parser.table(None, name, cells))

    def sample(self, text: str) -> None:
        """Record a text that the model wrote."""
        self._tell(lambda: self._parser.sample(None, text))

    def event(self, text: str) -> None:
        """Record something that happened: it is marked on every chart."""
        self._tell(lambda: self._parser.event(None, text))

    def close(self, state: str | None = None, message: str | None = None) -> None:
        """End the recording; a second call changes nothing.

        state: "done", or "stopped" where somebody has asked for that, unless it is said; "diverged" or "failed".
        message: what there is to say of the end.
        """
        if not self._closed_by:
            usual = "stopped" if self.stopped else "done"
            if state is not None and not (isinstance(state, str) and state in ENDED):
                self._warnings.report("state", f"state {shown(state)} is none; choose {', '.join(ENDED)}")
                state = None
            self._end(state or usual, message)
            if self._listener is not None:
                self._listener.close()
        self._storage.finish()
        process_end.closed(self)

    def leave_to_parent(self) -> None:
        """In a forked process: the recording is its parent's, and nothing is written here."""
        self._closed_by = "is recorded by the process that forked this one"
        self._store.leave_to_parent()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        state, message = process_end.ending(error)
        self.close(state, message)

    def __del__(self) -> None:
        """Nobody can report to it any more: it is done, and written without being waited for."""
        if getattr(self, "_closed_by", "unmade"):
            return
        self._end("stopped" if self.stopped else "done")
        if self._listener is not None:
            self._listener.close_soon()
        self._store.close_soon()
        process_end.finish_at_end(self._storage)

    def _end(self, state: str, message: str | None = None) -> None:
        self._closed_by = "is closed; record a new one"
        self._write_warnings()
        step = self._parser.step
        self._write([Event(step, state, text_of(message) if message else f"{state} at step {step:,}")])

    def _write(self, records: list[Record]) -> None:
        self._store.put(records)

    def _tell(self, parse: Callable[[], list[Record]]) -> None:
        if self._closed_by:
            return self._refuse_late()
        self._write(parse())
        return self._write_warnings()

    def _refuse_late(self) -> None:
        self._warnings.report("closed", f"run {self.id} {self._closed_by}; what is logged now is left out")

    def _write_warnings(self) -> None:
        told, self._warnings.new = self._warnings.new, []
        if told:
            self._write([Event(self._parser.step, "warning", sentence) for sentence in told])

    def _sorted_out(
        self, step: Any, numbers: Mapping[str, Any] | None, named: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """The step and the numbers, whichever way they were given."""
        if isinstance(step, Mapping):
            step, numbers = None, step
        if numbers is not None:
            if isinstance(numbers, Mapping):
                named = {**numbers, **named}
            else:
                self._warnings.report("numbers", f"{shown(numbers)} is {kind_of(numbers)}; log numbers by their names")
        if step is None:
            step = named.pop("step", None)
        return self._parser.step + 1 if step is None else step, named

    def _apply_commands(self, listener: _Listener) -> None:
        """Between two steps: do what was asked; a pause is waited through."""
        paused = self._apply(drain_queue(listener.commands))
        if not paused:
            return
        step = self._parser.step
        self._write([Event(step, "paused", f"paused at step {step:,}")])
        while paused and not self.stopped and not self._closed_by:
            time.sleep(LISTEN_SECONDS / 4)
            paused = self._apply(drain_queue(listener.commands), paused)
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
                self._lr = as_number(self._settings.get("lr"))
                self._write([Turn(step, 0, dict(self._settings))])
            if command.verb == "stop":
                self.stopped = True
                self._write([Event(step, "asked to stop", "asked to stop")])
            elif command.verb is not None:
                paused = command.verb == "pause"
        return paused


class _Listener:
    """What the loop is asked to do, received on a thread of its own until it can be done between two steps.

    Knows nothing of the recorder, which goes when nobody holds it any more.
    """

    def __init__(self, inbox: CommandInbox) -> None:
        self.commands: SimpleQueue[Command | InputError] = SimpleQueue()
        self._inbox = inbox
        self._closing = threading.Event()
        self._soon = False
        self._thread = threading.Thread(target=self._listen, name=f"listening in {inbox.folder}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._closing.set()
        self._thread.join()

    def close_soon(self) -> None:
        """Listen no more, from the next look on. Takes no lock."""
        self._soon = True

    def _listen(self) -> None:
        while not self._closing.wait(LISTEN_SECONDS) and not self._soon:
            for command in self._inbox.receive():
                self.commands.put(command)
        self._inbox.close()


class _Storage:
    """The end of what a recorder writes: waited for, and told where it is not whole."""

    def __init__(self, writer: RunWriter) -> None:
        self._writer = writer

    @property
    def finished(self) -> bool:
        return self._writer.closed and self._writer.problem is None

    def finish(self) -> None:
        if not self._writer.close(process_end.CLOSING_SECONDS):
            complain(f"warning: {self._writer.problem or f'run {self._writer.folder.name} is not whole on the disk'}")


class _Warnings:
    """What was not possible, each kind once: on stderr, and in `new` until it is written as events of the run."""

    def __init__(self, run: str, strict: bool) -> None:
        self.new: list[str] = []
        self._run, self._strict = run, strict
        self._told: set[str] = set()

    def report(self, kind: str, sentence: str) -> None:
        """Say it, unless something of its kind was said; InputError where that is asked for."""
        if self._strict:
            raise InputError(sentence)
        if kind in self._told or len(self._told) > MOST_WARNINGS:
            return
        self._told.add(kind)
        if len(self._told) > MOST_WARNINGS:
            sentence = "there is more that is not possible; it is not told"
        self.new.append(sentence)
        complain(f"warning: {self._run}: {sentence}")


def record(
    name: Any = None,
    config: Mapping[str, Any] | None = None,
    /,
    *,
    max_steps: int | None = None,
    live: Sequence[str] = (),
    strict: bool = False,
    **settings: Any,
) -> Recorder:
    """Begin to record a run called `name`, with what it was set to, for people to compare.

    config: settings in a dictionary, where that is what a loop has; others are keywords. max_steps: where the loop will
    end, if it is known. live: what may be turned from outside while it runs, and the loop then honours by looking: "lr"
    (in `log.settings["lr"]`), other settings that LiveSettings has, "stop" (in `log.stopped`), and "pause", which needs
    no look. strict: raise InputError for whatever is not possible, here and in every call, instead of keeping the rest
    with a warning.
    """
    if name is None:
        name = settings.pop("name", None)
    warnings = _Warnings(shown(name) if isinstance(name, str) else "record", bool(as_number(strict)))
    if isinstance(name, Mapping) and config is None:
        name, config = None, name
    if config is not None:
        if isinstance(config, Mapping):
            settings = {**config, **settings}
        else:
            warnings.report("config", f"config {shown(config)} is {kind_of(config)}; give names with values")
    about = {"name": name, "settings": settings, "max_steps": max_steps}
    recorded = Recorded.converted(about, warnings.report)
    honoured = _honoured(live, recorded.settings, warnings)
    return Recorder(home() / "runs" / new_run_id(), recorded, honoured, warnings)


def _honoured(live: Any, settings: Mapping[str, Setting], warnings: _Warnings) -> tuple[str, ...]:
    """Of what a loop says that it honours, what there is."""
    if isinstance(live, str):
        live = (live,)
    if not isinstance(live, Sequence | set | frozenset):
        if live is not None and live is not False:
            warnings.report("live", f"live {shown(live)} is {kind_of(live)}; give names of {', '.join(ALL)}")
        return ()
    kept = []
    for one in live:
        if not isinstance(one, str) or one not in ALL:
            warnings.report(f"live {shown(one)}", f"live {shown(one)} is not possible; choose of {', '.join(ALL)}")
        elif one in KNOBS and type(settings.get(one)) not in (int, float, str):
            told = f"live {shown(one)} has no value to begin with; write {one}=…"
            warnings.report(f"live {shown(one)}", told)
        else:
            kept.append(one)
    return tuple(kept)


def _start(folder: Path, recorded: Recorded) -> dict[str, Any]:
    environment = {"python": platform.python_version(), "platform": platform.platform()}
    return {"run": folder.name, "recorded": recorded.model_dump(), "parent": None, "environment": environment}
