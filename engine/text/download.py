"""The texts that can be downloaded, pinned by size and sha256, and the download itself, all or nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import urlopen

Progress = Callable[[int, int], None]  # bytes so far, bytes in all

_BLOCK = 2**16
_TIMEOUT = 20.0  # seconds without a byte before a download is given up


@dataclass(frozen=True)
class PinnedFile:
    """A file that can be downloaded, pinned by its size and sha256."""

    name: str
    title: str
    url: str
    bytes: int
    characters: int
    sha256: str
    source: str
    licence: str


PINNED_TEXTS: tuple[PinnedFile, ...] = (
    PinnedFile(
        "tiny-shakespeare",
        "tiny shakespeare",
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        1_115_394,
        1_115_394,
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        "plays by William Shakespeare, as gathered in karpathy/char-rnn",
        "public domain",
    ),
    PinnedFile(
        "names",
        "names",
        "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt",
        228_145,
        228_145,
        "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
        "32,033 first names, from karpathy/makemore",
        "MIT, as its repository",
    ),
    PinnedFile(
        "the-verdict",
        "The Verdict",
        "https://raw.githubusercontent.com/rasbt/LLMs-from-scratch/main/ch02/01_main-chapter-code/the-verdict.txt",
        20_479,
        20_479,
        "b41e41a68f0398a3154ae69e2e4c0e2694e17fe0d66730536837f1b01935b31f",
        "a short story by Edith Wharton (1908), as kept in rasbt/LLMs-from-scratch",
        "public domain",
    ),
)


class WrongTextError(OSError):
    """What the server sent is not the pinned file."""


def _opened(url: str) -> HTTPResponse:
    """The server's response; the body of an HTTP error is closed unread."""
    try:
        answer: HTTPResponse = urlopen(url, timeout=_TIMEOUT)
    except HTTPError as refusal:
        refusal.close()
        raise
    return answer


def download(known: PinnedFile, file: BinaryIO, progress: Progress | None) -> None:
    """Download `known` into `file`; WrongTextError where the bytes are not the pinned ones."""
    digest, size = hashlib.sha256(), 0
    with _opened(known.url) as answer:
        while block := answer.read(_BLOCK):
            size += len(block)
            if size > known.bytes:
                raise WrongTextError(f"it sent more than the {known.bytes:,} bytes of that text")
            file.write(block)
            digest.update(block)
            if progress is not None:
                progress(size, known.bytes)
    if size < known.bytes:
        raise WrongTextError(f"it ended after {size:,} of {known.bytes:,} bytes")
    if digest.hexdigest() != known.sha256:
        raise WrongTextError("what it sent is another text: the sha256 differs")


def reason_of(error: Exception) -> str:
    """The reason for a network or disk error, in a few words."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower() + (f": {reason.filename}" if reason.filename else "")
    return str(reason) or type(reason).__name__
