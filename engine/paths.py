"""Where the data home is: runs, downloads, uploads and the drop folder lie in it."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Where runs and downloads live: LOOPSCOPE_HOME, or the project's own `data/`."""
    return Path(os.environ.get("LOOPSCOPE_HOME") or Path(__file__).resolve().parent.parent / "data").absolute()
