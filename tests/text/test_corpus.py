"""Splits, batches and windows, held against slicing and stacking."""

import hashlib
import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from engine.errors import InputError
from engine.text import corpus as module
from engine.text.corpus import Batcher, Corpus, draw, split_ends, windows

FRACTIONS = st.sampled_from([0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4])


def numbers(count: int) -> Tensor:
    """0, 1, 2 …: data whose every token tells its position."""
    return torch.arange(count)


def stacked(data: Tensor, size: int, block: int, generator: torch.Generator, spare: int) -> tuple[Tensor, Tensor]:
    """The lecture's own way to draw a batch."""
    starts = torch.randint(len(data) - block - spare, (size,), generator=generator)
    inputs = torch.stack([data[i : i + block] for i in starts])
    targets = torch.stack([data[i + 1 : i + block + 1] for i in starts])
    return inputs.long(), targets.long()


# Splits


@given(st.text(min_size=2, max_size=300).filter(lambda text: len(set(text)) > 1), FRACTIONS, FRACTIONS)
def test_splits_cover_the_text_exactly(text: str, val: float, test: float) -> None:
    corpus = Corpus.of(text, "x", val, test)
    decode = corpus.tokenizer.decode
    assert decode(corpus.train.tolist()) + decode(corpus.val.tolist()) + decode(corpus.test.tolist()) == text
    assert corpus.characters == len(text)
    assert corpus.distinct == len(set(text))


@given(st.integers(0, 10**9), st.integers(0, 60), st.integers(0, 39))
@example(10, 60, 30)  # in floats 1 - 0.6 - 0.3 is a little less than 0.1
@example(100, 71, 0)  # and 0.29 * 100 a little less than 29
def test_split_ends_are_the_exact_shares_rounded_down(characters: int, val: int, test: int) -> None:
    train_end, val_end = split_ends(characters, val / 100, test / 100)
    assert train_end == math.floor(Fraction(100 - val - test, 100) * characters)
    assert val_end == math.floor(Fraction(100 - test, 100) * characters)
    assert 0 <= train_end <= val_end <= characters
    if val == 0:
        assert train_end == val_end
    if test == 0:
        assert val_end == characters


@given(st.integers(0, 10**9))
def test_ninety_ten_cuts_where_the_lecture_cuts(characters: int) -> None:
    assert split_ends(characters, 0.1, 0.0) == (int(0.9 * characters), characters)
    assert split_ends(characters, 0.1, 0.1) == (int(0.8 * characters), int(0.9 * characters))


def test_tiny_shakespeare_is_cut_as_printed() -> None:
    assert split_ends(1_115_394, 0.1, 0.0) == (1_003_854, 1_115_394)


def test_a_corpus_names_its_text() -> None:
    corpus = Corpus.of("hello é", "my-text", source="a letter", licence="none")
    assert (corpus.title, corpus.source, corpus.licence) == ("my text", "a letter", "none")
    assert corpus.sha256 == hashlib.sha256("hello é".encode()).hexdigest()
    assert corpus.train.dtype == torch.uint8


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the text has 0 characters; choose one with at least 2 different ones"),
        (
            "\n\n\n",
            "the text holds one character only (⏎), so there is nothing to predict; "
            "choose a text with at least 2 different ones",
        ),
    ],
)
def test_a_text_with_nothing_to_learn_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        Corpus.of(text)
    assert str(error.value) == sentence


# Bounds


def of_length(characters: int, val: float = 0.1, test: float = 0.1) -> Corpus:
    return Corpus.of("".join(itertools.islice(itertools.cycle("abc"), characters)), "x", val, test)


def test_a_block_size_longer_than_a_split_is_refused() -> None:
    corpus = of_length(3000)
    corpus.check_block_size(299)
    with pytest.raises(InputError) as error:
        corpus.check_block_size(512)
    assert str(error.value) == "block_size 512 is longer than the 300-token validation split; choose at most 299"
    with pytest.raises(InputError, match="block_size 300 is too long for the 300-token validation split"):
        corpus.check_block_size(300)


@given(st.integers(2, 60), FRACTIONS, FRACTIONS, st.integers(1, 60), st.integers(0, 1))
def test_the_remedy_works_and_what_passes_can_be_drawn(
    characters: int, val: float, test: float, block_size: int, spare: int
) -> None:
    corpus = of_length(characters, val, test)
    try:
        corpus.check_block_size(block_size, spare)
    except InputError as error:
        assert min(len(split) for split in corpus.splits.values()) <= block_size + spare
        if "choose at most" in str(error):
            remedy = int(str(error).rpartition(" ")[2])
            corpus.check_block_size(remedy, spare)
            with pytest.raises(InputError):
                corpus.check_block_size(remedy + 1, spare)
        return
    for split in corpus.splits.values():
        inputs, _ = draw(split, 3, block_size, spare=spare)
        assert inputs.shape == (3, block_size)


def test_a_split_that_is_not_wanted_is_not_checked() -> None:
    corpus = of_length(9, 0.0, 0.0)
    assert set(corpus.splits) == {"train"}
    corpus.check_block_size(8)
    with pytest.raises(InputError, match="block_size 9 is too long for the 9-token training split; choose at most 8"):
        corpus.check_block_size(9)
    with pytest.raises(InputError, match="choose at most 7"):
        corpus.check_block_size(8, spare=1)


def test_a_split_without_a_pair_of_tokens_says_what_to_change() -> None:
    with pytest.raises(InputError) as error:
        of_length(8).check_block_size(8)
    assert str(error.value) == (
        "the 1-token validation split is too short for any block_size; choose a longer text, or set val_fraction to 0"
    )
    with pytest.raises(InputError, match="the 1-token training split is too short for any block_size"):
        of_length(2, 0.4, 0.0).check_block_size(8)


# Batches


@given(st.integers(2, 50), st.integers(1, 49), st.integers(1, 9), st.integers(0, 1), st.integers(0, 2**31))
def test_batches_are_those_of_a_slicing_loop(length: int, block: int, size: int, spare: int, seed: int) -> None:
    if length - block - spare < 1:
        with pytest.raises(ValueError, match="too few"):
            Batcher(numbers(length), block, None, spare)
        return
    one, other = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
    batcher = Batcher(numbers(length), block, one, spare)
    for _ in range(3):
        inputs, targets = batcher.draw(size)
        expected_inputs, expected_targets = stacked(numbers(length), size, block, other, spare)
        assert torch.equal(inputs, expected_inputs)
        assert torch.equal(targets, expected_targets)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("wide", [0, 100])
def test_batches_are_contiguous_int64_whatever_the_data(
    kind: torch.dtype, wide: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WIDE", wide)
    data = torch.arange(60).to(kind)[10:]  # a slice: its storage begins earlier
    for part in draw(data, 4, 5):
        assert part.dtype == torch.int64
        assert part.is_contiguous()
        assert part.min() >= 10
    inputs, targets = draw(data, 4, 5)
    assert torch.equal(inputs + 1, targets)


def test_every_start_is_drawn_and_none_beyond() -> None:
    inputs, targets = draw(numbers(6), 500, 3)
    assert set(inputs[:, 0].tolist()) == {0, 1, 2}
    assert targets.max() == 5
    inputs, _ = draw(numbers(6), 500, 3, spare=1)
    assert set(inputs[:, 0].tolist()) == {0, 1}


def test_without_a_generator_the_global_one_draws() -> None:
    torch.manual_seed(7)
    drawn = draw(numbers(100), 4, 8)
    assert torch.equal(drawn[0], draw(numbers(100), 4, 8, torch.Generator().manual_seed(7))[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gets_the_same_batches() -> None:
    drawn = [
        Batcher(numbers(100).to(device), 8, torch.Generator().manual_seed(7)).draw(4) for device in ("cpu", "cuda")
    ]
    assert drawn[1][0].device.type == "cuda"
    assert all(torch.equal(on_cpu, on_gpu.cpu()) for on_cpu, on_gpu in zip(*drawn, strict=True))


@pytest.mark.parametrize(("spare", "row"), [(0, [24, 43, 58, 5, 57, 1, 46, 43]), (1, [53, 59, 6, 1, 58, 56, 47, 40])])
def test_tiny_shakespeare_gives_the_printed_batch(shakespeare: str, spare: int, row: list[int]) -> None:
    train = Corpus.of(shakespeare, "tiny-shakespeare", val_fraction=0.1, test_fraction=0.0).train
    assert len(train) == 1_003_854
    inputs, _ = draw(train, 4, 8, torch.Generator().manual_seed(1337), spare)
    assert inputs[0].tolist() == row


# Windows


@given(st.integers(0, 80), st.integers(1, 20), st.integers(1, 5))
def test_windows_hold_each_target_once_in_order(length: int, block: int, rows: int) -> None:
    pieces = list(windows(numbers(length).to(torch.uint8), block, rows))
    targets = [token for _, part in pieces for token in part.flatten().tolist()]
    assert targets == list(range(1, length))
    for inputs, part in pieces:
        assert inputs.dtype == part.dtype == torch.int64
        assert torch.equal(inputs + 1, part)
    for inputs, _ in pieces[:-1]:
        assert inputs.shape[1] == block
        assert inputs.shape[0] <= rows
    if length > 1:
        assert pieces[-1][0].shape[1] == ((length - 1) % block or block)
