"""What a run would cost, before it starts: parameters, memory and time. Refuses what does not fit.

Memory, and the time of a large model, are computed; a small model is timed by a few steps of a throw-away trainer.
Shape letters as in `engine.models`.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch

from ..config import LiveSettings, RunConfig, changed, fields_of
from ..errors import InputError
from ..models import registry
from ..models.base import StepCost
from ..models.registry import build
from ..progress import Report, unheard
from ..stream.history import History
from ..text.corpus import Corpus
from ..text.points import Points
from ..training.device import free_memory, in_bfloat16, pick_device, threads_for, wait_for
from ..training.trainer import Trainer

MAX_MEASURED = 20_000_000
"""Parameters up to which a model is timed by training a few steps."""
LARGE = 1_000_000
"""Parameters from which the command line says what a run will cost."""
MEASURE_SECONDS = 0.15
COST_SECONDS = 60.0
"""How long a measured time is believed."""
STEPS_TIMED = 200
FEWEST_TIMED = 20
"""Steps of a run whose own speed counts for more than a measurement: the newest so many, at least so many."""
BASE_BYTES = 400 * 2**20  # Python, torch and the text
FLOAT = 4  # bytes


@dataclass(frozen=True)
class Cost:
    """About what a run takes: trainable parameters, peak memory, seconds a step."""

    parameters: int
    bytes: int
    seconds_per_step: float

    def sentence(self, steps: int) -> str:
        """For people; `steps` is how many the run will make."""
        total = self.seconds_per_step * steps
        return (
            f"{self.parameters:,} parameters, about {self.bytes / 1e9:.1f} GB of memory, {steps:,} steps of about "
            f"{self.seconds_per_step:.2g} s: about {duration(total)}"
        )


def estimate_cost(config: RunConfig, settings: LiveSettings, dataset: Corpus | Points) -> Cost:
    """The cost of a run; InputError where it does not fit, or its first step fails."""
    parameters, needed = check_memory(config, settings, dataset)
    if parameters > MAX_MEASURED:
        return Cost(parameters, needed, computed_step_seconds(config, settings, parameters, dataset.vocab_size))
    try:
        return Cost(parameters, needed, measured_step_seconds(config, settings, dataset))
    except (MemoryError, RuntimeError) as error:
        raise InputError(f"a first step does not work here: {str(error).splitlines()[0]}") from None


class MadeRun(Protocol):
    """What is asked of a run that says how long its steps took."""

    config: RunConfig
    dataset: Corpus | Points
    history: History

    @property
    def step(self) -> int: ...

    @property
    def settings(self) -> LiveSettings: ...


class Costs:
    """Costs that were estimated; a time that was measured is measured anew after COST_SECONDS: the machine was busy."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[object, ...], tuple[float, Cost]] = {}

    def cost(
        self,
        config: RunConfig,
        settings: LiveSettings,
        dataset: Corpus | Points,
        made: Iterable[MadeRun] = (),
        report: Report = unheard,
    ) -> Cost:
        """The cost of a run, as `estimate_cost`; its time is what such a run among those `made` has really taken."""
        key = (config, settings.batch_size, dataset.sha256)
        at, known = self._known.get(key, (-math.inf, None))
        if known is None or self._clock() - at > COST_SECONDS:
            report("timing a few steps", 0, 0)
            known = estimate_cost(config, settings, dataset)
            self._known[key] = self._clock(), known
        else:
            check_memory(config, settings, dataset)
        for run in made:
            if (run.config, run.settings.batch_size, run.dataset.sha256) == key and (took := seconds_taken(run)):
                return replace(known, seconds_per_step=took)
        return known


def seconds_taken(run: MadeRun) -> float | None:
    """The median time of the newest steps of a run, without its waiting for a speed limit; None for a few steps."""
    found = run.history.points_between("step_time", max(1, run.step - STEPS_TIMED + 1), None)
    return float(np.median(found.means)) if found is not None and len(found.steps) >= FEWEST_TIMED else None


def check_memory(config: RunConfig, settings: LiveSettings, dataset: Corpus | Points, runs: int = 1) -> tuple[int, int]:
    """Parameters of a run and the bytes that `runs` of them need together.

    InputError if the machine has less free, as far as it says.
    """
    with torch.device("meta"):
        parameters = build(config, dataset.vocab_size).parameter_count()
    needed = BASE_BYTES + runs * (memory_needed(config, settings, parameters, dataset.vocab_size) - BASE_BYTES)
    device = pick_device(config.device)
    free = free_memory(device)
    if free is not None and needed - BASE_BYTES > free:  # this process has the base already
        who = "this run needs" if runs == 1 else f"these {runs} runs need"
        raise InputError(
            f"{who} about {needed / 1e9:,.1f} GB of memory, and {device.type} has {free / 1e9:,.1f} GB free; "
            f"end other programs, or {memory_advice(config, settings, dataset)}"
        )
    return parameters, needed


def memory_advice(config: RunConfig, settings: LiveSettings, dataset: Corpus | Points) -> str:
    """What to make smaller when memory is short."""
    tail = f"or the model: n_embd (now {config.n_embd}), n_layer (now {config.n_layer})"
    if isinstance(dataset, Corpus) and "n_embd" not in fields_of(config.model):
        tail = f"or choose a text of fewer different tokens (now {dataset.vocab_size:,}, squared)"
    return f"make batch_size (now {settings.batch_size}) or block_size (now {config.block_size}) smaller, {tail}"


def memory_needed(config: RunConfig, settings: LiveSettings, parameters: int, vocab_size: int) -> int:
    """About the peak memory of training, bytes.

    Five numbers for each parameter (weight, gradient, two moments, and a copy of the weight while an update is
    measured), and the activations of a batch.
    """
    return BASE_BYTES + FLOAT * (5 * parameters + _step_cost(config, settings, parameters, vocab_size).activations)


def computed_step_seconds(config: RunConfig, settings: LiveSettings, parameters: int, vocab_size: int) -> float:
    """About the seconds of one step, from how fast this machine multiplies matrices and moves numbers.

    The optimizer reads or writes seven numbers for each parameter, and everything else moves each activation of a batch
    about twelve times.
    """
    cost = _step_cost(config, settings, parameters, vocab_size)
    device = pick_device(config.device)
    kind = torch.bfloat16 if in_bfloat16(config.precision, parameters, device) else torch.float32
    multiplied, moved = _speeds(device, threads_for(parameters, device), kind)
    return cost.operations / multiplied + FLOAT * (7 * parameters + 12 * cost.activations) / moved


def _step_cost(config: RunConfig, settings: LiveSettings, parameters: int, vocab_size: int) -> StepCost:
    tokens = settings.batch_size * config.block_size
    return registry.find(config.model).step_cost(tokens, vocab_size, parameters, config.model_dump())


@lru_cache(maxsize=4)
def _speeds(device: torch.device, threads: int, kind: torch.dtype) -> tuple[float, float]:
    """Operations a second in products of matrices of this `kind` as a GPT has them, and bytes a second copied."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        one = torch.ones(512, 768, device=device, dtype=kind)
        other = torch.ones(768, 3072, device=device, dtype=kind)
        copied = torch.ones(2**24, device=device)
        target = torch.empty_like(copied)
        product = _timed(lambda: one @ other, device)
        copy = _timed(lambda: target.copy_(copied), device)
    finally:
        torch.set_num_threads(before)
    return 2 * 512 * 768 * 3072 / product, 2 * copied.nbytes / copy


def _timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one `work`: the median of as many as fit into MEASURE_SECONDS."""
    times: list[float] = []
    begin = time.perf_counter()
    work()
    while time.perf_counter() - begin < MEASURE_SECONDS or len(times) < 3:
        started = time.perf_counter()
        work()
        wait_for(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def measured_step_seconds(config: RunConfig, settings: LiveSettings, dataset: Corpus | Points) -> float:
    """Seconds of one step: the median of as many as fit into MEASURE_SECONDS, on a throw-away trainer.

    On a CPU it is the time that this thread computes: what it waits for others, while the server comes up say, is no
    part of a run.
    """
    device, before = pick_device(config.device), torch.get_num_threads()
    trainer = Trainer(changed(config, compile=False), settings, dataset, lambda _: None, device)
    torch.set_num_threads(threads_for(trainer.model.parameter_count(), device))
    trainer.advance()  # the first one warms up
    trainer.settle()
    clock = time.thread_time if device.type == "cpu" else time.perf_counter
    times: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < MEASURE_SECONDS or len(times) < 2:
        started = clock()
        trainer.advance()
        trainer.settle()
        times.append(clock() - started)
    torch.set_num_threads(before)
    return statistics.median(times)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
