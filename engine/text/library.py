"""The list of texts: shipped, found on the machine, fetched, dropped into a folder, uploaded.

A name from a page or a link is looked up in the list, never used as a path.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import os
import platform
import threading
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from ..atomic import atomic_file, write_atomic
from ..errors import InputError
from ..paths import SHIPPED_FOLDER, cli_command
from ..progress import Report, unheard
from .decoding import Signature, TextFacts, check_size, count_characters, printable, read_text, scan_file, signature
from .download import PINNED_TEXTS, PinnedFile, Progress, download, reason_of
from .drop_folder import DropFolder

Kind = Literal["shipped", "found", "fetched", "fetchable", "dropped", "uploaded", "file"]

PYTHON_DOCS = "python-docs"
_OWN = "written for this project"


@dataclass(frozen=True)
class TextEntry:
    """One text in the list. `path` is None where there is no file; `problem` says why it cannot be loaded.

    bytes and characters are 0, and sha256 (of the file's bytes) is empty, where they are not known yet.
    """

    name: str
    title: str
    kind: Kind
    path: Path | None
    bytes: int
    characters: int
    sha256: str
    source: str
    licence: str
    problem: str | None = None

    @property
    def ready(self) -> bool:
        """Whether the text can be loaded now."""
        return self.kind != "fetchable" and self.problem is None


SHIPPED: tuple[tuple[str, str, str], ...] = (
    ("lamplighters", "The Lamplighters of Quay Street", "a play, " + _OWN),
    ("ferry-notebook", "The Ferry Notebook", "a short diary, " + _OWN),
)


class Library:
    """The texts of one data home, and the ways to add one.

    home: contains `corpora` (the drop folder), `downloads` and `uploads`, which are made when first needed.
    """

    def __init__(
        self,
        home: Path,
        shipped: Path = SHIPPED_FOLDER,
        known: Iterable[PinnedFile] = PINNED_TEXTS,
        folder: DropFolder | None = None,
    ) -> None:
        self.folder = folder or DropFolder(home / "corpora")
        self.downloads, self.uploads = home / "downloads", home / "uploads"
        self._shipped = shipped
        self._known = {text.name: text for text in known}
        self._facts: dict[Path, tuple[Signature, TextFacts]] = {}
        self._lock = threading.Lock()
        self._added = 0

    @property
    def version(self) -> int:
        """A number that grows whenever the list may have changed."""
        return self._added + self.folder.version

    @property
    def notice(self) -> str | None:
        """What a person should know about how the drop folder is watched, if anything."""
        return self.folder.notice

    def start(self) -> None:
        """Watch the drop folder until `stop`; without this, the folder is scanned each time the list is needed."""
        self.folder.start()

    def stop(self) -> None:
        """Stop watching and wait for the threads."""
        self.folder.stop()

    def entries(self) -> list[TextEntry]:
        """Every text that there is or that can be fetched, each under its own name."""
        return list(self._listed())

    def entry(self, name: str) -> TextEntry:
        """The text called `name`, ignoring case, spaces and hyphens; InputError lists the names there are."""
        wanted, passed = slug(name), []
        for entry in self._listed():
            if entry.name == wanted:
                return entry
            passed.append(entry)
        for entry in passed:
            if wanted and simplified(wanted) in (simplified(entry.name), simplified(entry.title)):
                return entry
        names = ", ".join(entry.name for entry in passed)
        raise InputError(f"there is no corpus {name!r}; choose one of {names}")

    def load_name(self, name: str, report: Report = unheard) -> tuple[str, TextEntry]:
        """The text called `name`, never a path, and its entry. InputError says why it cannot be loaded.

        `report` is told how far it is; what it raises ends it.
        """
        entry = self.entry(name)
        if entry.kind == "fetchable":
            raise InputError(
                f"{entry.title} is not on this machine yet; run `{cli_command(f'fetch {entry.name}')}`, "
                f"or put the file into {self.folder.path}"
            )
        if entry.kind == "found":
            return python_docs(), entry
        if entry.problem or entry.path is None:
            raise InputError(entry.problem or f"{entry.title} has no file")
        inside = entry.path.parent if entry.kind in ("dropped", "uploaded") else None
        text, facts = read_text(entry.path, inside, report=report)
        return text, replace(entry, bytes=facts.bytes, characters=facts.characters, sha256=facts.sha256)

    def load(self, name_or_path: str, report: Report = unheard) -> tuple[str, TextEntry]:
        """As `load_name`, but also takes the path of any file: for the command line, whose user may read it anyway."""
        path = Path(name_or_path)
        is_path = "/" in name_or_path or os.sep in name_or_path
        if not is_path and (signature(path) is None or any(entry.name == name_or_path for entry in self._listed())):
            return self.load_name(name_or_path, report)
        text, facts = read_text(path, title=name_or_path, report=report)
        return text, self._own(path.absolute(), "file", facts)

    def fetch(self, name: str, progress: Progress | None = None) -> TextEntry:
        """Download a known text into `downloads`, unless it is on the machine already; returns its entry.

        progress(bytes so far, bytes in all) is called as they arrive; an exception it raises ends the download.
        InputError says why it failed and what to do; nothing is left behind then.
        """
        entry = self.entry(name)
        if entry.name not in self._known:
            raise InputError(f"{entry.title} is not one to fetch; choose one of {', '.join(self._known)}")
        if entry.kind == "fetchable":
            known = self._known[entry.name]
            try:
                path = self._download_path(known)
                path.parent.mkdir(parents=True, exist_ok=True)
                with atomic_file(path) as file:
                    download(known, file, progress)
            except (OSError, http.client.HTTPException) as error:
                raise InputError(
                    f"{known.title} could not be fetched from {known.url} ({reason_of(error)}); check the connection, "
                    f"or put the file into {self.folder.path} by hand"
                ) from None
            self._changed()
        return self.entry(entry.name)

    def add_upload(self, filename: str, content: bytes) -> TextEntry:
        """Store an uploaded text under a name made from its file name and its hash; returns its entry.

        InputError where it is too large, empty or not text. Nothing is written then, nor where the same text is
        already in the list.
        """
        title = printable(filename)
        check_size(len(content), title)
        if not count_characters(content, title):
            raise InputError(f"{title} is empty; choose a file with text in it")
        digest = hashlib.sha256(content).hexdigest()
        if (same := self._same(digest)) is not None:
            return same
        stem = _short(PurePosixPath(filename.replace("\\", "/")).stem)
        try:
            self.uploads.mkdir(parents=True, exist_ok=True)
            write_atomic(self.uploads / f"{stem}-{digest[:8]}.txt", content)
        except OSError as error:
            raise InputError(
                f"{title} could not be kept ({reason_of(error)}); make room for it and try again"
            ) from None
        self._changed()
        return self._same(digest) or self.entry(f"{stem}-{digest[:8]}")

    def _same(self, digest: str) -> TextEntry | None:
        """The text in the list whose file has that sha256 and can be loaded."""
        return next((entry for entry in self._listed() if entry.ready and entry.sha256 == digest), None)

    def _download_path(self, known: PinnedFile) -> Path:
        return self.downloads / f"{known.name}.txt"

    def _changed(self) -> None:
        with self._lock:
            self._added += 1

    def _listed(self) -> Iterator[TextEntry]:
        """The entries one by one, so that finding a shipped text reads no other file."""
        yield from self._shipped_texts()
        if (docs := _python_docs_entry()) is not None:
            yield docs
        taken = {PYTHON_DOCS, *self._known, *(name for name, _, _ in SHIPPED)}
        there: set[str] = set()
        for entry in self._own_files():
            if entry.name in self._known and entry.sha256 == self._known[entry.name].sha256:
                if entry.name not in there:
                    there.add(entry.name)
                    yield entry
            else:
                name = next(name for name in _numbered(entry.name) if name not in taken)
                taken.add(name)
                yield replace(entry, name=name)
        for known in self._known.values():
            if known.name not in there:
                yield _known_entry(known, "fetchable", None)

    def _shipped_texts(self) -> Iterator[TextEntry]:
        for name, title, source in SHIPPED:
            if (facts := self._facts_of(path := self._shipped / f"{name}.txt")) is not None:
                yield TextEntry(
                    name, title, "shipped", path, facts.bytes, facts.characters, facts.sha256, source,
                    "as the project", facts.problem,
                )  # fmt: skip

    def _own_files(self) -> Iterator[TextEntry]:
        """Fetched, dropped and uploaded files, named after the file, or, for known content, after that."""
        for known in self._known.values():
            facts = self._facts_of(path := self._download_path(known))
            if facts is not None and facts.sha256 == known.sha256:
                yield _known_entry(known, "fetched", path)
        dropped = self.folder.files()
        for path in sorted(dropped, key=lambda path: (slug(path.stem) != path.stem, path)):
            yield self._own(path, "dropped", dropped[path])
        for path in sorted(self.uploads.glob("*.txt")):
            if (facts := self._facts_of(path, self.uploads)) is not None:
                yield self._own(path, "uploaded", facts)

    def _own(self, path: Path, kind: Kind, facts: TextFacts) -> TextEntry:
        """The entry of a user's file; a text recognized by its hash gets its known name."""
        for known in self._known.values():
            if facts.sha256 == known.sha256:
                return _known_entry(known, kind, path)
        stem = path.stem.rpartition("-")[0] if kind == "uploaded" else path.stem  # uploads end in their hash
        source = {"dropped": "dropped into the corpus folder", "uploaded": "uploaded"}.get(kind, printable(str(path)))
        return TextEntry(
            slug(path.stem) if kind == "uploaded" else _short(path.stem),
            _short(stem).replace("-", " "), kind, path,
            facts.bytes, facts.characters, facts.sha256, source, "not known", facts.problem,
        )  # fmt: skip

    def _facts_of(self, path: Path, inside: Path | None = None) -> TextFacts | None:
        """The facts of a file outside the drop folder, read again only if it changed; None without a file."""
        if (seen := signature(path)) is None:
            return None
        held = self._facts.get(path)
        if held is None or held[0] != seen:
            held = self._facts[path] = seen, scan_file(path, inside)
        return held[1]


def slug(name: str) -> str:
    """`name` as a corpus name: lower case letters and digits of any script, joined by hyphens; may be empty."""
    name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    kept = "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in name.removesuffix(".txt"))
    return "-".join(kept.split())


def _short(stem: str) -> str:
    """The slug of a file's stem, never empty and at most 40 characters."""
    return slug(stem)[:40].strip("-") or "text"


def simplified(name: str) -> str:
    """A name without hyphens, for lenient comparison."""
    return slug(name).replace("-", "")


def python_docs() -> str:
    """Python's own documentation topics as one text; ImportError where this Python has none."""
    from pydoc_data.topics import topics  # some distributions leave it out

    return "\n".join(topics[name].strip("\n") + "\n" for name in sorted(topics))


@functools.cache
def _python_docs_entry() -> TextEntry | None:
    try:
        text = python_docs()
    except ImportError:
        return None
    content = text.encode()
    return TextEntry(
        PYTHON_DOCS, "Python documentation topics", "found", None, len(content), len(text),
        hashlib.sha256(content).hexdigest(),
        f"pydoc_data.topics of Python {platform.python_version()}", "PSF License",
    )  # fmt: skip


def _known_entry(known: PinnedFile, kind: Kind, path: Path | None) -> TextEntry:
    return TextEntry(
        known.name, known.title, kind, path, known.bytes, known.characters, known.sha256, known.source, known.licence
    )


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1
