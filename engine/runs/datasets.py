"""What runs learn from: texts of the library, split and encoded, and points."""

from __future__ import annotations

import threading
from contextlib import suppress

from ..config import RunConfig
from ..errors import InputError
from ..paths import home
from ..storage import reader
from ..storage.reader import StoredRun
from ..text import gpt2
from ..text.bpe import ByteTokenizer
from ..text.corpus import Corpus, split_ends
from ..text.library import Library, TextEntry
from ..text.points import Points
from ..text.tokenizer import Tokenizer
from .stored_text import recorded_texts


class Datasets:
    """What runs learn from: the texts of a library, and points.

    The last text is kept in memory, so that a new run on it starts at once.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._corpus: tuple[tuple[object, ...], Corpus] | None = None
        self._lock = threading.Lock()

    def load(self, config: RunConfig) -> Corpus | Points:
        """What a run with `config` learns from; InputError says what is wrong with it."""
        return self.load_corpus(config) if config.reads_text else Points.of(config)

    def load_corpus(self, config: RunConfig) -> Corpus:
        """The text that `config` names, split and encoded; InputError says what is wrong with it."""
        version = self._library.version
        vocab_size = config.vocab_size if config.tokenizer == "bpe" else None
        key = (config.corpus, config.val_fraction, config.test_fraction, config.tokenizer, vocab_size, version)
        with self._lock:
            if self._corpus is None or self._corpus[0] != key:
                self._corpus = key, encoded_corpus(*self._library.load_name(config.corpus), config)
            return self._corpus[1]

    def load_stored(self, stored: StoredRun) -> Corpus | Points:
        """What a stored run learnt from; InputError if that text is gone or is another one now."""
        config, _ = reader.configuration(stored)
        records = reader.recorded_texts(stored)
        if len(records) == 1:  # often the one that is in memory
            with suppress(InputError):
                dataset = self.load(config)
                if dataset.sha256 == records[0].get("sha256"):
                    return dataset
        return stored_dataset(stored, self._library)


def encoded_corpus(text: str, entry: TextEntry, config: RunConfig, former: Corpus | None = None) -> Corpus:
    """A text of the library, split and encoded as `config` says; InputError where its tokenizer is not here.

    With a `former` text its tokenizer is used, whatever `config` says.
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
        former=former,
    )


def stored_dataset(stored: StoredRun, library: Library | None = None) -> Corpus | Points:
    """What a stored run learnt from, with all that it was fine-tuned away from; InputError if a text is not here."""
    config, _ = reader.configuration(stored)
    if not config.reads_text:
        return Points.of(config)
    corpus: Corpus | None = None
    for text, entry in recorded_texts(library or Library(home()), stored):
        corpus = encoded_corpus(text, entry, config, corpus)
    assert corpus is not None
    return corpus


def make_tokenizer(text: str, config: RunConfig) -> Tokenizer | None:
    """The tokenizer that `config` names: None for characters; bpe learns from the training split of `text` alone."""
    if config.tokenizer == "gpt2":
        return gpt2.tokenizer(home())
    if config.tokenizer == "bpe":
        train_end, _ = split_ends(len(text), config.val_fraction, config.test_fraction)
        return ByteTokenizer.train_on(text[:train_end], config.vocab_size)
    return None
