"""A run: what trains, and what can be asked of it by anyone.

Only the training thread touches its model and optimizer. Everyone else asks: a command goes into the thread's mailbox,
the thread takes all commands between two steps, and what changed becomes an event with its step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..config import LiveSettings, RunConfig, changed
from ..distributed.processes import Processes
from ..errors import InputError
from ..models.registry import build_language_model
from ..storage.resume_point import ResumePoint
from ..storage.writer import RunWriter, new_run_id
from ..stream.history import History
from ..stream.messages import Queue, Sample, drain_queue
from ..stream.status import ALIVE, CatchUp, RunStatus, State, StepRate
from ..text.baselines import Baselines
from ..text.corpus import Corpus
from ..text.description import title_of, training_size
from ..text.points import Points
from ..training.checkpoint import FineTuneSource, PausedState
from ..training.sampling import generate, sample_record
from ..training.schedule import is_constant
from ..training.trainer import Trainer
from .settings_journal import SettingsJournal
from .training_loop import TrainingLoop
from .training_thread import TrainingThread

Answer = TypeVar("Answer")


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

    With a `thread` it is one of several that take turns there, which is then for the caller to start. With `processes`
    this is the first of several that train it together.
    """

    def __init__(
        self,
        config: RunConfig,
        settings: LiveSettings,
        dataset: Corpus | Points,
        past: ResumePoint | None = None,
        thread: TrainingThread | None = None,
        origin: FineTuneSource | None = None,
        processes: Processes | None = None,
    ) -> None:
        dataset.check(config)
        if past is None:
            settings = limit_to_epochs(config, settings, dataset)
        self.id = past.id if past else new_run_id()
        self.parent = past.parent if past else (origin.run, origin.step) if origin else None
        self.config, self.dataset, self.first_settings = config, dataset, settings
        self.baselines = Baselines.of(dataset) if isinstance(dataset, Corpus) else None
        self.processes = processes
        self.queue: Queue = SimpleQueue()
        self.drain_lock = threading.Lock()
        self.history = past.history if past else History()
        self.store: RunWriter | None = None
        self._journal = SettingsJournal(past.settings, past.pending) if past else SettingsJournal(settings)
        self.loop = TrainingLoop(config, settings, dataset, self._journal, self.queue.put, past, origin, processes)
        self._rate = StepRate(64)
        self._characters_per_token = dataset.characters_per_token if isinstance(dataset, Corpus) else 1.0
        self._asked = self._trains_on = False
        self._thread = thread or TrainingThread(self.id)
        if thread is None:
            self._thread.train(self.loop)

    # ---------------------------------------------------------------- what it is, and where it stands

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
    def settings(self) -> LiveSettings:
        """As they were asked for last; the loop applies them between two steps."""
        return self._journal.settings

    @property
    def version(self) -> int:
        """Counts the changes of the settings."""
        return self._journal.version

    @property
    def state(self) -> State:
        """What it is doing."""
        return self.loop.state

    @property
    def message(self) -> str:
        """The same in a sentence, for people."""
        return self.loop.message

    @property
    def error(self) -> str | None:
        """The traceback, if it has failed."""
        return self.loop.error

    @property
    def step(self) -> int:
        """How many updates it has made."""
        return self.loop.step

    @property
    def stage(self) -> int:
        """How many stages of the step under way are done; 0 between two steps."""
        return self.loop.trainer.stages_done if self.loop.trainer else 0

    @property
    def device(self) -> torch.device:
        """Where it trains."""
        return self.loop.device

    @property
    def parameters(self) -> int:
        """How many numbers it trains; 0 until the model is built."""
        return self.loop.parameters

    @property
    def layers(self) -> tuple[str, ...]:
        """The parts of the model; none until it is built."""
        return self.loop.layers

    @property
    def built(self) -> threading.Event:
        """Set when the model is there, or cannot be."""
        return self.loop.built

    @property
    def alive(self) -> bool:
        """Is it under way: running, paused, or about to begin?"""
        return self.state in ALIVE or (self.state is State.READY and self._asked)

    @property
    def warning(self) -> str | None:
        """What is the matter with its losses, in a sentence."""
        return self.loop.losses.warning

    @property
    def trouble(self) -> bool:
        """Has the loss been absurdly high for a while, up to now?"""
        return self.loop.losses.trouble

    @property
    def catch_up(self) -> CatchUp | None:
        """How far it is on the way from a snapshot to where it is to stand; None once it stands there."""
        past = self.loop.past
        if past is None or self.loop.prepared.is_set() or past.goal == past.snapshot.step:
            return None
        at = max(past.snapshot.step, self.loop.trainer.step if self.loop.trainer else 0)
        return CatchUp(past.snapshot.step, at, self._trains_on)

    @property
    def loop_ended(self) -> bool:
        """Has its training thread ended, so that only its store may still be writing?"""
        return not self._thread.is_alive()

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
        seen = self.loop.trainer.tokens_seen if self.loop.trainer else 0
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
            train_loss=self.history.recent_loss(scatters=self.config.reads_text),
            tokens_seen=seen,
            epoch=self.loop.trainer.epoch if self.loop.trainer else 0,
            epochs=self.config.epochs,
            passes=seen / training_size(self.dataset),
            characters_per_token=self._characters_per_token,
            reads_text=self.config.reads_text,
            device=self.device.type,
            parameters=self.parameters,
            charts=int(not is_constant(self.settings)),
        )

    # ---------------------------------------------------------------- asked by anyone

    def start(self) -> None:
        """Train; from ready, paused, stopped, or done with iterations left."""
        self._asked = self._trains_on = True
        self._tell(self.loop.train)

    def pause(self) -> None:
        """Hold after the step under way."""
        self._trains_on = False
        self._tell(self.loop.hold, State.PAUSED)

    def stop(self) -> None:
        """End the run after the step under way; `start` can still go on with it."""
        self._trains_on = False
        self._tell(self.loop.hold, State.STOPPED)

    def make_steps(self, count: int) -> None:
        """Make `count` steps, then pause; the last one is observed."""
        self._asked = self._trains_on = True
        self._tell(self.loop.train, count)

    def make_stage(self) -> None:
        """Run the next of a step's nine stages alone, then hold."""
        self._asked = True
        self._tell(self.loop.request_stage)

    def paused_state(self, timeout: float = 30.0) -> PausedState:
        """Where the run stands, as a copy to look into: pause first, else it is the moment between two steps."""
        return self._ask(self.loop.paused_state, timeout)

    def tune(self, settings: LiveSettings) -> None:
        """Turn the knobs: applied between two steps, each difference an event with its step."""
        self._journal.request(settings, lambda settings: self._tell(self.loop.apply, settings))

    def save_to(self, store: RunWriter) -> None:
        """Have all that this run makes written there, snapshots included; called before the run is shown to anyone."""
        self.store = store
        self._tell(self.loop.save_to, store)

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
        sample = sample_record(tokenizer, step, start, made)
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
        """Wait until the model is built and what there is at the start was emitted (or that failed)."""
        return self.loop.prepared.wait(timeout)

    def _tell(self, command: Callable[..., None], *arguments: Any) -> None:
        self._thread.tell(self.loop.obey, command, *arguments)

    def _ask(self, question: Callable[[Trainer], Answer], timeout: float) -> Answer:
        """The answer of the training thread, between two steps; InputError if there is none."""

        def answer() -> Answer:
            if self.loop.trainer is None:
                raise InputError("this run has no model; its start failed")
            return question(self.loop.trainer)

        return self._thread.ask(answer, timeout)
