"""Text to token ids and back: the interface of every tokenizer, and the one with a token for each character.

The byte-level tokenizers are in `bpe.py` and `gpt2.py`.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..progress import Report, unheard

Ids = npt.NDArray[np.integer[Any]]

_PIECE = 2**20  # characters encoded at once, so that a long text needs little extra memory
_NAMES_SHOWN = 10
_LABELS = {" ": "␣", "\n": "⏎", "\t": "⇥"}
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Mc", "Me", "Zs", "Zl", "Zp"}


class Tokenizer(Protocol):
    """Text to token ids and back. A token's id is its index in `vocab`."""

    @property
    def vocab(self) -> tuple[str, ...]:
        """What each token stands for."""

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The visible name of each token, in the order of the ids."""

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """The token ids of `text`, int64 [tokens]; InputError names characters that have no token."""

    def encode_small(self, text: str, report: Report = unheard) -> Ids:
        """As `encode`, in the smallest integer type that holds every id: uint8, int16 or int32.

        `report` is told how many characters are done; what it raises ends it.
        """

    def unknown(self, text: str) -> list[str]:
        """The distinct characters of `text` that cannot be encoded, in the order they appear."""

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """The text of `ids`, 1-D; IndexError where one is not in 0 … vocab_size - 1."""

    def pieces(self, ids: Sequence[int] | Ids) -> list[str]:
        """What each of `ids` adds to the text, joined the same as `decode`; "" inside an unfinished character."""


def smallest_dtype(vocab_size: int) -> npt.DTypeLike:
    """The smallest integer type for ids below `vocab_size`, of those that torch supports."""
    return np.uint8 if vocab_size <= 2**8 else np.int16 if vocab_size <= 2**15 else np.int32


def visible_name(character: str) -> str:
    """A visible name for one character: space as ␣, newline as ⏎, tab as ⇥, what is invisible as U+XXXX."""
    if character in _LABELS:
        return _LABELS[character]
    return f"U+{ord(character):04X}" if unicodedata.category(character) in _INVISIBLE else character


def list_characters(characters: Sequence[str]) -> str:
    """The visible names of `characters` for a sentence: the first ten, then how many more."""
    shown = ", ".join(visible_name(character) for character in characters[:_NAMES_SHOWN])
    more = len(characters) - _NAMES_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


@dataclass(frozen=True)
class CharTokenizer:
    """Characters to token ids and back; a token's id is its character's index in `vocab`.

    `vocab` holds the characters in the order of their code points, each once.
    """

    vocab: tuple[str, ...]

    def __post_init__(self) -> None:
        if any(len(character) != 1 for character in self.vocab) or list(self.vocab) != sorted(set(self.vocab)):
            raise ValueError("vocab must hold single characters, sorted, each once")

    @classmethod
    def of(cls, text: str, report: Report = unheard) -> CharTokenizer:
        """The tokenizer whose vocabulary is the distinct characters of `text`."""
        found = np.zeros(sys.maxunicode + 1, dtype=np.bool_)
        for place, piece in enumerate(_pieces(text)):
            report("looking for the characters of the text", place * _PIECE, len(text))
            found[_codes(piece)] = True
        return cls(tuple(map(chr, np.flatnonzero(found).tolist())))

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return len(self.vocab)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The visible name of each token, in the order of the ids."""
        return tuple(visible_name(character) for character in self.vocab)

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """The token ids of `text`, int64 [characters]; InputError names characters outside the vocabulary."""
        ids = np.empty(len(text), dtype=np.int64)
        self._encode_into(ids, text, unheard)
        return ids

    def encode_small(self, text: str, report: Report = unheard) -> Ids:
        """As `encode`, in the smallest integer type that holds every id: uint8, int16 or int32."""
        ids: Ids = np.empty(len(text), dtype=smallest_dtype(self.vocab_size))
        self._encode_into(ids, text, report)
        return ids

    def unknown(self, text: str) -> list[str]:
        """The distinct characters of `text` that are outside the vocabulary, in the order they appear."""
        known = frozenset(self.vocab)
        return [character for character in dict.fromkeys(text) if character not in known]

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """The text of `ids`, 1-D; IndexError where one is not in 0 … vocab_size - 1."""
        places = np.asarray(ids, dtype=np.int64)
        if len(places) and not 0 <= places.min() <= places.max() < self.vocab_size:
            raise IndexError(f"token ids must lie in 0 … {self.vocab_size - 1}")
        return _codes("".join(self.vocab))[places].tobytes().decode("utf-32-le", "surrogatepass")

    def pieces(self, ids: Sequence[int] | Ids) -> list[str]:
        """The character of each of `ids`."""
        return list(self.decode(ids))

    @cached_property
    def _id_of_code(self) -> npt.NDArray[np.int64]:
        """The id at each code point up to one past the vocabulary's last; -1 where there is none."""
        codes = _codes("".join(self.vocab))
        table = np.full(int(codes.max(initial=0)) + 2, -1, dtype=np.int64)
        table[codes] = np.arange(len(codes))
        return table

    def _encode_into(self, ids: Ids, text: str, report: Report) -> None:
        table, start = self._id_of_code, 0
        for piece in _pieces(text):
            report("cutting the text into tokens", start, len(text))
            found = table[np.minimum(_codes(piece), len(table) - 1)]
            if (found < 0).any():
                raise InputError(
                    f"the text has characters that the model does not know: {list_characters(self.unknown(text))}; "
                    f"leave them out, or use the {self.vocab_size} characters of its corpus"
                )
            ids[start : start + len(piece)] = found
            start += len(piece)


def _pieces(text: str) -> Iterator[str]:
    return (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))


def _codes(text: str) -> npt.NDArray[np.uint32]:
    """The code points of `text`, uint32 [characters]; half surrogates, which JSON lets through, included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
