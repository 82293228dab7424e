"""The loop of one run: its model is built, steps and single stages are made, commands are carried out between them."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from ..config import LiveSettings, RunConfig
from ..distributed.place import LOST, ProcessLost
from ..distributed.processes import Processes
from ..errors import OUT_OF_MEMORY, machine_trouble, print_error
from ..progress import Cancelled
from ..storage import checkpoint_files
from ..storage.resume_point import ResumePoint
from ..storage.writer import RunWriter
from ..stream.messages import Event, Observation, Record, Scalars
from ..stream.status import ALIVE, CAN_TRAIN, State
from ..text.corpus import Corpus
from ..text.points import Points
from ..training.checkpoint import FineTuneSource, PausedState, Snapshot
from ..training.device import pick_device, threads_for
from ..training.evaluation import Lowest
from ..training.loss_monitor import HIGH_STEPS, SPIKE, LossMonitor
from ..training.state import repeat_steps, restore, take_snapshot
from ..training.trainer import STAGES, Trainer
from .checkpoint_policy import CheckpointPolicy
from .cost import memory_advice
from .settings_journal import UPDATE, SettingsJournal

OBSERVED_AFTER_SPIKE = 20  # steps
OBSERVED_AFTER_RAISE = 3  # steps, when the learning rate is raised by far


class TrainingLoop:
    """Owns a run's trainer. Its methods are called on the training thread alone; its public data may be read anywhere.

    `emit` takes what is to be shown and stored. The thread provides two questions: `closing` asks whether to end,
    `interrupted` carries out commands that have come meanwhile and asks the same.
    """

    def __init__(
        self,
        config: RunConfig,
        first_settings: LiveSettings,
        dataset: Corpus | Points,
        journal: SettingsJournal,
        emit: Callable[[Record], None],
        past: ResumePoint | None,
        origin: FineTuneSource | None,
        processes: Processes | None = None,
    ) -> None:
        self.config, self.dataset, self.journal, self.past, self.processes = config, dataset, journal, past, processes
        self.device = pick_device(config.device)
        self.trainer: Trainer | None = None
        self.losses = LossMonitor(dataset.highest_loss, emit, self._observe_more)
        self.state = State.READY
        self.message = ""
        self.error: str | None = None
        self.step = self.parameters = 0
        self.layers: tuple[str, ...] = ()
        self.built = threading.Event()
        self.prepared = threading.Event()
        """Set once all that there is before the first step has been emitted, or when that failed."""
        self.closing: Callable[[], bool] = lambda: False
        self.interrupted: Callable[[], bool] = lambda: False
        self._first_settings, self._origin, self._put = first_settings, origin, emit
        self._checkpoints: CheckpointPolicy | None = None
        self._steps_left: int | None = None
        """Of those made by hand; None where it trains until its end."""
        self._stages_left = 0
        self._step_start: Snapshot | None = None
        """From before the step that is made stage by stage."""
        self._end_at = journal.settings.max_steps
        self._stays_paused = past is not None and past.parent is not None
        """After the end, do more iterations leave it paused instead of setting it going?"""
        if past is not None:
            self._begin_at(past)

    def _begin_at(self, past: ResumePoint) -> None:
        """A run from the disk, or a fork, begins where its past ends; what follows is what followed, bit for bit."""
        self.step = past.goal
        over = self.step >= self._end_at
        self.state = State.DONE if over else State.PAUSED
        self.message = _opened_words(past, over)
        if past.parent is not None:
            self._event("forked", f"forked at step {self.step:,}")
        done = Event(self.step, "done", f"done at step {self.step:,}")
        if over and (past.parent is not None or done not in past.history.events):
            self._put(done)
        before = past.history.points_between("train/loss", max(0, self.step - HIGH_STEPS + 1), self.step)
        self.losses.resume([] if before is None else before.values.tolist())

    # ---------------------------------------------------------------- what the thread does with it

    def build(self) -> None:
        """Make the model, or go back to where the past ends, and emit what there is before the first step."""
        trainer = Trainer(self.config, self._first_settings, self.dataset, self._emit, self.device, self.processes)
        self.trainer = trainer
        self.parameters = trainer.model.parameter_count()
        self.layers = tuple(trainer.model.layers())
        self.built.set()
        torch.set_num_threads(threads_for(self.parameters, self.device))
        if self._origin is not None:
            trainer.load_weights(self._origin.weights)
            self._event("fine-tuned", f"fine-tuned from step {self._origin.step:,} of run {self._origin.run}")
            self._origin = None  # a copy of all weights
        if self.past is None:
            trainer.observer.halt = self.interrupted
            trainer.observer.show_start()
            trainer.observer.halt = self.closing
        else:  # commands wait until it stands there
            trainer.observer.halt = self.closing
            self._return_to(trainer, self.past)
        self.prepared.set()

    @property
    def stage_is_due(self) -> bool:
        """Was a single stage asked for, which is made before any further command?"""
        return self._stages_left > 0

    @property
    def least_seconds(self) -> float:
        """What a step is to take at least; 0 at full speed, for steps by hand, and where nothing runs."""
        if self.state is not State.RUNNING or self._steps_left is not None or self.trainer is None:
            return 0.0
        speed = self.trainer.settings.speed
        return 0.0 if speed == "unlimited" else 1 / speed

    def advance(self) -> bool:
        """Make the stage that was asked for alone, or a step if it runs; was there one to make?"""
        trainer = self.trainer
        if trainer is None:
            return False
        if self._stages_left:
            self._stages_left -= 1
            self._make_stage(trainer)
            return True
        if self.state is not State.RUNNING:
            return False
        if self._steps_left == 1:
            trainer.observer.observe_next = True
        if trainer.step >= self.journal.repeat_at:
            self._repeat_changes(trainer)
            if self.state is not State.RUNNING:
                return True
        trainer.advance()
        self.step = trainer.step
        if self._checkpoints is not None and trainer.step >= self._checkpoints.due_at:
            self._checkpoints.save(trainer)
        may_end = trainer.recorder.diverged or trainer.observer.out_of_patience or trainer.step >= self._end_at
        if may_end or self._steps_left is not None:
            self._after_last_step(trainer)
        elif trainer.settings.speed != "unlimited":
            trainer.recorder.flush()
        return True

    def settle(self) -> None:
        """Nothing is due: emit all that was measured; a GPU's verdict comes late."""
        if self.trainer is not None and self.state is not State.FAILED:
            self.trainer.settle()
            if self.trainer.recorder.diverged and self.state in (State.PAUSED, State.STOPPED):
                self._diverge(self.trainer)

    def finish(self) -> None:
        """The thread ends: save the last snapshot."""
        if self._checkpoints is not None and self.trainer is not None and self.state is not State.FAILED:
            self._checkpoints.save_last(self.trainer)

    def fail(self, error: Exception) -> None:
        """An exception is kept and shown, never lost; a failed run still answers."""
        if self.state is State.FAILED:
            print_error(error)
            return
        self.error = traceback.format_exc()
        if isinstance(error, ProcessLost):
            self._event(LOST, str(error))
        self._enter(State.FAILED, _failed_words(self, error))
        self.built.set()
        self.prepared.set()

    # ---------------------------------------------------------------- commands

    def obey(self, command: Callable[..., None], *arguments: Any) -> None:
        """Carry out a command; what it raises ends the run."""
        try:
            command(*arguments)
        except Exception as error:
            self.fail(error)

    def train(self, steps: int | None = None) -> None:
        """Train to the end, or make so many steps and pause."""
        if self.trainer is None or self.closing() or self.state not in CAN_TRAIN or self.step >= self._end_at:
            return
        self._steps_left = steps
        if self.state is not State.RUNNING:
            name = "started" if self.state is State.READY else "resumed"
            self.trainer.observer.be_patient_again()
            self.state, self.message = State.RUNNING, ""
            if steps is None:
                self._event(name, name)

    def hold(self, state: State) -> None:
        """Pause or stop, if it runs; a paused run can be stopped."""
        if self.processes is not None and self.state in ALIVE:
            self.processes.see_all()  # torchrun ends the others when one is lost, and then this run has failed
        if self.state is State.RUNNING or (self.state is State.PAUSED and state is State.STOPPED):
            self._enter(state, f"{state.value} at step {self.step:,}")

    def request_stage(self) -> None:
        """Commands are taken inside a sample too, where no gradient is recorded: the stage itself waits its turn."""
        if self.trainer is not None and self.state in CAN_TRAIN and self.step < self._end_at:
            self._stages_left += 1

    def save_to(self, store: RunWriter) -> None:
        """Take snapshots from now on."""
        if self.trainer is not None:
            best = None if self.past is None else self.past.best
            self._checkpoints = CheckpointPolicy(store, self.config.snapshot_every, best)
            self._checkpoints.save(self.trainer)
            if best is not None and self.trainer.observer.will_test:
                self.trainer.observer.lowest.weights = checkpoint_files.weights_of(store.folder / "snapshots", best[1])

    def apply(self, settings: LiveSettings, repeated: bool = False) -> None:
        """Train with other settings from here on; a `repeated` change is in the run's folder already."""
        trainer = self.trainer
        if trainer is None:
            return
        before = trainer.settings
        trainer.tune(settings)
        turn, events = self.journal.applied(before, settings, self.step, trainer.stages_done)
        if not repeated:
            self._put(turn)
        for event in events:
            self._put(event)
        if settings.lr > SPIKE * before.lr:
            trainer.observer.extra_observations = OBSERVED_AFTER_RAISE
        self._end_at = settings.max_steps
        if self.state in ALIVE and self.step >= self._end_at and not trainer.stages_done:
            self._end(trainer)
        elif self.state is State.DONE and self.step < self._end_at:
            if self._stays_paused:
                self._enter(State.PAUSED, f"paused at step {self.step:,}")
            else:
                self.state = State.STOPPED
                self.train()

    def paused_state(self, trainer: Trainer) -> PausedState:
        """Where it stands, inside a step or between two."""
        if trainer.stages_done and self._step_start is not None:
            return PausedState(self._step_start, trainer.stages_done, tuple(self.journal.within_step))
        trainer.settle()  # a GPU's verdict on its last steps comes late
        return PausedState(take_snapshot(trainer), 0)

    # ---------------------------------------------------------------- inside

    def _return_to(self, trainer: Trainer, past: ResumePoint) -> None:
        """Stand where the past ends: make the steps since its snapshot again."""
        restore(trainer, past.snapshot)
        if (tested := past.history.series.get("test/loss")) is not None:
            trainer.observer.test_loss = tested.last  # once is once
        trainer.observer.lowest = _lowest_in(past)
        if past.goal > past.snapshot.step:
            message, self.message = self.message, f"making steps {past.snapshot.step + 1:,} to {past.goal:,} again"
            repeat_steps(trainer, past.goal, past.turns, self.closing)
            self.message = message
        if trainer.step == past.goal:  # closed on the way it keeps the settings of where it stands, for its snapshot
            trainer.tune(past.settings)

    def _repeat_changes(self, trainer: Trainer, make_stages: bool = True) -> None:
        """Repeat the changes made at this step before the run was interrupted.

        For one made within the step its stages are made here, or else it waits for them.
        """
        while change := self.journal.next_repeat(trainer.step, len(STAGES) if make_stages else trainer.stages_done):
            _, stages, settings = change
            while trainer.stages_done < stages:
                trainer.stage()
            self.apply(settings, repeated=True)

    def _make_stage(self, trainer: Trainer) -> None:
        self.hold(State.PAUSED)
        if not trainer.stages_done:
            trainer.settle()
            self._step_start = take_snapshot(trainer)
            self.journal.within_step.clear()
            trainer.observer.observe_next = True
        self._repeat_changes(trainer, make_stages=False)
        name = trainer.stage()
        self.step, self._steps_left = trainer.step, None
        if self._checkpoints is not None and trainer.step >= self._checkpoints.due_at and not trainer.stages_done:
            self._checkpoints.save(trainer)
        if trainer.stages_done:
            under_way = trainer.step + (trainer.stages_done <= UPDATE)
            self.message = f"paused in step {under_way:,} after {name}, {trainer.stages_done} of {len(STAGES)}"
            self.state = State.PAUSED
        elif trainer.recorder.diverged or trainer.step >= self._end_at:
            self._after_last_step(trainer)
        else:
            self.message = f"paused at step {self.step:,}"

    def _after_last_step(self, trainer: Trainer) -> None:
        """After a step that may be the last one: of the run, or of a few made by hand."""
        if self._steps_left is not None:
            self._steps_left -= 1
        if trainer.recorder.diverged or trainer.step >= self._end_at or trainer.observer.out_of_patience:
            self._end(trainer)
        elif self._steps_left == 0:
            self._enter(State.PAUSED, f"paused at step {trainer.step:,}")

    def _end(self, trainer: Trainer) -> None:
        """It diverged, all steps are made, or validation has not fallen for as long as it has patience."""
        trainer.settle()
        if trainer.recorder.diverged:
            self._diverge(trainer)
            return
        trainer.observer.test(partial(_testing, self))
        self._stays_paused = self.state is State.PAUSED or self._steps_left is not None
        if trainer.step >= self._end_at:
            self._enter(State.DONE, f"done at step {self.step:,}")
        else:
            self._enter(State.STOPPED, f"stopped at step {self.step:,}: {trainer.observer.lowest.told}")

    def _diverge(self, trainer: Trainer) -> None:
        self.step = trainer.step
        self.losses.warning = None
        bad = self.step + 1  # the step whose update was withheld or taken back
        message = f"diverged at step {bad:,}: its update was not kept; reset, then lower the learning rate"
        self._enter(State.DIVERGED, message, bad)

    def _enter(self, state: State, message: str, at: int | None = None) -> None:
        """Stop training and be in this state."""
        self._steps_left = None
        if self._checkpoints is not None and self.trainer is not None and state in (State.DONE, State.STOPPED):
            self._checkpoints.save_last(self.trainer)
        self._put(Event(self.step if at is None else at, state.value, message))
        self.message, self.state = message, state  # last: who sees the state finds everything else in place

    def _event(self, name: str, text: str) -> None:
        self._put(Event(self.step, name, text))

    def _emit(self, record: Record) -> None:
        self._put(record)
        if type(record) is Scalars:
            self.losses.add(record)
        elif isinstance(record, Observation):
            self.losses.update(record.step)
            by_hand = self.trainer is None or self.trainer.observer.observe_next
            if self._checkpoints is not None and not by_hand:  # such a step has no snapshot of its own
                self._checkpoints.note_validation(record)

    def _observe_more(self) -> None:
        if self.trainer is not None:
            self.trainer.observer.extra_observations = OBSERVED_AFTER_SPIKE


def _opened_words(past: ResumePoint, over: bool) -> str:
    """Where a run stands that begins where `past` ends, in a sentence; is it `over` there?"""
    words = f"{'done' if over else 'forked' if past.parent else 'opened'} at step {past.goal:,}"
    if past.pending:
        words += f"; the knobs turned up to step {past.pending[-1][0]:,} turn again there"
    return words


def _testing(loop: TrainingLoop, _: str, done: int, total: int) -> None:
    loop.message = f"testing on the part kept for the end: {done / total:.0%}"
    if loop.closing():
        raise Cancelled("the run was closed while it was tested")


def _failed_words(loop: TrainingLoop, error: Exception) -> str:
    """What ended the run, in a sentence, with what to do about it where that is known."""
    if machine_trouble(error) == OUT_OF_MEMORY:
        advice = memory_advice(loop.config, loop.journal.settings, loop.dataset)
        return f"out of memory on {loop.device.type}; {advice}"
    return str(error) if isinstance(error, ProcessLost) else f"{type(error).__name__}: {error}"


def _lowest_in(past: ResumePoint) -> Lowest:
    """The lowest validation loss that a run has shown, and the looks since."""
    looks = past.history.series.get("val/loss")
    if past.best is None or looks is None:
        return Lowest()
    return Lowest(*past.best, looks=int((looks.view(looks.count).steps > past.best[1]).sum()))
