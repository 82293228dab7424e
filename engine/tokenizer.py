"""One token for each character: text to numbers and back.

Knows nothing of where text comes from or what is done with it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from engine.config import InputError

Codes = npt.NDArray[np.uint32]
Ids = npt.NDArray[np.int64]

_CHUNK = 4_000_000  # characters worked on at once, so that a long text needs little memory beside itself
_NAMES_SHOWN = 10
_LABELS = {" ": "␣", "\n": "⏎", "\t": "⇥"}
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Mc", "Me", "Zs", "Zl", "Zp"}


def label(character: str) -> str:
    """A visible name for one character: space as ␣, newline as ⏎, tab as ⇥, what has no ink as U+XXXX."""
    if character in _LABELS:
        return _LABELS[character]
    return f"U+{ord(character):04X}" if unicodedata.category(character) in _INVISIBLE else character


def named(characters: Sequence[str]) -> str:
    """The visible names of `characters` in a row, for a sentence; after the first ten, how many more."""
    shown = ", ".join(label(character) for character in characters[:_NAMES_SHOWN])
    more = len(characters) - _NAMES_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


@dataclass(frozen=True)
class CharTokenizer:
    """Characters to token ids and back; a token's id is its character's place in `vocab`.

    `vocab` holds the characters in the order of their code points, each once.
    """

    vocab: tuple[str, ...]
    _id_of_code: Ids = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        codes = _codes("".join(self.vocab))
        if len(codes) != len(self.vocab) or (codes[1:] <= codes[:-1]).any():
            raise ValueError("vocab must hold single characters, sorted, each once")
        table = np.full(int(codes[-1]) + 1 if len(codes) else 1, -1, dtype=np.int64)
        table[codes] = np.arange(len(codes))
        object.__setattr__(self, "_id_of_code", table)

    @classmethod
    def of(cls, text: str) -> CharTokenizer:
        """The tokenizer whose vocabulary is the distinct characters of `text`."""
        found: set[str] = set()
        for start in range(0, len(text), _CHUNK):
            found.update(text[start : start + _CHUNK])
        return cls(tuple(sorted(found)))

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return len(self.vocab)

    @property
    def labels(self) -> tuple[str, ...]:
        """The visible name of each token, in the order of the ids."""
        return tuple(label(character) for character in self.vocab)

    def encode(self, text: str) -> Ids:
        """The token ids of `text`, int64 [characters]; InputError names characters outside the vocabulary."""
        ids = np.empty(len(text), dtype=np.int64)
        self._encode_into(ids, text)
        return ids

    def encode_small(self, text: str) -> npt.NDArray[np.integer]:
        """As `encode`, in the smallest integer type that holds every id: uint8, int16 or int32."""
        kinds = (np.uint8, np.int16, np.int32)
        kind = next(kind for kind in kinds if self.vocab_size - 1 <= np.iinfo(kind).max)
        ids = np.empty(len(text), dtype=kind)
        self._encode_into(ids, text)
        return ids

    def unknown(self, text: str) -> list[str]:
        """The distinct characters of `text` that are outside the vocabulary, in the order they appear."""
        known = frozenset(self.vocab)
        return [character for character in dict.fromkeys(text) if character not in known]

    def decode(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> str:
        """The text of `ids`; IndexError where an id is not in 0 … vocab_size - 1."""
        if len(ids) and not 0 <= min(ids) <= max(ids) < self.vocab_size:
            raise IndexError(f"token ids must lie in 0 … {self.vocab_size - 1}")
        return "".join([self.vocab[token] for token in ids])

    def _encode_into(self, ids: npt.NDArray[np.integer], text: str) -> None:
        last = len(self._id_of_code) - 1
        for start in range(0, len(text), _CHUNK):
            codes = _codes(text[start : start + _CHUNK])
            found = self._id_of_code[np.minimum(codes, last)]
            if (found < 0).any() or int(codes.max()) > last:
                outside = self.unknown(text)
                raise InputError(
                    f"the text has characters that the model does not know: {named(outside)}; "
                    f"leave them out, or use the {self.vocab_size} characters of its corpus"
                )
            ids[start : start + len(codes)] = found


def _codes(text: str) -> Codes:
    """The code points of `text`, uint32 [characters]; half surrogates, which JSON lets through, included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
