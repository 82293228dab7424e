"""config.json of a run folder: what the run is made of, and where. Written once with its own checksum."""

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
CHECKSUM = "sha256"  # of all else that the file says; one without it is taken as it is
LONGEST = 1_000_000  # bytes


def write(folder: Path, content: Mapping[str, Any]) -> None:
    """Leave `content` in `folder`, whole or not at all. OSError where the disk refuses."""
    write_atomic(folder / FILE, json.dumps({**content, CHECKSUM: _checksum(content)}, indent=2) + "\n")


def read(folder: Path) -> dict[str, Any]:
    """What `folder` says. OSError or ValueError where it is missing, damaged, too long or no plain file."""
    path = folder / FILE
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LONGEST:
        raise ValueError(f"{FILE} is missing, too long, or no plain file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{FILE} is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError(f"{FILE} holds no settings")
    checksum = content.pop(CHECKSUM, None)
    if checksum is not None and checksum != _checksum(content):
        raise ValueError(f"{FILE} is not what was written")
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
