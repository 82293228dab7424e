"""Byte-level byte-pair encoding: a token is a string of bytes, one byte or what merges have joined.

Any text can be encoded, since every byte has a token. The `tokenizers` library does the work; here are the tokens and
merges as plain bytes.

Joining pairs costs the square of a word's length, and DNA, base64 or Chinese without punctuation are one word. So the
words of a tokenizer that is learnt here have `Bounds`: a longer one is cut into parts that no token crosses. Decoding
gives the same text all the same.
"""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Regex
from tokenizers import Tokenizer as Library
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, FixedLength, Split
from tokenizers.pre_tokenizers import Sequence as InTurn
from tokenizers.trainers import BpeTrainer

from ..errors import InputError
from ..progress import Report, unheard
from .tokenizer import Ids, list_characters, smallest_dtype, visible_name

# The library's own threads do not help with one text at a time, and it warns about them after a fork.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

Merge = tuple[bytes, bytes]

_PIECE = 2**17  # characters encoded at once: little extra memory, and a report many times a second
_NEAR = 2**12  # characters in which an end of a word is looked for
_WHOLE = 2**24  # characters of one word that a tokenizer without bounds takes
# Where a word always ends, whatever stands around it: at a line end or a space between two visible characters, before
# a punctuation mark, between letters and digits. Only what is a letter in every version of Unicode counts as one.
_LETTER = "A-Za-z\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3"
_CUT = re.compile(
    r"(?<=[!-~\w]\n)(?=[!-~\w])|(?<=[!-~\w])(?= [!-~\w])"
    rf"|(?<=[{_LETTER}0-9])(?=[!-/:-@\[-`{{|}}~、。])|(?<=[{_LETTER}])(?=[0-9])|(?<=[0-9])(?=[{_LETTER}])"
)
_WORD = re.compile(f" ?[{_LETTER}]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
# GPT-2's words, in the library's own dialect; `ByteLevel` has the same inside.
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class Bounds:
    """What keeps learning tokens short: the longest word, and how much of a text is learnt from; characters."""

    longest_word: int = 256
    learnt_from: int = 2**21

    @classmethod
    def read(cls, told: Any) -> Bounds:
        """From what `asdict` made of it; InputError where it is none of ours."""
        numbers = [told.get(name) if isinstance(told, dict) else None for name in asdict(BOUNDS)]
        possible = [number for number in numbers if type(number) is int and number > 0]
        if len(possible) < len(_MOST) or any(number > most for number, most in zip(possible, _MOST, strict=True)):
            raise InputError(
                f"a tokenizer was learnt with the bounds {str(told)[:80]!r}, which are not possible; "
                f"they are at most {_MOST[0]:,} characters a word and {_MOST[1]:,} of the text"
            )
        return cls(*possible)


BOUNDS = Bounds()
"""Of every tokenizer that is learnt now. Runs from before these have none, and stay as they are."""
_MOST = (2**12, 2**26)


@dataclass(frozen=True)
class ByteTokenizer:
    """Text to token ids and back by byte-level BPE; a token's id is its place in `tokens`.

    merges: the pairs of tokens that are joined, in order of priority. As in GPT-2 a text is first cut into words (with
    the space before them), numbers and punctuation; no token crosses these cuts. bounds: how it was learnt; None for
    one with words of any length, as GPT-2's own.
    """

    tokens: tuple[bytes, ...]
    merges: tuple[Merge, ...]
    bounds: Bounds | None = None

    def __post_init__(self) -> None:
        held = set(self.tokens)
        if len(held) != len(self.tokens) or not held.issuperset(bytes([byte]) for byte in range(256)):
            raise ValueError("tokens must hold each of the 256 bytes, and nothing twice")
        if not all(part in held for first, second in self.merges for part in (first, second, first + second)):
            raise ValueError("merges must join tokens to tokens")

    @classmethod
    def train_on(
        cls, text: str, vocab_size: int, bounds: Bounds | None = BOUNDS, report: Report = unheard
    ) -> ByteTokenizer:
        """Train on the beginning of `text`: start from the 256 bytes and keep joining the most frequent pair of tokens.

        Gives `vocab_size` tokens, or fewer where the text has no more pairs to join. `report` is told how many
        characters have been read, then that pairs are joined; what it raises while reading ends it.
        """
        library = _library(BPE(), bounds)
        alphabet = sorted(_signs().values())
        trainer = BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
        known = _SURROGATE.sub("", text if bounds is None else text[: bounds.learnt_from])
        library.train_from_iterator(_reported(known, bounds, report), trainer)
        report("learning the tokens", 1, 1)
        learnt = json.loads(library.to_str())["model"]["merges"]
        merges = tuple((_bytes_of(first), _bytes_of(second)) for first, second in learnt)
        joined = (first + second for first, second in merges)
        return cls(tuple(dict.fromkeys((*(bytes([byte]) for byte in range(256)), *joined))), merges, bounds)

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
        return self._encode(text, np.int64, unheard)

    def encode_small(self, text: str, report: Report = unheard) -> Ids:
        """As `encode`, in the smallest integer type that holds every id: uint8, int16 or int32."""
        return self._encode(text, smallest_dtype(self.vocab_size), report)

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
        merges = [(_name_of(first), _name_of(second)) for first, second in self.merges]
        return _library(BPE(vocabulary, merges), self.bounds)

    def _encode(self, text: str, kind: npt.DTypeLike, report: Report) -> npt.NDArray[np.int64]:
        parts, done = [np.empty(0, dtype=kind)], 0
        for piece in pieces_of(text, self.bounds):
            report("cutting the text into tokens", done, len(text))
            if _SURROGATE.search(piece):
                raise InputError(
                    f"the text has halves of characters, {list_characters(self.unknown(text))}; leave them out"
                )
            (encoded,) = self._model.encode_batch_fast([piece])  # other threads go on meanwhile, unlike with `encode`
            parts.append(np.array(encoded.ids, dtype=kind))
            done += len(piece)
        return np.concatenate(parts)

    def _bytes(self, ids: Sequence[int] | Ids) -> list[bytes]:
        places = np.asarray(ids, dtype=np.int64)
        if len(places) and not 0 <= places.min() <= places.max() < self.vocab_size:
            raise IndexError(f"token ids must lie in 0 … {self.vocab_size - 1}")
        return [self.tokens[place] for place in places.tolist()]


def _library(model: BPE, bounds: Bounds | None) -> Library:
    library = Library(model)
    if bounds is None:
        library.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=True)
    else:
        library.pre_tokenizer = InTurn(
            [
                Split(Regex(_WORDS), "isolated"),
                FixedLength(bounds.longest_word),
                ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    return library


def _reported(text: str, bounds: Bounds | None, report: Report) -> Iterator[str]:
    """The pieces of `text` to learn from; `report` is told of each one before."""
    done = 0
    for piece in pieces_of(text, bounds):
        report("counting the words to learn tokens from", done, len(text))
        yield piece
        done += len(piece)
    report("learning the tokens", 0, 0)


def pieces_of(text: str, bounds: Bounds | None) -> Iterator[str]:
    """`text` in pieces of about _PIECE characters, cut where no token can span the cut.

    Without `bounds` a word stays whole, however long; InputError for one of more than _WHOLE characters.
    """
    start = 0
    while len(text) - start > 2 * _PIECE:
        middle = start + max(1, _PIECE)
        if (cut := _CUT.search(text, middle, middle + _NEAR)) is not None:
            end = cut.end()
        elif bounds is not None:
            end = _end_of_part(text, start, middle, bounds)
        else:
            end = _end_of_word(text, middle)
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _end_of_part(text: str, start: int, middle: int, bounds: Bounds) -> int:
    """Where a part of a long word ends, about at `middle`; a part or a word begins at `start`."""
    longest = bounds.longest_word
    word = _WORD.match(text, start, middle + longest)
    if word is not None and word.end() > middle and word.end() - start > longest:
        return start + (word.end() - start) // longest * longest
    seen = _SURROGATE.sub("�", text[start : start + max(_NEAR, 4 * longest)])
    parts = _library(BPE(), bounds).pre_tokenizer.pre_tokenize_str(seen)
    # the last one may go on, or give its last space away
    return start + int(parts[-2][1][0]) if len(parts) > 2 else len(text)


def _end_of_word(text: str, middle: int) -> int:
    """The next sure end of a word after `middle`; InputError where it is too far away."""
    cut = _CUT.search(text, middle, middle + _WHOLE)
    if cut is None and len(text) - middle > _WHOLE:
        raise InputError(
            f"the text has a word of more than {_WHOLE:,} characters, too long for this tokenizer; put spaces or "
            "line ends into it, or choose another tokenizer, bpe or char"
        )
    return cut.end() if cut is not None else len(text)


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
