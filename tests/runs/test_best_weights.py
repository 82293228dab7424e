"""Which weights count: the best by validation are kept, tested once, and asked for by name; patience ends a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.__main__ import main
from engine.config import LiveSettings, RunConfig
from engine.models.base import LanguageModel
from engine.progress import Cancelled
from engine.storage import reader
from engine.text.corpus import Corpus
from engine.training.evaluation import mean_loss, split_loss
from engine.training.trainer import Trainer

# A table learns so little text by heart within a hundred steps, and its validation loss turns.
FLAGS = [
    "--model",
    "bigram",
    "--block-size",
    "8",
    "--epochs",
    "30",
    "--eval-every",
    "5",
    "--eval-batches",
    "2",
    "--lr",
    "0.3",
    "--batch-size",
    "4",
]
CONFIG = RunConfig(preset="bigram", block_size=8, epochs=30, eval_every=5, eval_batches=2)
SETTINGS = LiveSettings(lr=0.3, batch_size=4)


@pytest.fixture
def text(play: str, tmp_path: Path) -> Path:
    path = tmp_path / "short.txt"
    path.write_text(play[:1500], encoding="utf-8")
    return path


def looks_by_hand(text: Path) -> tuple[Corpus, list[tuple[float, int]], dict[int, dict[str, torch.Tensor]]]:
    """Validation loss and step of each look, and the weights at each, from a loop of this test's own."""
    corpus = Corpus.of(text.read_text(encoding="utf-8"), "short")
    trainer = Trainer(CONFIG, SETTINGS, corpus, lambda _: None)
    assert isinstance(trainer.model, LanguageModel)
    batches = corpus.val_batches(CONFIG, SETTINGS.batch_size, torch.device("cpu"))
    looks, weights = [], {}
    last = 30 * corpus.steps_per_epoch(8, 4)
    for step in range(last + 1):
        if step % 5 == 0 or step == last:
            weights[step] = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
            looks.append((mean_loss(trainer.model, batches), step))
        trainer.advance()
    return corpus, looks, weights


def trained(text: Path, folder: Path, capsys: Any, *flags: str) -> dict[str, Any]:
    """What `train --json` says of a run on `text`."""
    assert main(["train", "--corpus", str(text), "--out", str(folder), "--json", *FLAGS, *flags]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return told


def exact(corpus: Corpus, weights: dict[str, torch.Tensor], split: str) -> float:
    trainer = Trainer(CONFIG, SETTINGS, corpus, lambda _: None)
    model = trainer.model.load_weights(weights)
    assert isinstance(model, LanguageModel)
    return split_loss(model, corpus.splits[split], 8)


def test_the_best_weights_are_tested_once_and_named_beside_the_last(text: Path, tmp_path: Path, capsys: Any) -> None:
    corpus, looks, weights = looks_by_hand(text)
    best, last = min(looks), looks[-1]
    assert best[1] not in (0, last[1]) and last[0] > best[0] + 0.05, "validation turns within this run"
    told = trained(text, tmp_path / "run", capsys)
    assert (told["state"], told["step"]) == ("done", last[1])
    assert (told["best_val_loss"], told["best_val_step"]) == pytest.approx(best)
    assert told["val_loss"] == pytest.approx(last[0])
    assert told["test_step"] == best[1]
    assert told["test_loss"] == pytest.approx(exact(corpus, weights[best[1]], "test"), rel=1e-6)
    stored = reader.open_run(str(tmp_path / "run"))
    tested = [one.text for one in reader.read_history(stored).events if one.name == "test"]
    assert tested == [f"test loss {told['test_loss']:.4f} with the weights of step {best[1]:,}, the best by validation"]


def test_evaluate_sample_and_export_take_best_last_or_a_step(text: Path, tmp_path: Path, capsys: Any) -> None:
    corpus, looks, weights = looks_by_hand(text)
    folder = str(tmp_path / "run")
    last = trained(text, tmp_path / "run", capsys)["step"]
    for at, step in (("best", min(looks)[1]), ("last", last), ("35", 35)):
        assert main(["evaluate", folder, "--at", at, "--json"]) == 0
        told = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert told["step"] == step
        assert told["loss"] == pytest.approx(exact(corpus, weights[step], "val"), rel=1e-6)
        assert main(["export", folder, "--at", at, "--weights", str(tmp_path / "w.safetensors")]) == 0
        assert torch.equal(
            load_file(tmp_path / "w.safetensors")["token_embedding.weight"], weights[step]["token_embedding.weight"]
        )
    capsys.readouterr()
    texts = set()
    for at in ("best", "last", "0"):
        assert main(["sample", folder, "--at", at, "--seed", "3"]) == 0
        texts.add(capsys.readouterr().out)
    assert len(texts) == 3
    for wrong in ("worst", "-1", str(last + 1), "1.5"):
        assert main(["evaluate", folder, f"--at={wrong}"]) == 2
        assert f"choose best, last, or a step from 0 to {last:,}" in capsys.readouterr().err
    assert main(["export", folder]) == 2
    assert "--csv FILE or --weights FILE" in capsys.readouterr().err


def test_the_test_at_the_end_tells_how_far_it_is_and_may_be_ended(text: Path) -> None:
    corpus = looks_by_hand(text)[0]
    trainer = Trainer(CONFIG, SETTINGS, corpus, lambda _: None)
    heard: list[tuple[int, int]] = []

    def report(_: str, done: int, total: int) -> None:
        heard.append((done, total))
        if len(heard) == 2:
            raise Cancelled("enough")

    trainer.observer.test(report)
    assert trainer.observer.test_loss is None and heard[0] == (0, len(corpus.test) - 1) and heard[1][0] > 0
    trainer.observer.test()
    assert trainer.observer.test_loss == pytest.approx(split_loss(trainer.model, corpus.test, 8), rel=1e-6)


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_stops_at_the_look_that_a_hand_count_gives(
    text: Path, tmp_path: Path, capsys: Any, patience: int
) -> None:
    _, looks, _ = looks_by_hand(text)
    best, since, end = looks[0], 0, None
    for loss, step in looks[1:]:
        best, since = ((loss, step), 0) if loss < best[0] else (best, since + 1)
        if since == patience:
            end = step
            break
    assert end is not None
    told = trained(text, tmp_path / "run", capsys, "--patience", str(patience))
    assert (told["state"], told["step"], told["best_val_step"], told["test_step"]) == ("stopped", end, best[1], best[1])
    assert f"no lower validation loss in {patience} " in told["message"]
    assert main(["resume", str(tmp_path / "run"), "--json"]) == 0  # goes on, with new patience
    resumed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert resumed["step"] > end and resumed["test_loss"] == told["test_loss"]


def test_patience_counts_on_after_a_resume(text: Path, tmp_path: Path, capsys: Any) -> None:
    whole = trained(text, tmp_path / "whole", capsys, "--patience", "3")
    early = str(whole["step"] - 7)
    trained(text, tmp_path / "cut", capsys, "--patience", "3", "--max-steps", early)
    assert main(["resume", str(tmp_path / "cut"), "--max-steps", "100000", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["best_val_step"] == whole["best_val_step"]
    assert told["state"] == "stopped" and told["step"] >= whole["step"]


def test_patience_off_is_off(text: Path, tmp_path: Path, capsys: Any) -> None:
    assert trained(text, tmp_path / "run", capsys, "--patience", "off")["state"] == "done"
