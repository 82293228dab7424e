"""The text that a stored run learnt from, found by its sha256: in the library, or in a file that a person named here.

A run folder may come from anywhere, so nothing that it says is used as a path.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from ..atomic import write_atomic
from ..errors import InputError
from ..paths import home
from ..progress import Report, unheard
from ..storage import reader
from ..storage.reader import StoredRun
from ..text.library import Library, TextEntry

LONGEST_PATH = 10_000  # bytes
SHA256 = re.compile("[0-9a-f]{64}")

Loaded = tuple[str, TextEntry]


def remember_file(sha256: str, path: Path) -> None:
    """Note that the file at `path` holds the text with this sha256, for whoever resumes. OSError."""
    note = _note_of(sha256)
    note.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(note, str(path.absolute()).encode(errors="surrogateescape"))


def recorded_text(library: Library, stored: StoredRun, record: Mapping[str, Any], report: Report = unheard) -> Loaded:
    """The text of which a run's config.json says `record`. InputError if it is not here, or has no sha256 there."""
    name, sha256 = str(record.get("name"))[:80], record.get("sha256")
    if not isinstance(sha256, str) or not SHA256.fullmatch(sha256):
        raise InputError(
            f"run {stored.id} does not say the sha256 of its text {name!r}, by which a text is found; start it anew"
        )
    another: TextEntry | None = None
    for load, is_named in _candidates(library, name, sha256, record.get("characters"), report):
        with suppress(InputError):
            loaded = load()
            if sha256_of(loaded[0]) == sha256:
                return loaded
            another = another or (loaded[1] if is_named else None)
    if another is not None:
        raise InputError(
            f"run {stored.id} learnt from another text than {another.name!r} is now; bring back the one whose "
            f"sha256 begins with {sha256[:12]}"
        )
    raise InputError(
        f"the text {name!r} that run {stored.id} learnt from is not here; put it into {library.folder.path}, "
        f"under any name (its sha256 begins with {sha256[:12]})"
    )


def sha256_of(text: str) -> str:
    """That of a text as UTF-8, with \\n at the end of each line."""
    return hashlib.sha256(text.encode()).hexdigest()


def recorded_texts(library: Library, stored: StoredRun, report: Report = unheard) -> list[Loaded]:
    """All texts that a run learnt from, the present one last. InputError as from `recorded_text`.

    Of a run that says no more than the text's name it is the one of that name in the library.
    """
    config, _ = reader.configuration(stored)
    records = reader.recorded_texts(stored)
    found = [recorded_text(library, stored, record, report) for record in records]
    return found or [library.load_name(config.corpus, report)]


def _candidates(
    library: Library, name: str, sha256: str, characters: object, report: Report
) -> Iterator[tuple[Callable[[], Loaded], bool]]:
    """Ways to load what may be that text, and whether somebody gave it this name.

    First the one of that name and the file that a person named here, then all of the library that are as long.
    """
    yield lambda: library.load_name(name, report), True
    with suppress(OSError):
        with _note_of(sha256).open("rb") as file:
            path = file.read(LONGEST_PATH).decode(errors="surrogateescape")
        yield lambda: library.load(path, report), True
    for entry in library.entries():
        if entry.ready and entry.characters == characters:
            yield partial(library.load_name, entry.name, report), False


def _note_of(sha256: str) -> Path:
    return home() / "named-texts" / sha256
