"""Loopscope's engine: train small models live, without knowing who is watching."""

import importlib
import os
from typing import Any

# torch's threads spin while they wait for each other. Beside a browser, on a laptop of two cores, that made a GPT
# step ten times slower; waiting asleep costs nothing measurable. Read once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The public face, loaded when asked for: `python -m engine check` must speak where torch is not installed.
_PLACES = {
    "RunConfig": "config",
    "LiveSettings": "config",
    "preset": "presets",
    "Corpus": "text.corpus",
    "record": "tracking.recorder",
    "Run": "runs.run",
    "State": "runs.run",
    "RunManager": "runs.manager",
    "Trainer": "training.trainer",
    "generate": "training.sampling",
}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(importlib.import_module(f"engine.{_PLACES[name]}"), name)
