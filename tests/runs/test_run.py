from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.config import LiveSettings, RunConfig, changed
from engine.errors import InputError
from engine.formatting import format_number
from engine.runs import cost, training_loop
from engine.runs.manager import RunActive, RunManager
from engine.runs.run import Run
from engine.runs.training_loop import TrainingLoop
from engine.runs.training_thread import TrainingThread
from engine.stream.messages import Event, Observation, Record, Sample, Scalars, drain_queue
from engine.stream.pump import Frames, Pump
from engine.stream.status import State
from engine.text.corpus import Corpus
from engine.training.device import pick_device
from engine.training.observer import Observer
from engine.training.step_recorder import HostStepRecorder
from engine.training.trainer import Trainer

Make = Callable[..., Run]
Wait = Callable[..., None]

QUIET = RunConfig(preset="bigram", corpus="tiny", observe_every=10_000, eval_every=10_000, sample_every=10_000)
TINY = changed(QUIET, val_fraction=0.1, test_fraction=0.1, block_size=4)
LIVE = LiveSettings()
ENDLESS = changed(LIVE, max_steps=1_000_000_000)


def losses(records: list[Record]) -> list[float]:
    return [record.loss for record in records if isinstance(record, Scalars)]


def events(records: list[Record]) -> list[Event]:
    return [record for record in records if isinstance(record, Event)]


def bare(config: RunConfig, settings: LiveSettings, corpus: Corpus, steps: int) -> list[float]:
    """The losses of a trainer without a thread."""
    records: list[Record] = []
    trainer = Trainer(config, settings, corpus, records.append)
    for _ in range(steps):
        trainer.advance()
    trainer.settle()
    return losses(records)


@pytest.fixture
def steps(wait_until: Wait) -> Callable[[Run, int], None]:
    """Make so many steps by hand and wait for the pause after them."""

    def make(run: Run, count: int) -> None:
        goal = run.step + count
        run.make_steps(count)
        wait_until(lambda: run.step == goal and run.state is not State.RUNNING)

    return make


# ---------------------------------------------------------------- from start to end


def test_a_run_from_start_to_done(corpus: Corpus, make_run: Make, wait_until: Wait) -> None:
    run = make_run(QUIET, changed(LIVE, max_steps=200), corpus)
    assert run.copy_weights()[0] == 0 and run.state is State.READY and run.can_resume and not run.alive
    run.start()
    wait_until(lambda: run.state is State.DONE)
    records = drain_queue(run.queue)
    assert [r.step for r in records if isinstance(r, Scalars)] == list(range(1, 201))
    assert events(records) == [Event(0, "started", "started"), Event(200, "done", "done at step 200")]
    assert losses(records) == bare(QUIET, LIVE, corpus, 200)
    before = itertools.takewhile(lambda r: not isinstance(r, Scalars) and r.step == 0, records)
    shown_at_0 = [type(r) for r in before if not isinstance(r, Event)]
    assert shown_at_0 == [Observation, Observation, Sample], "tables, validation and a sample before the first update"
    assert not run.alive and not run.can_resume


def test_the_header_has_what_the_contract_names(tiny: Corpus, make_run: Make, wait_until: Wait) -> None:
    run = make_run(TINY, changed(LIVE, max_steps=30), tiny)
    run.start()
    wait_until(lambda: run.state is State.DONE)
    header = run.status().header()
    contract = {"run", "state", "message", "error", "settings", "step", "max_steps", "steps_per_second", "tokens_seen"}
    assert contract <= set(header)
    assert header["settings"] == {**run.settings.model_dump(), "version": 0}
    assert (header["step"], header["max_steps"], header["tokens_seen"]) == (30, 30, 30 * 32 * 4)
    assert (header["state"], header["message"], header["error"]) == ("done", "done at step 30", None)
    assert header["parameters"] == tiny.distinct**2 and header["eta_s"] is None and header["steps_per_second"] == 0


def test_pause_and_resume(corpus: Corpus, make_run: Make, wait_until: Wait) -> None:
    run = make_run(QUIET, ENDLESS, corpus)
    run.start()
    wait_until(lambda: run.step > 20)
    run.pause()
    wait_until(lambda: run.state is State.PAUSED)
    held = run.step
    assert run.copy_weights()[0] == held == run.copy_weights()[0]
    run.pause()
    run.start()
    wait_until(lambda: run.step > held + 20)
    run.stop()
    wait_until(lambda: run.state is State.STOPPED)
    assert run.can_resume and not run.alive
    records = drain_queue(run.queue)
    assert [e.name for e in events(records)] == ["started", "paused", "resumed", "stopped"]
    assert events(records)[1] == Event(held, "paused", f"paused at step {held:,}")
    assert losses(records) == bare(QUIET, LIVE, corpus, run.step), "pausing changes no loss"


def test_speed_is_told_while_running_only(tiny: Corpus, make_run: Make, wait_until: Wait) -> None:
    run = make_run(TINY, ENDLESS, tiny)
    run.start()
    wait_until(lambda: run.status().steps_per_second > 0)
    assert 0 < run.status().eta_s < math.inf
    run.pause()
    wait_until(lambda: run.state is State.PAUSED)
    assert run.status().steps_per_second == 0 and run.status().eta_s is None


def test_one_step_and_ten_steps(corpus: Corpus, make_run: Make, steps: Callable[..., None]) -> None:
    run = make_run(QUIET, LIVE, corpus)
    steps(run, 1)
    steps(run, 10)
    assert (run.step, run.state) == (11, State.PAUSED)
    records = drain_queue(run.queue)
    assert losses(records) == bare(QUIET, LIVE, corpus, 11)
    seen = {(r.step, name) for r in records if isinstance(r, Observation) for name in {**r.scalars, **r.tables}}
    assert {(11, "update_ratio"), (11, "val/loss"), (11, "gradients/token_embedding")} <= seen
    assert not {step for step, _ in seen} & set(range(2, 11)), "only the last of ten is looked at closely"


def test_steps_by_hand_while_running_end_in_a_pause(tiny: Corpus, make_run: Make, wait_until: Wait) -> None:
    run = make_run(TINY, ENDLESS, tiny)
    run.start()
    wait_until(lambda: run.step > 5)
    run.make_steps(10)
    wait_until(lambda: run.state is State.PAUSED)
    run.start()
    wait_until(lambda: run.alive and run.step > 30)


def test_steps_by_hand_stop_at_the_end(tiny: Corpus, make_run: Make, wait_until: Wait) -> None:
    run = make_run(TINY, changed(LIVE, max_steps=4), tiny)
    run.make_steps(10)
    wait_until(lambda: run.state is State.DONE)
    assert run.step == 4


# ---------------------------------------------------------------- knobs


def test_every_knob_leaves_an_event_with_its_step(tiny: Corpus, make_run: Make, steps: Callable[..., None]) -> None:
    run = make_run(TINY, changed(LIVE, grad_clip=None), tiny)
    steps(run, 5)
    after = changed(run.settings, lr=0.02, batch_size=4, weight_decay=0.5, grad_clip=1.0, speed=1000, max_steps=2000)
    run.tune(after)
    run.tune(after)
    steps(run, 3)
    run.tune(changed(after, grad_clip=None))
    assert run.version == 2 and run.status().version == 2
    steps(run, 1)
    turned = [e for e in events(drain_queue(run.queue)) if e.name in LiveSettings.model_fields]
    assert [(e.step, e.text) for e in turned] == [
        (5, "lr 0.001 → 0.02"),
        (5, "iterations 100,000 → 2,000"),
        (5, "batch_size 32 → 4"),
        (5, "weight_decay 0.01 → 0.5"),
        (5, "grad_clip off → 1"),
        (5, "speed max → 1,000"),
        (8, "grad_clip 1 → off"),
    ]
    assert run.loop.trainer is not None and run.loop.trainer.tokens_seen == 5 * 32 * 4 + 4 * 4 * 4


def test_more_iterations_after_done(tiny: Corpus, make_run: Make, wait_until: Wait) -> None:
    run = make_run(TINY, changed(LIVE, max_steps=20), tiny)
    run.start()
    wait_until(lambda: run.state is State.DONE)
    run.tune(changed(run.settings, max_steps=50))
    wait_until(lambda: run.state is State.DONE and run.step == 50)
    records = drain_queue(run.queue)
    assert losses(records) == bare(TINY, LIVE, tiny, 50)
    assert [(e.step, e.name) for e in events(records)] == [
        (0, "started"),
        (20, "done"),
        (20, "max_steps"),
        (20, "resumed"),
        (50, "done"),
    ]


def test_a_paused_run_whose_iterations_are_cut_and_raised_stays_paused(
    tiny: Corpus, make_run: Make, steps: Callable[..., None], wait_until: Wait
) -> None:
    run = make_run(TINY, LIVE, tiny)
    steps(run, 20)
    run.tune(changed(run.settings, max_steps=10))
    wait_until(lambda: run.state is State.DONE)
    run.tune(changed(run.settings, max_steps=50))
    run.paused_state()
    assert (run.state, run.step, run.message) == (State.PAUSED, 20, "paused at step 20")
    run.start()
    wait_until(lambda: run.state is State.DONE and run.step == 50)
    run.tune(changed(run.settings, max_steps=60))
    wait_until(lambda: run.state is State.DONE and run.step == 60)


def test_fewer_iterations_end_the_run(tiny: Corpus, make_run: Make, wait_until: Wait) -> None:
    run = make_run(TINY, ENDLESS, tiny)
    run.start()
    wait_until(lambda: run.step > 10)
    run.tune(changed(ENDLESS, max_steps=1))
    wait_until(lambda: run.state is State.DONE)
    assert run.message == f"done at step {run.step:,}" and not run.can_resume
    end = run.step
    run.start()
    assert run.copy_weights()[0] == end and run.state is State.DONE


def test_step_stamped_commands_give_the_same_losses(corpus: Corpus, make_run: Make, steps: Callable[..., None]) -> None:
    script: list[tuple[int, dict[str, Any]]] = [
        (40, {"lr": 0.03}),
        (25, {"batch_size": 7, "weight_decay": 1.0}),
        (1, {"grad_clip": 0.05}),
        (60, {"speed": 1000}),
        (30, {"grad_clip": None, "lr": 1e-4}),
        (44, {}),
    ]

    def driven() -> list[float]:
        run = make_run(QUIET, LIVE, corpus)
        for count, change in script:
            steps(run, count)
            run.tune(changed(run.settings, **change))
        return losses(drain_queue(run.queue))

    records: list[Record] = []
    trainer = Trainer(QUIET, LIVE, corpus, records.append)
    for count, change in script:
        for _ in range(count):
            trainer.advance()
        trainer.tune(changed(trainer.settings, **change))
    first, second = driven(), driven()
    assert first == second == losses(records)
    assert len(first) == 200


def test_a_knob_turned_before_the_model_is_built(
    corpus: Corpus, make_run: Make, steps: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, build = threading.Event(), TrainingLoop.build

    def late(loop: TrainingLoop) -> None:
        assert gate.wait(30)
        build(loop)

    monkeypatch.setattr(TrainingLoop, "build", late)
    run = make_run(QUIET, LIVE, corpus)
    run.tune(changed(LIVE, batch_size=4, lr=0.5))
    gate.set()
    steps(run, 1)
    records = drain_queue(run.queue)
    assert [(e.step, e.name) for e in events(records)][:2] == [(0, "lr"), (0, "batch_size")]
    validation = next(r.scalars["val/loss"] for r in records if isinstance(r, Observation) and "val/loss" in r.scalars)
    assert run.loop.trainer is not None
    fixed = run.loop.trainer.observer.val_batches
    assert [inputs.shape[0] for inputs, _ in fixed] == [32] * 20, "the fixed batches are fixed"
    twin: list[Record] = []
    Trainer(QUIET, LIVE, corpus, twin.append).observer.validate()
    assert twin == [Observation(0, {"val/loss": validation}, {})]


# ---------------------------------------------------------------- the speed limit


def test_the_speed_limit_keeps_the_pace_and_the_losses(tiny: Corpus, make_run: Make, wait_until: Wait) -> None:
    run = make_run(TINY, changed(LIVE, max_steps=40, speed=100), tiny)
    run.copy_weights()  # an answer: the model is built
    begin = time.perf_counter()
    run.start()
    wait_until(lambda: run.state is State.DONE)
    assert 0.37 <= time.perf_counter() - begin < 3, "40 steps at 100 a second"
    assert losses(drain_queue(run.queue)) == bare(TINY, LIVE, tiny, 40)


def test_a_slow_run_obeys_at_once(tiny: Corpus, make_run: Make, wait_until: Wait) -> None:
    run = make_run(TINY, changed(LIVE, speed=1), tiny)
    run.start()
    wait_until(lambda: run.step == 1)
    run.pause()
    wait_until(lambda: run.state is State.PAUSED)
    assert run.step == 1
    run.start()
    run.tune(changed(run.settings, speed="unlimited"))
    wait_until(lambda: run.step > 50, timeout=10)


def test_a_limit_lifted_between_two_looks_does_no_harm(
    tiny: Corpus, make_run: Make, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may lift the limit at any moment: here after each second look that the training thread takes."""
    limit, looks = TrainingLoop.least_seconds, itertools.count()

    def flickering(loop: TrainingLoop) -> float:
        assert limit.fget is not None
        return 0.0 if next(looks) % 2 else limit.fget(loop)

    monkeypatch.setattr(TrainingLoop, "least_seconds", property(flickering))
    run = make_run(TINY, changed(ENDLESS, speed=1000), tiny)
    run.start()
    wait_until(lambda: run.step > 20 or run.state is State.FAILED)
    assert run.error is None


# ---------------------------------------------------------------- what goes wrong


def breaking(run: Run, at: int, raise_it: Callable[[], object]) -> None:
    """Let the model raise at its forward pass number `at` from now."""
    assert (
        run.copy_weights()[0] == run.step and run.loop.trainer is not None
    )  # an answer: the thread is between two steps
    model, count = run.loop.trainer.model, itertools.count(1)
    loss_of = model.loss

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        if next(count) == at:
            raise_it()
        return loss_of(logits, targets)

    model.loss = loss  # type: ignore[method-assign]


def raising(error: BaseException) -> Callable[[], object]:
    def raise_it() -> None:
        raise error

    return raise_it


def test_an_exception_ends_in_failed_and_start_works_again(manager: RunManager, wait_until: Wait) -> None:
    run = manager.prepare(TINY, ENDLESS)
    breaking(run, 5, raising(ZeroDivisionError("the sky fell")))
    run.start()
    wait_until(lambda: run.state is State.FAILED)
    assert run.step == 4
    assert run.error is not None and "Traceback" in run.error and "ZeroDivisionError: the sky fell" in run.error
    assert "in advance" in run.error, "the traceback names the lines of the step"
    header = run.status().header()
    assert (header["state"], header["message"]) == ("failed", "ZeroDivisionError: the sky fell")
    assert header["error"] == run.error
    assert run.copy_weights()[0] == 4, "a failed run still answers"
    again = manager.start(TINY, changed(LIVE, max_steps=10))
    wait_until(lambda: again.state is State.DONE)
    assert manager.current is again and manager.previous is run
    wait_until(lambda: [e.name for e in list(run.history.events)] == ["started", "failed"])


def test_a_failed_start_is_told_and_still_answers(
    tiny: Corpus, make_run: Make, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_trainer(*_: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(training_loop, "Trainer", no_trainer)
    run = make_run(TINY, LIVE, tiny)
    assert run.wait(30)
    wait_until(lambda: run.state is State.FAILED)
    assert run.message == "RuntimeError: no such luck"
    run.tune(changed(LIVE, lr=0.1))
    run.start()
    run.make_steps(1)
    run.pause()
    with pytest.raises(InputError, match="no model"):
        run.sample("a", 5, 1.0, None, 0)
    assert run._thread.is_alive() and run.state is State.FAILED


def no_host_memory() -> None:
    torch.empty(1 << 55, dtype=torch.uint8)


@pytest.mark.parametrize(
    "raise_it",
    [
        raising(MemoryError()),
        raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 TiB")),
        raising(RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.")),
        no_host_memory,
    ],
    ids=["python", "cuda", "windows", "host"],
)
def test_memory_errors_say_what_to_make_smaller(
    tiny: Corpus, make_run: Make, wait_until: Wait, raise_it: Callable[[], object]
) -> None:
    run = make_run(TINY, LIVE, tiny)
    breaking(run, 3, raise_it)
    run.start()
    wait_until(lambda: run.state is State.FAILED)
    assert "out of memory" in run.message
    assert "batch_size (now 32)" in run.message and "block_size (now 4)" in run.message and "smaller" in run.message


def test_a_corpus_that_is_too_short_is_refused_before_a_thread_starts(tiny: Corpus) -> None:
    before = threading.active_count()
    with pytest.raises(InputError, match=r"block_size 300 .*choose at most"):
        Run(changed(TINY, block_size=300), LIVE, tiny)
    assert threading.active_count() == before


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="'cuda' is not available here; choose cpu or auto"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == pick_device("cuda").type == "cuda"
    assert pick_device("cpu").type == "cpu"


class LateStepRecorder(HostStepRecorder):
    """Tells the verdict as a GPU does: when a block crosses; updates after the bad one do nothing."""

    def __init__(self, emit: Callable[[Record], object], trainer: Trainer) -> None:
        super().__init__(emit)
        self._late: list[Scalars] = []
        self._frozen = False
        update = trainer.optimizer.step
        trainer.optimizer.step = lambda: None if self._frozen else update()  # type: ignore[method-assign, assignment]

    def check(self, loss: Tensor, grad_norm: Tensor) -> bool:
        super().check(loss, grad_norm)
        self._frozen = self._frozen or self.diverged
        self.diverged = False
        return True

    def record(self, step: int, lr: float, seconds: float) -> None:
        self._late.append(Scalars(step, self.loss, self.grad_norm, lr, seconds))

    def flush(self, wait: bool = False) -> None:
        for row in self._late:
            if not self.diverged:
                self.loss, self.grad_norm = row.loss, row.grad_norm
                super().record(row.step, row.lr, row.seconds)
                self.diverged = not math.isfinite(row.loss)
        self._late.clear()


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_late_verdict_names_the_right_step(tiny: Corpus, make_run: Make, wait_until: Wait, by_hand: bool) -> None:
    run = make_run(TINY, changed(LIVE, max_steps=20), tiny)
    assert run.copy_weights()[0] == 0 and run.loop.trainer is not None
    trainer = run.loop.trainer
    trainer.recorder = LateStepRecorder(trainer.emit, trainer)
    loss_of, count = trainer.model.loss, itertools.count(1)
    trainer.model.loss = lambda *x: loss_of(*x) * (math.nan if next(count) == 7 else 1)  # type: ignore[method-assign]
    if by_hand:
        run.make_steps(12)
    else:
        run.start()
    wait_until(lambda: run.state is State.DIVERGED)
    assert run.message.startswith("diverged at step 7:")
    assert (run.step, run.status().tokens_seen, run.copy_weights()[0]) == (6, 6 * 32 * 4, 6)
    assert events(drain_queue(run.queue))[-1].step == 7


# ---------------------------------------------------------------- the manager


def test_ten_clicks_on_start_make_one_run(
    manager: RunManager, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, show = threading.Event(), Observer.show_start

    def slow(observer: Observer) -> None:
        assert gate.wait(30)
        show(observer)

    monkeypatch.setattr(Observer, "show_start", slow)  # the model takes its time, and the run is still "ready"
    together = threading.Barrier(10)

    def click(_: int) -> Run | None:
        together.wait()
        try:
            return manager.start(TINY, ENDLESS)
        except RunActive:
            return None

    before = threading.active_count()
    with ThreadPoolExecutor(10) as pool:
        runs = [run for run in pool.map(click, range(10)) if run]
        gate.set()
    assert len(runs) == 1 and manager.current is runs[0] and manager.previous is None
    wait_until(lambda: runs[0].step > 0)
    assert threading.active_count() == before + 2, "one trains, one stores"


@pytest.mark.parametrize("paused", [False, True])
def test_a_new_start_asks_first(manager: RunManager, wait_until: Wait, paused: bool) -> None:
    run = manager.start(TINY, ENDLESS)
    wait_until(lambda: run.step > 0)
    if paused:
        run.pause()
        wait_until(lambda: run.state is State.PAUSED)
    for again in (lambda: manager.start(TINY, LIVE), manager.reset, lambda: manager.prepare(TINY, LIVE)):
        with pytest.raises(RunActive, match=f"bigram on tiny is {run.state.value} at step"):
            again()
    assert manager.current is run and run.alive
    other = manager.start(TINY, ENDLESS, replace=True)
    wait_until(lambda: run.state is State.STOPPED and other.step > 0)
    assert (manager.current, manager.previous) == (other, run)
    assert manager.find(run.id) is run and manager.find(other.id) is other and manager.find("nobody") is None


def test_reset_gives_the_same_curve_and_undo_takes_it_back(manager: RunManager, wait_until: Wait) -> None:
    first = manager.start(TINY, changed(LIVE, lr=0.01, max_steps=60))
    wait_until(lambda: first.state is State.DONE)
    first.tune(changed(first.settings, lr=0.5, speed=1000, max_steps=80))
    wait_until(lambda: first.step == 80 and first.state is State.DONE)
    again = manager.reset()
    assert (again.state, again.step) == (State.READY, 0)
    assert again.settings == changed(LIVE, lr=0.01, max_steps=60, speed=1000)
    again.start()
    wait_until(lambda: again.state is State.DONE)
    wait_until(lambda: len(again.history.series["train/loss"].view(2000)[0]) == 60)
    curves = [run.history.series["train/loss"].view(2000)[1].tolist() for run in (first, again)]
    assert curves[0][:60] == curves[1]
    assert manager.undo() is first
    assert (manager.current, manager.previous) == (first, again)
    first.tune(changed(first.settings, max_steps=100))
    wait_until(lambda: first.step == 100)


def test_undo_of_a_reset_goes_on_where_it_was(manager: RunManager, wait_until: Wait, tiny: Corpus) -> None:
    run = manager.start(TINY, ENDLESS)
    wait_until(lambda: run.step > 10)
    manager.reset(replace=True)
    wait_until(lambda: run.state is State.STOPPED)
    held = run.step
    assert manager.undo() is run and run.can_resume
    run.start()
    wait_until(lambda: run.step > held)
    run.stop()
    wait_until(lambda: run.state is State.STOPPED)
    manager.pump.stop()
    seen = run.history.series["train/loss"].view(1 << 20)[1].tolist()
    expected = torch.tensor(bare(TINY, LIVE, tiny, run.step), dtype=torch.float32).tolist()
    assert seen == expected


def test_a_run_that_never_began_is_not_kept(manager: RunManager, wait_until: Wait) -> None:
    run = manager.start(TINY, ENDLESS)
    wait_until(lambda: run.step > 0)
    waiting = manager.reset(replace=True)
    assert waiting.wait(30)
    other = manager.prepare(TINY, LIVE)
    assert (manager.current, manager.previous) == (other, run)
    assert not waiting._thread.is_alive() and run._thread.is_alive()


def test_without_a_run_there_is_nothing_to_undo(manager: RunManager) -> None:
    with pytest.raises(InputError, match="no run to reset"):
        manager.reset()
    with pytest.raises(InputError, match="no earlier run"):
        manager.undo()
    with pytest.raises(InputError, match="no text 'nowhere'"):
        manager.start(changed(TINY, corpus="nowhere"), LIVE)
    assert manager.runs() == []


def test_threads_end_with_what_they_served(tiny: Corpus, manager: RunManager, wait_until: Wait) -> None:
    before = threading.active_count()
    runs = []
    for _ in range(4):
        runs.append(manager.start(TINY, ENDLESS, replace=True))
        wait_until(lambda: runs[-1].step > 0)
    assert threading.active_count() == before + 4, "the current run and the one before: each trains and stores"
    assert all(not run._thread.is_alive() for run in runs[:2])
    assert manager.close(30)
    left = {thread.name for thread in threading.enumerate()}
    assert left.isdisjoint({"pump", "runs elsewhere"}) and threading.active_count() < before, "they have ended as well"


def test_estimate_is_measured_and_knows_the_speed_limit(manager: RunManager, wait_until: Wait) -> None:
    estimate = manager.estimate(TINY, changed(LIVE, max_steps=1000))
    assert estimate is not None and 0 < estimate < 100
    assert manager.estimate(TINY, changed(LIVE, max_steps=1000, speed=1)) == pytest.approx(1000)
    run = manager.start(TINY, ENDLESS)
    wait_until(lambda: run.alive)
    assert manager.estimate(TINY, LIVE) is None


def test_an_estimate_of_a_busy_machine_is_measured_again(tiny: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, took = [0.0], [5.0]
    monkeypatch.setattr(cost, "estimate_cost", lambda *_: cost.Cost(1, 1, took[0]))
    costs = cost.Costs(clock=lambda: clock[0])
    assert costs.cost(TINY, LIVE, tiny).seconds_per_step == 5.0
    took[0] = 1.0
    assert costs.cost(TINY, LIVE, tiny).seconds_per_step == 5.0, "two looks in a moment measure once"
    clock[0] += cost.COST_SECONDS + 1
    assert costs.cost(TINY, LIVE, tiny).seconds_per_step == 1.0


def test_an_estimate_goes_by_what_such_a_run_has_taken(
    manager: RunManager, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "estimate_cost", lambda *_: cost.Cost(1, 1, 5.0))
    run = manager.start(TINY, changed(LIVE, max_steps=60))
    wait_until(lambda: run.state is State.DONE)
    manager.flush(run)
    steps = changed(LIVE, max_steps=100)
    times = run.history.series["step_time"].view(1000)[1]
    assert manager.estimate(TINY, steps) == pytest.approx(100 * float(np.median(times)))
    assert manager.estimate(changed(TINY, seed=5), steps) == 500.0, "another one has not been made"
    assert manager.estimate(TINY, changed(steps, batch_size=3)) == 500.0


# ---------------------------------------------------------------- text on request


def test_a_sample_on_request_is_shown_to_everyone(corpus: Corpus, make_run: Make, steps: Callable[..., None]) -> None:
    run = make_run(QUIET, LIVE, corpus)
    steps(run, 3)
    drain_queue(run.queue)
    made = run.sample("The ", 25, 0.8, 5, seed=4)
    assert drain_queue(run.queue) == [made]
    assert made.step == 3 and made.prompt == 4 and made.text.startswith("The ") and len(made.text) == 29
    assert made.confidence.startswith("----") and len(made.confidence) == 29
    assert run.sample("The ", 25, 0.8, 5, seed=4) == made
    assert run.sample("The ", 25, 0.8, 5, seed=5) != made
    assert run.sample("", 10, 1.0, None, seed=0).prompt == 1
    with pytest.raises(InputError, match="does not know: €"):
        run.sample("5 €", 10, 1.0, None, seed=0)


def test_weights_are_copied(tiny: Corpus, make_run: Make, steps: Callable[..., None]) -> None:
    run = make_run(TINY, LIVE, tiny)
    _, weights = run.copy_weights()
    for weight in weights.values():
        weight.fill_(math.nan)
    steps(run, 5)
    assert losses(drain_queue(run.queue)) == bare(TINY, LIVE, tiny, 5)


# ---------------------------------------------------------------- watching changes nothing

STEPS = 2000
BUSY = {"observe_every": 3, "eval_every": 50, "eval_batches": 2, "sample_every": 100, "sample_tokens": 20}
GPT = RunConfig(
    preset="gpt-tiny", model="gpt", block_size=8, n_layer=2, n_head=2, n_embd=16, dropout=0.2, observe_every=10_000,
    eval_every=10_000, eval_batches=2, sample_every=10_000, sample_tokens=5,
)  # fmt: skip


@pytest.fixture(scope="module", params=[(QUIET, STEPS), (GPT, 150)], ids=["bigram", "gpt-with-dropout"])
def alone(request: pytest.FixtureRequest, corpus: Corpus) -> Iterator[tuple[RunConfig, int, list[float]]]:
    """A model, how many steps, and its losses with nobody watching."""
    config, count = request.param
    yield config, count, bare(config, LIVE, corpus, count)


def test_probes_validation_and_samples_change_no_loss(
    alone: tuple[RunConfig, int, list[float]], corpus: Corpus, make_run: Make, wait_until: Wait
) -> None:
    config, count, expected = alone
    run = make_run(changed(config, **BUSY), changed(LIVE, max_steps=count), corpus)
    run.start()
    for turn in range(20):
        wait_until(lambda turn=turn: run.step >= turn * count // 40)
        run.sample("The", 8, 1.0, None, seed=turn)
        torch.randn(3)  # the process-wide generator is anybody's
    wait_until(lambda: run.state is State.DONE)
    records = drain_queue(run.queue)
    assert losses(records) == expected
    names = {name for r in records if isinstance(r, Observation) for name in {**r.scalars, **r.tables}}
    assert {"update_ratio", "val/loss", "gradients/token_embedding"} <= names
    assert sum(isinstance(r, Sample) for r in records) >= 20


def test_ten_viewers_change_no_loss(
    alone: tuple[RunConfig, int, list[float]], corpus: Corpus, make_run: Make, wait_until: Wait
) -> None:
    config, count, expected = alone
    run = make_run(changed(config, eval_every=70, sample_every=110), changed(LIVE, max_steps=count), corpus)
    received = [0] * 10
    pump = Pump(lambda: [run], hertz=100)

    def viewer(place: int) -> Callable[[Frames], None]:
        def receive(frames: Frames) -> None:
            received[place] += sum(len(frame.encode()) for _, frame in frames if frame)
            run.history.snapshot(run.status().header()).encode()

        return receive

    for place in range(10):
        pump.subscribe(viewer(place))
    pump.start()
    run.start()
    wait_until(lambda: run.state is State.DONE)
    pump.stop()
    steps, values, _ = run.history.series["train/loss"].view(1 << 20)
    assert steps.tolist() == list(range(1, count + 1))
    assert values.tolist() == torch.tensor(expected, dtype=torch.float32).tolist()
    assert min(received) > 0 and len(set(received)) == 1


def test_a_loop_that_is_closed_while_it_obeys_ends() -> None:
    """The command that is to wake it may be among those that it takes just before it would wait for one."""
    loop = TrainingThread("that ends")

    def closed_meanwhile() -> None:
        loop.closing.set()
        loop.tell(lambda: None)

    loop.tell(closed_meanwhile)
    loop.train()
    loop.join(10)
    assert not loop.is_alive()


def test_a_number_that_rounds_to_a_thousand_reads_as_one() -> None:
    assert [format_number(999.7, 3), format_number(999.4, 3), format_number(12_340.4), format_number(0.012344)] == [
        "1,000",
        "999",
        "12,340",
        "0.01234",
    ]
