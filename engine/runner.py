"""Runs and the studio. A `Run` is a training thread with a mailbox; the `Studio` holds the one run of the room.

Only a run's own thread touches its model and optimizer. Everyone else asks: a command goes into the mailbox, the
thread takes all commands between two steps, and what changed becomes an event with its step. Knows no screen.
"""

from __future__ import annotations

import enum
import secrets
import statistics
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import lru_cache, partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import torch
from torch import Tensor

from engine.baselines import Baselines
from engine.config import InputError, LiveSettings, RunConfig, changed, home
from engine.corpus import Corpus
from engine.guard import HIGH_STEPS, Alarm
from engine.library import Library
from engine.models import build
from engine.sampling import generate
from engine.stream import Event, History, Pump, Queue, Record, Sample, Scalars
from engine.trainer import Trainer, spare_windows, told

Answer = TypeVar("Answer")


class State(enum.StrEnum):
    """What a run is doing, in the words that people see."""

    READY = "ready"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    FAILED = "failed"


ESTIMATE_SECONDS = 0.15
ALIVE = (State.RUNNING, State.PAUSED)
ENDED = (State.DONE, State.STOPPED, State.DIVERGED, State.FAILED)


class RunActive(Exception):
    """A new start or a reset would end a run that is under way; the caller asks a person first."""


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where present, else the CPU; InputError if CUDA was asked for and is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' is not available here; choose cpu or auto (Apple's GPU is not used)")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


class Run:
    """One training run, from its first weights to its end, on a thread of its own."""

    def __init__(self, config: RunConfig, settings: LiveSettings, corpus: Corpus) -> None:
        corpus.check_block_size(config.block_size, spare_windows(config))
        self.id = time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(3)
        self.config, self.corpus = config, corpus
        self.first_settings = self.settings = settings
        self.version = 0
        self.baselines = Baselines.of(corpus)
        self.device = pick_device(config.device)
        self.queue: Queue = SimpleQueue()
        self.history = History()
        self.state = State.READY
        self.message = ""
        self.error: str | None = None
        self.warning: str | None = None
        self.step = 0
        self.parameters = 0
        self.layers: tuple[str, ...] = ()
        self._alarm = Alarm(corpus.tokenizer.vocab_size)
        self._mailbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.built = threading.Event()
        self._prepared = threading.Event()
        self._halt = settings.max_steps
        self._steps_left: int | None = None
        self._asked = False
        self._due = 0.0
        self._pace = deque[tuple[float, int]](maxlen=32)
        self._thread = threading.Thread(target=self._live, name=f"training {self.id}", daemon=True)
        self._thread.start()

    @property
    def title(self) -> str:
        """What is being learnt from what, for people."""
        return f"{'GPT' if self.config.model == 'gpt' else 'bigram'} on {self.corpus.title}"

    # ---------------------------------------------------------------- asked by anyone

    def start(self) -> None:
        """Train; from ready, paused, stopped, or done with iterations left."""
        self._asked = True
        self._tell(self._go, None)

    def pause(self) -> None:
        """Hold after the step under way."""
        self._tell(self._hold, State.PAUSED, "")

    def stop(self) -> None:
        """End the run after the step under way; `start` can still go on with it."""
        self._tell(self._hold, State.STOPPED, "")

    def make_steps(self, count: int) -> None:
        """Make `count` steps, then pause; the last one is looked at closely."""
        self._asked = True
        self._tell(self._go, count)

    def tune(self, settings: LiveSettings) -> None:
        """Turn the knobs: applied between two steps, each difference an event with its step."""
        with self._lock:
            if settings == self.settings:
                return
            self.settings = settings
            self.version += 1
            self._tell(self._apply, settings)

    def copy_weights(self, timeout: float = 30.0) -> tuple[int, dict[str, Tensor]]:
        """The step, and CPU copies of all weights at that step, taken between two steps."""
        return self._ask(
            lambda t: (t.step, {k: v.detach().cpu().clone() for k, v in t.model.state_dict().items()}), timeout
        )

    def sample(self, prompt: str, max_new_tokens: int, temperature: float, top_k: int | None, seed: int) -> Sample:
        """Text from the weights of this moment, made on a copy in the caller's thread and shown to everyone.

        InputError names characters that the vocabulary does not have.
        """
        tokenizer = self.corpus.tokenizer
        start = tokenizer.encode(prompt).tolist() if prompt else [0]
        step, weights = self.copy_weights()
        model = build(self.config, tokenizer.vocab_size)
        model.load_state_dict(weights)
        made = generate(model, start, max_new_tokens, torch.Generator().manual_seed(seed), temperature, top_k)
        sample = told(tokenizer, step, start, made)
        self.queue.put(sample)
        return sample

    def close(self, timeout: float | None = None) -> None:
        """End the thread and wait for it; nothing of what it made is lost."""
        self._closing.set()
        self._tell(lambda: None)
        self._thread.join(timeout)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the model is built and its start is told (or that failed)."""
        return self._prepared.wait(timeout)

    @property
    def alive(self) -> bool:
        """Is it under way: running, paused, or about to begin?"""
        return self.state in ALIVE or (self.state is State.READY and self._asked)

    @property
    def can_go_on(self) -> bool:
        """Would `start` continue it?"""
        return self.state in (State.READY, State.PAUSED, State.STOPPED) and self.step < self.settings.max_steps

    def header(self) -> dict[str, Any]:
        """The frame's header fields that describe the run now."""
        rate = self._rate()
        left = max(0, self.settings.max_steps - self.step)
        return {
            "run": self.id,
            "state": self.state.value,
            "message": self.message,
            "error": self.error,
            "warning": self.warning,
            "settings": {**self.settings.model_dump(), "version": self.version},
            "step": self.step,
            "max_steps": self.settings.max_steps,
            "steps_per_second": rate,
            "eta_s": left / rate if rate and self.state is State.RUNNING else None,
            "tokens_seen": self._trainer.tokens_seen if self._trainer else 0,
            "title": self.title,
            "device": self.device.type,
            "parameters": self.parameters,
        }

    def _rate(self) -> float:
        """Steps a second over the last seconds (called at the pump's beat); 0 when it does not run."""
        if self.state is not State.RUNNING:
            self._pace.clear()
            return 0.0
        self._pace.append((time.monotonic(), self.step))
        (first_at, first), (last_at, last) = self._pace[0], self._pace[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else 0.0

    def _tell(self, command: Callable[..., None], *arguments: Any) -> None:
        self._mailbox.put(partial(command, *arguments))

    def _ask(self, question: Callable[[Trainer], Answer], timeout: float) -> Answer:
        answer: Future[Answer] = Future()

        def reply() -> None:
            try:
                if self._trainer is None:
                    raise InputError("this run has no model; its start failed")
                answer.set_result(question(self._trainer))
            except Exception as error:
                answer.set_exception(error)

        self._tell(reply)
        return answer.result(timeout)

    # ---------------------------------------------------------------- on the training thread

    _trainer: Trainer | None = None

    def _live(self) -> None:
        """The thread: build, then train and obey until closed; an exception is kept and shown, never lost."""
        try:
            self._trainer = Trainer(self.config, self.first_settings, self.corpus, self._emit, self.device)
            self.parameters = self._trainer.model.parameter_count()
            self.layers = tuple(self._trainer.model.parts())
            self.built.set()
            self._trainer.show_start()
            self._prepared.set()
            self._train(self._trainer)
        except Exception as error:
            self._fail(error)
        finally:
            self.built.set()
            self._prepared.set()
        while not self._closing.is_set():  # a failed run still answers
            self._mailbox.get()()

    def _train(self, trainer: Trainer) -> None:
        mailbox, closing = self._mailbox, self._closing
        while not closing.is_set():
            if self.state is not State.RUNNING:
                trainer.settle()
                if trainer.ledger.diverged and self.state in (State.PAUSED, State.STOPPED):
                    self._diverge(trainer)  # a GPU's verdict comes late
                mailbox.get()()
                continue
            while not mailbox.empty():
                mailbox.get()()
            if self.state is not State.RUNNING:
                continue
            if self._steps_left == 1:
                trainer.look_closely = True
            trainer.advance()
            self.step = trainer.step
            if trainer.ledger.diverged or trainer.step >= self._halt or self._steps_left is not None:
                self._arrive(trainer)
            elif (speed := trainer.settings.speed) != "unlimited":
                self._wait_for_due(trainer, 1 / speed)

    def _emit(self, record: Record) -> None:
        self.queue.put(record)
        if type(record) is Scalars and (self._alarm.high or record.loss > self._alarm.limit):
            self._listen(record)

    def _listen(self, row: Scalars) -> None:
        heard = self._alarm.hear(row.loss)
        if heard:
            self.warning = (
                f"the loss has been above 10·ln V = {self._alarm.limit:.1f} for {HIGH_STEPS} steps; "
                "lower the learning rate, then reset"
            )
            self.queue.put(Event(row.step, "warning", self.warning))
        elif heard is False:
            self.warning = None

    def _arrive(self, trainer: Trainer) -> None:
        """After a step that may be the last one: of the run, or of a few made by hand."""
        if trainer.ledger.diverged:
            trainer.settle()
            self._diverge(trainer)
            return
        if self._steps_left is not None:
            self._steps_left -= 1
        if trainer.step >= self._halt:
            trainer.settle()
            if trainer.ledger.diverged:
                self._diverge(trainer)
            else:
                self._rest(State.DONE, f"done at step {trainer.step:,}")
        elif self._steps_left == 0:
            self._rest(State.PAUSED, f"paused at step {trainer.step:,}")

    def _diverge(self, trainer: Trainer) -> None:
        self.step = trainer.step
        bad = self.step + 1  # the step whose update was withheld or taken back
        self._rest(State.DIVERGED, f"diverged at step {bad:,}: lower the learning rate, then reset", bad)

    def _rest(self, state: State, message: str, at: int | None = None) -> None:
        self._steps_left = None
        self.queue.put(Event(self.step if at is None else at, state.value, message))
        self.message, self.state = message, state  # last: who sees the state finds everything else in place

    def _event(self, name: str, text: str) -> None:
        self.queue.put(Event(self.step, name, text))

    def _wait_for_due(self, trainer: Trainer, period: float) -> None:
        """Keep to the speed limit, but take commands as they come."""
        now, speed = time.perf_counter(), trainer.settings.speed
        self._due = max(self._due + period, now - period)
        if self._due > now:
            trainer.ledger.cross()
        while self.state is State.RUNNING and (left := self._due - time.perf_counter()) > 0:
            try:
                self._mailbox.get(timeout=left)()
            except Empty:
                return
            if self._closing.is_set() or trainer.settings.speed != speed:
                return

    def _go(self, steps: int | None) -> None:
        if self._trainer is None or self.state not in (State.READY, State.RUNNING, State.PAUSED, State.STOPPED):
            return
        if self.step >= self._halt:
            return
        self._steps_left = steps
        if self.state is not State.RUNNING:
            resumed = self.state is not State.READY
            self.state, self.message = State.RUNNING, ""
            self._due = time.perf_counter()
            if steps is None:
                self._event("resumed" if resumed else "started", "resumed" if resumed else "started")

    def _hold(self, state: State, message: str) -> None:
        if self.state is State.RUNNING or (self.state is State.PAUSED and state is State.STOPPED):
            self._rest(state, message or f"{state.value} at step {self.step:,}")

    def _apply(self, settings: LiveSettings) -> None:
        if self._trainer is None:
            return
        before = self._trainer.settings.model_dump()
        self._trainer.tune(settings)
        for name, value in settings.model_dump().items():
            if value != before[name]:
                self._event(name, f"{name} {_short(before[name])} → {_short(value)}")
        self._halt = settings.max_steps
        if self.state is State.RUNNING and self.step >= self._halt:
            self._rest(State.DONE, f"done at step {self.step:,}")
        elif self.state is State.DONE and self.step < self._halt:
            self.state = State.STOPPED
            self._go(None)

    def _fail(self, error: Exception) -> None:
        self.error = traceback.format_exc()
        message = f"{type(error).__name__}: {error}"
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error):
            message = (
                f"out of memory on {self.device.type}; make batch_size (now {self.settings.batch_size}) or "
                f"block_size (now {self.config.block_size}) smaller, or the model"
            )
        self._rest(State.FAILED, message)


def _short(value: object) -> str:
    """A setting's value as people write it."""
    if value is None:
        return "off"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class Studio:
    """The room's one current run, the one before it, and the texts there are. One a process: `studio()`."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.current: Run | None = None
        self.previous: Run | None = None
        self.pump = Pump(self.runs)
        self._corpus: tuple[tuple[object, ...], Corpus] | None = None
        self._corpus_lock = threading.Lock()
        self._lock = threading.Lock()

    def runs(self) -> list[Run]:
        """The current run, and the one before it."""
        return [run for run in (self.current, self.previous) if run is not None]

    def find(self, run_id: str) -> Run | None:
        """The run called `run_id`, if it is still here."""
        return next((run for run in self.runs() if run.id == run_id), None)

    def open(self) -> None:
        """Begin to pump, and to watch the corpus folder."""
        self.pump.start()
        self.library.start()

    def corpus(self, config: RunConfig) -> Corpus:
        """The text that `config` names, split and encoded; InputError says what is wrong with it."""
        version = self.library.version
        key = (config.corpus, config.val_fraction, config.test_fraction, version)
        with self._corpus_lock:  # the last one is kept: a new run on the same text starts at once
            if self._corpus is None or self._corpus[0] != key:
                self._corpus = key, load_corpus(self.library, config)
            return self._corpus[1]

    def estimate(self, config: RunConfig, settings: LiveSettings) -> float | None:
        """Seconds that a run would take here, measured on a throwaway trainer; None while a run is under way."""
        if self.current is not None and self.current.alive:
            return None
        per_step = seconds_per_step(config, settings, self.corpus(config))
        slowest = 0.0 if settings.speed == "unlimited" else 1 / settings.speed
        return settings.max_steps * max(per_step, slowest)

    def start(self, config: RunConfig, settings: LiveSettings, replace: bool = False) -> Run:
        """A new run, started. RunActive if one is under way and `replace` is not set."""
        return self._begin(lambda: Run(config, settings, self.corpus(config)), replace, go=True)

    def prepare(self, config: RunConfig, settings: LiveSettings, replace: bool = False) -> Run:
        """A new run that waits at step 0."""
        return self._begin(lambda: Run(config, settings, self.corpus(config)), replace, go=False)

    def reset(self, replace: bool = False) -> Run:
        """The current run again from its first weights, seed and settings (the speed stays); `undo` brings it back."""
        run = self.current
        if run is None:
            raise InputError("there is no run to reset; press Start first")
        settings = changed(run.first_settings, speed=run.settings.speed)
        return self._begin(lambda: Run(run.config, settings, run.corpus), replace, go=False)

    def undo(self) -> Run:
        """Bring the previous run back as it was; the one that replaced it becomes the previous one."""
        with self._lock:
            if self.previous is None or self.current is None:
                raise InputError("there is no earlier run to bring back")
            self.current.pause()
            self.current, self.previous = self.previous, self.current
            return self.current

    def dismiss(self) -> None:
        """Let the previous run go."""
        with self._lock:
            previous, self.previous = self.previous, None
        if previous:
            previous.close()

    def close(self, timeout: float = 2.0) -> None:
        """End every thread."""
        runs = self.runs()
        for run in runs:
            run.close(0)
        deadline = time.monotonic() + timeout
        for run in runs:
            run.close(max(0.0, deadline - time.monotonic()))
        self.pump.stop()
        self.library.stop()

    def _begin(self, make: Callable[[], Run], replace: bool, go: bool) -> Run:
        with self._lock:  # ten clicks at once make one run: the others find it active
            before = self.current
            if before is not None and before.alive and not replace:
                raise RunActive(f"{before.title} is {before.state.value} at step {before.step:,}")
            run = make()
            if before is not None:
                before.stop()
            unused = before if before is not None and before.state is State.READY else self.previous
            if unused is not before:
                self.previous = before
            self.current = run
            if go:
                run.start()
        if unused is not None:
            unused.close()
        return run


@lru_cache(maxsize=32)
def seconds_per_step(config: RunConfig, settings: LiveSettings, corpus: Corpus) -> float:
    """The time of one step, median of as many as fit into a moment, on a trainer that is thrown away."""
    trainer = Trainer(config, settings, corpus, lambda _: None, pick_device(config.device))
    trainer.advance()  # the first one warms up
    trainer.settle()
    times: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < ESTIMATE_SECONDS or len(times) < 2:
        started = time.perf_counter()
        trainer.advance()
        trainer.settle()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def load_corpus(library: Library, config: RunConfig) -> Corpus:
    """Read, split and encode the text that `config` names."""
    text, entry = library.load_name(config.corpus)
    return Corpus.of(
        text,
        name=entry.name,
        title=entry.title,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        source=entry.source,
        licence=entry.licence,
    )


@lru_cache(maxsize=1)
def studio() -> Studio:
    """This process's studio."""
    return Studio(Library(home()))
