"""Texts for runs: read once for all who ask, with nobody else waiting; and as they were for stored runs."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.config import LiveSettings, RunConfig, changed
from engine.errors import InputError
from engine.presets import preset
from engine.progress import Cancelled, Report, unheard
from engine.runs.datasets import MOST_KEPT, Datasets, stored_bounds, stored_dataset
from engine.runs.manager import RunManager
from engine.storage import manifest, reader
from engine.stream.status import State
from engine.text.bpe import BOUNDS, ByteTokenizer

LIVE = LiveSettings(max_steps=20, speed="unlimited")
BIGRAM = changed(preset("bigram").config, val_fraction=0.1, test_fraction=0.1)
DNA = "".join(random.Random(0).choices("ACGT", k=3000))


class Texts:
    """A library of two texts: "slow" is read while its gate is shut, "quick" at once."""

    version = 0

    def __init__(self) -> None:
        self.gate, self.reading = threading.Event(), threading.Event()
        self.read: list[str] = []

    def load_name(self, name: str, report: Report = unheard) -> tuple[str, SimpleNamespace]:
        self.read.append(name)
        if name == "missing":
            raise InputError("there is no text 'missing'")
        if name == "slow":
            self.reading.set()
            while not self.gate.wait(0.002):
                report("reading the text", 1, 2)
        return DNA, SimpleNamespace(name=name, title=name, source="", licence="", path=None)

    def start(self) -> None: ...

    def stop(self) -> None: ...


@pytest.fixture
def texts() -> Texts:
    return Texts()


@pytest.fixture
def manager(texts: Texts) -> Iterator[RunManager]:
    manager = RunManager(texts)  # type: ignore[arg-type]
    manager.open()
    yield manager
    texts.gate.set()
    manager.close(30)


def in_thread(work) -> tuple[threading.Thread, list]:
    """`work` under way in another thread, and what comes out of it."""
    out: list = []

    def run() -> None:
        try:
            out.append(work())
        except InputError as error:
            out.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, out


def test_no_lock_is_held_while_a_text_is_read_another_session_starts_meanwhile(manager, texts, wait_until) -> None:
    slow = changed(BIGRAM, corpus="slow", tokenizer="bpe", vocab_size=300)
    thread, out = in_thread(lambda: manager.prepare(slow, LIVE, replace=True))
    assert texts.reading.wait(30)
    run = manager.start(changed(BIGRAM, corpus="quick"), LIVE)
    wait_until(lambda: run.state is State.DONE)
    assert thread.is_alive() and not out
    texts.gate.set()
    thread.join(30)
    assert out[0].dataset.vocab_size == 300 and manager.current is out[0]


def test_two_sessions_that_ask_for_one_text_and_tokenizer_share_the_work(texts) -> None:
    datasets = Datasets(texts)
    slow = changed(BIGRAM, corpus="slow")
    waiting = [in_thread(lambda: datasets.load(slow)) for _ in range(4)]
    assert texts.reading.wait(30)
    texts.gate.set()
    for thread, _ in waiting:
        thread.join(30)
    (first, *others) = [out[0] for _, out in waiting]
    assert all(other is first for other in others) and texts.read == ["slow"]
    assert datasets.load(slow) is first and texts.read == ["slow"]


def test_one_who_cancels_takes_nothing_from_the_other(texts) -> None:
    datasets, slow = Datasets(texts), changed(BIGRAM, corpus="slow")

    def give_up(*_: object) -> None:
        raise Cancelled("enough")

    staying, stays = in_thread(lambda: datasets.load(slow))
    assert texts.reading.wait(30)
    leaving, left = in_thread(lambda: datasets.load(slow, give_up))
    leaving.join(30)
    assert isinstance(left[0], Cancelled) and staying.is_alive()
    texts.gate.set()
    staying.join(30)
    assert stays[0].characters == len(DNA) and texts.read == ["slow"]


def test_reading_that_nobody_waits_for_ends(texts, wait_until) -> None:
    datasets, slow = Datasets(texts), changed(BIGRAM, corpus="slow")

    def give_up(*_: object) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        datasets.load(slow, give_up)
    wait_until(lambda: not datasets._jobs._jobs)
    texts.gate.set()
    assert datasets.load(slow).characters == len(DNA)


def test_an_error_is_not_kept(texts) -> None:
    datasets = Datasets(texts)
    for _ in range(2):
        with pytest.raises(InputError, match="no text 'missing'"):
            datasets.load(changed(BIGRAM, corpus="missing"))
    assert texts.read == ["missing", "missing"]


def test_the_last_few_texts_are_kept(texts) -> None:
    datasets = Datasets(texts)
    splits = [changed(BIGRAM, corpus="quick", val_fraction=0.01 * part) for part in range(1, MOST_KEPT + 2)]
    for config in splits:
        datasets.load(config)
    assert datasets.load(splits[-1]) is datasets.load(splits[-1]) and len(texts.read) == len(splits)
    datasets.load(splits[0])
    assert len(texts.read) == len(splits) + 1 and len(datasets._kept) == MOST_KEPT


# ---------------------------------------------------------------- tokenizers of stored runs


@pytest.fixture
def stored_bpe(house: RunManager, tmp_path: Path, wait_until) -> Path:
    """The folder of a run that learnt tokens from a text without spaces."""
    house.library.folder.path.mkdir(parents=True, exist_ok=True)
    (house.library.folder.path / "dna.txt").write_text(DNA, encoding="utf-8")
    run = house.start(changed(BIGRAM, corpus="dna", tokenizer="bpe", vocab_size=300), changed(LIVE, max_steps=2))
    wait_until(lambda: run.state is State.DONE)
    house.flush(run)
    return tmp_path / "runs" / run.id


def test_a_run_folder_says_how_its_tokens_were_learnt(stored_bpe: Path, house: RunManager) -> None:
    stored = reader.open_run(stored_bpe.name)
    assert stored_bounds(stored) == BOUNDS
    assert stored_dataset(stored).tokenizer == house.current.dataset.tokenizer
    assert house.datasets.load_stored(stored) is house.current.dataset


def test_a_stored_run_from_before_there_were_bounds_keeps_its_tokens(stored_bpe: Path, house: RunManager) -> None:
    about = manifest.read(stored_bpe)
    del about["environment"]["corpus"]["tokenizer"]
    manifest.write(stored_bpe, about)
    stored = reader.open_run(stored_bpe.name)
    train = DNA[: len(DNA) * 8 // 10]
    for tokenizer in (stored_dataset(stored).tokenizer, house.datasets.load_stored(stored).tokenizer):
        assert tokenizer == ByteTokenizer.train_on(train, 300, None)
        assert tokenizer != ByteTokenizer.train_on(train, 300)


@pytest.mark.parametrize("told", ["x", [], {}, {"longest_word": 0, "learnt_from": 5}, {"longest_word": True},
                                  {"longest_word": 256, "learnt_from": 10**400}, {"longest_word": 256.0}])  # fmt: skip
def test_bounds_that_cannot_be_are_refused(stored_bpe: Path, told: object) -> None:
    about = manifest.read(stored_bpe)
    about["environment"]["corpus"]["tokenizer"] = told
    (stored_bpe / manifest.FILE).write_text(json.dumps({**about, "sha256": manifest._checksum(about)}), "utf-8")
    with pytest.raises(InputError, match="are not possible; they are at most 4,096 characters a word"):
        stored_dataset(reader.open_run(stored_bpe.name))


def test_a_config_has_no_bounds_of_its_own() -> None:
    assert "longest_word" not in RunConfig.model_fields
