"""The entropy ladder, held against counting pair by pair."""

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.paths import home
from engine.text import baselines as module
from engine.text.baselines import Baselines
from engine.text.corpus import Corpus
from engine.text.library import Library

TEXTS = st.text(alphabet="ab\ncd🙂é", min_size=3, max_size=120).filter(lambda text: len(set(text)) > 1)


def counted(text: str) -> tuple[float, float, int]:
    """Unigram entropy, conditional bigram entropy and pairs of `text`, straight from their definitions."""
    single, pair, first = Counter(text), Counter(itertools.pairwise(text)), Counter(text[:-1])
    unigram = -sum(n / len(text) * math.log(n / len(text)) for n in single.values())
    bigram = -sum(n / (len(text) - 1) * math.log(n / first[a]) for (a, _), n in pair.items())
    return unigram, bigram, len(pair)


@given(TEXTS, st.integers(1, 9), st.sampled_from([0, 10**6]))
def test_the_ladder_is_what_counting_gives(text: str, piece: int, dense: int) -> None:
    corpus = Corpus.of(text, "x", 0.1, 0.1)
    train = text[: len(corpus.train)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE", piece)
        patch.setattr(module, "_DENSE", dense)
        ladder = Baselines.of(corpus)
    assert ladder.uniform == pytest.approx(math.log(len(set(text))))
    if len(train) < 2:
        assert math.isnan(ladder.bigram)
        assert ladder.pairs == 0
        return
    unigram, bigram, pairs = counted(train)
    assert ladder.unigram == pytest.approx(unigram, abs=1e-12)
    assert ladder.bigram == pytest.approx(bigram, abs=1e-12)
    assert ladder.pairs == pairs
    assert ladder.bigram >= 0


def test_only_the_training_split_is_counted() -> None:
    ladder = Baselines.of(Corpus.of("ab" * 45 + "ba" * 5, "x", 0.1, 0.0))
    assert ladder.pairs == 2
    assert ladder.bigram == pytest.approx(0)
    assert ladder.unigram == pytest.approx(math.log(2))


def test_tiny_shakespeare_gives_the_known_ladder(shakespeare: str) -> None:
    ladder = Baselines.of(Corpus.of(shakespeare, "x", 0.1, 0.0))
    assert ladder.uniform == pytest.approx(4.174387, abs=1e-6)
    assert ladder.unigram == pytest.approx(3.3091, abs=1e-4)
    assert ladder.bigram == pytest.approx(2.451913, abs=1e-6)
    assert ladder.pairs == 1380


def test_a_rung_is_never_above_the_one_before() -> None:
    text, _ = Library(home()).load_name("lamplighters")
    ladder = Baselines.of(Corpus.of(text))
    assert ladder.uniform > ladder.unigram > ladder.bigram > 0
