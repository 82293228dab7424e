"""What runs learn from: texts of the library, split and encoded, and points."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from contextlib import suppress

from ..config import RunConfig
from ..errors import InputError
from ..paths import home
from ..progress import Jobs, Report, unheard
from ..storage import reader
from ..storage.reader import StoredRun
from ..text import gpt2
from ..text.bpe import BOUNDS, Bounds, ByteTokenizer
from ..text.corpus import Corpus, split_ends
from ..text.library import Library, TextEntry
from ..text.points import Points
from ..text.tokenizer import Tokenizer
from .stored_text import recorded_texts

MOST_KEPT = 4
MOST_KEPT_BYTES = 2**28  # of the texts kept besides the newest


class Datasets:
    """What runs learn from: the texts of a library, and points.

    The last few texts are kept in memory, so that a new run on one starts at once. A text is read, learnt from and
    encoded in a thread of its own, once for all who ask for the same; nobody else waits meanwhile.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._kept: dict[Hashable, Corpus] = {}  # the newest last
        self._jobs = Jobs()
        self._lock = threading.Lock()  # of the dictionary alone: held while nothing is done

    def load(self, config: RunConfig, report: Report = unheard) -> Corpus | Points:
        """What a run with `config` learns from; InputError says what is wrong with it.

        `report` is told how far the reading is, and may raise to give up.
        """
        return self.load_corpus(config, report=report) if config.reads_text else Points.of(config)

    def load_corpus(self, config: RunConfig, bounds: Bounds | None = BOUNDS, report: Report = unheard) -> Corpus:
        """The text that `config` names, split and encoded; InputError says what is wrong with it.

        bounds: of a tokenizer that is learnt from it.
        """
        learnt = (config.vocab_size, bounds) if config.tokenizer == "bpe" else None
        split = config.val_fraction, config.test_fraction
        key = (config.corpus, *split, config.tokenizer, learnt, self._library.version)
        if (kept := self._find(key)) is not None:
            return kept

        def read(report: Report) -> Corpus:
            if (kept := self._find(key)) is not None:  # another's work ended between the look above and this
                return kept
            text, entry = self._library.load_name(config.corpus, report)
            corpus = encoded_corpus(text, entry, config, bounds=bounds, report=report)
            self._keep(key, corpus)
            return corpus

        job = self._jobs.joined(key, read)
        try:
            return job.follow(report)
        finally:
            job.leave()

    def load_stored(self, stored: StoredRun, report: Report = unheard) -> Corpus | Points:
        """What a stored run learnt from; InputError if that text is gone or is another one now."""
        config, _ = reader.configuration(stored)
        records = reader.recorded_texts(stored)
        if len(records) == 1:  # often the one that is in memory
            with suppress(InputError):
                dataset = self.load_corpus(config, stored_bounds(stored), report)
                if dataset.sha256 == records[0].get("sha256"):
                    return dataset
        return stored_dataset(stored, self._library, report)

    def close(self, timeout: float) -> bool:
        """End all reading; False if some goes on after `timeout` seconds."""
        return self._jobs.close(timeout)

    def _find(self, key: Hashable) -> Corpus | None:
        with self._lock:
            if (found := self._kept.pop(key, None)) is not None:
                self._kept[key] = found
            return found

    def _keep(self, key: Hashable, corpus: Corpus) -> None:
        with self._lock:
            self._kept[key] = corpus
            while len(self._kept) > MOST_KEPT or sum(map(_size, list(self._kept.values())[:-1])) > MOST_KEPT_BYTES:
                del self._kept[next(iter(self._kept))]


def _size(corpus: Corpus) -> int:
    """Bytes of its tokens."""
    return sum(part.nbytes for part in (corpus.train, corpus.val, corpus.test))


def encoded_corpus(
    text: str,
    entry: TextEntry,
    config: RunConfig,
    former: Corpus | None = None,
    bounds: Bounds | None = BOUNDS,
    report: Report = unheard,
) -> Corpus:
    """A text of the library, split and encoded as `config` says; InputError where its tokenizer is not here.

    With a `former` text its tokenizer is used, whatever `config` says. bounds: of a tokenizer that is learnt.
    """
    return Corpus.of(
        text,
        name=entry.name,
        title=entry.title,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        tokenizer=None if former is not None else make_tokenizer(text, config, bounds, report),
        source=entry.source,
        licence=entry.licence,
        former=former,
        report=report,
    )


def stored_bounds(stored: StoredRun) -> Bounds | None:
    """How the tokenizer of a stored run was learnt; None for one from before there were bounds, or not learnt."""
    told = next((text.get("tokenizer") for text in reader.recorded_texts(stored)), None)
    return None if told is None else Bounds.read(told)


def stored_dataset(stored: StoredRun, library: Library | None = None, report: Report = unheard) -> Corpus | Points:
    """What a stored run learnt from, with all that it was fine-tuned away from; InputError if a text is not here."""
    config, _ = reader.configuration(stored)
    if not config.reads_text:
        return Points.of(config)
    corpus: Corpus | None = None
    for text, entry in recorded_texts(library or Library(home()), stored, report):
        corpus = encoded_corpus(text, entry, config, corpus, stored_bounds(stored), report)
    assert corpus is not None
    return corpus


def make_tokenizer(
    text: str, config: RunConfig, bounds: Bounds | None = BOUNDS, report: Report = unheard
) -> Tokenizer | None:
    """The tokenizer that `config` names: None for characters; bpe learns from the training split of `text` alone."""
    if config.tokenizer == "gpt2":
        return gpt2.tokenizer(home())
    if config.tokenizer == "bpe":
        train_end, _ = split_ends(len(text), config.val_fraction, config.test_fraction)
        return ByteTokenizer.train_on(text[:train_end], config.vocab_size, bounds, report)
    return None
