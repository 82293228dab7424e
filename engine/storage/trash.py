"""Deleting a run so that it can be brought back: its folder moves to `<home>/runs/.deleted/`, and from there again."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..paths import home
from .lock import RunLocked, acquire_lock


def delete(name: str) -> None:
    """Move the run called `name` out of the list; InputError while it is written, or where the disk refuses."""
    folder = _place(name)
    if not folder.is_dir() or folder.is_symlink():
        raise InputError(f"there is no run {name!r}; it may have been deleted already")
    try:
        lock = acquire_lock(folder)
    except RunLocked:
        raise InputError(f"run {name} is in use; it cannot be deleted while it is written or kept open") from None
    except OSError as error:
        raise InputError(f"run {name} cannot be deleted ({error.strerror}); see whose folder it is") from None
    with lock:  # held while it moves: nobody begins to write in between
        _move(folder, _deleted() / name)


def deleted() -> list[str]:
    """The ids of the runs that can be brought back, newest first."""
    folder = _deleted()
    return sorted((path.name for path in folder.iterdir() if path.is_dir()), reverse=True) if folder.is_dir() else []


def bring_back(name: str) -> None:
    """Put a deleted run back into the list; InputError where it is not there, or another has its name now."""
    if not (_deleted() / _place(name).name).is_dir():
        raise InputError(f"run {name!r} is not among the deleted ones; it may be back already")
    _move(_deleted() / name, _place(name))


def _move(folder: Path, target: Path) -> None:
    if target.exists():
        raise InputError(f"there is already a run {target.name} in {target.parent}; move one of the two away first")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
    except OSError as error:
        raise InputError(f"run {folder.name} cannot be moved ({error.strerror}); see whose folder it is") from None


def _place(name: str) -> Path:
    if not name or Path(name).name != name or name.startswith("."):
        raise InputError(f"{name[:40]!r} is not a run's name; choose one of the list")
    return home() / "runs" / name


def _deleted() -> Path:
    return home() / "runs" / ".deleted"
