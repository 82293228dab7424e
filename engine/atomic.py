"""Writing a file so that whoever looks finds the old one or the new one, whole, even after a power cut."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write bytes to that takes the place of `path` when the block ends; after an error nothing is left.

    It is written beside `path` under a hidden name, synced to the disk and renamed. The folder must exist. OSError.
    """
    partial = path.with_name(f".{path.name}-{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Leave `content` (text as UTF-8) at `path`, whole or not at all. OSError where the disk refuses."""
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sync(path: Path) -> None:
    """Have the disk itself hold `path`, a file or (where the system can) a folder. OSError."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
