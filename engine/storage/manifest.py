"""config.json of a run folder: what the run is made of, and where. Written once, sealed, and read with distrust.

Knows nothing of what it says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..atomic import write_atomic

FILE = "config.json"
FORMAT = 1
"""Of the whole run folder."""
SEAL = "sha256"  # of all else that the file says; one without it is taken as it is
LONGEST = 1_000_000  # bytes


def write(folder: Path, told: Mapping[str, Any]) -> None:
    """Leave `told` in `folder`, whole or not at all. OSError where the disk refuses."""
    write_atomic(folder / FILE, json.dumps({**told, SEAL: _seal(told)}, indent=2) + "\n")


def read(folder: Path) -> dict[str, Any]:
    """What `folder` says. OSError or ValueError where it is missing, damaged, too long or no plain file."""
    path = folder / FILE
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LONGEST:
        raise ValueError(f"{FILE} is missing, too long, or no plain file")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{FILE} is nested too deeply") from None
    if not isinstance(told, dict):
        raise ValueError(f"{FILE} holds no settings")
    seal = told.pop(SEAL, None)
    if seal is not None and seal != _seal(told):
        raise ValueError(f"{FILE} is not what was written")
    return told


def _seal(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
