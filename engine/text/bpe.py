"""Byte-level byte-pair encoding: a token is a string of bytes, one byte or what merges have joined.

Any text can be encoded, since every byte has a token. The `tokenizers` library does the work; here are the tokens and
merges as plain bytes.
"""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer as Library
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from ..errors import InputError
from .tokenizer import Ids, list_characters, smallest_dtype, visible_name

# The library's own threads do not help with one text at a time, and it warns about them after a fork.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

Merge = tuple[bytes, bytes]

_PIECE = 2**20  # characters encoded at once, so that a long text needs little extra memory
# A line end between two visible characters is always a token of its own, so a text may be cut after it.
_CUT = re.compile(r"(?<=[!-~\w])\n(?=[!-~\w])")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class ByteTokenizer:
    """Text to token ids and back by byte-level BPE; a token's id is its place in `tokens`.

    merges: the pairs of tokens that are joined, in order of priority. As in GPT-2 a text is first cut into words (with
    the space before them), numbers and punctuation; no token crosses these cuts.
    """

    tokens: tuple[bytes, ...]
    merges: tuple[Merge, ...]

    def __post_init__(self) -> None:
        held = set(self.tokens)
        if len(held) != len(self.tokens) or not held.issuperset(bytes([byte]) for byte in range(256)):
            raise ValueError("tokens must hold each of the 256 bytes, and nothing twice")
        if not all(part in held for first, second in self.merges for part in (first, second, first + second)):
            raise ValueError("merges must join tokens to tokens")

    @classmethod
    def train_on(cls, text: str, vocab_size: int) -> ByteTokenizer:
        """Train on `text`: start from the 256 bytes and keep joining the most frequent pair of tokens.

        Gives `vocab_size` tokens, or fewer where the text has no more pairs to join.
        """
        library = _library(BPE())
        alphabet = sorted(_signs().values())
        trainer = BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
        library.train_from_iterator(_pieces(_SURROGATE.sub("", text)), trainer)
        learnt = json.loads(library.to_str())["model"]["merges"]
        merges = tuple((_bytes_of(first), _bytes_of(second)) for first, second in learnt)
        joined = (first + second for first, second in merges)
        return cls(tuple(dict.fromkeys((*(bytes([byte]) for byte in range(256)), *joined))), merges)

    @classmethod
    def read(cls, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> ByteTokenizer:
        """From GPT-2's notation, a visible character for each byte; `vocabulary` maps tokens to ids 0 … size - 1."""
        names = sorted(vocabulary, key=vocabulary.__getitem__)
        return cls(
            tuple(map(_bytes_of, names)), tuple((_bytes_of(first), _bytes_of(second)) for first, second in merges)
        )

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return len(self.tokens)

    @cached_property
    def vocab(self) -> tuple[str, ...]:
        r"""The text of each token; the bytes, such as \xE2\x80, of a token that is not valid UTF-8 by itself."""
        return tuple(_text(token) for token in self.tokens)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The visible name of each token, in the order of the ids."""
        return tuple("".join(map(visible_name, name)) for name in self.vocab)

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """The token ids of `text`, int64 [tokens]; InputError for half surrogates, which no UTF-8 text has."""
        return self._encode(text, np.int64)

    def encode_small(self, text: str) -> Ids:
        """As `encode`, in the smallest integer type that holds every id: uint8, int16 or int32."""
        return self._encode(text, smallest_dtype(self.vocab_size))

    def unknown(self, text: str) -> list[str]:
        """The distinct half surrogates of `text`; everything else can be encoded."""
        return list(dict.fromkeys(_SURROGATE.findall(text)))

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """The text of `ids`, 1-D, with � where the bytes are not UTF-8; IndexError for an id that is no token's."""
        return b"".join(self._bytes(ids)).decode(errors="replace")

    def pieces(self, ids: Sequence[int] | Ids) -> list[str]:
        """What each of `ids` adds to the text; a character of several tokens comes with the last of them."""
        reader = codecs.getincrementaldecoder("utf-8")("replace")
        parts = [reader.decode(token) for token in self._bytes(ids)]
        if parts:
            parts[-1] += reader.decode(b"", final=True)
        return parts

    @cached_property
    def _model(self) -> Library:
        vocabulary = {_name_of(token): number for number, token in enumerate(self.tokens)}
        return _library(BPE(vocabulary, [(_name_of(first), _name_of(second)) for first, second in self.merges]))

    def _encode(self, text: str, kind: npt.DTypeLike) -> npt.NDArray[np.int64]:
        if halves := self.unknown(text):
            raise InputError(f"the text has halves of characters, {list_characters(halves)}; leave them out")
        parts = [np.array(self._model.encode(piece).ids, dtype=kind) for piece in _pieces(text)]
        return np.concatenate(parts) if parts else np.empty(0, dtype=kind)

    def _bytes(self, ids: Sequence[int] | Ids) -> list[bytes]:
        places = np.asarray(ids, dtype=np.int64)
        if len(places) and not 0 <= places.min() <= places.max() < self.vocab_size:
            raise IndexError(f"token ids must lie in 0 … {self.vocab_size - 1}")
        return [self.tokens[place] for place in places.tolist()]


def _library(model: BPE) -> Library:
    library = Library(model)
    library.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=True)
    return library


def _pieces(text: str) -> Iterator[str]:
    """`text` in pieces of at least _PIECE characters, cut where no token can span the cut."""
    start = 0
    while start < len(text):
        cut = _CUT.search(text, start + _PIECE)
        end = cut.end() if cut else len(text)
        yield text[start:end]
        start = end


@cache
def _signs() -> dict[int, str]:
    """GPT-2's visible character for each byte: its own where Latin-1 has ink there, else the next from U+0100 on."""
    inked = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    bare = [byte for byte in range(256) if byte not in inked]
    return {byte: chr(byte) for byte in inked} | {byte: chr(256 + place) for place, byte in enumerate(bare)}


@cache
def _byte_of_sign() -> dict[str, int]:
    return {sign: byte for byte, sign in _signs().items()}


def _name_of(token: bytes) -> str:
    signs = _signs()
    return "".join(signs[byte] for byte in token)


def _bytes_of(name: str) -> bytes:
    bytes_of = _byte_of_sign()
    return bytes(bytes_of[sign] for sign in name)


def _text(token: bytes) -> str:
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02X}" for byte in token)
