"""The manager: the one current run of the room, the one before it, the race, and the texts there are. One a process.

Whoever shows or starts runs asks here. Knows no screen.
"""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..config import MAX_STEPS, LiveSettings, RunConfig, changed
from ..errors import InputError
from ..paths import home
from ..storage import notes, reader
from ..storage.reader import StoredRun
from ..storage.writer import RunWriter, new_run_id
from ..stream.messages import Record
from ..stream.pump import Pump
from ..stream.status import State
from ..text.corpus import Corpus
from ..text.library import Library
from ..text.points import Points
from ..tracking.external_run import ExternalRun
from ..tracking.external_run_watcher import ExternalRunWatcher
from ..training.checkpoint import FineTuneSource
from . import forks
from .cost import Cost, check_memory, estimate_cost
from .datasets import encoded_corpus, fine_tuning, stored_corpus, tuned
from .divergence import rewind_step
from .races.race import Change, Race, lane_config, lane_names, lane_settings
from .restored_state import RestoredState
from .run import Run, limit_to_epochs
from .run_folder import run_description
from .training_thread import TrainingThread

DEMOS = ("line", "logistic", "step")
"""Small demonstrations beside the room's run, by the name that a viewer follows."""
SOURCE_NAMES = ("current", "here", "race", *DEMOS)


class RunActive(Exception):
    """A new start or a reset would end a run that is under way; the caller asks a person first."""


class RunManager:
    """The room's one current run, the one before it, and the texts there are. One a process: `run_manager()`."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.current: Run | None = None
        self.previous: Run | None = None
        self.demos: dict[str, Run] = {}
        self.restored: RestoredState | None = None
        self.race: Race | None = None
        self.external_runs = ExternalRunWatcher(home() / "runs", self._writes, self.dataset_of)
        self.pump = Pump(self.sources)
        self.pump.listen(self._hear)
        self._watched: str | None = None
        self._stores: dict[str, RunWriter | None] = {}
        self._corpus: tuple[tuple[object, ...], Corpus] | None = None
        self._corpus_lock = threading.Lock()
        self._costs: dict[tuple[object, ...], Cost] = {}
        self._lock = threading.Lock()

    def runs(self) -> list[Run]:
        """The current run, the one before it, the side lanes, and those of the race."""
        race = self.race
        alone = [run for run in (self.current, self.previous, *self.demos.copy().values()) if run is not None]
        gone_on = {run.id for run in alone}  # a lane that goes on alone is there once, as what it is now
        return [*alone, *(lane for lane in (race.lanes if race is not None else ()) if lane.id not in gone_on)]

    def sources(self) -> list[Run | Race | ExternalRun]:
        """All that viewers can follow: the runs, the race, which hears what its lanes have made, and runs elsewhere."""
        race, here = self.race, self.runs()
        ids = {run.id for run in here}
        elsewhere = [
            followed for followed in self.external_runs.followed() if followed.id not in ids
        ]  # or resumed here
        return [*here, *([race] if race is not None else []), *elsewhere]

    def run_named(self, name: str) -> Run | None:
        """The run that is called `name` now: "current", or a lane."""
        return self.current if name == "current" else self.demos.get(name)

    def find(self, run_id: str) -> Run | None:
        """The run called `run_id`, if it is still here."""
        return next((run for run in self.runs() if run.id == run_id), None)

    def source(self, name: str) -> Run | Race | ExternalRun | None:
        """What a viewer sees by a name ("current" is the stage, "here" this process's run, "race", a lane) or an id."""
        if name == "current":
            return self.watched or self.current
        if name in SOURCE_NAMES:
            return {"here": self.current, "race": self.race}.get(name) or self.demos.get(name)
        return next((source for source in self.sources() if source.id == name), None) or self.external_runs.find(name)

    @property
    def watched(self) -> ExternalRun | None:
        """The run elsewhere that is on the stage in place of the current one."""
        return None if self._watched is None else self.external_runs.find(self._watched)

    def watch(self, run_id: str) -> ExternalRun:
        """Put a run that is trained elsewhere on the stage. InputError while one is training here, or there is none."""
        with self._lock:
            if self.current is not None and self.current.alive and self.current.state is not State.PAUSED:
                raise InputError(f"{self.current.title} is training here; pause or stop it first")
            followed = self.external_runs.follow(run_id)
            self._watched = run_id
            return followed

    def stop_watching(self) -> None:
        """Put the current run back on the stage."""
        self._watched = None

    @property
    def lists_version(self) -> int:
        """Grows whenever the lists of texts, or of runs elsewhere, may have changed."""
        return self.library.version + self.external_runs.version

    def open(self) -> None:
        """Begin to pump, and to watch the corpus folder and the runs of other processes."""
        self.pump.start()
        self.library.start()
        self.external_runs.start()

    def dataset(self, config: RunConfig) -> Corpus | Points:
        """What a run with `config` learns from; InputError says what is wrong with it."""
        return self.corpus(config) if config.reads_text else Points.of(config)

    def corpus(self, config: RunConfig) -> Corpus:
        """The text that `config` names, split and encoded; InputError says what is wrong with it."""
        version = self.library.version
        vocab_size = config.vocab_size if config.tokenizer == "bpe" else None
        key = (config.corpus, config.val_fraction, config.test_fraction, config.tokenizer, vocab_size, version)
        with self._corpus_lock:  # the last one is kept: a new run on the same text starts at once
            if self._corpus is None or self._corpus[0] != key:
                self._corpus = key, encoded_corpus(*self.library.load_name(config.corpus), config)
            return self._corpus[1]

    def estimate(self, config: RunConfig, settings: LiveSettings) -> float | None:
        """Seconds that a run would take here; None while a run is under way, which would be slowed down."""
        cost = self.cost(config, settings)
        if cost is None:
            return None
        slowest = 0.0 if settings.speed == "unlimited" else 1 / settings.speed
        steps = limit_to_epochs(config, settings, self.dataset(config)).max_steps
        return steps * max(cost.seconds_per_step, slowest)

    def cost(self, config: RunConfig, settings: LiveSettings) -> Cost | None:
        """What a run would take here, small ones measured; None while a run is under way. InputError."""
        if any(source is not None and source.alive for source in (self.current, self.race)):
            return None
        dataset = self.dataset(config)
        dataset.check(config)
        key = (config, settings.batch_size, dataset.sha256)
        if key in self._costs:
            check_memory(config, settings, dataset)
        else:
            self._costs[key] = estimate_cost(config, settings, dataset)
        return self._costs[key]

    def start(self, config: RunConfig, settings: LiveSettings, replace: bool = False) -> Run:
        """A new run, started. RunActive if one is under way and `replace` is not set."""
        return self._begin(lambda: self._made(config, settings), replace, go=True)

    def prepare(self, config: RunConfig, settings: LiveSettings, replace: bool = False) -> Run:
        """A new run that waits at step 0."""
        return self._begin(lambda: self._made(config, settings), replace, go=False)

    def reset(self, replace: bool = False) -> Run:
        """The current run again from its first weights, seed and settings (the speed stays); `undo` brings it back."""
        run = self.current
        if run is None:
            raise InputError("there is no run to reset; press Start first")
        settings = changed(run.first_settings, speed=run.settings.speed)

        def make() -> Run:
            origin = None
            if isinstance(run.dataset, Corpus) and run.dataset.former is not None:
                run.paused_state()  # its first snapshot is on its way
                self.flush(run)
                origin = forks.fine_tune_source(reader.find(run.id))
            return Run(run.config, settings, run.dataset, origin=origin)

        return self._begin(make, replace, go=False)

    def resume(self, name: str, replace: bool = False) -> Run:
        """A stored run becomes the current one, opened where its newest snapshot is; `start` goes on with it.

        A lane of a race that is over goes on alone like any other run: the race then stays as it is.
        """
        if (race := self.race) is not None and any(lane.id == name for lane in race.lanes):
            if race.alive:
                raise InputError(f"run {name} is a lane of the race that is {race.state.value}; stop the race first")
            self.pump.drain()  # the race hears its last steps, and none of those that this lane makes alone
            race.close()
        stored = reader.find(name)
        config, settings = reader.made_of(stored)
        dataset = self.dataset_of(stored)
        check_memory(config, settings, dataset)
        return self._begin(lambda: Run(config, settings, dataset, reader.past(stored)), replace, go=False)

    def fork(self, step: int | None = None, replace: bool = False, **changes: Any) -> Run:
        """A new run that goes on from the current one at `step` (None: where it stands), with `changes` to its knobs.

        It waits there, with the same weights, optimizer state, random numbers and place in the text; the current run
        is paused and becomes the previous one. RunActive if that one is training and `replace` is not set.
        """
        parent = self._forked_from()
        return self._fork(parent, step, changes, replace or parent.state is not State.RUNNING)

    def fine_tune(self, corpus: str, replace: bool = False) -> Run:
        """A new run that begins with the current one's weights and learns from another text of the library.

        It waits at step 0 with a fresh optimizer, the same tokens and the same knobs; the current run is paused and
        becomes the previous one. InputError names characters that the model does not know.
        """
        parent = self._forked_from()
        dataset = fine_tuning(self.library.load_name(corpus), parent.config, parent.corpus)
        config, settings = tuned(parent.config, dataset), parent.settings
        if config.epochs is not None:
            settings = changed(settings, max_steps=MAX_STEPS)  # the epochs end it
        dataset.check(config)
        check_memory(config, settings, dataset)
        if parent.step == 0:
            raise InputError("this run has learnt nothing yet; train it first, then fine-tune it")

        def make() -> Run:
            with held(parent):
                snapshot = parent.paused_state().snapshot
                origin = FineTuneSource(parent.id, snapshot.step, snapshot.weights)
                return Run(config, settings, dataset, origin=origin)

        return self._begin(make, replace or parent.state is not State.RUNNING, go=False, leave=Run.pause, of=parent)

    def rewind(self) -> Run:
        """Leave a run 50 steps before its trouble began, at half the learning rate of there, and train on.

        InputError for one that has not diverged, and whose loss is not absurd.
        """
        parent = self._forked_from()
        if parent.state is not State.DIVERGED and not parent.trouble:
            raise InputError(f"this run is {parent.state.value}, not diverged; fork it at a step of your choice")
        with held(parent):
            parent.paused_state()  # answered once it stands still
            self.flush(parent)
            step = rewind_step(parent.history, parent.step, parent.dataset.highest_loss)
            then, last = forks.settings_at(reader.find(parent.id), step), parent.settings
            # how long and how fast are no part of the trouble: there they stay as they were last
            most = last.max_steps if last.max_steps > step else then.max_steps
            run = self._fork(parent, step, {"lr": then.lr / 2, "max_steps": most, "speed": last.speed}, True)
        run.start()
        return run

    def restore_step(self, step: int) -> RestoredState:
        """The current run as it was after `step` updates, being made beside the training; one at a time is.

        InputError if there is no run, or it has not come that far.
        """
        if self.current is None:
            raise InputError("there is no run to go back in; press Start first")
        made = RestoredState(self.current, step, self.flush)
        with self._lock:
            before, self.restored = self.restored, made
        if before is not None:
            before.close(0)
        return made

    def _forked_from(self) -> Run:
        if self.current is None:
            raise InputError("there is no run to fork; press Start first")
        return self.current

    def _fork(self, parent: Run, step: int | None, changes: dict[str, Any], replace: bool) -> Run:
        changed(parent.settings, **changes)  # what is not possible is said before anything is made

        def make() -> Run:
            with held(parent):
                return self._leave(parent, step, changes)()

        run = self._begin(make, replace, go=False, leave=Run.pause, of=parent)
        if changes:
            run.tune(changed(run.settings, **changes))
        return run

    def _leave(self, parent: Run, step: int | None, changes: Mapping[str, Any]) -> Callable[..., Run]:
        """The point of a fork: `parent` is held, all that it made is on the disk. Each call is a run that waits there.

        InputError if the step, or max_steps among the `changes`, is not possible.
        """
        stands = parent.step if step is None else step
        if not 0 <= stands <= parent.step:
            raise InputError(f"step {stands:,} is not possible; choose one from 0 to {parent.step:,}")
        if changes.get("max_steps", stands + 1) <= stands:
            raise InputError(
                f"{changes['max_steps']:,} iterations are not possible: the fork is at step {stands:,}; choose more"
            )
        moment = parent.paused_state()  # answered once it stands still
        snapshot = moment.snapshot
        if moment.turns:  # inside the step under way
            snapshot = dataclasses.replace(snapshot, settings=moment.turns[-1][1])
        at = snapshot.step if step is None else step
        self.flush(parent)
        stored = reader.find(parent.id)

        def fork(loop: TrainingThread | None = None) -> Run:
            past = forks.create_fork(stored, new_run_id(), at, snapshot if at == snapshot.step else None)
            return Run(parent.config, parent.first_settings, parent.dataset, past, loop)

        return fork

    def flush(self, run: Run) -> None:
        """Have all that a run has recorded on the disk."""
        self.pump.drain()
        if run.store is None or not run.store.flush():
            why = run.store.problem if run.store else None
            raise InputError(why or f"run {run.id} is not stored yet; try again in a moment")

    # ---------------------------------------------------------------- races

    def start_race(
        self,
        config: RunConfig,
        settings: LiveSettings,
        changes: Sequence[Change],
        replace: bool = False,
        steps: int | None = None,
    ) -> Race:
        """A race from first weights, a lane for each of the `changes`; begun, or held after so many `steps`.

        RunActive if a run trains or a race is under way and `replace` is not set: the run is then paused.
        """
        names = lane_names(changes)
        made = [(lane_config(config, change), lane_settings(settings, change)) for change in changes]
        dataset = self.dataset(config)
        check_memory(config, settings, dataset, runs=len(changes))
        return self._race(lambda loop: [Run(*one, dataset, loop=loop) for one in made], names, replace, steps)

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
        parent, names = self._forked_from(), lane_names(changes)
        for change in changes:
            if "optimizer" in change:
                raise InputError("a fork keeps its parent's optimizer; leave it as it is, or race from step 0")
            lane_settings(changed(parent.settings, **shared), change)
        check_memory(parent.config, parent.settings, parent.dataset, runs=len(changes))

        def make(loop: TrainingThread) -> list[Run]:
            lanes: list[Run] = []
            try:
                with held(parent):
                    fork = self._leave(parent, step, shared)
                    for change in changes:
                        lanes.append(fork(loop))
                        lanes[-1].tune(lane_settings(changed(lanes[-1].settings, **shared), change))
            except BaseException:  # half a race leaves no folder behind
                for lane in lanes:
                    shutil.rmtree(home() / "runs" / lane.id, ignore_errors=True)
                raise
            return lanes

        return self._race(make, names, replace, steps)

    def _race(
        self, make: Callable[[TrainingThread], list[Run]], names: Sequence[str], replace: bool, steps: int | None
    ) -> Race:
        with self._lock:
            run, before = self.current, self.race
            if not replace:
                self._ask(run if run is not None and run.state is not State.PAUSED else None, before)
            loop = TrainingThread("race")
            lanes = make(loop)
            if run is not None:
                run.pause()
            for lane, name in zip(lanes, names, strict=True):
                folder = self._keep(lane)
                with suppress(InputError):  # a disk that refuses is told of by the store
                    notes.rename(folder, name)
            race = Race(loop, lanes, names)
            race.begin(steps)  # before anybody can replace it, and be told that it has not begun
            self.race = race
        if before is not None:
            self._end(before)
        return race

    @staticmethod
    def _ask(*under_way: Run | Race | None) -> None:
        """RunActive for the first of these that is under way."""
        for one in under_way:
            if one is not None and one.alive:
                raise RunActive(f"{one.title} is {one.state.value} at step {one.step:,}")

    @staticmethod
    def _end(race: Race) -> None:
        race.close()
        for lane in race.lanes:
            lane.discard_if_unused()

    def dataset_of(self, stored: StoredRun) -> Corpus | Points:
        """What a stored run learnt from; InputError if that text is gone or is another one now."""
        config, _ = reader.made_of(stored)
        if len(reader.texts(stored)) > 1:
            return stored_corpus(stored, lambda name, _: self.library.load_name(name))
        dataset = self.dataset(config)
        reader.check_text(stored, dataset)
        return dataset

    def undo(self) -> Run:
        """Bring the previous run back as it was; the one that replaced it becomes the previous one."""
        with self._lock:
            if self.previous is None or self.current is None:
                raise InputError("there is no earlier run to bring back")
            self.current.pause()
            self._watched = None
            self.current, self.previous = self.previous, self.current
            return self.current

    def prepare_demo(self, name: str, config: RunConfig, settings: LiveSettings) -> Run:
        """A demonstration beside the room's run, waiting at step 0; it takes the place of the one of that name."""
        run = Run(config, settings, self.dataset(config))
        with self._lock:
            before, self.demos[name] = self.demos.get(name), run
        if before is not None:
            before.close()
        return run

    def _hear(self, run: str, records: Sequence[Record]) -> None:
        if self.race is not None and not self.race.closed:  # then its lanes go on alone
            self.race.hear(run, records)

    def close(self, timeout: float = 2.0) -> bool:
        """End every thread; False if one is still inside a long step, or a long reading, after `timeout` seconds."""
        runs = self.runs()  # lanes of a race included: closing one ends their loop
        threads: list[Run | RestoredState] = [*runs, *([self.restored] if self.restored else [])]
        for thread in threads:
            thread.close(0)
        deadline = time.monotonic() + timeout
        ended = [thread.close(max(0.0, deadline - time.monotonic())) for thread in threads]
        self.pump.stop()
        self.library.stop()
        ended.append(self.external_runs.stop(max(0.5, deadline - time.monotonic())))
        for run in runs:
            run.discard_if_unused()
        return all(ended)

    def _made(self, config: RunConfig, settings: LiveSettings) -> Run:
        dataset = self.dataset(config)
        check_memory(config, settings, dataset)
        return Run(config, settings, dataset)

    def _begin(
        self,
        make: Callable[[], Run],
        replace: bool,
        go: bool,
        leave: Callable[[Run], None] = Run.stop,
        of: Run | None = None,
    ) -> Run:
        """The run that `make` makes becomes the current one. InputError if that was to be `of`, and is not any more."""
        with self._lock:  # ten clicks at once make one run: the others find it active
            before = self.current
            if of is not None and of is not before:
                raise InputError(f"run {of.id} is not on the stage any more; see what is there now, then try again")
            if not replace:
                self._ask(before, self.race if self.race is not None and self.race.state is State.RUNNING else None)
            run = make()
            if self.race is not None:
                self.race.pause()
            self._keep(run)
            if before is not None:
                leave(before)
            unused = before if before is not None and before.state is State.READY else self.previous
            if unused is not before:
                self.previous = before
            self.current, self._watched = run, None
            if go:
                run.start()
        if unused is not None:
            if self.restored is not None and self.restored.run is unused:
                self.restored.close(0)
                self.restored = None
            unused.close()
            unused.discard_if_unused()
        return run

    def _keep(self, run: Run) -> Path:
        """Have a new run stored in a folder of its own. InputError where another process was quicker."""
        folder = home() / "runs" / run.id
        self._stores[run.id] = None  # before its folder is made: it is not elsewhere
        try:
            store = self._stores[run.id] = RunWriter(folder, run_description(run))
        except InputError:
            del self._stores[run.id]
            run.close()
            raise
        run.save_to(store)
        return folder

    def _writes(self, run_id: str) -> bool:
        """Does this process write that run?"""
        store = self._stores.get(run_id)
        if store is not None and store.closed:
            self._stores.pop(run_id, None)
        return run_id in self._stores


@contextmanager
def held(run: Run) -> Iterator[None]:
    """Hold a run for something that may be refused: then it goes on as it did."""
    went = run.state is State.RUNNING
    run.pause()
    try:
        yield
    except BaseException:
        if went:
            run.start()
        raise


@lru_cache(maxsize=1)
def run_manager() -> RunManager:
    """This process's manager."""
    return RunManager(Library(home()))
