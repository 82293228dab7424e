"""A run without a screen: its numbers against independent ones, its files, its words, its pace."""

import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engine.__main__ import main
from engine.cli import follow, new_run
from engine.cli.result import WARM, RunTotals
from engine.config import DEFAULT_CORPUS, changed
from engine.presets import preset
from engine.runs.cost import check_memory
from engine.runs.run import Run
from engine.storage.reader import read_history, read_run
from engine.stream.messages import Observation, Scalars
from engine.text.corpus import Corpus
from engine.training.trainer import Trainer
from tests.cli.conftest import TEXT

ROOT = Path(__file__).resolve().parent.parent.parent
SHAKESPEARE = Path(os.environ.get("LOOPSCOPE_CORPORA") or ROOT.parent / "shared" / "corpora") / "tinyshakespeare.txt"
KEYS = {
    "run", "state", "step", "initial_loss", "train_loss", "val_loss", "tokens_seen", "parameters",
    "steps_per_second", "message",
}  # fmt: skip


def lines_of(capsys):
    captured = capsys.readouterr()
    return captured.out.splitlines(), captured.err.splitlines()


def trained(capsys, *words):
    """The final object of a run in this process, which must end well."""
    assert main(["train", "--json", *map(str, words)]) == 0
    out, _ = lines_of(capsys)
    return json.loads(out[-1])


def test_a_run_leaves_its_object_and_its_files(data_home, text, tmp_path, capsys):
    out = tmp_path / "deep" / "down"
    result = trained(
        capsys, "--preset", "gpt-tiny", "--max-steps", 5, "--block-size", 16, "--corpus", text, "--out", out
    )
    assert result.keys() >= KEYS
    assert (result["state"], result["step"], result["tokens_seen"]) == ("done", 5, 5 * 16 * 16)
    assert abs(result["initial_loss"] - np.log(len(set(TEXT)))) < 0.5
    assert result["train_loss"] < result["initial_loss"]
    assert result["val_loss"] > 0
    assert result["steps_per_second"] > 0
    assert "test_split_loss" not in result
    assert json.loads((out / "result.json").read_text()) == result | {"error": None}
    kept = json.loads((out / "config.json").read_text())
    assert kept["config"]["block_size"] == 16
    assert kept["settings"]["max_steps"] == 5
    assert kept["environment"]["torch"] == torch.__version__
    assert "path" not in kept["environment"]["corpus"], "a folder that is given away names nobody's home"
    assert kept["environment"]["corpus"]["sha256"] == hashlib.sha256(TEXT.encode()).hexdigest()
    assert not (data_home / "runs").exists()


def test_the_losses_are_the_trainers_bit_for_bit(data_home, text, capsys):
    result = trained(capsys, "--max-steps", 20, "--corpus", text, "--seed", 3)
    losses = []
    trainer = make_trainer("bigram", text, 20, losses.append, seed=3)
    for _ in range(20):
        trainer.advance()
    losses = [record.loss for record in losses if isinstance(record, Scalars)]
    assert (result["initial_loss"], result["train_loss"]) == (losses[0], losses[-1])
    assert result["val_loss"] == trainer.observer.val_loss
    assert (data_home / "runs" / result["run"] / "result.json").is_file()


def make_trainer(name, text, steps, emit=lambda record: None, **structure):
    start = preset(name)
    config = changed(start.config, **structure)
    settings = changed(start.settings, max_steps=steps, speed="unlimited")
    return Trainer(config, settings, Corpus.of(text.read_text(encoding="utf-8")), emit)


def test_exact_split_losses_of_the_bigram_are_means_over_its_pairs(data_home, text, capsys):
    result = trained(capsys, "--max-steps", 30, "--corpus", text, "--evaluate")
    trainer = make_trainer("bigram", text, 30)
    for _ in range(30):
        trainer.advance()
    table = trainer.model.token_embedding.weight.detach().double().numpy()
    surprise = np.log(np.exp(table).sum(axis=1))[:, None] - table
    for split, data in trainer.dataset.splits.items():
        ids = data.long().numpy()
        assert result[f"{split}_split_loss"] == pytest.approx(surprise[ids[:-1], ids[1:]].mean(), abs=1e-6)


def test_exact_split_losses_of_a_gpt_take_each_target_once(data_home, text, capsys):
    result = trained(
        capsys, "--preset", "gpt-tiny", "--block-size", 7, "--max-steps", 3, "--corpus", text, "--evaluate"
    )
    trainer = make_trainer("gpt-tiny", text, 3, block_size=7)
    for _ in range(3):
        trainer.advance()
    model = trainer.model.eval().double()
    for split, data in trainer.dataset.splits.items():
        ids, surprise = data.long(), []
        for start in range(0, len(ids) - 1, 7):
            part = ids[start : start + 8]
            with torch.no_grad():
                scores = model.logits(part[None, :-1])[0]
            surprise += (-F.log_softmax(scores, -1)[range(len(part) - 1), part[1:]]).tolist()
        assert len(surprise) == len(ids) - 1
        assert result[f"{split}_split_loss"] == pytest.approx(float(np.mean(surprise)), abs=1e-5)


def test_an_absent_split_has_no_loss(data_home, text, capsys):
    result = trained(capsys, "--preset", "lecture", "--max-steps", 2, "--corpus", text, "--evaluate")
    assert result["test_split_loss"] is None
    assert result["val_split_loss"] > 0


def test_without_json_people_read_a_summary(data_home, text, capsys):
    assert main(["train", "--max-steps", "2", "--corpus", str(text)]) == 0
    out, err = lines_of(capsys)
    assert out[0] == "bigram on quay: done at step 2"
    assert "parameters" in " ".join(out)
    assert err == ["bigram: done at step 2"]


def test_the_lecture_learns_from_the_default_text_where_shakespeare_is_not_here(data_home, capsys):
    assert main(["train", "--preset", "lecture", "--max-steps", "1", "--json"]) == 0
    out, err = lines_of(capsys)
    assert out[0].startswith("xb = tensor([[")
    assert sum("fetch tiny-shakespeare" in line for line in err) == 1
    result = json.loads(out[-1])
    kept = json.loads((data_home / "runs" / result["run"] / "config.json").read_text())
    assert kept["config"]["corpus"] == DEFAULT_CORPUS


def test_divergence_is_exit_1(data_home, text, capsys):
    words = ["train", "--lr", "1e6", "--weight-decay", "0.1", "--max-steps", "2000", "--json", "--corpus", str(text)]
    assert main(words) == 1
    out, err = lines_of(capsys)
    result = json.loads(out[-1])
    assert result["state"] == "diverged"
    assert result["message"].startswith("diverged at step ")
    assert len(err) == 1
    assert "lower the learning rate" in err[0]


def test_an_absurd_loss_is_warned_of_once(data_home, text, capsys):
    result = trained(capsys, "--lr", 1e6, "--weight-decay", 0, "--max-steps", 3000, "--corpus", text)
    assert "a lower learning rate" in result["warning"]


def test_numbers_that_json_cannot_hold_are_null(data_home, text, monkeypatch, capsys):
    monkeypatch.setattr(RunTotals, "steps_per_second", float("nan"))
    assert trained(capsys, "--max-steps", 1, "--corpus", text)["steps_per_second"] is None


def test_a_failed_run_says_so_in_one_line_and_keeps_its_traceback(data_home, text, tmp_path, monkeypatch, capsys):
    def fail(self):
        raise RuntimeError("the floor\ngave way")

    monkeypatch.setattr(Trainer, "backward", fail)
    words = ["train", "--corpus", str(text), "--out", str(tmp_path / "run"), "--json", "--evaluate"]
    assert main(words) == 1
    out, err = lines_of(capsys)
    assert json.loads(out[-1])["state"] == "failed"
    assert json.loads(out[-1])["val_split_loss"] is None
    assert len(err) == 1
    assert "the floor gave way" in err[0]
    assert "result.json" in err[0]
    assert "in fail" in json.loads((tmp_path / "run" / "result.json").read_text())["error"]


@pytest.mark.skipif(not SHAKESPEARE.is_file(), reason=f"tiny shakespeare is not at {SHAKESPEARE}")
@pytest.mark.parametrize(
    ("name", "loss", "batch"),
    [("lecture", 4.878634929656982, "24, 43, 58,  5"), ("document-003", 4.894843, "53, 59,  6,  1")],
)
def test_the_printed_numbers_come_out(name, loss, batch, data_home, capsys):
    words = ["train", "--preset", name, "--corpus", str(SHAKESPEARE), "--max-steps", "100", "--json"]
    assert main(words) == 0
    out = capsys.readouterr().out
    result = json.loads(out.splitlines()[-1])
    assert result["initial_loss"] == pytest.approx(loss, abs=1e-5)
    if name == "lecture":
        assert result["train_loss"] == pytest.approx(4.65630578994751, abs=1e-5)
    assert batch in out
    assert f"loss = {loss:.6f}" in out
    assert (
        "\nSKIcLT;AcELMoTbvZv C?nq-QE33:CJqkOKH-q;:la!oiywkHjgChzbQ?u!3bLIgwevmyFJGUGp\nwnYWmnxKWWev-tDqXErVKLgJ\n"
        in out
    )


# ---------------------------------------------------------------- pace


def test_the_pace_is_wall_time_after_the_100th_step():
    totals = RunTotals()
    for now, step in ((0.0, 0), (5.0, 99), (6.0, 110), (7.0, 610), (8.0, 1110)):
        totals.reached(now, step)
    assert totals.steps_per_second == 500.0


def test_the_pace_of_a_short_run_is_that_of_its_steps():
    totals = RunTotals()
    assert totals.steps_per_second is None
    totals.add([Scalars(step, 3.0, 1.0, 0.1, 0.5) for step in range(1, WARM + 1)])
    assert totals.steps_per_second == pytest.approx(2.0)
    totals.add([Scalars(WARM + 1, 2.5, 1.0, 0.1, 0.25), Observation(WARM + 1, {"val/loss": 2.75}, {})])
    assert totals.steps_per_second == pytest.approx(4.0)
    assert (totals.initial_loss, totals.loss, totals.val_loss) == (3.0, 2.5, 2.75)


def test_looks_close_in_on_the_goal():
    assert follow.seconds_to_next_poll((0.0, 0), (1.0, 0), 100) == follow.FIRST_POLL
    assert follow.seconds_to_next_poll((0.0, 0), (1.0, 1000), 10**6) == follow.POLL_SECONDS
    assert follow.seconds_to_next_poll((0.0, 0), (1.0, 1000), 1020) == pytest.approx(0.01)
    assert follow.seconds_to_next_poll((0.0, 0), (1.0, 1000), 1000) == follow.SHORTEST_POLL


def test_following_a_run_takes_little_of_its_time(data_home, text):
    start = preset("bigram")
    settings = changed(start.settings, speed="unlimited", max_steps=2000)
    run = Run(start.config, settings, Corpus.of(TEXT))
    try:
        assert run.wait(60)
        mine, ours = time.thread_time(), time.process_time()
        follow.follow(run, RunTotals())
        mine, ours = time.thread_time() - mine, time.process_time() - ours
    finally:
        run.close()
    assert mine < 0.05 * ours


def test_document_002_reports_passes_and_no_tokens(data_home, capsys):
    result = trained(capsys, "--preset", "document-002")
    assert result["tokens_seen"] is None and result.keys() >= KEYS
    assert main(["train", "--preset", "document-002"]) == 0
    out, _ = lines_of(capsys)
    (size,) = [line for line in out if line.startswith("  size")]
    assert "18 parameters, 5 passes over the data" in size
    assert not any("token" in line for line in out)


def parameters_of(tokens, block_size, blocks, width):
    """Those of a GPT without biases in queries, keys and values, and with a head of its own."""
    attention = 3 * width**2 + width**2 + width
    block = attention + 2 * 4 * width**2 + 4 * width + width + 2 * 2 * width
    return 2 * tokens * width + block_size * width + blocks * block + 2 * width


def test_a_gpt_by_its_sizes_says_its_parameters(data_home, text, capsys, monkeypatch):
    def flags(*sizes):
        names = ("n-layer", "n-head", "n-embd", "block-size")
        return [word for name, value in zip(names, sizes, strict=True) for word in (f"--{name}", value)]

    tokens = len(set(TEXT))
    few = ("--max-steps", 1, "--batch-size", 1, "--corpus", text)
    result = trained(capsys, "--model", "gpt", *flags(3, 2, 16, 8), *few)
    assert result["parameters"] == parameters_of(tokens, 8, 3, 16)
    asked = []
    monkeypatch.setattr(new_run, "train_new", lambda options, processes: asked.append(options) or 0)
    assert main(["train", *map(str, ("--model", "gpt", *flags(6, 6, 384, 256), *few))]) == 0  # seconds a step
    corpus = Corpus.of(TEXT * 30)
    assert check_memory(asked[0].config, asked[0].settings, corpus)[0] == parameters_of(tokens, 256, 6, 384)
    assert parameters_of(65, 256, 6, 384) == 10_788_864


def test_a_run_in_bfloat16_says_so(data_home, text, tmp_path, capsys):
    tiny = ("--preset", "gpt-tiny", "--max-steps", 2, "--block-size", 8, "--corpus", text)
    results = {}
    for kind in ("bfloat16", "float32", "auto"):
        results[kind] = trained(capsys, *tiny, "--device", "cpu", "--precision", kind, "--out", tmp_path / kind)
        stored = read_run(tmp_path / kind)
        assert stored.config.precision == kind
        told = [event.text for event in read_history(stored).events if event.name == "precision"]
        assert told == (["matrices are multiplied in bfloat16 on cpu"] if kind == "bfloat16" else [])
    assert results["auto"]["train_loss"] == results["float32"]["train_loss"] != results["bfloat16"]["train_loss"]
    assert main(["train", "--precision", "double"]) == 2
    _, said = lines_of(capsys)
    assert len(said) == 1 and "precision 'double' is not possible; choose 'auto', 'float32' or 'bfloat16'" in said[0]
