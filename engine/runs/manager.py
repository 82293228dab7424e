"""The manager: what people can do with the runs of this process. One a process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from ..config import LiveSettings, RunConfig, changed
from ..errors import InputError
from ..paths import home
from ..progress import Report, unheard
from ..storage import notes, reader, resume_point
from ..stream.status import State
from ..text.corpus import Corpus
from ..text.library import Library
from ..training.checkpoint import FineTuneSource
from . import forks
from .cost import Cost, Costs, check_memory
from .directory import RunDirectory
from .divergence import lower_rate, rewind_step
from .fine_tuning import fine_tune_source, plan_fine_tuning
from .forks import ForkPoint, paused
from .races.lanes import Change, forked_lanes, lane_config, lane_names, lane_settings
from .races.race import Race
from .run import Run, limit_to_epochs
from .training_thread import TrainingThread


class RunActive(Exception):
    """A new start or a reset would end a run that is under way; the caller asks a person first."""


class RunManager(RunDirectory):
    """Starts, replaces, forks and races runs. One a process: `run_manager()`."""

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self._costs = Costs()

    def estimate(self, config: RunConfig, settings: LiveSettings, report: Report = unheard) -> float | None:
        """Seconds that a run would take here; None while a run is under way, which would be slowed down."""
        cost = self.cost(config, settings, report)
        if cost is None:
            return None
        slowest = 0.0 if settings.speed == "unlimited" else 1 / settings.speed
        steps = limit_to_epochs(config, settings, self.datasets.load(config, report)).max_steps
        return steps * max(cost.seconds_per_step, slowest)

    def cost(self, config: RunConfig, settings: LiveSettings, report: Report = unheard) -> Cost | None:
        """What a run would take here, small ones measured; None while a run is under way. InputError.

        `report`, here as everywhere in this class, is told how far a reading of a text is; it may raise to give up.
        """
        if any(source is not None and source.alive for source in (self.current, self.race)):
            return None
        dataset = self.datasets.load(config, report)
        dataset.check(config)
        made = [run for run in (self.current, self.previous) if run is not None]
        return self._costs.cost(config, settings, dataset, made, report)

    # ---------------------------------------------------------------- the current run

    def start(self, config: RunConfig, settings: LiveSettings, replace: bool = False, report: Report = unheard) -> Run:
        """A new run, started. RunActive if one is under way and `replace` is not set."""
        return self._begin(config, settings, replace, report, Run.start)

    def prepare(
        self, config: RunConfig, settings: LiveSettings, replace: bool = False, report: Report = unheard
    ) -> Run:
        """A new run that waits at step 0. RunActive as in `start`."""
        return self._begin(config, settings, replace, report)

    def _begin(
        self,
        config: RunConfig,
        settings: LiveSettings,
        replace: bool,
        report: Report,
        then: Callable[[Run], None] = lambda _: None,
    ) -> Run:
        self._check_idle(replace)
        dataset = self.datasets.load(config, report)  # before the lock: others go on while a long text is read
        report("making the model", 0, 0)
        with self._lock:  # ten clicks at once make one run: the others find it active
            self._check_idle(replace)
            check_memory(config, settings, dataset)
            run = Run(config, settings, dataset)
            unused = self._replace_current(run)
            then(run)
        self._discard(unused)
        return run

    def reset(self, replace: bool = False) -> Run:
        """The current run again from its first weights, seed and settings (the speed stays); `undo` brings it back."""
        before = self.current
        if before is None:
            raise InputError("there is no run to reset; press Start first")
        settings = changed(before.first_settings, speed=before.settings.speed)
        with self._lock:
            self._check_idle(replace)
            run = Run(before.config, settings, before.dataset, origin=self._first_weights(before))
            unused = self._replace_current(run)
        self._discard(unused)
        return run

    def resume(self, name: str, replace: bool = False, report: Report = unheard) -> Run:
        """A stored run becomes the current one, opened at its newest snapshot; `start` goes on with it.

        A lane of a race that is over goes on alone like any other run: the race then stays as it is.
        """
        self._leave_race(name)
        stored = reader.open_run(name)
        config, settings = reader.configuration(stored)
        dataset = self.datasets.load_stored(stored, report)
        check_memory(config, settings, dataset)
        with self._lock:
            self._check_idle(replace)
            run = Run(config, settings, dataset, resume_point.load(stored, dataset))
            unused = self._replace_current(run)
        self._discard(unused)
        return run

    def undo(self) -> Run:
        """Bring the previous run back as it was; the one that replaced it becomes the previous one."""
        with self._lock:
            if self.previous is None or self.current is None:
                raise InputError("there is no earlier run to bring back")
            self.current.pause()
            self._watched = None
            self.current, self.previous = self.previous, self.current
            return self.current

    # ---------------------------------------------------------------- runs that begin with the current one

    def fork(self, step: int | None = None, replace: bool = False, **changes: Any) -> Run:
        """A new run that goes on from the current one at `step` (None: where it stands), with `changes` to its knobs.

        It waits there, with the same weights, optimizer state, random numbers and place in the text; the current run
        is paused and becomes the previous one. RunActive if that one is training and `replace` is not set.
        """
        parent = self._require_parent()
        return self._fork(parent, step, changes, replace or parent.state is not State.RUNNING)

    def fine_tune(self, corpus: str, replace: bool = False, report: Report = unheard) -> Run:
        """A new run that begins with the current one's weights and learns from another text of the library.

        It waits at step 0 with a fresh optimizer, the same tokens and the same knobs; the current run is paused and
        becomes the previous one. InputError names characters that the model does not know.
        """
        parent = self._require_parent()
        config, settings, dataset = plan_fine_tuning(parent, self.library.load_name(corpus, report), report)
        replace = replace or parent.state is not State.RUNNING
        with self._lock:
            self._check_current(parent)
            self._check_idle(replace)
            with paused(parent):
                snapshot = parent.paused_state().snapshot
                source = FineTuneSource(parent.id, snapshot.step, snapshot.weights)
                run = Run(config, settings, dataset, origin=source)
            unused = self._succeed(parent, run)
        self._discard(unused)
        return run

    def rewind(self, lr: float | None = None) -> Run:
        """Fork the current run 50 steps before its trouble began, at a lower learning rate (`lower_rate`), and train.

        InputError for one that has not diverged, and whose loss is not absurd.
        """
        parent = self._require_parent()
        if parent.state is not State.DIVERGED and not parent.trouble:
            raise InputError(f"this run is {parent.state.value}, not diverged; fork it at a step of your choice")
        with paused(parent):
            parent.paused_state()  # answered once it stands still
            self.flush(parent)
            step = rewind_step(parent.history, parent.step, parent.dataset.highest_loss)
            then, last = forks.settings_at(reader.open_run(parent.id), step), parent.settings
            # max_steps and speed did not cause the trouble: they keep their newest values
            max_steps = last.max_steps if last.max_steps > step else then.max_steps
            run = self._fork(
                parent,
                step,
                {"lr": lr or lower_rate(then.lr, step, parent.config), "max_steps": max_steps, "speed": last.speed},
                True,
            )
        run.start()
        return run

    def _fork(self, parent: Run, step: int | None, changes: dict[str, Any], replace: bool) -> Run:
        changed(parent.settings, **changes)  # refuses impossible values before anything is made
        with self._lock:
            self._check_current(parent)
            self._check_idle(replace)
            with paused(parent):
                run = ForkPoint.of(parent, step, changes, self.flush).new_run()
            unused = self._succeed(parent, run)
        self._discard(unused)
        if changes:
            run.tune(changed(run.settings, **changes))
        return run

    # ---------------------------------------------------------------- races

    def start_race(
        self,
        config: RunConfig,
        settings: LiveSettings,
        changes: Sequence[Change],
        replace: bool = False,
        steps: int | None = None,
        report: Report = unheard,
    ) -> Race:
        """A race from first weights, a lane for each of the `changes`; started, or paused after so many `steps`.

        RunActive if a run trains or a race is under way and `replace` is not set: the run is then paused.
        """
        names = lane_names(changes)
        lanes_of = [(lane_config(config, change), lane_settings(settings, change)) for change in changes]
        dataset = self.datasets.load(config, report)
        check_memory(config, settings, dataset, runs=len(changes))
        with self._lock:
            self._check_race(replace)
            thread, former = TrainingThread("race"), self.race
            lanes = [Run(*one, dataset, thread=thread) for one in lanes_of]
            race = self._begin_race(thread, lanes, names, steps)
        self._end_race(former)
        return race

    def fork_race(
        self,
        changes: Sequence[Change],
        step: int | None = None,
        replace: bool = False,
        steps: int | None = None,
        **shared: Any,
    ) -> Race:
        """A race from where the current run stood after `step` updates (None: where it stands), as `start_race`.

        `shared` are max_steps and speed of the race, which the current run does not take over.
        """
        parent, names = self._require_parent(), lane_names(changes)
        for change in changes:
            if "optimizer" in change:
                raise InputError("a fork keeps its parent's optimizer; leave it as it is, or race from step 0")
            lane_settings(changed(parent.settings, **shared), change)
        check_memory(parent.config, parent.settings, parent.dataset, runs=len(changes))
        with self._lock:
            self._check_race(replace)
            thread, former = TrainingThread("race"), self.race
            with paused(parent):
                lanes = forked_lanes(ForkPoint.of(parent, step, shared, self.flush), changes, shared, thread)
            race = self._begin_race(thread, lanes, names, steps)
        self._end_race(former)
        return race

    # ---------------------------------------------------------------- with the lock held

    def _check_idle(self, replace: bool) -> None:
        """RunActive if the current run is under way, or a race trains, and nobody said to `replace` it."""
        if replace:
            return
        _check_over(self.current)
        if self.race is not None and self.race.state is State.RUNNING:
            _check_over(self.race)

    def _check_race(self, replace: bool) -> None:
        """RunActive if the current run trains, or a race is under way, and nobody said to `replace` it."""
        if replace:
            return
        if self.current is not None and self.current.state is not State.PAUSED:
            _check_over(self.current)
        _check_over(self.race)

    def _check_current(self, run: Run) -> None:
        """InputError if `run` is not the current one any more."""
        if run is not self.current:
            raise InputError(f"run {run.id} is not on the stage any more; see what is there now, then try again")

    def _replace_current(self, run: Run) -> Run | None:
        """Stop the current run and put a new one in its place; returns the run to discard."""
        self._store(run)
        if self.current is not None:
            self.current.stop()
        return self._set_current(run)

    def _succeed(self, parent: Run, run: Run) -> Run | None:
        """Pause the current run and put one that goes on from it in its place; returns the run to discard."""
        self._store(run)
        parent.pause()
        return self._set_current(run)

    def _store(self, run: Run) -> None:
        if self.race is not None:
            self.race.pause()
        self.stores.open(run)

    def _set_current(self, run: Run) -> Run | None:
        before = self.current
        unused = before if before is not None and before.state is State.READY else self.previous
        if unused is not before:
            self.previous = before
        self.current, self._watched = run, None
        return unused

    def _begin_race(
        self, thread: TrainingThread, lanes: Sequence[Run], names: Sequence[str], steps: int | None
    ) -> Race:
        if self.current is not None:
            self.current.pause()
        for lane, name in zip(lanes, names, strict=True):
            folder = self.stores.open(lane)
            with suppress(InputError):  # the store reports a disk that refuses
                notes.rename(folder, name)
        race = Race(thread, lanes, names)
        race.begin(steps)  # before anybody can replace it, and be told that it has not begun
        self.race = race
        return race

    # ---------------------------------------------------------------- parts of the verbs

    def _first_weights(self, run: Run) -> FineTuneSource | None:
        """Where a fine-tuned run has its first weights from; None for one that began with its seed's."""
        if not isinstance(run.dataset, Corpus) or run.dataset.former is None:
            return None
        run.paused_state()  # its first snapshot is on its way
        self.flush(run)
        return fine_tune_source(reader.open_run(run.id))

    def _require_parent(self) -> Run:
        if self.current is None:
            raise InputError("there is no run to fork; press Start first")
        return self.current

    def _leave_race(self, name: str) -> None:
        """Close the race if the run called `name` is one of its lanes. InputError while it is under way."""
        race = self.race
        if race is None or all(lane.id != name for lane in race.lanes):
            return
        if race.alive:
            raise InputError(f"run {name} is a lane of the race that is {race.state.value}; stop the race first")
        self.pump.drain()  # the race gets its last steps, and none of those that this lane makes alone
        race.close()

    @staticmethod
    def _end_race(race: Race | None) -> None:
        if race is not None:
            race.close()
            for lane in race.lanes:
                lane.discard_if_unused()


def _check_over(source: Run | Race | None) -> None:
    """RunActive if this is under way."""
    if source is not None and source.alive:
        raise RunActive(f"{source.title} is {source.state.value} at step {source.step:,}")


@lru_cache(maxsize=1)
def run_manager() -> RunManager:
    """This process's manager."""
    return RunManager(Library(home()))
