"""The exact state of a run at an earlier step, to look into while the run goes on.

It is the newest snapshot before that step, with the steps between made again, on a thread of its own that leaves a
training run half of the time. The run itself is asked nothing and notices nothing. Knows no screen.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable

import numpy as np
import torch

from ..errors import InputError
from ..models import LanguageModel, Model, build
from ..storage import reader
from ..storage.displayed_state import DisplayedState
from ..storage.reader import KnobTurn
from ..stream.status import State
from ..training import probes
from ..training.checkpoint import PausedState, Snapshot
from ..training.device import threads_for
from ..training.projection import MOST_ROWS, TOKEN_EMBEDDING, centred, project
from ..training.trainer import Trainer
from . import forks
from .cost import check_memory
from .run import Run

QUICK = 20.0
"""Seconds that steps are made again for; what is farther from its snapshot is opened where they end."""


class RestoredState:
    """A run at an earlier step: being made, then `moment`, or `error` says in one sentence why there is none."""

    def __init__(self, run: Run, asked: int, flush: Callable[[Run], None], quick: float = QUICK) -> None:
        """`flush` has all that the run has recorded on the disk. InputError if the run has not made `asked` steps."""
        if not 0 <= asked <= run.step:
            raise InputError(f"step {asked:,} is not possible; choose one from 0 to {run.step:,}")
        self.run, self.asked = run, asked
        self.first: int | None = None
        """The step of the snapshot that it begins from; None until that is read."""
        self.step = 0
        """How many updates the state at hand has."""
        self.moment: PausedState | None = None
        self.error = ""
        self._flush, self._quick = flush, quick
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._make, name=f"reopening {run.id} at {asked}", daemon=True)
        self._thread.start()

    @property
    def under_way(self) -> bool:
        """Is it still being made?"""
        return self._thread.is_alive()

    @property
    def share(self) -> float:
        """How much of the way from the snapshot is made, 0 to 1."""
        first = self.first or 0
        return (self.step - first) / max(1, self.asked - first)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is made or has failed; is it so?"""
        self._thread.join(timeout)
        return not self.under_way

    def close(self, timeout: float | None = None) -> bool:
        """Give it up if it is still being made; has its thread ended?"""
        self._closing.set()
        return self.wait(timeout)

    def model(self) -> Model:
        """A copy of the model at that step, on the CPU, in eval mode."""
        model = build(self.run.config, self.run.dataset.vocab_size)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(self._snapshot.weights[name])
        return model.eval()

    def shown(self, before: DisplayedState) -> DisplayedState:
        """`before`, the stored moment nearest to it, with this step's own tables; the plane seen from the same side."""
        model = self.model()
        tables = before.tables | probes.weight_tables(model)
        earlier = before.tables.get(TOKEN_EMBEDDING)
        if isinstance(model, LanguageModel) and earlier is not None:
            rows = model.token_embedding.weight
            side = torch.from_numpy(earlier).double().T @ centred(rows[:MOST_ROWS])
            tables[TOKEN_EMBEDDING] = np.ascontiguousarray(project(rows, side).points, np.float32)
        return DisplayedState(self.step, before.scalars, tables, before.sample)

    @property
    def _snapshot(self) -> Snapshot:
        assert self.moment is not None, "it is not made yet"
        return self.moment.snapshot

    # ---------------------------------------------------------------- on its own thread

    def _make(self) -> None:
        try:
            self._flush(self.run)
            stored = reader.find(self.run.id)
            snapshot = forks.nearest(stored, self.asked)
            self.step = self.first = snapshot.step
            snapshot = self._repeated(snapshot, reader.turns(stored, snapshot.step, self.asked))
            turns = reader.turns(stored, snapshot.step, snapshot.step + 1)
            within = tuple((stages, settings) for step, stages, settings in turns if step == snapshot.step and stages)
            self.moment = PausedState(snapshot, 0, within)
        except InputError as error:
            self.error = str(error)
        except Exception as error:  # shown where it was asked for; the run has no part in it
            traceback.print_exc()
            self.error = f"step {self.asked:,} could not be opened ({type(error).__name__}: {error}); choose another"

    def _repeated(self, snapshot: Snapshot, turns: list[KnobTurn]) -> Snapshot:
        """Make the steps after `snapshot` again, with the knobs turned where they were, for at most QUICK seconds."""
        run = self.run
        check_memory(run.config, snapshot.settings, run.dataset)
        torch.set_num_threads(threads_for(run.parameters, run.device))  # of this thread: as many as the run had
        trainer = Trainer(run.config, snapshot.settings, run.dataset, lambda _: None, run.device)
        trainer.restore(snapshot)
        end = time.monotonic() + self._quick
        begun = time.perf_counter()

        def halt() -> bool:
            nonlocal begun
            self.step = trainer.step
            if run.state is State.RUNNING:
                time.sleep(time.perf_counter() - begun)
            begun = time.perf_counter()
            return self._closing.is_set() or time.monotonic() > end

        trainer.repeat(self.asked, turns, halt)
        if self._closing.is_set():
            raise InputError(f"step {self.asked:,} was given up; open it again")
        self.step = trainer.step
        return trainer.snapshot()
