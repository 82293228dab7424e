"""What a run would cost before it starts, and what is refused; document 001's size to the last number."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
import torch

from engine.__main__ import main
from engine.config import changed
from engine.errors import InputError
from engine.models.registry import build
from engine.presets import preset
from engine.runs.cost import (
    Cost,
    check_memory,
    computed_step_seconds,
    duration,
    estimate_cost,
    measured_step_seconds,
    memory_needed,
)
from engine.text.corpus import Corpus
from engine.training import device

DOCUMENT_001 = preset("document-001")
TINY = preset("gpt-tiny")


class Tokens:
    """As many tokens as GPT-2 has, without its files: a corpus that only says so."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size


def free(monkeypatch: pytest.MonkeyPatch, bytes_free: int) -> None:
    monkeypatch.setattr(device.psutil, "virtual_memory", lambda: SimpleNamespace(available=bytes_free))


def test_document_001_has_its_162_419_712_parameters() -> None:
    config, settings = changed(DOCUMENT_001.config, device="cpu"), DOCUMENT_001.settings
    assert (config.block_size, config.n_layer, config.n_head, config.n_embd) == (256, 12, 12, 768)
    assert (config.dropout, config.seed, config.epochs, config.tokenizer) == (0.1, 123, 10, "gpt2")
    assert (config.corpus, config.val_fraction, config.test_fraction) == ("the-verdict", 0.1, 0.1)
    assert (config.eval_every, config.eval_batches, config.sample_tokens) == (5, 5, 50)
    assert (config.sample_prompt, config.optimizer) == ("Every effort moves you", "adamw")
    assert (settings.lr, settings.weight_decay, settings.batch_size) == (4e-4, 0.1, 2)
    with torch.device("meta"):
        model = build(config, 50_257)
    assert model.parameter_count() == 162_419_712
    assert not any("qkv.bias" in name for name, _ in model.named_parameters())
    tied, wide = changed(config, tie_weights=True, block_size=1024), changed(config, block_size=1024)
    with torch.device("meta"):
        assert build(wide, 50_257).parameter_count() == 163_009_536
        assert build(tied, 50_257).parameter_count() == 124_412_160


def test_its_memory_is_weights_gradients_moments_and_a_batch() -> None:
    needed = memory_needed(DOCUMENT_001.config, DOCUMENT_001.settings, 162_419_712, 50_257)
    assert 4 * 4 * 162_419_712 < needed < 5e9


def test_what_does_not_fit_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    config = changed(DOCUMENT_001.config, device="cpu")
    free(monkeypatch, 2 * 10**9)
    with pytest.raises(InputError) as error:
        check_memory(config, DOCUMENT_001.settings, Tokens(50_257))  # type: ignore[arg-type]
    assert "GB of memory, and cpu has 2.0 GB free; end other programs, or make batch_size (now 2)" in str(error.value)
    free(monkeypatch, 8 * 10**9)
    parameters, needed = check_memory(config, DOCUMENT_001.settings, Tokens(50_257))  # type: ignore[arg-type]
    assert parameters == 162_419_712 and needed < 8e9


def test_a_table_of_all_pairs_of_a_large_vocabulary_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 16 * 10**9)
    start = preset("bigram")
    corpus = Corpus.of("ab" * 100)
    monkeypatch.setattr(Corpus, "vocab_size", 50_257)
    with pytest.raises(InputError, match="choose a text of fewer different tokens"):
        check_memory(changed(start.config, device="cpu"), start.settings, corpus)


def test_the_command_line_and_the_manager_refuse_it_too(monkeypatch, capsys, tmp_path, manager) -> None:
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path))
    free(monkeypatch, 10)
    assert main(["train", "--device", "cpu", "--max-steps", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("this run needs about 0.4 GB of memory")
    with pytest.raises(InputError, match="this run needs"):
        manager.start(changed(TINY.config, corpus="tiny", device="cpu"), TINY.settings)
    assert manager.current is None


def test_a_part_without_a_window_is_refused_with_advice() -> None:
    corpus = Corpus.of("some words, and no more of them. " * 40)  # 1,320 characters: 132 to validate on
    with pytest.raises(InputError, match=r"block_size 256 is longer than the 132-token .* split; choose at most 131"):
        corpus.check(DOCUMENT_001.config)


def test_small_models_are_timed_and_large_ones_reckoned(tiny: Corpus) -> None:
    small = estimate_cost(changed(TINY.config, device="cpu"), TINY.settings, tiny)
    assert 1e-5 < small.seconds_per_step < 1
    assert small.parameters == build(TINY.config, tiny.vocab_size).parameter_count()
    config, settings = changed(DOCUMENT_001.config, device="cpu"), DOCUMENT_001.settings
    one = computed_step_seconds(config, settings, 162_419_712, 50_257)
    two = computed_step_seconds(config, changed(settings, batch_size=4), 162_419_712, 50_257)
    assert 0 < one < two < 2 * one, "the optimizer's share does not grow with the batch"


def test_a_busy_interpreter_makes_no_estimate_long(tiny: Corpus) -> None:
    """Other threads hold it for 5 ms at a time, as while a server comes up."""
    start, ended = preset("bigram"), threading.Event()

    def work() -> None:
        while not ended.is_set():
            sum(range(1000))

    alone = measured_step_seconds(changed(start.config, device="cpu"), start.settings, tiny)
    others = [threading.Thread(target=work) for _ in range(4)]
    for other in others:
        other.start()
    try:
        beside = measured_step_seconds(changed(start.config, device="cpu"), start.settings, tiny)
    finally:
        ended.set()
        for other in others:
            other.join()
    assert beside < 100 * alone


def test_it_is_said_in_one_sentence() -> None:
    said = Cost(162_419_712, 4_100_000_000, 3.5).sentence(80)
    assert said == "162,419,712 parameters, about 4.1 GB of memory, 80 steps of about 3.5 s: about 5 min"
    assert [duration(seconds) for seconds in (0.1, 89, 200, 9000)] == ["1 s", "89 s", "3 min", "2.5 h"]
