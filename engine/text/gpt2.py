"""GPT-2's tokenizer, from two public files: finding, fetching and reading them.

The files are recognized by their sha256, under any name.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from ..atomic import atomic_file
from ..errors import InputError
from ..paths import cli_command
from .bpe import ByteTokenizer
from .decoding import Signature, signature
from .download import PinnedFile, Progress, download, reason_of

NAME = "gpt2"
TITLE = "GPT-2's tokenizer"
_PLACE = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"
_SOURCE, _LICENCE = "the files published with GPT-2 (openai/gpt-2)", "modified MIT, as its repository"
FILES = (
    PinnedFile(
        "encoder.json",
        "GPT-2's vocabulary, 50,257 tokens",
        _PLACE + "encoder.json",
        1_042_301,
        1_042_301,
        "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
        _SOURCE,
        _LICENCE,
    ),
    PinnedFile(
        "vocab.bpe",
        "GPT-2's merges, 50,000",
        _PLACE + "vocab.bpe",
        456_318,
        420_572,
        "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
        _SOURCE,
        _LICENCE,
    ),
)
BYTES = sum(known.bytes for known in FILES)


def found(home: Path) -> tuple[Path, ...] | None:
    """The two files if both are in the data home: fetched, or put into it or into `corpora` by hand; else None."""
    places = [home / "downloads", home / "corpora", home]
    paths = [path for known in FILES if (path := _file(known, places)) is not None]
    return tuple(paths) if len(paths) == len(FILES) else None


def fetch(home: Path, progress: Progress | None = None, folder: Path | None = None) -> None:
    """Put the files into `downloads`, from the internet or from `folder`. InputError says why it failed.

    progress(bytes so far, bytes in all) is called as they arrive. A file that is already there is left alone.
    """
    done = 0

    def report(so_far: int, _: int) -> None:
        if progress is not None:
            progress(done + so_far, BYTES)

    for known in FILES:
        if _file(known, [home / "downloads"]) is None:
            try:
                (home / "downloads").mkdir(parents=True, exist_ok=True)
                with atomic_file(home / "downloads" / known.name) as file:
                    if folder is None:
                        download(known, file, report)
                    else:
                        with _given(known, folder).open("rb") as own:
                            shutil.copyfileobj(own, file)
            except (OSError, http.client.HTTPException) as error:
                source = folder or known.url
                raise InputError(
                    f"{known.name} could not be fetched from {source} ({reason_of(error)}); check the connection, or "
                    f"put {' and '.join(known.name for known in FILES)} into {home / 'downloads'} by hand"
                ) from None
        done += known.bytes


def tokenizer(home: Path) -> ByteTokenizer:
    """GPT-2's tokenizer; InputError where its files are missing."""
    paths = found(home)
    if paths is None:
        raise InputError(
            f"{TITLE} is not on this machine yet; run `{cli_command(f'fetch {NAME}')}`, or put "
            f"{' and '.join(known.name for known in FILES)} into {home / 'downloads'}"
        )
    return _read(*paths)


@lru_cache(maxsize=1)
def _read(vocabulary: Path, merges: Path) -> ByteTokenizer:
    pairs = [
        line.split() for line in merges.read_text(encoding="utf-8").splitlines()[1:]
    ]  # the first line is a version
    return ByteTokenizer.read(
        json.loads(vocabulary.read_text(encoding="utf-8")), [(first, second) for first, second in pairs]
    )


def _given(known: PinnedFile, folder: Path) -> Path:
    path = _file(known, [folder])
    if path is None:
        raise InputError(
            f"{folder} holds no file of {known.bytes:,} bytes with the sha256 of {known.name}; "
            "give the folder that GPT-2's files are in"
        )
    return path


def _file(known: PinnedFile, folders: list[Path]) -> Path | None:
    """The file in one of `folders` whose content is `known`, whatever its name."""
    return next((path for folder in folders for path in _candidates(known, folder)), None)


def _candidates(known: PinnedFile, folder: Path) -> Iterator[Path]:
    try:
        paths = sorted(folder.iterdir(), key=lambda path: path.name != known.name)
    except OSError:
        return
    for path in paths:
        seen = signature(path)
        if seen is not None and seen[0] == known.bytes and _sha256(path, seen) == known.sha256:
            yield path


@lru_cache(maxsize=16)
def _sha256(path: Path, seen: Signature) -> str:
    """The sha256 of the file at `path` with signature `seen`; read again only when that changes."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
