"""A text of the library as a run learns from it: split, in tokens, and again for a run that is opened or fine-tuned."""

from __future__ import annotations

from collections.abc import Callable

from ..config import RunConfig, changed
from ..errors import InputError
from ..paths import home
from ..storage import reader
from ..storage.reader import StoredRun
from ..text import gpt2
from ..text.bpe import ByteTokenizer
from ..text.corpus import Corpus, split_ends
from ..text.library import TextEntry
from ..text.tokenizer import Tokenizer


def encoded_corpus(text: str, entry: TextEntry, config: RunConfig, former: Corpus | None = None) -> Corpus:
    """A text of the library, split and encoded as `config` says; InputError where its tokenizer is not here.

    With a `former` text its tokens are taken, whatever `config` says.
    """
    return Corpus.of(
        text,
        name=entry.name,
        title=entry.title,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        tokenizer=None if former is not None else make_tokenizer(text, config),
        source=entry.source,
        licence=entry.licence,
        path=None if entry.path is None else str(entry.path),
        former=former,
    )


def fine_tuning(found: tuple[str, TextEntry], config: RunConfig, former: Corpus) -> Corpus:
    """The text `found`, for a model with `config` that learnt from `former`; InputError if it does not go on there."""
    corpus = encoded_corpus(*found, config, former)
    if corpus.sha256 == former.sha256:
        raise InputError(f"this run learns from {corpus.title} already; choose another text")
    return corpus


def tuned(config: RunConfig, corpus: Corpus) -> RunConfig:
    """`config` for going on with `corpus`; the lecture's draws belong to first weights of its own."""
    return changed(config, corpus=corpus.name, draws="separate")


def stored_corpus(stored: StoredRun, load: Callable[[str, str | None], tuple[str, TextEntry]]) -> Corpus:
    """What a stored run learnt from, with all that it was fine-tuned away from; `load` takes a name and a path.

    InputError if a text is gone or is another one now.
    """
    assert stored.config is not None
    corpus: Corpus | None = None
    for name, path in reader.texts(stored):
        corpus = encoded_corpus(*load(name, path), stored.config, corpus)
    assert corpus is not None
    reader.check_text(stored, corpus)
    return corpus


def make_tokenizer(text: str, config: RunConfig) -> Tokenizer | None:
    """The tokenizer that `config` names: None for characters; bpe learns from the training split of `text` alone."""
    if config.tokenizer == "gpt2":
        return gpt2.tokenizer(home())
    if config.tokenizer == "bpe":
        train_end, _ = split_ends(len(text), config.val_fraction, config.test_fraction)
        return ByteTokenizer.train_on(text[:train_end], config.vocab_size)
    return None
