"""What people wrote about a run: a name, and notes, pinned at a step or not. Kept as notes.json in its folder.

The text is theirs: nothing reads it as anything else.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from ..atomic import write_atomic
from ..config import Frozen
from ..errors import InputError

FILE = "notes.json"
LONGEST_NAME = 80
LONGEST_NOTE = 2000
MOST_NOTES = 200
LONGEST_FILE = 4_000_000  # bytes


class Note(Frozen):
    """A few words; with a step they appear on the charts there."""

    text: str = Field(min_length=1, max_length=LONGEST_NOTE)
    step: int | None = Field(None, ge=0)


class Notes(Frozen):
    """A run's name ("" for none), and its notes in the order in which they were written."""

    name: str = Field("", max_length=LONGEST_NAME)
    notes: tuple[Note, ...] = Field((), max_length=MOST_NOTES)


NONE = Notes(name="", notes=())


def read(folder: Path) -> Notes:
    """The notes in `folder`; none where there are none, or where their file is damaged."""
    path = folder / FILE
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LONGEST_FILE:
            return NONE
        return Notes.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return NONE


def rename(folder: Path, name: str) -> Notes:
    """Call the run `name`; "" takes its name away. InputError where it is too long or cannot be written."""
    name = name.strip()
    if len(name) > LONGEST_NAME:
        raise InputError(f"a name of {len(name):,} characters is too long; write at most {LONGEST_NAME}")
    return _write(folder, Notes(name=name, notes=read(folder).notes))


def add(folder: Path, text: str, step: int | None = None) -> Notes:
    """Add a note. InputError where it is empty or too long, there are too many, or it cannot be written."""
    text, kept = text.strip(), read(folder)
    if not text:
        raise InputError("an empty note is none; write a few words")
    if len(text) > LONGEST_NOTE:
        raise InputError(f"a note of {len(text):,} characters is too long; write at most {LONGEST_NOTE:,}")
    if len(kept.notes) >= MOST_NOTES:
        raise InputError(f"this run has {MOST_NOTES} notes, the most it can have; remove one first")
    if step is not None and step < 0:
        raise InputError(f"step {step} is not possible; choose 0 or more")
    return _write(folder, Notes(name=kept.name, notes=(*kept.notes, Note(text=text, step=step))))


def remove(folder: Path, note: Note) -> Notes:
    """Take a note away; one that is already gone changes nothing. InputError where that cannot be written."""
    kept = read(folder)
    return _write(folder, Notes(name=kept.name, notes=tuple(one for one in kept.notes if one != note)))


def _write(folder: Path, notes: Notes) -> Notes:
    try:
        write_atomic(folder / FILE, notes.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise InputError(
            f"the notes of run {folder.name} cannot be written ({error.strerror}); free some space, or see whether "
            "its folder is still there"
        ) from None
    return notes
