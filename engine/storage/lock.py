"""The lock of a run folder: one process writes a run at a time, and the others can see that it does.

The file `lock` is locked by the system (flock, msvcrt), so that it is free again however its holder ends.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import IO

from ..errors import InputError

FILE = "lock"
TRIES, TRY_SECONDS = 10, 0.02  # a process that only asks holds the lock for an instant


class RunLocked(InputError):
    """Another process is writing the run in `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"run {folder.name} is being written by another process; stop that one first")


def acquire_lock(folder: Path) -> IO[bytes]:
    """The folder's lock, held until it is closed or the process ends however it may; RunLocked if another has it."""
    if _is_unsafe(folder / FILE):
        raise InputError(f"{FILE} in run {folder.name} is a link, or no plain file; take it away")
    file = (folder / FILE).open("a+b")
    for attempt in range(TRIES):
        if _try_lock(file, shared=False):
            return file
        if attempt < TRIES - 1:
            time.sleep(TRY_SECONDS)
    file.close()
    raise RunLocked(folder)


def is_locked(folder: Path) -> bool:
    """Is a process writing this run now? Asking leaves nothing behind."""
    if _is_unsafe(folder / FILE):
        return False
    try:
        with (folder / FILE).open("rb" if os.name != "nt" else "r+b") as file:
            return not _try_lock(file, shared=True)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def is_still_in(lock: IO[bytes], folder: Path) -> bool:
    """Is this lock still the folder's own, or has the folder been taken away or replaced?"""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), (folder / FILE).stat())
    except FileNotFoundError:
        return False


def _is_unsafe(path: Path) -> bool:
    """Is it anything but a plain file? A link could lead anywhere, and opening a pipe could block for ever."""
    return path.is_symlink() or (path.exists() and not path.is_file())


def _try_lock(file: IO[bytes], shared: bool) -> bool:
    """Try once to lock an open file, for several readers at a time if `shared`; is it locked now?"""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
