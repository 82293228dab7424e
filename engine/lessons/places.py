"""How far one has come in the lessons: a small file in the data home."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from ..atomic import write_atomic
from ..config import Frozen
from ..console import complain
from ..paths import home

FILE = "lessons.json"
Place = Annotated[int, Field(ge=0)]
LONGEST_FILE = 100_000  # bytes


class Places(Frozen):
    """open: the lesson that is open. at: the scene at which each was left. seen: the scenes of each that were on."""

    open: str | None = None
    at: dict[str, Place] = Field(default_factory=dict)
    seen: dict[str, tuple[Place, ...]] = Field(default_factory=dict)


def _path() -> Path:
    return home() / FILE


def read() -> Places:
    """How far one is; at the beginning where the file is not there, or damaged."""
    try:
        path = _path()
        if not path.is_file() or path.stat().st_size > LONGEST_FILE:
            return Places()
        return Places.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return Places()


def visit(lesson: str, at: int) -> None:
    """Remember that the lesson is open at this scene."""
    kept = read()
    seen = tuple(sorted({*kept.seen.get(lesson, ()), at}))
    _write(Places(open=lesson, at={**kept.at, lesson: at}, seen={**kept.seen, lesson: seen}))


def close() -> None:
    """Remember that no lesson is open; where each was left stays."""
    _write(read().model_copy(update={"open": None}))


def _write(places: Places) -> None:
    try:
        _path().parent.mkdir(parents=True, exist_ok=True)
        write_atomic(_path(), places.model_dump_json(indent=1) + "\n")
    except OSError as error:
        complain(f"how far the lessons are cannot be written ({error.strerror}); the lesson itself goes on")
