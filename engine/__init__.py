"""Loopscope's engine: trains small models live, and does not know who is watching."""

import importlib
import os
from typing import TYPE_CHECKING

# torch's threads spin while they wait for each other. Beside a browser, on a laptop of two cores, that made a GPT
# step ten times slower; waiting asleep costs nothing measurable. Read once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__all__ = [
    "Corpus",
    "LiveSettings",
    "Run",
    "RunConfig",
    "RunManager",
    "State",
    "Trainer",
    "generate",
    "preset",
    "record",
]

if TYPE_CHECKING:
    from .config import LiveSettings, RunConfig
    from .presets import preset
    from .runs.manager import RunManager
    from .runs.run import Run
    from .stream.status import State
    from .text.corpus import Corpus
    from .tracking.recorder import record
    from .training.sampling import generate
    from .training.trainer import Trainer
else:
    # Loaded when asked for: `record` works without torch, and `python -m engine check` where nothing is installed.
    _MODULES = {
        "Corpus": ".text.corpus",
        "LiveSettings": ".config",
        "Run": ".runs.run",
        "RunConfig": ".config",
        "RunManager": ".runs.manager",
        "State": ".stream.status",
        "Trainer": ".training.trainer",
        "generate": ".training.sampling",
        "preset": ".presets",
        "record": ".tracking.recorder",
    }

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_MODULES[name], __name__), name)

    def __dir__():
        return sorted({*globals(), *__all__})
