"""Record the example that a board shows before the first Start: `python -m pages.server.record_example`.

A real run: 3,000 steps of the bigram on the shipped play, with the learning rate raised on the way. The file is a
snapshot in the wire format; its header also holds what its charts depend on.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from engine.config import changed
from engine.paths import home
from engine.presets import preset
from engine.runs.datasets import encoded_corpus
from engine.runs.run import Run
from engine.stream.messages import drain_queue
from engine.stream.status import ENDED
from engine.text.library import Library
from pages.server.run_info import EXAMPLE, run_info

UNDRAWN = ("lr", "step_time")
TURN_AT, END_AT = 1000, 3000


def record() -> int:
    """Train, write the file, and return its size in bytes."""
    start = preset("bigram")
    settings = changed(start.settings, speed=1000, max_steps=END_AT)
    run = Run(
        changed(start.config, device="cpu", sample_every=500),
        settings,
        encoded_corpus(*Library(home()).load_name(start.config.corpus), start.config),
    )
    run.start()
    while run.state not in ENDED:
        time.sleep(0.01)
        if run.step >= TURN_AT:
            run.tune(changed(settings, lr=1e-2))
    run.close()
    run.history.add(drain_queue(run.queue))
    frame = run.history.snapshot(header_of(run))
    frame.arrays = [(name, array) for name, array in frame.arrays if name not in UNDRAWN]
    return EXAMPLE.write_bytes(frame.encode())


def header_of(run: Run) -> dict[str, Any]:
    """The status of a run whose model is built, and the facts that its charts need."""
    facts = {name: fact for name, fact in asdict(run_info(run)).items() if name not in ("run", "title")}
    facts["model"] = run.config.model
    return {**run.status().header(), "facts": facts}


if __name__ == "__main__":
    print(f"{EXAMPLE}: {record():,} bytes")
