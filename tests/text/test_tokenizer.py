"""Characters to ids and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError
from engine.text import tokenizer as module
from engine.text.tokenizer import CharTokenizer, visible_name

TEXTS = st.text(min_size=1, max_size=200)  # surrogates are left out by default


def test_the_vocabulary_is_the_sorted_characters() -> None:
    tokenizer = CharTokenizer.of("hello\nworld 🙂")
    assert tokenizer.vocab == tuple(sorted(set("hello\nworld 🙂")))
    assert tokenizer.vocab_size == len(tokenizer.vocab)


def test_ids_are_places_in_the_vocabulary() -> None:
    ids = CharTokenizer.of("abc").encode("cab")
    assert ids.dtype == np.int64
    assert ids.tolist() == [2, 0, 1]


@given(TEXTS)
def test_text_comes_back(text: str) -> None:
    tokenizer = CharTokenizer.of(text)
    place = {character: i for i, character in enumerate(sorted(set(text)))}
    assert tokenizer.encode(text).tolist() == [place[character] for character in text]
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode_small(text).tolist()) == text


@given(TEXTS, st.integers(1, 7))
def test_a_long_text_is_worked_on_in_pieces(text: str, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE", piece)
        tokenizer = CharTokenizer.of(text)
        assert tokenizer.vocab == tuple(sorted(set(text)))
        assert tokenizer.decode(tokenizer.encode(text)) == text


@given(TEXTS, TEXTS)
def test_every_character_outside_is_found_and_only_those(text: str, prompt: str) -> None:
    tokenizer = CharTokenizer.of(text)
    outside = [character for character in dict.fromkeys(prompt) if character not in text]
    assert tokenizer.unknown(prompt) == outside
    if outside:
        with pytest.raises(InputError) as error:
            tokenizer.encode(prompt)
        assert all(visible_name(character) in str(error.value) for character in outside[:10])
    else:
        assert tokenizer.decode(tokenizer.encode(prompt)) == prompt


def test_characters_outside_are_named_visibly() -> None:
    with pytest.raises(InputError) as error:
        CharTokenizer.of("abc").encode("a\tb é\u200d\ud800")
    assert str(error.value) == (
        "the text has characters that the model does not know: ⇥, ␣, é, U+200D, U+D800; "
        "leave them out, or use the 3 characters of its corpus"
    )


def test_of_many_characters_outside_ten_are_named() -> None:
    with pytest.raises(InputError, match="a, b, c, d, e, f, g, h, i, j and 16 more;"):
        CharTokenizer.of("Z").encode("abcdefghijklmnopqrstuvwxyz")


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        (" ", "␣"),
        ("\n", "⏎"),
        ("\t", "⇥"),
        ("a", "a"),
        ("é", "é"),
        ("🙂", "🙂"),
        ("\x07", "U+0007"),
        ("\u0301", "U+0301"),
        ("\u00a0", "U+00A0"),
        ("\u200b", "U+200B"),
        ("\ufeff", "U+FEFF"),
        ("\U000e0001", "U+E0001"),
    ],
)
def test_labels_can_be_seen(character: str, shown: str) -> None:
    assert visible_name(character) == shown
    assert CharTokenizer.of(character).labels == (shown,)


@pytest.mark.parametrize(
    ("distinct", "kind"), [(2, "uint8"), (256, "uint8"), (257, "int16"), (32768, "int16"), (32769, "int32")]
)
def test_small_ids_use_the_smallest_type_that_holds_them(distinct: int, kind: str) -> None:
    text = "".join(map(chr, range(0x10000, 0x10000 + distinct)))
    ids = CharTokenizer.of(text).encode_small(text)
    assert ids.dtype == kind
    assert ids.tolist() == list(range(distinct))


def test_decode_refuses_ids_outside() -> None:
    tokenizer = CharTokenizer.of("abc")
    for ids in ([3], [-1], [0, 1, 99]):
        with pytest.raises(IndexError, match="0 … 2"):
            tokenizer.decode(ids)
    assert tokenizer.decode([]) == ""


def test_an_empty_text_has_an_empty_vocabulary() -> None:
    tokenizer = CharTokenizer.of("")
    assert tokenizer.vocab_size == 0
    assert tokenizer.encode("").tolist() == []
    with pytest.raises(InputError):
        tokenizer.encode("a")


def test_tokenizers_of_the_same_characters_are_equal() -> None:
    assert CharTokenizer.of("abca") == CharTokenizer.of("cba")
    assert hash(CharTokenizer.of("abca")) == hash(CharTokenizer.of("cba"))
    with pytest.raises(AttributeError):
        CharTokenizer.of("a").vocab = ("b",)  # type: ignore[misc]


@pytest.mark.parametrize("vocab", [("b", "a"), ("a", "a"), ("ab",), ("",)])
def test_a_vocabulary_that_is_not_sorted_characters_is_refused(vocab: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="sorted"):
        CharTokenizer(vocab)
