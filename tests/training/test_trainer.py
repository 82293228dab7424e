"""The step, held against loops written the textbook's way.

`python -m tests.training.test_trainer`, from the project's root, makes reference_losses.json anew: the losses of
that textbook loop on the shipped play. Do so when the play, a preset or the way random numbers are drawn changes on
purpose.
"""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.config import LiveSettings, RunConfig, changed
from engine.generators import generator
from engine.models.base import LanguageModel
from engine.models.bigram import Bigram
from engine.models.gpt import GPT
from engine.presets import PRESETS
from engine.stream.messages import Observation, Record, Sample, Scalars
from engine.text.corpus import Corpus
from engine.training.evaluation import mean_loss, split_loss
from engine.training.trainer import STAGES, Trainer
from tests.plain import plain

HERE = Path(__file__).resolve().parent
REFERENCE = HERE / "reference_losses.json"
REFERENCE_STEPS = {"bigram": [1, 2, 10, 100, 500, 1000, 2000], "gpt-tiny": [1, 2, 10, 50, 100]}
RARE = {"observe_every": 10_000, "eval_every": 10_000, "sample_every": 10_000}
BIGRAM = RunConfig(preset="bigram", **RARE)
LIVE = LiveSettings()


def textbook(name: str, corpus: Corpus, steps: int, fused: bool) -> list[float]:
    """Losses of the preset `name` from a loop as the documents write it: slices stacked, nothing measured."""
    config, live = plain(name).config, plain(name).settings
    data, size = corpus.train.long(), config.block_size
    draws, weights = generator(config.seed, "data"), generator(config.seed, "weights")
    model: LanguageModel
    if config.model == "gpt":
        model = GPT(corpus.distinct, size, config.n_layer, config.n_head, config.n_embd, generator=weights)
    else:
        model = Bigram(corpus.distinct, weights)
    optimizer = torch.optim.AdamW(model.parameters(), lr=live.lr, weight_decay=live.weight_decay, fused=fused)
    losses = []
    for _ in range(steps):
        starts = torch.randint(len(data) - size, (live.batch_size,), generator=draws).tolist()
        inputs = torch.stack([data[i : i + size] for i in starts])
        targets = torch.stack([data[i + 1 : i + size + 1] for i in starts])
        logits = model(inputs)[0]
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        losses.append(loss.item())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return losses


class Recorded(Trainer):
    """A trainer that keeps what it emits."""

    def __init__(
        self, corpus: Corpus, config: RunConfig = BIGRAM, settings: LiveSettings = LIVE, device: str = "cpu"
    ) -> None:
        self.records: list[Record] = []
        super().__init__(config, settings, corpus, self.records.append, device)

    def make(self, steps: int) -> Recorded:
        for _ in range(steps):
            self.advance()
        self.settle()
        return self

    def rows(self) -> list[Scalars]:
        return [r for r in self.records if isinstance(r, Scalars)]

    def losses(self) -> list[float]:
        return [r.loss for r in self.rows()]

    def steps_with(self, name: str) -> list[int]:
        return [r.step for r in self.records if isinstance(r, Observation) and name in {**r.scalars, **r.tables}]


def preset_trainer(name: str, corpus: Corpus, device: str = "cpu") -> Recorded:
    start = plain(name)
    return Recorded(corpus, start.config, changed(start.settings, speed="unlimited"), device)


# ---------------------------------------------------------------- losses


@pytest.mark.parametrize(("name", "steps"), [("bigram", 150), ("gpt-tiny", 40)])
def test_losses_are_the_textbooks_bit_for_bit(corpus: Corpus, name: str, steps: int) -> None:
    assert preset_trainer(name, corpus).make(steps).losses() == textbook(name, corpus, steps, fused=True)


@pytest.mark.parametrize("name", REFERENCE_STEPS)
def test_losses_are_the_committed_ones(corpus: Corpus, device: str, name: str) -> None:
    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))
    assert reference["sha256"] == corpus.sha256, "the play has changed: run python -m tests.training.test_trainer"
    losses = preset_trainer(name, corpus, device).make(max(REFERENCE_STEPS[name])).losses()
    expected = {int(step): loss for step, loss in reference["losses"][name].items()}
    seen = {step: losses[step - 1] for step in expected}
    assert seen == pytest.approx(expected, rel=1e-5 if name == "bigram" and device == "cpu" else 2e-3)


def test_the_lecture_prints_its_losses(shakespeare: str) -> None:
    trainer = preset_trainer("lecture", Corpus.of(shakespeare, val_fraction=0.1, test_fraction=0.0))
    assert trainer.opening is not None
    assert trainer.opening.loss == pytest.approx(4.878634929656982, abs=1e-5)
    losses = trainer.make(10_000).losses()
    assert losses[99] == pytest.approx(4.65630578994751, abs=1e-5)
    assert losses[-1] == pytest.approx(2.382369041442871, abs=1e-5)


def test_document_003_prints_its_batch_loss_and_sample(shakespeare: str) -> None:
    trainer = preset_trainer("document-003", Corpus.of(shakespeare, val_fraction=0.1, test_fraction=0.0))
    opening = trainer.opening
    assert opening is not None
    assert opening.inputs.tolist() == [
        [53, 59, 6, 1, 58, 56, 47, 40],
        [49, 43, 43, 54, 1, 47, 58, 1],
        [13, 52, 45, 43, 50, 53, 8, 0],
        [1, 39, 1, 46, 53, 59, 57, 43],
    ]
    assert opening.loss == pytest.approx(4.894843, abs=1e-5)
    assert opening.sample.text == (
        "\nSKIcLT;AcELMoTbvZv C?nq-QE33:CJqkOKH-q;:la!oiywkHjgChzbQ?u!3bLIgwevmyFJGUGp\nwnYWmnxKWWev-tDqXErVKLgJ"
    )
    trainer.observer.show_start()
    assert [r for r in trainer.records if isinstance(r, Sample)] == [opening.sample]


def test_one_seed_one_curve(tiny: Corpus, device: str) -> None:
    first, second = (Recorded(tiny, device=device).make(20).losses() for _ in range(2))
    assert first == second
    assert Recorded(tiny, changed(BIGRAM, seed=7), device=device).make(20).losses() != first


# ---------------------------------------------------------------- stages


def test_nine_stages_one_by_one_are_one_step(corpus: Corpus, device: str) -> None:
    whole, parts, mixed = (preset_trainer("gpt-tiny", corpus, device) for _ in range(3))
    whole.make(6)
    for _ in range(6):
        assert tuple(parts.stage() for _ in STAGES) == STAGES
    for begun in (0, 1, 4, 6, 7, 8):
        for _ in range(begun):
            mixed.stage()
        mixed.advance()
    for other in (parts, mixed):
        other.settle()
        assert other.losses() == whole.losses() and (other.step, other.tokens_seen) == (6, 6 * 16 * 32)
        assert [r.grad_norm for r in other.rows()] == [r.grad_norm for r in whole.rows()]
        for mine, theirs in zip(other.parameters, whole.parameters, strict=True):
            assert torch.equal(mine, theirs)


def test_what_each_stage_does(tiny: Corpus) -> None:
    trainer = Recorded(tiny)
    weight = trainer.model.token_embedding.weight
    before = weight.detach().clone()
    assert trainer.stage() == "batch" and trainer.inputs.shape == trainer.targets.shape == (32, 8)
    assert torch.equal(trainer.inputs[:, 1:], trainer.targets[:, :-1]), "targets are the inputs one token later"
    assert trainer.stage() == "forward" and trainer.logits.shape == (32, 8, tiny.distinct)
    assert trainer.stage() == "loss" and trainer.loss.shape == () and weight.grad is None
    assert trainer.stage() == "backward" and weight.grad is not None
    slope = weight.grad.clone()
    assert trainer.stage() == "measure" and float(trainer.grad_norm) == pytest.approx(float(slope.norm()))
    assert trainer.stage() == "guard" and torch.equal(weight, before) and trainer.step == 0
    assert trainer.stage() == "update" and not torch.equal(weight, before) and trainer.step == 1
    assert trainer.stage() == "observe" and torch.equal(weight.grad, slope) and not trainer.rows()
    assert trainer.stage() == "reset" and weight.grad is None
    assert trainer.rows()[0][:4] == (1, trainer.loss.item(), trainer.grad_norm.item(), LIVE.lr)


# ---------------------------------------------------------------- updates


def test_adamw_against_its_formula(tiny: Corpus) -> None:
    live = changed(LIVE, lr=0.02, weight_decay=0.3)
    trainer = Recorded(tiny, settings=live)
    weight = trainer.model.token_embedding.weight
    w = weight.detach().double().numpy().copy()
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t in range(1, 6):
        for _ in range(STAGES.index("update")):
            trainer.stage()
        g = weight.grad.double().numpy()  # type: ignore[union-attr]
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w * (1 - 0.02 * 0.3) - 0.02 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        trainer.advance()
        np.testing.assert_allclose(weight.detach().numpy(), w, rtol=1e-5, atol=1e-6)


def test_the_first_step_of_adamw_moves_every_touched_weight_by_lr(corpus: Corpus) -> None:
    trainer = Recorded(corpus, settings=changed(LIVE, weight_decay=0.01))
    weight = trainer.model.token_embedding.weight
    before = weight.detach().clone()
    trainer.advance()
    moved = weight.detach() - before * (1 - LIVE.lr * 0.01)
    touched = torch.zeros(corpus.distinct, dtype=torch.bool)
    touched[trainer.inputs.unique()] = True
    assert 20 < int(touched.sum()) < corpus.distinct
    assert moved[~touched].abs().max() < 1e-7, "rows that no input named only decay"
    furthest = moved[touched].abs().amax(dim=1) / LIVE.lr
    assert furthest.min() > 0.99 and furthest.max() < 1.001


@pytest.mark.parametrize("grad_clip", [None, 0.01, 1e6])
def test_sgd_against_its_formula(tiny: Corpus, grad_clip: float | None) -> None:
    live = changed(LIVE, lr=0.5, weight_decay=0.1, grad_clip=grad_clip)
    trainer = Recorded(tiny, changed(BIGRAM, optimizer="sgd"), live)
    weight = trainer.model.token_embedding.weight
    for _ in range(4):
        before = weight.detach().clone()
        for _ in range(STAGES.index("update")):
            trainer.stage()
        g = weight.grad.clone()  # type: ignore[union-attr]
        norm = float(g.norm())
        trainer.advance()
        shrunk = g * min(1.0, (grad_clip or math.inf) / norm)
        torch.testing.assert_close(weight.detach(), before - 0.5 * (shrunk + 0.1 * before))
        assert trainer.rows()[-1].grad_norm == pytest.approx(norm), "recorded before clipping"


def test_tune_reaches_the_next_step(tiny: Corpus) -> None:
    trainer = Recorded(tiny).make(3)
    trainer.tune(changed(LIVE, lr=0.5, batch_size=5))
    trainer.make(2)
    assert [r.lr for r in trainer.rows()] == [1e-3] * 3 + [0.5] * 2
    assert trainer.inputs.shape == (5, 8) and trainer.tokens_seen == 3 * 32 * 8 + 2 * 5 * 8


# ---------------------------------------------------------------- what is observed


def test_cadences_are_counted_in_steps(tiny: Corpus) -> None:
    config = changed(BIGRAM, observe_every=5, eval_every=10, sample_every=16, sample_tokens=3)
    trainer = Recorded(tiny, config, changed(LIVE, max_steps=33)).make(33)
    looks = [1, 2, 5, 10, 15, 20, 25, 30, 33]
    for name in ("update_ratio", "update_ratio/token_embedding", "grad_norm/token_embedding"):
        assert trainer.steps_with(name) == looks
    assert trainer.steps_with("weights/token_embedding") == trainer.steps_with("gradients/token_embedding") == looks
    assert trainer.steps_with("val/loss") == [1, 2, 5, 10, 20, 30, 33]
    assert [r.step for r in trainer.records if isinstance(r, Sample)] == [1, 2, 5, 10, 16, 32, 33]
    assert [r.step for r in trainer.rows()] == list(range(1, 34))


def test_a_long_cadence_begins_with_a_few_early_looks(tiny: Corpus) -> None:
    trainer = Recorded(tiny, changed(BIGRAM, observe_every=200)).make(401)
    assert trainer.steps_with("update_ratio") == [1, 10, 20, 50, 100, 200, 400]


@pytest.mark.parametrize(("speed", "cadence"), [(1, (1, 2, 4)), (10, (5, 20, 40)), ("unlimited", (200, 2000, 8000))])
def test_a_slow_run_is_looked_at_more_often(tiny: Corpus, speed: Any, cadence: tuple[int, int, int]) -> None:
    trainer = Recorded(tiny, RunConfig(preset="bigram"), changed(LIVE, speed=speed))
    assert (trainer.observer.observe_every, trainer.observer.eval_every, trainer.observer.sample_every) == cadence


def test_an_observation_holds_what_the_step_did(tiny: Corpus, device: str) -> None:
    trainer = preset_trainer("gpt-tiny", tiny, device)
    before = [p.detach().clone() for p in trainer.parameters]
    size = math.hypot(*(p.norm().item() for p in before))
    for _ in range(STAGES.index("update")):
        trainer.stage()
    gradient = trainer.model.token_embedding.weight.grad.cpu().numpy().copy()  # type: ignore[union-attr]
    trainer.advance()
    trainer.settle()
    seen = next(r for r in trainer.records if isinstance(r, Observation))
    np.testing.assert_array_equal(seen.tables["gradients/token_embedding"], gradient)
    np.testing.assert_array_equal(
        seen.tables["weights/token_embedding"], trainer.model.token_embedding.weight.detach().cpu()
    )
    moved = math.hypot(*((p.detach() - q).norm().item() for p, q in zip(trainer.parameters, before, strict=True)))
    assert seen.scalars["update_ratio"] == pytest.approx(moved / size, rel=1e-4)
    norms = [value for name, value in seen.scalars.items() if name.startswith("grad_norm/")]
    assert len(norms) == len(trainer.model.layers())
    assert math.hypot(*norms) == pytest.approx(trainer.rows()[0].grad_norm, rel=1e-5)


def test_a_step_by_hand_is_looked_at_closely_once(tiny: Corpus) -> None:
    trainer = Recorded(tiny).make(2)
    trainer.observer.observe_next = True
    trainer.make(2)
    assert trainer.steps_with("update_ratio") == [1, 3] and trainer.steps_with("val/loss") == [3]


def test_validation_is_the_mean_over_fixed_batches(tiny: Corpus, device: str) -> None:
    trainer = Recorded(tiny, changed(BIGRAM, eval_batches=3), device=device).make(5)
    twin = Recorded(tiny, changed(BIGRAM, eval_batches=3), device=device)
    trainer.observer.validate()
    trainer.observer.validate()
    first, second = (r.scalars["val/loss"] for r in trainer.records[-2:] if isinstance(r, Observation))
    batches = trainer.observer.val_batches
    assert first == second == trainer.observer.val_loss and len(batches) == 3
    for mine, theirs in zip(batches, twin.observer.val_batches, strict=True):
        assert torch.equal(mine[0], theirs[0])
    with torch.no_grad():
        by_hand = [F.cross_entropy(trainer.model(x)[0].flatten(0, 1), y.flatten()).item() for x, y in batches]
    assert first == pytest.approx(sum(by_hand) / 3, rel=1e-6)
    text = tiny.val.tolist()
    rows = {tuple(text[i : i + 9]) for i in range(len(text) - 8)}
    for inputs, targets in batches:
        assert all((*x, y[-1]) in rows for x, y in zip(inputs.tolist(), targets.tolist(), strict=True))


def test_validation_switches_dropout_off() -> None:
    corpus = Corpus.of("abcde edcba bad cab deed ace " * 12)
    config = changed(PRESETS["gpt-tiny"].config, dropout=0.5, block_size=8)
    trainer = Recorded(corpus, config)
    first, second = (mean_loss(trainer.model, trainer.observer.val_batches) for _ in range(2))
    assert first == second and trainer.model.training


def test_without_a_validation_split_nothing_is_validated(play: str) -> None:
    corpus = Corpus.of(play[:500], val_fraction=0.0, test_fraction=0.0)
    trainer = Recorded(corpus, changed(BIGRAM, val_fraction=0.0, test_fraction=0.0))
    trainer.observer.show_start()
    assert trainer.observer.val_loss is None and trainer.steps_with("val/loss") == []


def test_samples_start_from_the_prompt_or_the_first_character(tiny: Corpus) -> None:
    config = changed(BIGRAM, sample_prompt="abc", sample_tokens=6)
    trainer = Recorded(tiny, config)
    trainer.observer.sample()
    trainer.observer.sample()
    first, second = (r for r in trainer.records if isinstance(r, Sample))
    assert first == second and first.text.startswith("abc") and len(first.text) == len(first.confidence) == 9
    assert first.prompt == 3 and first.confidence.startswith("---")
    stranger = Recorded(tiny, changed(config, sample_prompt="€"))
    stranger.observer.sample()
    sample = stranger.records[-1]
    assert isinstance(sample, Sample) and sample.text[0] == tiny.tokenizer.vocab[0] and sample.prompt == 1


@pytest.mark.parametrize("block_size", [1, 7, 8, 50, 1000])
def test_split_loss_is_the_exact_mean(tiny: Corpus, block_size: int, device: str) -> None:
    model = Bigram(tiny.distinct, generator(1, "weights"))
    surprise = -model.token_embedding.weight.detach().double().log_softmax(-1)
    data = tiny.train
    expected = surprise[data[:-1].long(), data[1:].long()].mean().item()
    assert split_loss(model.to(device), data, block_size) == pytest.approx(expected, rel=1e-6)


def test_training_moves_no_generator_of_anybody_else(corpus: Corpus) -> None:
    config = changed(PRESETS["gpt-tiny"].config, dropout=0.1, observe_every=1, eval_every=2, sample_every=3)
    trainer = Recorded(corpus, config)
    before = torch.get_rng_state()
    trainer.make(6)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_gpu_follows_the_cpu(corpus: Corpus, device: str) -> None:
    here, there = preset_trainer("bigram", corpus), preset_trainer("bigram", corpus, device)
    here.make(200)
    there.make(200)
    assert there.losses() == pytest.approx(here.losses(), rel=1e-4)
    assert [r.step for r in there.rows()] == list(range(1, 201))


def test_looking_at_a_trainer_copies_what_it_shows(tiny: Corpus) -> None:
    trainer = Recorded(tiny).make(1)
    seen = next(r for r in trainer.records if isinstance(r, Observation))
    before = copy.deepcopy(seen)
    trainer.make(30)
    for name, table in seen.tables.items():
        np.testing.assert_array_equal(table, before.tables[name])


def first_batch(corpus: Corpus, draws: str) -> Tensor:
    trainer = Recorded(corpus, changed(BIGRAM, draws=draws, test_fraction=0.0))
    trainer.advance()
    return trainer.inputs


def test_the_three_ways_to_draw_differ(corpus: Corpus) -> None:
    batches = [first_batch(corpus, draws) for draws in ("separate", "lecture", "document-003")]
    assert not torch.equal(batches[0], batches[1]) and not torch.equal(batches[1], batches[2])


if __name__ == "__main__":
    torch.set_num_threads(1)
    shipped = Corpus.of((HERE.parent.parent / "data" / "lamplighters.txt").read_text(encoding="utf-8"))
    made = {name: textbook(name, shipped, max(at), fused=False) for name, at in REFERENCE_STEPS.items()}
    losses = {name: {str(step): made[name][step - 1] for step in at} for name, at in REFERENCE_STEPS.items()}
    REFERENCE.write_text(json.dumps({"sha256": shipped.sha256, "losses": losses}, indent=1) + "\n", encoding="utf-8")
