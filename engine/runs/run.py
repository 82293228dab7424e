"""A run: what trains, and what can be asked of it.

Only its loop's thread touches its model and optimizer. Everyone else asks: a command goes into the mailbox, the
thread takes all commands between two steps, and what changed becomes an event with its step. Knows no screen.
"""

from __future__ import annotations

import math
import threading
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..config import LiveSettings, RunConfig, changed
from ..errors import InputError
from ..formatting import format_setting
from ..models.registry import build_language_model
from ..storage.reader import ResumePoint
from ..storage.writer import RunWriter, new_run_id
from ..stream.history import History
from ..stream.messages import Event, Observation, Queue, Record, Sample, Scalars, Turn, drain_queue
from ..stream.status import ALIVE, CAN_TRAIN, CatchUp, RunStatus, State, StepRate
from ..text.baselines import Baselines
from ..text.corpus import Corpus
from ..text.description import title_of, training_size
from ..text.points import Points
from ..training.checkpoint import FineTuneSource, PausedState, Snapshot
from ..training.device import pick_device, threads_for
from ..training.sampling import generate
from ..training.trainer import STAGES, Trainer, told
from .checkpoint_policy import CheckpointPolicy
from .cost import memory_advice
from .loss_monitor import HIGH_STEPS, SPIKE, LossMonitor
from .training_thread import TrainingThread

Answer = TypeVar("Answer")


ALARMED_LOOKS = 20  # at the steps after a leap of the loss
LOOKS_AFTER_TURN = 3  # when the learning rate is raised by far
WORDS = {"max_steps": "iterations"}  # what people call a knob, where that is not its name


def limit_to_epochs(config: RunConfig, settings: LiveSettings, dataset: Corpus | Points) -> LiveSettings:
    """`settings` for a run's start: by epochs it ends after the last one, or at `max_steps` if that comes first.

    From then on `max_steps` alone says where it ends. InputError where an epoch would have no batch.
    """
    if config.epochs is None or not isinstance(dataset, Corpus):
        return settings
    steps = config.epochs * dataset.steps_per_epoch(config.block_size, settings.batch_size)
    return changed(settings, max_steps=min(steps, settings.max_steps))


class Run:
    """One training run, from its first weights to its end, on a thread of its own.

    With a `loop` it is one of several that take turns on that thread, which is then for the caller to begin.
    """

    def __init__(
        self,
        config: RunConfig,
        settings: LiveSettings,
        dataset: Corpus | Points,
        past: ResumePoint | None = None,
        loop: TrainingThread | None = None,
        origin: FineTuneSource | None = None,
    ) -> None:
        dataset.check(config)
        if past is None:
            settings = limit_to_epochs(config, settings, dataset)
        self.id = past.id if past else new_run_id()
        self.parent = past.parent if past else (origin.run, origin.step) if origin else None
        self.config, self.dataset = config, dataset
        self.first_settings = self.settings = settings
        self.version = 0
        self.baselines = Baselines.of(dataset) if isinstance(dataset, Corpus) else None
        self.device = pick_device(config.device)
        self.queue: Queue = SimpleQueue()
        self.history = past.history if past else History()
        self.store: RunWriter | None = None
        self.state = State.READY
        self.message = ""
        self.error: str | None = None
        self.step = 0
        self.parameters = 0
        self.layers: tuple[str, ...] = ()
        self._characters_per_token = dataset.characters_per_token if isinstance(dataset, Corpus) else 1.0
        self.losses = LossMonitor(dataset.highest_loss, self.queue.put, self._look_closely)
        self._lock = threading.Lock()
        self.drain_lock = threading.Lock()
        self.built = threading.Event()
        self._prepared = threading.Event()
        self._keeping: CheckpointPolicy | None = None
        self._keep_at = math.inf
        if past is not None:
            self._stand_at(past)
        self._halt = self.settings.max_steps
        self._past, self._origin = past, origin
        self._steps_left: int | None = None
        # Does it wait where its iterations end, so that more of them do not set it going?
        self._held = past is not None and past.parent is not None
        self._stages_left = 0
        self._began: Snapshot | None = None
        self._turns: list[tuple[int, LiveSettings]] = []
        self._pending = deque(past.pending if past else ())
        self._pending_at: float = past.pending[0][0] if past and past.pending else math.inf
        self._pending_since = self.version
        self._asked = self._trains_on = False
        self._rate = StepRate(64)
        self._thread = loop or TrainingThread(self.id)
        if loop is None:
            self._thread.train(self)

    def _stand_at(self, past: ResumePoint) -> None:
        """A run from the disk, or a fork, begins where its past ends; what follows is what followed, bit for bit."""
        self.settings, self.step = past.settings, past.goal
        over = self.step >= self.settings.max_steps
        self.state = State.DONE if over else State.PAUSED
        self.message = f"{'done' if over else 'forked' if past.parent else 'opened'} at step {self.step:,}"
        if past.pending:
            self.message += f"; the knobs turned up to step {past.pending[-1][0]:,} turn again there"
        if past.parent is not None:
            self.queue.put(Event(self.step, "forked", f"forked at step {self.step:,}"))
        done = Event(self.step, "done", f"done at step {self.step:,}")
        if over and (past.parent is not None or done not in past.history.events):
            self.queue.put(done)
        before = past.history.points_between("train/loss", max(0, self.step - HIGH_STEPS + 1), self.step)
        self.losses.resume([] if before is None else before.values.tolist())

    @property
    def title(self) -> str:
        """What is being learnt from what, for people."""
        return title_of(self.config, self.dataset, self.dataset.title)

    @property
    def folder(self) -> Path | None:
        """Where it is stored, if it is."""
        return self.store.folder if self.store else None

    @property
    def corpus(self) -> Corpus:
        """The text it learns from; InputError for a run that learns from a few points."""
        if not isinstance(self.dataset, Corpus):
            raise InputError(f"a {self.config.model} run learns from points, not from text; choose the bigram or a GPT")
        return self.dataset

    @property
    def stage(self) -> int:
        """How many stages of the step under way are done; 0 between two steps."""
        return self._trainer.stages_done if self._trainer else 0

    # ---------------------------------------------------------------- asked by anyone

    def start(self) -> None:
        """Train; from ready, paused, stopped, or done with iterations left."""
        self._asked = self._trains_on = True
        self._tell(self._go, None)

    def pause(self) -> None:
        """Hold after the step under way."""
        self._trains_on = False
        self._tell(self._hold, State.PAUSED, "")

    def stop(self) -> None:
        """End the run after the step under way; `start` can still go on with it."""
        self._trains_on = False
        self._tell(self._hold, State.STOPPED, "")

    def make_steps(self, count: int) -> None:
        """Make `count` steps, then pause; the last one is looked at closely."""
        self._asked = self._trains_on = True
        self._tell(self._go, count)

    def make_stage(self) -> None:
        """Run the next of a step's nine stages alone, then hold."""
        self._asked = True
        self._tell(self._stage_alone)

    def paused_state(self, timeout: float = 30.0) -> PausedState:
        """Where the run stands, as a copy to look into: pause first, else it is the moment between two steps."""
        return self._ask(self._moment_now, timeout)

    def tune(self, settings: LiveSettings) -> None:
        """Turn the knobs: applied between two steps, each difference an event with its step."""
        with self._lock:
            if settings == self.settings:
                return
            self.settings = settings
            self.version += 1
            self._tell(self._apply, settings)

    def save_to(self, store: RunWriter) -> None:
        """Have all that this run makes written there, snapshots included; called before the run is shown to anyone."""
        self.store = store
        self._tell(self._begin_keeping, store)

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
        model = build_language_model(self.config, tokenizer.vocab_size).load_weights(weights)
        made = generate(model, start, max_new_tokens, torch.Generator().manual_seed(seed), temperature, top_k)
        sample = told(tokenizer, step, start, made)
        self.queue.put(sample)
        return sample

    def close(self, timeout: float | None = None) -> bool:
        """End the thread and wait for it; has it ended? Nothing of what it made is lost."""
        ended = self._thread.close(timeout)
        if ended and self.store is not None:
            with self.drain_lock:
                self.store.put(drain_queue(self.queue))
            ended = self.store.close(5.0 if timeout is None else max(timeout, 0.5)) or self.store.problem is not None
        return ended

    def discard_if_unused(self) -> None:
        """A run that never made a step leaves no folder behind."""
        if self.store is not None and self.state is State.READY and self.step == 0:
            self.store.discard()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the model is built and its start is told (or that failed)."""
        return self._prepared.wait(timeout)

    @property
    def alive(self) -> bool:
        """Is it under way: running, paused, or about to begin?"""
        return self.state in ALIVE or (self.state is State.READY and self._asked)

    @property
    def warning(self) -> str | None:
        """What is the matter with its losses, in a sentence."""
        return self.losses.warning

    @property
    def trouble(self) -> bool:
        """Has the loss been absurdly high for a while, up to now?"""
        return self.losses.trouble

    @property
    def catch_up(self) -> CatchUp | None:
        """How far it is on the way from a snapshot to where it is to stand; None once it stands there."""
        past = self._past
        if past is None or self._prepared.is_set() or past.goal == past.snapshot.step:
            return None
        at = max(past.snapshot.step, self._trainer.step if self._trainer else 0)
        return CatchUp(past.snapshot.step, at, self._trains_on)

    @property
    def can_resume(self) -> bool:
        """Would `start` continue it?"""
        return self.state in (State.READY, State.PAUSED, State.STOPPED) and self.step < self.settings.max_steps

    def status(self) -> RunStatus:
        """What there is to say of the run now, for the header of a frame."""
        if self.state is State.RUNNING:
            self._rate.mark(self.step)
        else:
            self._rate.clear()
        rate = self._rate.steps_per_second
        left = max(0, self.settings.max_steps - self.step)
        seen = self._trainer.tokens_seen if self._trainer else 0
        return RunStatus(
            run=self.id,
            title=self.title,
            elsewhere=False,
            interrupted=False,
            state=self.state,
            message=self.message,
            error=self.error,
            warning=self.warning,
            trouble=self.trouble,
            unsaved=self.store.problem if self.store else None,
            made_again=self.catch_up,
            settings=self.settings.model_dump(),
            version=self.version,
            takes=(),
            step=self.step,
            stage=self.stage,
            max_steps=self.settings.max_steps,
            steps_per_second=rate,
            eta_s=left / rate if rate else None,
            tokens_seen=seen,
            epoch=self._trainer.epoch if self._trainer else 0,
            epochs=self.config.epochs,
            passes=seen / training_size(self.dataset),
            characters_per_token=self._characters_per_token,
            reads_text=self.config.reads_text,
            device=self.device.type,
            parameters=self.parameters,
            charts=0,
        )

    def _tell(self, command: Callable[..., None], *arguments: Any) -> None:
        self._thread.tell(self._do, command, *arguments)

    def _do(self, command: Callable[..., None], *arguments: Any) -> None:
        try:
            command(*arguments)
        except Exception as error:
            self.fail(error)

    def _ask(self, question: Callable[[Trainer], Answer], timeout: float) -> Answer:
        answer: Future[Answer] = Future()
        if self._thread.closing.is_set():
            raise InputError("this run has ended and cannot answer; press Start for a new one")

        def reply() -> None:
            try:
                if self._trainer is None:
                    raise InputError("this run has no model; its start failed")
                if self._thread.closing.is_set():
                    raise InputError("this run has ended and cannot answer; press Start for a new one")
                answer.set_result(question(self._trainer))
            except Exception as error:
                answer.set_exception(error)

        self._tell(reply)
        try:
            return answer.result(timeout)
        except TimeoutError:
            raise InputError(f"the model did not answer within {timeout:g} s; a step takes long, try again") from None

    # ---------------------------------------------------------------- on the training thread

    _trainer: Trainer | None = None

    def build(self) -> None:
        """Make the model, or go back to where the past ends, and tell what there is before the first step."""
        self._trainer = Trainer(self.config, self.first_settings, self.dataset, self._emit, self.device)
        self.parameters = self._trainer.model.parameter_count()
        self.layers = tuple(self._trainer.model.layers())
        self.built.set()
        torch.set_num_threads(threads_for(self.parameters, self.device))
        self._trainer.halt = self._thread.interrupted
        if self._origin is not None:
            self._trainer.begin_with(self._origin.weights)
            self._event("fine-tuned", f"fine-tuned from step {self._origin.step:,} of run {self._origin.run}")
            self._origin = None  # a copy of all weights
        if self._past is None:
            self._trainer.show_start()
        else:
            self._go_back(self._trainer, self._past)
        self._trainer.halt = self._thread.closing.is_set
        self._prepared.set()

    def _go_back(self, trainer: Trainer, past: ResumePoint) -> None:
        """Stand where the past ends; commands wait until then."""
        trainer.halt = self._thread.closing.is_set
        trainer.restore(past.snapshot)
        if (tested := past.history.series.get("test/loss")) is not None:
            trainer.test_loss = tested.last  # once is once
        if past.goal > past.snapshot.step:
            message, self.message = self.message, f"making steps {past.snapshot.step + 1:,} to {past.goal:,} again"
            trainer.repeat(past.goal, past.turns, self._thread.closing.is_set)
            self.message = message
        if trainer.step == past.goal:  # closed on the way it keeps the knobs of where it stands, for its snapshot
            trainer.tune(past.settings)

    @property
    def staged(self) -> bool:
        """Does a single stage wait to be made?"""
        return self._stages_left > 0

    @property
    def period(self) -> float:
        """Seconds that a step is to take at least; 0 at full speed, by hand, and where nothing runs."""
        if self.state is not State.RUNNING or self._steps_left is not None or self._trainer is None:
            return 0.0
        speed = self._trainer.settings.speed
        return 0.0 if speed == "unlimited" else 1 / speed

    def turn(self) -> bool:
        """Make the stage that was asked for alone, or a step if it runs; was there one to make?"""
        trainer = self._trainer
        if trainer is None:
            return False
        if self._stages_left:
            self._stages_left -= 1
            self._make_stage(trainer)
            return True
        if self.state is not State.RUNNING:
            return False
        if self._steps_left == 1:
            trainer.look_closely = True
        if trainer.step >= self._pending_at:
            self._turn_again(trainer)
            if self.state is not State.RUNNING:
                return True
        trainer.advance()
        self.step = trainer.step
        if trainer.step >= self._keep_at:
            self._keep(trainer)
        if trainer.recorder.diverged or trainer.step >= self._halt or self._steps_left is not None:
            self._arrive(trainer)
        elif trainer.settings.speed != "unlimited":
            trainer.recorder.cross()
        return True

    def rest(self) -> None:
        """Have every number told; a GPU's verdict comes late."""
        if self._trainer is not None and self.state is not State.FAILED:
            self._trainer.settle()
            if self._trainer.recorder.diverged and self.state in (State.PAUSED, State.STOPPED):
                self._diverge(self._trainer)

    def finish(self) -> None:
        """Keep the last snapshot."""
        if self._keeping is not None and self._trainer is not None and self.state is not State.FAILED:
            self._keeping.end(self._trainer)

    def _begin_keeping(self, store: RunWriter) -> None:
        if self._trainer is not None:
            best = None if self._past is None else self._past.best
            self._keeping = CheckpointPolicy(store, self.config.snapshot_every, best)
            self._keep_at = self._keeping.keep(self._trainer)

    def _keep(self, trainer: Trainer) -> None:
        if self._keeping is not None:
            self._keep_at = self._keeping.keep(trainer)

    def _emit(self, record: Record) -> None:
        self.queue.put(record)
        if type(record) is Scalars:
            self.losses.add(record)
        elif isinstance(record, Observation):
            self.losses.update(record.step)
            by_hand = self._trainer is None or self._trainer.look_closely  # a step by hand has no snapshot of its own
            if self._keeping is not None and not by_hand and self._keeping.is_best(record):
                self._keep_at = record.step

    def _look_closely(self) -> None:
        if self._trainer is not None:
            self._trainer.alarmed = ALARMED_LOOKS

    def _arrive(self, trainer: Trainer) -> None:
        """After a step that may be the last one: of the run, or of a few made by hand."""
        if trainer.recorder.diverged:
            trainer.settle()
            self._diverge(trainer)
            return
        if self._steps_left is not None:
            self._steps_left -= 1
        if trainer.step >= self._halt:
            trainer.settle()
            if trainer.recorder.diverged:
                self._diverge(trainer)
            else:
                self._end(trainer)
        elif self._steps_left == 0:
            self._rest(State.PAUSED, f"paused at step {trainer.step:,}")

    def _end(self, trainer: Trainer) -> None:
        trainer.test()
        self._held = self.state is State.PAUSED or self._steps_left is not None
        self._rest(State.DONE, f"done at step {self.step:,}")

    def _diverge(self, trainer: Trainer) -> None:
        self.step = trainer.step
        self.losses.warning = None
        bad = self.step + 1  # the step whose update was withheld or taken back
        told = f"diverged at step {bad:,}: its update was not kept; reset, then lower the learning rate"
        self._rest(State.DIVERGED, told, bad)

    def _rest(self, state: State, message: str, at: int | None = None) -> None:
        self._steps_left = None
        if self._keeping is not None and self._trainer is not None and state in (State.DONE, State.STOPPED):
            self._keeping.end(self._trainer)
        self.queue.put(Event(self.step if at is None else at, state.value, message))
        self.message, self.state = message, state  # last: who sees the state finds everything else in place

    def _event(self, name: str, text: str) -> None:
        self.queue.put(Event(self.step, name, text))

    def _go(self, steps: int | None) -> None:
        if self._trainer is None or self._thread.closing.is_set() or self.state not in CAN_TRAIN:
            return
        if self.step >= self._halt:
            return
        self._steps_left = steps
        if self.state is not State.RUNNING:
            resumed = self.state is not State.READY
            self.state, self.message = State.RUNNING, ""
            if steps is None:
                self._event("resumed" if resumed else "started", "resumed" if resumed else "started")

    def _stage_alone(self) -> None:
        """Commands are taken inside a sample too, where no gradient is recorded: the stage itself waits its turn."""
        if self._trainer is not None and self.state in CAN_TRAIN and self.step < self._halt:
            self._stages_left += 1

    def _make_stage(self, trainer: Trainer) -> None:
        self._hold(State.PAUSED, "")
        if not trainer.stages_done:
            trainer.settle()
            self._began, self._turns = trainer.snapshot(), []
            trainer.look_closely = True
        self._turn_again(trainer, within=False)
        name = trainer.stage()
        self.step, self._steps_left = trainer.step, None
        if trainer.step >= self._keep_at and not trainer.stages_done:
            self._keep(trainer)
        if trainer.stages_done:
            under_way = trainer.step + (trainer.stages_done <= STAGES.index("update"))
            self.message = f"paused in step {under_way:,} after {name}, {trainer.stages_done} of {len(STAGES)}"
            self.state = State.PAUSED
        elif trainer.recorder.diverged or trainer.step >= self._halt:
            self._arrive(trainer)
        else:
            self.message = f"paused at step {self.step:,}"

    def _moment_now(self, trainer: Trainer) -> PausedState:
        if trainer.stages_done and self._began is not None:
            return PausedState(self._began, trainer.stages_done, tuple(self._turns))
        return PausedState(trainer.snapshot(), 0)

    def _hold(self, state: State, message: str) -> None:
        if self.state is State.RUNNING or (self.state is State.PAUSED and state is State.STOPPED):
            self._rest(state, message or f"{state.value} at step {self.step:,}")

    def _turn_again(self, trainer: Trainer, within: bool = True) -> None:
        """Turn the knobs that were turned at this step before the run was interrupted, unless a hand turned one since.

        One turned `within` the step waits for its stages, which are made here.
        """
        while self._pending and self._pending[0][0] == trainer.step:
            _, stages, settings = self._pending[0]
            if stages > trainer.stages_done and not within:
                break
            with self._lock:
                if self.version != self._pending_since:
                    self._pending.clear()
                    break
                self.version += 1
                self._pending_since, self.settings = self.version, settings
            while trainer.stages_done < stages:
                trainer.stage()
            self._pending.popleft()
            self._apply(settings, again=True)
        self._pending_at = self._pending[0][0] if self._pending else math.inf

    def _apply(self, settings: LiveSettings, again: bool = False) -> None:
        """Turn the knobs; `again` are turns that the run folder has already."""
        if self._trainer is None:
            return
        before = self._trainer.settings.model_dump()
        self._trainer.tune(settings)
        self._turns.append((self._trainer.stages_done, settings))
        if not again:
            within = self._trainer.stages_done if self._trainer.stages_done <= STAGES.index("update") else 0
            self.queue.put(Turn(self.step, within, settings.model_dump()))
        for name, value in settings.model_dump().items():
            if value != before[name]:
                self._event(name, f"{WORDS.get(name, name)} {format_setting(before[name])} → {format_setting(value)}")
        if settings.lr > SPIKE * before["lr"]:
            self._trainer.alarmed = LOOKS_AFTER_TURN
        self._halt = settings.max_steps
        if self.state in ALIVE and self.step >= self._halt and not self._trainer.stages_done:
            self._end(self._trainer)
        elif self.state is State.DONE and self.step < self._halt:
            if self._held:
                self._rest(State.PAUSED, f"paused at step {self.step:,}")
            else:
                self.state = State.STOPPED
                self._go(None)

    def fail(self, error: Exception) -> None:
        """An exception is kept and shown, never lost; a failed run still answers."""
        if self.state is State.FAILED:
            traceback.print_exception(error)
            return
        self.error = traceback.format_exc()
        message = f"{type(error).__name__}: {error}"
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error):
            message = f"out of memory on {self.device.type}; {memory_advice(self.config, self.settings, self.dataset)}"
        self._rest(State.FAILED, message)
        self.built.set()
        self._prepared.set()
