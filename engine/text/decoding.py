"""Decode the bytes of a file to text, or say in one sentence why that is not possible."""

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
from ..progress import Report, unheard

MAX_BYTES = 256 * 2**20
_BLOCK = 2**20
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_OTHER_FILES = (
    (b"\x1f\x8b", "packed with gzip; unpack it"),
    (b"BZh", "packed with bzip2; unpack it"),
    (b"\xfd7zXZ\x00", "packed with xz; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd; unpack it"),
    (b"PK\x03\x04", "a zip archive, as .docx, .odt and .epub are too; unpack it, or save its text"),
    (b"%PDF-", "a PDF; save its text"),
    (b"{\\rtf", "a document in RTF; save its text"),
    (b"\xd0\xcf\x11\xe0", "an old Office document; save its text"),
    (b"\x89PNG", "a picture; save a text"),
    (b"\xff\xd8\xff", "a picture; save a text"),
    (b"SQLite format 3\x00", "a database; save a text"),
    (b"\x7fELF", "a program; choose a text"),
)
"""How files begin that are sometimes given a text's name, and what they are."""
_MARK = "\ufeff"

Signature = tuple[int, int, int]


@dataclass(frozen=True)
class TextFacts:
    """What one read of a file gives: its size, hash and length, and what is wrong with it, if anything."""

    bytes: int
    sha256: str  # of the bytes as they are in the file; empty where there is a problem
    characters: int  # 0 where there is a problem
    problem: str | None = None


def check_size(size: int, title: str) -> None:
    """InputError if a text of `size` bytes is too large."""
    if size > MAX_BYTES:
        raise InputError(f"{title} has {size:,} bytes, over the limit of {MAX_BYTES:,}; use a part of it")


def decode_blocks(blocks: Iterable[bytes], title: str) -> Iterator[str]:
    """The text of `blocks`, piece by piece: UTF-8, or UTF-16 with a byte order mark; line ends become \\n.

    A byte order mark is left out wherever it stands.

    InputError (calling the text `title`) where it is neither, with the byte where it stops being text.
    """
    blocks = iter(blocks)
    block = next(blocks, b"")
    for start, what in _OTHER_FILES:
        if block.startswith(start):
            raise InputError(f"{title} is {what} as plain text in UTF-8" if "save" in what else f"{title} is {what}")
    mark, encoding = next(((mark, name) for mark, name in _MARKS if block.startswith(mark)), (b"", "utf-8"))
    decoder = codecs.getincrementaldecoder(encoding)()
    ends = io.IncrementalNewlineDecoder(None, translate=True)
    position, block = len(mark), block[len(mark) :]
    while True:
        waiting = len(decoder.getstate()[0])  # bytes of a character that the block boundary cut
        try:
            piece = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            at = position - waiting + error.start
            raise InputError(
                f"{title} is not {encoding[:6].upper()} text at byte {at:,}; save it as UTF-8 and try again"
            ) from None
        if "\0" in piece:
            raise InputError(f"{title} holds zero bytes, so it is not a text; save it as plain text in UTF-8")
        # joined files have a byte order mark inside: it is no character of the text
        yield ends.decode(piece.replace(_MARK, ""), final=not block)
        if not block:
            return
        position += len(block)
        block = next(blocks, b"")


def count_characters(content: bytes, title: str) -> int:
    """The number of characters in `content`; InputError as from `decode_blocks` where it is not text."""
    return sum(map(len, decode_blocks((content[at : at + _BLOCK] for at in range(0, len(content), _BLOCK)), title)))


def read_text(
    path: Path, inside: Path | None = None, title: str = "", report: Report = unheard
) -> tuple[str, TextFacts]:
    """The text of the file at `path` and its facts; InputError where it is not readable text.

    inside: a folder that must contain the file, links resolved. title: the name of the file in error messages.
    `report` is told how many bytes have been read; what it raises ends it.
    """
    pieces: list[str] = []
    facts = scan_file(path, inside, title, pieces, report)
    if facts.problem:
        raise InputError(facts.problem)
    return "".join(pieces), facts


def scan_file(
    path: Path,
    inside: Path | None = None,
    title: str = "",
    pieces: list[str] | None = None,
    report: Report = unheard,
) -> TextFacts:
    """Read the whole file at `path`, a megabyte at a time; append its text to `pieces` if given."""
    title = printable(title or path.name)
    digest, size, characters = hashlib.sha256(), 0, 0

    def blocks(file: io.BufferedReader) -> Iterator[bytes]:
        nonlocal size
        expected = os.fstat(file.fileno()).st_size
        while block := file.read(_BLOCK):
            report("reading the text", size, expected)
            size += len(block)
            check_size(size, title)  # the file may have grown since its size was checked
            digest.update(block)
            yield block

    try:
        _check_kind(path, inside, title)
        with path.open("rb") as file:
            for piece in decode_blocks(blocks(file), title):
                characters += len(piece)
                if pieces is not None:
                    pieces.append(piece)
    except InputError as error:
        return TextFacts(_size(path), "", 0, str(error))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        return TextFacts(_size(path), "", 0, f"{title} cannot be read ({why}); check that it exists and may be read")
    return TextFacts(size, digest.hexdigest(), characters)


def printable(name: str) -> str:
    """A file's name for use in a sentence: characters that cannot be printed or encoded become �."""
    return "".join(character if character.isprintable() else "�" for character in name)


def _check_kind(path: Path, inside: Path | None, title: str) -> None:
    """InputError unless `path` is a regular file of acceptable size, and no link out of the folder `inside`."""
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
    """Size, modification time and inode, which change when the file at `path` does; None where there is no file."""
    for stat_of in (path.stat, path.lstat):  # a dangling link still counts as there
        try:
            status = stat_of()
        except OSError:
            continue
        return status.st_size, status.st_mtime_ns, status.st_ino
    return None
