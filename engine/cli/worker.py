"""What a process does that torchrun started beside the first one of a run: it makes the same steps, and nothing else.

It reads no flag, no text and no run folder: the first process says all of it. Signals are answered by that one too,
which ends the run in order and then lets the others go.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

import torch

from ..config import LiveSettings, RunConfig
from ..console import complain
from ..distributed.place import ProcessLost
from ..distributed.processes import AllDone, Processes, together
from ..runs.run import Run
from ..stream.messages import Event, Record
from ..text.corpus import Corpus
from ..text.points import Points
from ..training.checkpoint import FineTuneSource, Snapshot
from ..training.device import pick_device, threads_for
from ..training.state import restore
from ..training.trainer import Trainer


@dataclass(frozen=True, eq=False)
class Beginning:
    """What a worker has to know of a run before its first step."""

    config: RunConfig
    settings: LiveSettings
    dataset: Corpus | Points
    device: str
    origin: FineTuneSource | None = None
    snapshot: Snapshot | None = None


def begin_together(
    processes: Processes,
    config: RunConfig,
    settings: LiveSettings,
    dataset: Corpus | Points,
    origin: FineTuneSource | None = None,
    snapshot: Snapshot | None = None,
) -> None:
    """In the first process: set the workers going. InputError where they are too many."""
    device = pick_device(config.device)
    processes.check(settings.batch_size if config.reads_text else None, device)
    processes.agree(Beginning(config, settings, dataset, device.type, origin, snapshot))


def say_processes(run: Run) -> None:
    """An event that says how many processes train the run from here on; nothing of a single one."""
    if run.processes is not None:
        count, each = run.processes.size, "each works on its share of a batch"
        run.queue.put(Event(run.step, "processes", f"trained by {count} processes; {each}"))


def work() -> int:
    """Make the steps of the first process until it leaves; returns the exit status."""
    leave_signals(signal.SIG_DFL)
    try:
        with together() as processes:
            assert processes is not None
            leave_signals(signal.SIG_IGN)
            make_steps(processes)
    except AllDone:
        return 0
    except ProcessLost as error:
        complain(str(error))
        return 1
    return 0


def make_steps(processes: Processes) -> None:
    """Step after step, with the settings that the first process gives; AllDone ends it."""
    nothing: Beginning | None = None
    beginning = processes.agree(nothing)
    assert beginning is not None
    device = pick_device(beginning.device)
    trainer = Trainer(beginning.config, beginning.settings, beginning.dataset, _nowhere, device, processes)
    trainer.unwatched = True
    torch.set_num_threads(threads_for(trainer.model.parameter_count(), device))
    if beginning.origin is not None:
        trainer.load_weights(beginning.origin.weights)
    if beginning.snapshot is not None:
        restore(trainer, beginning.snapshot)
    del beginning  # a copy of all weights
    while True:
        trainer.advance()


def leave_signals(to: signal.Handlers) -> None:
    """Have what ends a run from outside end this process (SIG_DFL), or pass it by (SIG_IGN)."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, to)


def _nowhere(_: Record) -> None:
    """The first process alone records."""
