"""Bytes of a file into text, or one sentence on why not.

Knows nothing of where texts are kept or what they are called.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

MAX_BYTES = 256 * 2**20
_BLOCK = 2**20
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

Signature = tuple[int, int, int]


@dataclass(frozen=True)
class Facts:
    """What reading a file once tells: its size, its hash, its length, and what is wrong with it, if anything."""

    bytes: int
    sha256: str  # of the bytes as they are in the file; empty where there is a problem
    characters: int  # 0 where there is a problem
    problem: str | None = None


def check_size(size: int, title: str) -> None:
    """InputError where a text of `size` bytes is too large to be read."""
    if size > MAX_BYTES:
        raise InputError(f"{title} has {size:,} bytes, over the limit of {MAX_BYTES:,}; use a part of it")


def decoded(blocks: Iterable[bytes], title: str) -> Iterator[str]:
    """The text of `blocks`, piece by piece: UTF-8, or UTF-16 with its mark; line ends made \\n.

    InputError (calling the text `title`) where it is neither, with the byte where it stops being text.
    """
    blocks = iter(blocks)
    block = next(blocks, b"")
    mark, encoding = next(((mark, name) for mark, name in _MARKS if block.startswith(mark)), (b"", "utf-8"))
    decoder = codecs.getincrementaldecoder(encoding)()
    ends = io.IncrementalNewlineDecoder(None, translate=True)
    position, block = len(mark), block[len(mark) :]
    while True:
        waiting = len(decoder.getstate()[0])  # bytes of a character that the last block cut
        try:
            piece = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            at = position - waiting + error.start
            raise InputError(
                f"{title} is not {encoding[:6].upper()} text at byte {at:,}; save it as UTF-8 and try again"
            ) from None
        if "\0" in piece:
            raise InputError(f"{title} holds zero bytes, so it is not a text; save it as plain text in UTF-8")
        yield ends.decode(piece, final=not block)
        if not block:
            return
        position += len(block)
        block = next(blocks, b"")


def decoded_length(content: bytes, title: str) -> int:
    """How many characters `content` holds as text; InputError where it is none, as `decoded` says."""
    return sum(map(len, decoded((content[at : at + _BLOCK] for at in range(0, len(content), _BLOCK)), title)))


def read(path: Path, inside: Path | None = None, title: str = "") -> tuple[str, Facts]:
    """The text of the file at `path` and its facts; InputError where it is no readable text.

    inside: a folder that the file must lie in, links followed. title: what a complaint calls the file.
    """
    pieces: list[str] = []
    facts = facts_of(path, inside, title, pieces)
    if facts.problem:
        raise InputError(facts.problem)
    return "".join(pieces), facts


def facts_of(path: Path, inside: Path | None = None, title: str = "", pieces: list[str] | None = None) -> Facts:
    """Read the file at `path` through, a megabyte at a time; its text goes into `pieces` if there is a list."""
    title = printable(title or path.name)
    digest, size, characters = hashlib.sha256(), 0, 0

    def blocks(file: io.BufferedReader) -> Iterator[bytes]:
        nonlocal size
        while block := file.read(_BLOCK):
            size += len(block)
            check_size(size, title)  # the file may have grown since its size was asked
            digest.update(block)
            yield block

    try:
        _check_kind(path, inside, title)
        with path.open("rb") as file:
            for piece in decoded(blocks(file), title):
                characters += len(piece)
                if pieces is not None:
                    pieces.append(piece)
    except InputError as error:
        return Facts(_size(path), "", 0, str(error))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        return Facts(_size(path), "", 0, f"{title} cannot be read ({why}); check that it exists and may be read")
    return Facts(size, digest.hexdigest(), characters)


def printable(name: str) -> str:
    """A file's name fit for a sentence: what cannot be printed, or encoded, becomes �."""
    return "".join(character if character.isprintable() else "�" for character in name)


def _check_kind(path: Path, inside: Path | None, title: str) -> None:
    """InputError unless `path` is a file of a size we take, and no link out of the folder `inside`."""
    if inside is not None and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(inside)):
        raise InputError(f"{title} is a link out of its folder; put the file itself there")
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a file"
        raise InputError(f"{title} is {what}; choose a text file")
    check_size(status.st_size, title)


def _size(path: Path) -> int:
    seen = signature(path)
    return seen[0] if seen else 0


def signature(path: Path) -> Signature | None:
    """What changes when the file at `path` does: size, time of change, identity; None where there is nothing."""
    for look in (path.stat, path.lstat):  # a link that leads nowhere is there all the same
        try:
            status = look()
        except OSError:
            continue
        return status.st_size, status.st_mtime_ns, status.st_ino
    return None
