"""The exact state of a run at an earlier step, restored while the run goes on.

A thread of its own reads the newest snapshot at or before that step and repeats the steps in between; while the run
trains it pauses half of the time. The run itself is not involved.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable

import numpy as np
import torch

from ..errors import InputError
from ..models.base import LanguageModel, Model
from ..models.registry import build
from ..storage import reader, resume_point
from ..storage.displayed_state import DisplayedState
from ..storage.resume_point import KnobTurn
from ..stream.status import State
from ..training import probes
from ..training.checkpoint import PausedState, Snapshot
from ..training.device import threads_for
from ..training.projection import MOST_ROWS, TOKEN_EMBEDDING, centred, project
from ..training.state import repeat_steps, restore, take_snapshot
from ..training.trainer import Trainer
from . import forks
from .cost import check_memory
from .run import Run

TIME_LIMIT = 20.0
"""Seconds for which steps are repeated; a step too far from its snapshot ends up at an earlier one."""


class RestoredState:
    """A run at an earlier step: first in progress, then `paused_state` is set, or `error` says why there is none."""

    def __init__(
        self, run: Run, requested_step: int, flush: Callable[[Run], None], time_limit: float = TIME_LIMIT
    ) -> None:
        """`flush` has all that the run has recorded on the disk. InputError if the run has not come that far."""
        if not 0 <= requested_step <= run.step:
            raise InputError(f"step {requested_step:,} is not possible; choose one from 0 to {run.step:,}")
        self.run, self.requested_step = run, requested_step
        self.snapshot_step: int | None = None
        """The step of the snapshot that it starts from; None until that is read."""
        self.step = 0
        """How many updates are made so far."""
        self.paused_state: PausedState | None = None
        self.error = ""
        self._flush, self._time_limit = flush, time_limit
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._restore, name=f"reopening {run.id} at {requested_step}", daemon=True
        )
        self._thread.start()

    @property
    def in_progress(self) -> bool:
        """Is it still being restored?"""
        return self._thread.is_alive()

    @property
    def progress(self) -> float:
        """The part of the steps since the snapshot that is repeated, 0 to 1."""
        start = self.snapshot_step or 0
        return (self.step - start) / max(1, self.requested_step - start)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is restored or has failed; returns whether it is."""
        self._thread.join(timeout)
        return not self.in_progress

    def close(self, timeout: float | None = None) -> bool:
        """Cancel it if it is still in progress; returns whether its thread has ended."""
        self._closing.set()
        return self.wait(timeout)

    def model(self) -> Model:
        """A copy of the model at that step, on the CPU, in eval mode."""
        assert self.paused_state is not None, "it is not restored yet"
        model = build(self.run.config, self.run.dataset.vocab_size)
        return model.load_weights(self.paused_state.snapshot.weights).eval()

    def displayed_state(self, nearest: DisplayedState) -> DisplayedState:
        """What the board shows at this step: this step's tables, with scalars and sample of the `nearest` stored state.

        Its projection of the embedding is turned to the side from which `nearest` shows it.
        """
        model = self.model()
        tables = nearest.tables | probes.weight_tables(model)
        earlier = nearest.tables.get(TOKEN_EMBEDDING)
        if isinstance(model, LanguageModel) and earlier is not None:
            rows = model.token_embedding.weight
            side = torch.from_numpy(earlier).double().T @ centred(rows[:MOST_ROWS])
            tables[TOKEN_EMBEDDING] = np.ascontiguousarray(project(rows, side).points, np.float32)
        return DisplayedState(self.step, nearest.scalars, tables, nearest.sample)

    # ---------------------------------------------------------------- on its own thread

    def _restore(self) -> None:
        try:
            self._flush(self.run)
            stored = reader.open_run(self.run.id)
            snapshot = forks.nearest_snapshot(stored, self.requested_step, self.run.dataset)
            self.step = self.snapshot_step = snapshot.step
            snapshot = self._repeat(snapshot, resume_point.read_turns(stored, snapshot.step, self.requested_step))
            turns = resume_point.read_turns(stored, snapshot.step, snapshot.step + 1)
            within = tuple((stages, settings) for step, stages, settings in turns if step == snapshot.step and stages)
            self.paused_state = PausedState(snapshot, 0, within)
        except InputError as error:
            self.error = str(error)
        except Exception as error:  # shown on the page that asked; the run itself is not affected
            traceback.print_exc()
            self.error = (
                f"step {self.requested_step:,} could not be opened ({type(error).__name__}: {error}); choose another"
            )

    def _repeat(self, snapshot: Snapshot, turns: list[KnobTurn]) -> Snapshot:
        """Repeat the steps after `snapshot`, with the settings changed where they were, within the time limit."""
        run = self.run
        check_memory(run.config, snapshot.settings, run.dataset)
        torch.set_num_threads(threads_for(run.parameters, run.device))  # for this thread, as many as the run had
        trainer = Trainer(run.config, snapshot.settings, run.dataset, lambda _: None, run.device)
        restore(trainer, snapshot)
        end = time.monotonic() + self._time_limit
        resumed = time.perf_counter()

        def halt() -> bool:
            nonlocal resumed
            self.step = trainer.step
            if run.state is State.RUNNING:
                time.sleep(time.perf_counter() - resumed)
            resumed = time.perf_counter()
            return self._closing.is_set() or time.monotonic() > end

        repeat_steps(trainer, self.requested_step, turns, halt)
        if self._closing.is_set():
            raise InputError(f"step {self.requested_step:,} was given up; open it again")
        self.step = trainer.step
        return take_snapshot(trainer)
