"""Several processes make the steps of one with the whole batch; here they are threads, so that many cases are cheap."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.__main__ import main
from engine.cli.worker import begin_together
from engine.config import LiveSettings, RunConfig, changed
from engine.distributed.place import Place, is_worker, place_here
from engine.errors import InputError
from engine.stream.messages import Scalars
from engine.text.bpe import ByteTokenizer
from engine.text.corpus import Corpus
from engine.text.points import Points
from engine.training.state import restore, take_snapshot
from engine.training.trainer import Trainer
from tests.distributed.in_threads import InThreads, Meeting, workers_beside

BIGRAM = RunConfig(model="bigram", device="cpu", seed=3)
GPT = RunConfig(model="gpt", device="cpu", seed=3, block_size=12, n_layer=2, n_head=2, n_embd=16, dropout=0.0)
KNOBS = LiveSettings(batch_size=32, lr=0.01, max_steps=1000)
STEPS = 24


def make_steps(trainer, steps, turns):
    for step in range(steps):
        for at, settings in turns:
            if at == step:
                trainer.tune(settings)
        trainer.advance()


def losses_alone(config, knobs, dataset, steps, turns=()):
    records = []
    trainer = Trainer(config, knobs, dataset, records.append)
    make_steps(trainer, steps, turns)
    return [r.loss for r in records if isinstance(r, Scalars)], trainer


def losses_together(size, config, knobs, dataset, steps, turns=(), snapshot=None):
    records = []
    with workers_beside(size) as first:
        begin_together(first, config, knobs, dataset, snapshot=snapshot)
        trainer = Trainer(config, knobs, dataset, records.append, "cpu", first)
        if snapshot is not None:
            restore(trainer, snapshot)
        make_steps(trainer, steps, turns)
    return [r.loss for r in records if isinstance(r, Scalars)], trainer


CASES = {
    "bigram": (2, BIGRAM, KNOBS),
    "gpt": (2, GPT, KNOBS),
    "three share a batch that does not come out even": (3, GPT, changed(KNOBS, batch_size=10)),
    "fewer windows than processes": (4, BIGRAM, changed(KNOBS, batch_size=4)),
    "micro-batches of each share": (2, GPT, changed(KNOBS, batch_size=15, micro_batches=3)),
    "sgd with momentum": (2, changed(BIGRAM, optimizer="sgd", momentum=0.9), KNOBS),
    "muon": (2, changed(GPT, optimizer="muon"), KNOBS),
    "clipped": (2, GPT, changed(KNOBS, grad_clip=0.1)),
    "by epochs": (2, changed(BIGRAM, epochs=5, block_size=8), changed(KNOBS, batch_size=20)),
    "schedule": (2, GPT, changed(KNOBS, schedule="cosine", warmup_steps=10, max_steps=STEPS)),
    "bytes joined by pairs": (2, changed(BIGRAM, tokenizer="bpe", vocab_size=300), KNOBS),
    "tied weights": (2, changed(GPT, tie_weights=True, optimizer="sgd"), changed(KNOBS, lr=0.1)),
}


@pytest.mark.parametrize("case", CASES)
def test_n_processes_make_the_losses_of_one_with_the_whole_batch(case, corpus: Corpus) -> None:
    size, config, knobs = CASES[case]
    if config.tokenizer == "bpe":
        text = "".join(corpus.tokenizer.decode(corpus.train[:20_000]))
        corpus = Corpus.of(text, tokenizer=ByteTokenizer.train_on(text, config.vocab_size))
    lower = changed(knobs, lr=knobs.lr / 3)
    fewer = changed(lower, batch_size=knobs.batch_size - 2)
    alone, one = losses_alone(config, knobs, corpus, STEPS, [(8, lower), (16, fewer)])
    together, first = losses_together(size, config, knobs, corpus, STEPS, [(8, lower), (16, fewer)])
    assert together == pytest.approx(alone, abs=1e-4 if config.optimizer == "muon" else 1e-5)
    assert first.tokens_seen == one.tokens_seen


def test_a_line_through_fewer_points_than_processes() -> None:
    config = RunConfig(model="line", device="cpu")
    knobs, points = LiveSettings(lr=0.01, max_steps=100), Points.of(config)
    alone, _ = losses_alone(config, knobs, points, 20)
    together, _ = losses_together(4, config, knobs, points, 20)
    assert together == pytest.approx(alone, rel=1e-5)


def test_a_run_goes_on_with_more_processes_fewer_or_one_in_the_same_order_of_windows(corpus: Corpus) -> None:
    alone, _ = losses_alone(GPT, KNOBS, corpus, 40)
    first, trainer = losses_together(2, GPT, KNOBS, corpus, 20)
    snapshot = take_snapshot(trainer)
    for size in (2, 3):
        later, _ = losses_together(size, GPT, KNOBS, corpus, 20, snapshot=snapshot)
        assert first + later == pytest.approx(alone, abs=1e-5)
    records = []
    one = Trainer(GPT, KNOBS, corpus, records.append)
    restore(one, snapshot)
    for _ in range(20):
        one.advance()
    assert first + [r.loss for r in records if isinstance(r, Scalars)] == pytest.approx(alone, abs=1e-5)


def test_dropout_is_each_processs_own_and_the_same_after_a_resume(corpus: Corpus) -> None:
    config = changed(GPT, dropout=0.3)
    whole, _ = losses_together(3, config, KNOBS, corpus, 20)
    first, trainer = losses_together(3, config, KNOBS, corpus, 10)
    later, _ = losses_together(3, config, KNOBS, corpus, 10, snapshot=take_snapshot(trainer))
    assert first + later == whole, "bit for bit"


def test_a_step_that_diverges_is_withheld_in_all_processes(corpus: Corpus) -> None:
    bad = changed(KNOBS, lr=1e7)
    _, one = losses_alone(changed(GPT, optimizer="sgd"), bad, corpus, 4)
    _, first = losses_together(2, changed(GPT, optimizer="sgd"), bad, corpus, 4)
    assert first.recorder.diverged and one.recorder.diverged
    assert first.step == one.step
    assert all(torch.isfinite(p).all() for p in first.model.parameters())


def test_settings_travel_only_when_they_change(corpus: Corpus) -> None:
    with workers_beside(2) as first:
        begin_together(first, BIGRAM, KNOBS, corpus)
        trainer = Trainer(BIGRAM, KNOBS, corpus, list, "cpu", first)
        for _ in range(20):
            trainer.advance()
        assert first.said == 2, "the beginning, and the first settings"
        trainer.tune(changed(KNOBS, lr=0.5))
        for _ in range(20):
            trainer.advance()
        assert first.said == 3


@given(windows=st.integers(1, 200), size=st.integers(1, 40))
def test_shares_are_the_whole_batch_in_its_order_and_differ_by_one_window_at_most(windows: int, size: int) -> None:
    batch = torch.arange(windows)
    parts = [InThreads(rank, size, Meeting(1)).share(batch, batch) for rank in range(size)]
    dealt = [inputs for inputs, _, share in parts if share]
    assert torch.equal(torch.cat(dealt), batch)
    assert sum(share for _, _, share in parts) == pytest.approx(1)
    assert all(len(inputs) for inputs, _, _ in parts)
    counts = [round(share * windows) for _, _, share in parts]
    assert max(counts) - min(counts) <= 1


TOO_MANY = "batch_size 3 is smaller than the 4 processes that share it; choose at least 4, or start fewer processes"


def test_a_batch_smaller_than_the_processes_is_refused_with_value_bound_and_remedy(monkeypatch) -> None:
    four = InThreads(0, 4, Meeting(1))
    with pytest.raises(InputError, match=TOO_MANY):
        four.check(3, torch.device("cpu"))
    four.check(4, torch.device("cpu"))
    four.check(None, torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="4 processes on this machine are more than its 2 GPUs; start at most 2"):
        four.check(64, torch.device("cuda"))


SET = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


def test_torchruns_variables_say_which_process_this_is() -> None:
    assert place_here(SET) == Place(rank=1, size=4, local_rank=1, local_size=2)
    assert is_worker(SET) and not is_worker({**SET, "RANK": "0", "LOCAL_RANK": "0"})
    for alone in ({}, {"RANK": "0", "WORLD_SIZE": "1"}, {"LOCAL_RANK": "0"}):
        assert place_here(alone) is None and not is_worker(alone)


@pytest.mark.parametrize(
    "wrong",
    [
        {"RANK": "0", "WORLD_SIZE": "2"},
        {"WORLD_SIZE": "8"},
        {"RANK": "3"},
        {**SET, "RANK": "4"},
        {**SET, "RANK": "-1"},
        {**SET, "WORLD_SIZE": "many"},
        {**SET, "LOCAL_RANK": "2"},
        {**SET, "LOCAL_WORLD_SIZE": "5"},
    ],
)
def test_variables_that_do_not_fit_are_refused_in_one_line(wrong, monkeypatch, capsys, tmp_path) -> None:
    with pytest.raises(InputError, match="start the run with torchrun, or unset them"):
        place_here(wrong)
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    assert main(["train", "--max-steps", "2"]) == 2
    told = capsys.readouterr()
    assert (told.out, len(told.err.splitlines())) == ("", 1)
