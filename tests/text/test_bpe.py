"""Byte-level BPE, held against merging by hand; and GPT-2's own vocabulary, where its files are."""

from __future__ import annotations

import base64
import itertools
import os
import random
import re
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from engine.__main__ import main
from engine.config import LiveSettings, RunConfig, changed
from engine.errors import InputError
from engine.paths import home
from engine.presets import preset
from engine.progress import Cancelled
from engine.runs import datasets
from engine.text import bpe, gpt2
from engine.text.baselines import Baselines
from engine.text.bpe import BOUNDS, Bounds, ByteTokenizer
from engine.text.corpus import Corpus, split_ends
from engine.training.sampling import GeneratedTokens, sample_record
from engine.training.trainer import Trainer

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = Path(os.environ.get("LOOPSCOPE_CORPORA") or ROOT.parent / "shared" / "corpora")
PLAY = (ROOT / "data" / "lamplighters.txt").read_text(encoding="utf-8")
ASCII_WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")
ANY = st.text(max_size=200)  # surrogates are left out by default
PLAIN = st.text(st.sampled_from("the quick, 12 FOXES\n\t\n don't  jump!"), max_size=200)


@lru_cache(maxsize=4)
def trained(vocab_size: int = 400) -> ByteTokenizer:
    return ByteTokenizer.train_on(PLAY, vocab_size)


def gpt2_files() -> tuple[Path, ...] | None:
    """GPT-2's files of the data home, or those beside the project."""
    beside = (SHARED / "gpt2" / "encoder.json", SHARED / "gpt2" / "vocab.bpe")
    return gpt2.found(home()) or (beside if all(path.is_file() for path in beside) else None)


@pytest.fixture(scope="module")
def gpt2_tokenizer() -> ByteTokenizer:
    paths = gpt2_files()
    if paths is None:
        pytest.skip("GPT-2's files are not here; python -m engine fetch gpt2 brings them")
    return gpt2._read(*paths)


def merged(word: bytes, tokenizer: ByteTokenizer) -> list[bytes]:
    """One word by hand: of all neighbours, join the pair that was learnt first, until none is left."""
    rank = {pair: number for number, pair in enumerate(tokenizer.merges)}
    parts = [bytes([byte]) for byte in word]
    while True:
        pairs = [(rank.get(pair, len(rank)), at) for at, pair in enumerate(itertools.pairwise(parts))]
        if not pairs or min(pairs)[0] == len(rank):
            return parts
        at = min(pairs)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


# ---------------------------------------------------------------- any text


@given(ANY)
@example("é and 🙂 and \x00\x7f\u2028 ﷽")
@example("<|endoftext|>")
def test_any_text_comes_back(text: str) -> None:
    for tokenizer in (trained(), trained(256)):
        ids = tokenizer.encode(text)
        assert ids.dtype == np.int64
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode(tokenizer.encode_small(text).tolist()) == text
        assert "".join(tokenizer.pieces(ids)) == text
        assert tokenizer.unknown(text) == []


@given(ANY)
@example("<|endoftext|> Ġ �")
def test_any_text_comes_back_from_gpt2(gpt2_tokenizer: ByteTokenizer, text: str) -> None:
    assert gpt2_tokenizer.decode(gpt2_tokenizer.encode(text)) == text


@given(st.lists(st.integers(0, 399), max_size=30))
def test_pieces_are_what_decode_says(ids: list[int]) -> None:
    pieces = trained().pieces(ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == trained().decode(ids)


def test_a_character_of_several_tokens_comes_with_its_last() -> None:
    tokenizer = trained(256)
    assert tokenizer.pieces(tokenizer.encode("a🙂b")) == ["a", "", "", "", "🙂", "b"]
    assert tokenizer.pieces(tokenizer.encode("🙂")[:2]) == ["", "�"]


@given(PLAIN)
def test_encoding_is_merging_by_hand(text: str) -> None:
    tokenizer = trained()
    expected = [part for word in ASCII_WORDS.findall(text) for part in merged(word.encode(), tokenizer)]
    assert [tokenizer.tokens[number] for number in tokenizer.encode(text)] == expected


MIXED = st.text(st.sampled_from("abcAB 012 \n'sét.,漢字\u3000\t-—ñ_🙂\u0301"), max_size=200)
LONG_WORDS = st.text(st.sampled_from("ACGT "), max_size=200)


@given(st.one_of(ANY, PLAIN, MIXED, LONG_WORDS), st.integers(0, 30), st.integers(1, 12))
@example("a\n\nb\nc \nd\n e\nf", 0, 3)
@example("         a" * 9, 4, 3)
def test_a_long_text_is_worked_on_in_pieces(text: str, piece: int, longest: int) -> None:
    short = Bounds(longest_word=longest)
    for tokenizer in (trained(), replace(trained(), bounds=short), replace(trained(), bounds=None)):
        whole = tokenizer.encode(text).tolist()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bpe, "_PIECE", piece)
            patch.setattr(bpe, "_NEAR", max(1, piece))
            assert "".join(pieces := list(bpe.pieces_of(text, tokenizer.bounds))) == text and all(pieces)
            assert tokenizer.encode(text).tolist() == whole


def test_half_surrogates_are_refused() -> None:
    assert trained().unknown("a\ud800b\udfff\ud800") == ["\ud800", "\udfff"]
    with pytest.raises(InputError, match=r"U\+D800.*leave them out"):
        trained().encode("a\ud800")


def test_decode_refuses_ids_outside() -> None:
    for ids in ([400], [-1]):
        with pytest.raises(IndexError, match="0 … 399"):
            trained().decode(ids)
    assert trained().decode([]) == "" and trained().pieces([]) == []
    assert trained().encode("").tolist() == []


# ---------------------------------------------------------------- learning


def test_it_learns_the_pair_that_comes_most_often() -> None:
    tokenizer = trained(300)
    words = Counter(ASCII_WORDS.findall(PLAY))
    parts = {word: [bytes([byte]) for byte in word.encode()] for word in words}
    for pair in tokenizer.merges:
        seen: Counter[tuple[bytes, bytes]] = Counter()
        for word, often in words.items():
            for at in itertools.pairwise(parts[word]):
                seen[at] += often
        assert seen[pair] == max(seen.values())
        for word in words:
            at, now = 0, parts[word]
            while at < len(now) - 1:
                if (now[at], now[at + 1]) == pair:
                    now[at : at + 2] = [pair[0] + pair[1]]
                at += 1


def test_tokens_are_the_bytes_and_what_merges_make() -> None:
    tokenizer = trained()
    assert tokenizer.vocab_size == len(tokenizer.tokens) == 400
    assert tokenizer.tokens[:256] == tuple(bytes([byte]) for byte in range(256))
    assert tokenizer.tokens[256:] == tuple(first + second for first, second in tokenizer.merges)
    assert ByteTokenizer.train_on(PLAY, 400) == tokenizer, "the same text gives the same tokens"
    assert hash(ByteTokenizer.train_on(PLAY, 400)) == hash(tokenizer)


def test_a_short_text_has_no_more_pairs_to_join() -> None:
    assert ByteTokenizer.train_on("", 300).vocab_size == 256
    assert 256 < ByteTokenizer.train_on("abab abab", 300).vocab_size < 265


@given(st.one_of(ANY, PLAIN, MIXED))
def test_short_words_are_cut_as_they_were_before_there_were_bounds(text: str) -> None:
    assert trained().encode(text).tolist() == replace(trained(), bounds=None).encode(text).tolist()


def test_a_text_of_short_words_teaches_the_same_tokens_as_before_there_were_bounds() -> None:
    assert ByteTokenizer.train_on(PLAY, 600).merges == ByteTokenizer.train_on(PLAY, 600, None).merges


# ---------------------------------------------------------------- texts without spaces


def _letters(alphabet: str, length: int) -> str:
    return "".join(random.Random(0).choices(alphabet, k=length))


LENGTH = 60_000
WITHOUT_SPACES = {
    "DNA": _letters("ACGT", LENGTH),
    "proteins": _letters("ACDEFGHIKLMNPQRSTVWY", LENGTH),
    "base64": base64.b64encode(_letters("abc def\n", LENGTH).encode()).decode(),
    "hexadecimal": _letters("0123456789abcdef", LENGTH),
    "digits": _letters("0123456789", LENGTH),
    "unpunctuated Chinese": _letters("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往", LENGTH),
    "unpunctuated Thai": _letters("กขคงจฉชซญฐฑฒณดตถทธนบปผฝพฟภมยรลวศษสหอฮะาำิีุู", LENGTH),
    "one character repeated": "a" * LENGTH,
    "one character and another": "a" * LENGTH + "b",
    "emoji": _letters("🙂🎉🚀👩", LENGTH),
    "families": "👩\u200d👩\u200d👧" * (LENGTH // 5),
    "spaces only": " " * LENGTH,
    "line ends only": "\n" * LENGTH,
    "white space": _letters(" \n\t", LENGTH),
    "punctuation": _letters("-=_.!", LENGTH),
    "accents on accents": "e" + "\u0301" * LENGTH,
    "minified code": "(function(){var a=b,c=d;return[a,c]})();" * (LENGTH // 40),
}


@pytest.mark.parametrize("name", WITHOUT_SPACES)
def test_bpe_on_a_text_without_spaces_is_bounded_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joining costs at most the square of a word's length in operations: the words that are learnt from are short."""
    text, work, words = WITHOUT_SPACES[name], 0, set()
    monkeypatch.setattr(bpe, "_PIECE", 2**13)
    for piece in bpe.pieces_of(text, BOUNDS):
        assert len(piece) <= 2 * bpe._PIECE, "no call to the library is long, so that it can be cancelled"
        for word, _ in bpe._library(bpe.BPE(), BOUNDS).pre_tokenizer.pre_tokenize_str(piece):
            work += len(word) ** 2 if word not in words else 0
            words.add(word)
            assert len(word) <= 4 * BOUNDS.longest_word, "4 bytes a character at most"
    assert work <= 16 * BOUNDS.longest_word * LENGTH < LENGTH**2
    told: list[tuple[str, int, int]] = []
    tokenizer = ByteTokenizer.train_on(text, 300, report=lambda *stage: told.append(stage))
    assert 256 < tokenizer.vocab_size <= 300
    assert len({what for what, _, _ in told}) == 2 and len(told) > 3
    assert tokenizer.decode(tokenizer.encode(text)) == text, "nothing is lost"
    assert max(map(len, tokenizer.tokens)) <= 4 * BOUNDS.longest_word


def test_bpe_learns_from_a_bounded_part_of_a_long_text() -> None:
    bounds = Bounds(learnt_from=1000)
    tokenizer = ByteTokenizer.train_on(PLAY, 300, bounds)
    assert tokenizer.merges == ByteTokenizer.train_on(PLAY[:1000], 300).merges
    read: list[int] = []
    ByteTokenizer.train_on(PLAY, 300, bounds, lambda _what, _done, total: read.append(total))
    assert max(read) == 1000


@pytest.mark.parametrize("at", ["counting the words", "learning the tokens", "cutting the text"])
def test_learning_and_encoding_can_be_cancelled(at: str) -> None:
    def report(what: str, done: int, total: int) -> None:
        if what.startswith(at):
            raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        ByteTokenizer.train_on(PLAY, 300, report=report).encode_small(PLAY, report)


def test_a_word_without_end_is_refused_where_there_are_no_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "_PIECE", 100)
    monkeypatch.setattr(bpe, "_WHOLE", 1000)
    endless = replace(trained(), bounds=None)
    with pytest.raises(InputError, match=r"a word of more than 1,000 characters, too long .*; put spaces"):
        endless.encode("漢" * 1400)
    assert endless.decode(endless.encode("漢" * 1000)) == "漢" * 1000
    assert trained().decode(trained().encode("漢" * 1400)) == "漢" * 1400


def test_labels_can_be_seen() -> None:
    tokenizer = trained()
    place = tokenizer.tokens.index
    assert tokenizer.labels[place(b" the")] == "␣the" and tokenizer.vocab[place(b" the")] == " the"
    assert tokenizer.labels[ord("\n")] == "⏎"
    assert tokenizer.vocab[0xE2] == tokenizer.labels[0xE2] == "\\xE2"
    assert all(name and name.isprintable() for name in tokenizer.labels)


@pytest.mark.parametrize(
    ("tokens", "merges"), [((b"a",), ()), ((*(bytes([i]) for i in range(256)), b"a"), ()), (None, ((b"t", b"q"),))]
)
def test_a_vocabulary_that_cannot_be_is_refused(tokens, merges) -> None:
    with pytest.raises(ValueError, match="must"):
        ByteTokenizer(tokens or trained().tokens, merges)


# ---------------------------------------------------------------- a corpus of such tokens


def test_a_corpus_is_cut_by_its_characters_and_bpe_learns_from_the_training_part_alone() -> None:
    config = RunConfig(tokenizer="bpe", vocab_size=300)
    train_end, val_end = split_ends(len(PLAY), 0.1, 0.1)
    tokenizer = datasets.make_tokenizer(PLAY, config)
    assert tokenizer == ByteTokenizer.train_on(PLAY[:train_end], 300)
    assert datasets.make_tokenizer(PLAY[:train_end] + "#" * (len(PLAY) - train_end), config) == tokenizer
    corpus = Corpus.of(PLAY, tokenizer=tokenizer)
    assert (corpus.vocab_size, corpus.distinct, corpus.characters) == (300, len(set(PLAY)), len(PLAY))
    for part, text in ((corpus.train, PLAY[:train_end]), (corpus.val, PLAY[train_end:val_end])):
        assert part.dtype == torch.int16
        assert corpus.tokenizer.decode(part.tolist()) == text
    tokens = sum(len(part) for part in corpus.splits.values())
    assert corpus.characters_per_token == len(PLAY) / tokens > 1
    assert Corpus.of(PLAY).characters_per_token == 1


def test_characters_alone_need_no_tokenizer() -> None:
    assert datasets.make_tokenizer(PLAY, RunConfig()) is None


def test_a_model_of_such_tokens_trains_and_writes() -> None:
    corpus = Corpus.of(PLAY, tokenizer=trained())
    samples: list[str] = []
    config = RunConfig(tokenizer="bpe", vocab_size=400, sample_prompt="é🙂", sample_tokens=20)
    trainer = Trainer(config, LiveSettings(max_steps=3), corpus, lambda r: samples.append(getattr(r, "text", "")))
    trainer.observer.show_start()
    for _ in range(3):
        trainer.advance()
    assert any(text.startswith("é🙂") for text in samples)


def test_a_sample_has_a_digit_for_each_character() -> None:
    tokenizer = trained()
    start, more = tokenizer.encode("the ").tolist(), tokenizer.encode("lamp 🙂").tolist()
    sample = sample_record(tokenizer, 1, start, GeneratedTokens(start + more, [0.55] * len(more)))
    assert (sample.text, sample.prompt) == ("the lamp 🙂", 4)
    assert sample.confidence == "----" + "5" * len("lamp 🙂")


# ---------------------------------------------------------------- GPT-2's own


def test_document_001s_text_has_5145_tokens(gpt2_tokenizer: ByteTokenizer) -> None:
    path = next(
        (p for p in (home() / "downloads" / "the-verdict.txt", SHARED / "the-verdict.txt") if p.is_file()), None
    )
    if path is None:
        pytest.skip("The Verdict is not here; python -m engine fetch the-verdict brings it")
    assert len(gpt2_tokenizer.encode(path.read_text(encoding="utf-8"))) == 5_145


def test_validation_of_document_001_is_a_single_window(gpt2_tokenizer: ByteTokenizer) -> None:
    path = next(
        (p for p in (home() / "downloads" / "the-verdict.txt", SHARED / "the-verdict.txt") if p.is_file()), None
    )
    if path is None:
        pytest.skip("The Verdict is not here; python -m engine fetch the-verdict brings it")
    start = preset("document-001")
    config, size = start.config, start.settings.batch_size
    corpus = Corpus.of(path.read_text("utf-8"), "the-verdict", 0.1, 0.1, tokenizer=gpt2_tokenizer)
    found = corpus.val_batches(config, size, torch.device("cpu"))
    assert [tuple(inputs.shape) for inputs, _ in found] == [(1, config.block_size)] == [(1, 256)]
    assert "validation gets a single window of 256 tokens" in start.about


def test_gpt2_has_its_own_numbers(gpt2_tokenizer: ByteTokenizer) -> None:
    assert gpt2_tokenizer.vocab_size == 50_257 and len(gpt2_tokenizer.merges) == 50_000
    assert gpt2_tokenizer.encode("Every effort moves you").tolist() == [6109, 3626, 6100, 345]
    assert gpt2_tokenizer.vocab[50_256] == "<|endoftext|>"
    assert gpt2_tokenizer.encode_small("hello").dtype == np.int32


def test_baselines_of_a_large_vocabulary_are_cheap(gpt2_tokenizer: ByteTokenizer) -> None:
    base = Baselines.of(Corpus.of(PLAY, tokenizer=gpt2_tokenizer))
    assert base.uniform == pytest.approx(np.log(50_257))
    assert 0 < base.bigram < base.unigram < base.uniform


def test_the_files_are_found_by_what_is_in_them(tmp_path: Path) -> None:
    paths = gpt2_files()
    if paths is None:
        pytest.skip("GPT-2's files are not here; python -m engine fetch gpt2 brings them")
    assert gpt2.found(tmp_path) is None
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "vocab.json").write_bytes(paths[0].read_bytes())
    (tmp_path / "merges.txt").write_bytes(paths[1].read_bytes())
    assert gpt2.found(tmp_path) == (tmp_path / "corpora" / "vocab.json", tmp_path / "merges.txt")
    assert gpt2.tokenizer(tmp_path).vocab_size == 50_257
    (tmp_path / "merges.txt").write_bytes(b" " * paths[1].stat().st_size)
    assert gpt2.found(tmp_path) is None


def test_the_files_come_from_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    paths = gpt2_files()
    if paths is None:
        pytest.skip("GPT-2's files are not here; python -m engine fetch gpt2 brings them")
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path / "home"))
    assert main(["fetch", "gpt2", "--from", str(tmp_path)]) == 1
    assert "holds no file of 1,042,301 bytes" in capsys.readouterr().err
    assert main(["fetch", "gpt2", "--from", str(paths[0].parent)]) == 0
    assert f"here: {tmp_path / 'home' / 'downloads'}" in capsys.readouterr().out
    assert gpt2.tokenizer(home()).vocab_size == 50_257


def test_without_the_files_it_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path))
    assert main(["train", "--tokenizer", "gpt2", "--max-steps", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("GPT-2's tokenizer is not on this machine yet; run `python -m engine fetch gpt2`")
    assert main(["fetch", "names", "--from", "x"]) == 2


def test_settings_of_tokenizers_have_bounds() -> None:
    for wrong in ({"tokenizer": "words"}, {"vocab_size": 255}, {"vocab_size": 10**6}):
        with pytest.raises(InputError, match="is not possible; choose"):
            changed(RunConfig(), **wrong)
