"""The real app as `streamlit run` starts it, with an ear for the bench: `python -m tests.bench.serve PORT`.

One thread reads commands from stdin, a JSON object a line, and answers each with a line on stdout. It sits in the
server's own process, so a knob it turns takes the way that a page's knob takes: `run.tune`.
"""

from __future__ import annotations

import itertools
import json
import queue
import random
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from engine.config import LiveSettings, changed
from engine.lessons.classroom import classroom
from engine.lessons.poll import Choice
from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.stream.messages import Record, Scalars

MARK = "bench: "
LEARNING_RATES = itertools.cycle((1e-3, 2e-3, 5e-4))


def current() -> Run:
    """The run that the server began with, once its model is there."""
    while (run := run_manager().current) is None:
        time.sleep(0.05)
    run.wait()
    return run


def turned(run: Run) -> LiveSettings:
    """The settings after one more turn of the learning rate's knob."""
    return changed(run.settings, lr=next(LEARNING_RATES))


class Ear:
    """Answers to commands; `turning` is a presenter at the knob."""

    def __init__(self) -> None:
        self._still = threading.Event()
        self._still.set()
        self._presenter: threading.Thread | None = None

    def step(self) -> dict[str, Any]:
        """Where the run is, and when."""
        run = current()
        return {"at": time.monotonic(), "step": run.step, "state": run.state.value}

    def token(self) -> dict[str, Any]:
        """What makes a visitor of an open room the presenter."""
        return {"token": sys.modules["app"].room.token}

    def ask(self, question: str) -> dict[str, Any]:
        """Put a question before the room; "" takes it away."""
        if question:
            classroom().ask(question, "What does the loss do?", Choice(("falls", "rises", "stays")))
        else:
            classroom().end()
        return {}

    def answers(self) -> dict[str, Any]:
        """How many have answered, and what."""
        poll = classroom().poll
        assert poll is not None
        return {"count": poll.count, **poll.told()}

    def turn(self, every: float) -> dict[str, Any]:
        """Turn the learning rate's knob each `every` seconds; 0 ends it."""
        self._still.set()
        if self._presenter is not None:
            self._presenter.join()
            self._presenter = None
        if every:
            self._still.clear()
            self._presenter = threading.Thread(target=self._turn, args=(every,), daemon=True)
            self._presenter.start()
        return {}

    def _turn(self, every: float) -> None:
        run = current()
        while not self._still.wait(every):
            run.tune(turned(run))

    def commands(self, count: int) -> dict[str, Any]:
        """Milliseconds from `run.tune` to the setting in force on the training thread, `count` times."""
        run = current()
        trainer = run.loop.trainer
        assert trainer is not None
        tune, applied = trainer.tune, queue.SimpleQueue[tuple[LiveSettings, float]]()

        def timed(settings: LiveSettings) -> None:
            tune(settings)
            applied.put((settings, time.perf_counter()))

        trainer.tune = timed  # type: ignore[method-assign]
        try:
            latencies = []
            for _ in range(count):
                time.sleep(random.uniform(0.02, 0.08))
                mine, began = turned(run), time.perf_counter()
                run.tune(mine)
                done = applied.get(timeout=60)
                while done[0] is not mine:  # a presenter may be turning the knob as well
                    done = applied.get(timeout=60)
                latencies.append(1000 * (done[1] - began))
        finally:
            del trainer.tune  # type: ignore[method-assign]
        return {"ms": latencies}

    def stamp(self, seconds: float) -> dict[str, Any]:
        """When each step of the next `seconds` left the training thread: [[time, step], …]."""
        trainer = current().loop.trainer
        assert trainer is not None
        emit, stamps = trainer.recorder.emit, list[tuple[float, int]]()

        def stamped(record: Record) -> None:
            if type(record) is Scalars:
                stamps.append((time.monotonic(), record.step))
            emit(record)

        trainer.recorder.emit = stamped
        time.sleep(seconds)
        trainer.recorder.emit = emit
        return {"stamps": stamps}


def listen() -> None:
    """Obey stdin until it closes."""
    ear = Ear()
    for order in orders():
        name = order.pop("do")
        try:
            answer = getattr(ear, name)(**order)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(MARK + json.dumps(answer), flush=True)


def orders() -> Iterator[dict[str, Any]]:
    """The commands on stdin."""
    for line in sys.stdin:
        yield json.loads(line)


if __name__ == "__main__":
    from streamlit.web import cli

    threading.Thread(target=listen, name="bench", daemon=True).start()
    sys.argv = ["streamlit", "run", "app.py", "--server.port", sys.argv[1], "--server.headless", "true"]
    cli.main()
