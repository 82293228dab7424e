"""The runs of this process, the texts that they learn from, and what viewers see under which name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from ..config import LiveSettings, RunConfig
from ..console import complain
from ..errors import InputError
from ..paths import home
from ..progress import Jobs
from ..stream.messages import Record
from ..stream.pump import Pump
from ..stream.status import State
from ..text.library import Library
from ..tracking.external_run import ExternalRun
from ..tracking.external_run_watcher import ExternalRunWatcher
from .datasets import Datasets
from .races.race import Race
from .restored_state import RestoredState
from .run import Run
from .run_folder import OpenStores

DEMOS = ("line", "logistic")
"""Small demonstrations beside the current run, by the name that a viewer follows."""
SOURCE_NAMES = ("current", "here", "race", *DEMOS)


class RunDirectory:
    """The current run, the one before it, the demonstrations, the race, and runs of other processes."""

    def __init__(self, library: Library) -> None:
        self.library, self.datasets = library, Datasets(library)
        self.stores = OpenStores()
        self.jobs = Jobs()
        """Long work that belongs to no run and ends with the process, such as a sweep."""
        self.current: Run | None = None
        self.previous: Run | None = None
        self.demos: dict[str, Run] = {}
        self.restored: RestoredState | None = None
        self.race: Race | None = None
        self.external_runs = ExternalRunWatcher(home() / "runs", self.stores.__contains__, self.datasets.load_stored)
        self.pump = Pump(self.sources)
        self.pump.listen(self._add_to_race)
        self._watched: str | None = None
        self._lock = threading.Lock()

    def runs(self) -> list[Run]:
        """The current run, the one before it, the demonstrations, and the lanes of the race."""
        race = self.race
        alone = [run for run in (self.current, self.previous, *self.demos.copy().values()) if run is not None]
        ids = {run.id for run in alone}  # a lane that was resumed alone is listed once
        return [*alone, *(lane for lane in (race.lanes if race is not None else ()) if lane.id not in ids)]

    def sources(self) -> list[Run | Race | ExternalRun]:
        """All that viewers can follow: the runs, the race, and runs of other processes."""
        race, here = self.race, self.runs()
        ids = {run.id for run in here}
        elsewhere = [run for run in self.external_runs.followed() if run.id not in ids]  # one may be resumed here
        return [*here, *([race] if race is not None else []), *elsewhere]

    def run_named(self, name: str) -> Run | None:
        """The run with the name "current", or a demonstration."""
        return self.current if name == "current" else self.demos.get(name)

    def find(self, run_id: str) -> Run | None:
        """The run with the id `run_id`, if it is still here."""
        return next((run for run in self.runs() if run.id == run_id), None)

    def source(self, name: str) -> Run | Race | ExternalRun | None:
        """What a viewer sees under a name or an id.

        "current" is what is shown on the stage, "here" this process's own run; "race"; a demonstration.
        """
        if name == "current":
            return self.watched or self.current
        if name in SOURCE_NAMES:
            return {"here": self.current, "race": self.race}.get(name) or self.demos.get(name)
        return next((source for source in self.sources() if source.id == name), None) or self.external_runs.find(name)

    @property
    def watched(self) -> ExternalRun | None:
        """The run of another process that is shown in place of the current one."""
        return None if self._watched is None else self.external_runs.find(self._watched)

    def watch(self, run_id: str) -> ExternalRun:
        """Show a run of another process in place of the current one.

        InputError while one is training here, or if there is no such run.
        """
        with self._lock:
            if self.current is not None and self.current.alive and self.current.state is not State.PAUSED:
                raise InputError(f"{self.current.title} is training here; pause or stop it first")
            followed = self.external_runs.follow(run_id)
            self._watched = run_id
            return followed

    def stop_watching(self) -> None:
        """Show the current run again."""
        self._watched = None

    @property
    def lists_version(self) -> int:
        """Grows whenever the lists of texts, or of runs elsewhere, may have changed."""
        return self.library.version + self.external_runs.version

    def open(self) -> None:
        """Start the pump, and watch the corpus folder and the runs of other processes."""
        self.pump.start()
        self.library.start()
        self.external_runs.start()

    def restore_step(self, step: int) -> RestoredState:
        """The current run as it was after `step` updates, restored while it trains; cancels the one before.

        InputError if there is no run, or it has not come that far.
        """
        if self.current is None:
            raise InputError("there is no run to go back in; press Start first")
        restored = RestoredState(self.current, step, self.flush)
        with self._lock:
            before, self.restored = self.restored, restored
        if before is not None:
            before.close(0)
        return restored

    def flush(self, run: Run) -> None:
        """Write all that a run has recorded to the disk. InputError where the disk refuses, or it is not stored."""
        self.pump.drain()
        if run.store is None or not run.store.flush():
            why = run.store.problem if run.store else None
            raise InputError(why or f"run {run.id} is not stored yet; try again in a moment")

    def prepare_demo(self, name: str, config: RunConfig, settings: LiveSettings) -> Run:
        """A demonstration beside the current run, waiting at step 0; it replaces the one of that name."""
        run = Run(config, settings, self.datasets.load(config))
        with self._lock:
            before, self.demos[name] = self.demos.get(name), run
        if before is not None:
            before.close()
        return run

    def close(self, timeout: float = 2.0, give_up: Callable[[], bool] = lambda: False) -> bool:
        """End every thread; False if one is still inside a long step, or a long reading, after `timeout` seconds.

        What a run has made is written first, however long a large last snapshot takes, until `give_up()`.
        """
        runs = self.runs()  # lanes of a race included: closing one ends their thread
        threads: list[Run | RestoredState] = [*runs, *([self.restored] if self.restored else [])]
        for thread in threads:
            thread.close(0)
        deadline = time.monotonic() + timeout
        ended = [thread.close(max(0.0, deadline - time.monotonic())) for thread in threads]
        self.pump.stop()
        self.library.stop()
        ended.append(self.jobs.close(max(0.5, deadline - time.monotonic())))
        ended.append(self.datasets.close(max(0.5, deadline - time.monotonic())))
        ended.append(self.external_runs.stop(max(0.5, deadline - time.monotonic())))
        written = [self._is_written(run, give_up) for run in runs]
        for run in runs:
            run.discard_if_unused()
        return all(ended[len(runs) :]) and all(written)

    @staticmethod
    def _is_written(run: Run, give_up: Callable[[], bool]) -> bool:
        """Has this run ended? Where only its store is still writing, wait for it."""
        said = False
        while not (ended := run.close(0.1)) and run.loop_ended and not give_up():
            if not said:
                said = True
                complain(f"run {run.id} is still being written; it ends when that is done (Ctrl-C once more leaves it)")
        return ended

    def _add_to_race(self, run_id: str, records: Sequence[Record]) -> None:
        if self.race is not None and not self.race.closed:  # once it is closed its lanes go on alone
            self.race.records.add(run_id, records)

    def _discard(self, run: Run | None) -> None:
        """End a run that is no longer shown, and what was restored of it."""
        if run is None:
            return
        if self.restored is not None and self.restored.run is run:
            self.restored.close(0)
            self.restored = None
        run.close()
        run.discard_if_unused()
