"""What if the optimizer, the learning rate or the number of steps were different? Does every step help?"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F

from ...config import OptimizerName, changed
from ...text.corpus import Corpus
from ...training.evaluation import split_loss
from ...training.trainer import Trainer
from ..results import Chart, Curve, ExperimentResult, percent
from .clearing import EXACT_LOSS, LOSS_HELP, LOSS_TITLE, curves
from .loops import POINTS, USUAL_ORDER, FullTextLoss, language_model, run_loop, run_stages
from .start import Pacer, Start

WARM_UP = 1500
"""Steps at each of two rates that bring a bigram near its floor."""


def bigram_trainer(start: Start, optimizer: OptimizerName, lr: float) -> Trainer:
    """A trainer with batches of 32 windows and PyTorch's default weight decay: 0.01 for AdamW, 0 for SGD."""
    decay = 0.01 if optimizer == "adamw" else 0.0
    return start.trainer(optimizer, lr=lr, batch_size=32, weight_decay=decay, grad_clip=None)


def sgd_for_adamw(start: Start, pacer: Pacer, steps: int = 2000) -> ExperimentResult:
    """Train with AdamW and SGD at one learning rate, and with SGD at a rate that suits it."""
    start = start.bigram()
    text = FullTextLoss(start.dataset)
    kinds: tuple[tuple[OptimizerName, float], ...] = (("adamw", 1e-3), ("sgd", 1e-3), ("sgd", 30.0))
    pacer.expect(len(kinds) * steps)
    names = {"adamw": "AdamW", "sgd": "SGD"}
    results = {
        f"{names[kind]}, learning rate {lr:g}": run_loop(bigram_trainer(start, kind, lr), text, steps, pacer)
        for kind, lr in kinds
    }
    adamw, slow, fast = (each.losses for each in results.values())
    fell = slow[0] - slow[-1]
    summary = (
        f"In {steps:,} steps AdamW at 1e-3 goes from {adamw[0]:.2f} to {adamw[-1]:.2f}; SGD at the same rate moves the "
        f"loss by {fell:.3f}, and at 30 it reaches {fast[-1]:.2f}. "
    )
    summary += (
        "SGD's step is the rate times the slope, and the slopes are small here: each weight is touched by few of a "
        "batch's characters. AdamW divides by the size of the slopes, so that its rate says about how far a weight "
        "goes in one step at most, large or small as the slopes may be. A learning rate belongs to its optimizer."
        if fell < 0.1 * (adamw[0] - adamw[-1]) or fell < 0.1
        else "At these weights the two rules are closer than usual."
    )
    chart = Chart("Loss under two rules", LOSS_HELP, "step", LOSS_TITLE, curves(results, "usual changed other"))
    return ExperimentResult(
        summary, (chart,), start.about(), {"adamw": adamw[-1], "sgd": slow[-1], "sgd_fast": fast[-1]}
    )


def learning_rates(start: Start, pacer: Pacer, steps: int = 1000) -> ExperimentResult:
    """Train at five learning rates under AdamW."""
    start = start.bigram()
    text = FullTextLoss(start.dataset)
    rates = (3e-4, 1e-2, 0.1, 1.0, 10.0)
    pacer.expect(len(rates) * steps)
    results = {
        f"learning rate {lr:g}": run_loop(bigram_trainer(start, "adamw", lr), text, steps, pacer) for lr in rates
    }
    late = {lr: each.losses[len(each.losses) // 2 :] for lr, each in zip(rates, results.values(), strict=True)}
    ends = {lr: losses[-1] for lr, losses in late.items()}
    best = min(ends, key=lambda lr: ends[lr])
    swing = max(late[10.0]) - min(late[10.0])
    summary = (
        f"After {steps:,} steps: " + ", ".join(f"{lr:g} → {loss:.2f}" for lr, loss in ends.items()) + ". "
        f"Here {best:g} gets furthest, and the floor for any bigram is {text.floor:.2f}. "
    )
    summary += (
        f"At 10 the loss does not settle: in the second half it swings by {swing:.2f}, since each step carries a "
        "weight far past the place where the slope was measured."
        if swing > 10 * (max(late[best]) - min(late[best])) and ends[10.0] > ends[best]
        else ""
    )
    chart = Chart(
        "A race of learning rates", LOSS_HELP, "step", LOSS_TITLE, curves(results, "second other usual changed bad")
    )
    return ExperimentResult(
        summary, (chart,), start.about(), {f"{lr:g}": loss for lr, loss in ends.items()} | {"swing": swing}
    )


def every_step_better(start: Start, pacer: Pacer, steps: int = 300) -> ExperimentResult:
    """Count how often a step raises the loss, on its own batch and on the whole text."""
    start = start.bigram()
    text = FullTextLoss(start.dataset)
    pacer.expect(2 * steps + 2 * WARM_UP)
    slow = run_loop(bigram_trainer(start, "adamw", 1e-3), text, steps, pacer, every=1)
    near = bigram_trainer(start, "adamw", 0.1)  # fast to the floor, then settled at the rate under test
    run_loop(near, text, WARM_UP, pacer, every=WARM_UP)
    near.tune(changed(near.settings, lr=1e-2))
    run_loop(near, text, WARM_UP, pacer, every=WARM_UP)
    fast = run_loop(near, text, steps, pacer, every=1)
    rises = {
        "batch": rising(slow.batch_losses),
        "text": rising(slow.losses),
        "batch_near": rising(fast.batch_losses),
        "text_near": rising(fast.losses),
    }
    summary = (
        f"At learning rate 1e-3 the plotted loss rises on {percent(rises['batch'])} of {steps} steps, the loss on the "
        f"whole text on {percent(rises['text'])}: each step is measured on another batch. Near the floor, at 1e-2, the "
        f"whole text's loss rises on {percent(rises['text_near'])} of the steps: there many an update makes the "
        "model itself worse."
    )
    help = (
        "Faint: the loss of each step's own batch, the one that training plots. Bold: the exact loss on the whole text "
        "with the same weights; where it falls while the faint one jumps, only the batch was harder."
    )
    charts = tuple(
        Chart(
            title,
            help,
            "step",
            "loss, nats per token",
            (
                Curve("each step's batch", list(range(steps)), each.batch_losses, "changed", faint=True),
                Curve("whole training text", each.steps, each.losses, "usual"),
            ),
        )
        for title, each in (("From the start, learning rate 1e-3", slow), ("Near the floor, learning rate 1e-2", fast))
    )
    alone = Chart(
        "Near the floor: the whole text alone",
        "The bold line of the chart before, magnified. It does not fall any more: steps that make the model better and "
        "steps that make it worse take turns.",
        "step",
        LOSS_TITLE,
        (Curve("whole training text", fast.steps, fast.losses, "usual"),),
    )
    return ExperimentResult(summary, (*charts, alone), start.about(), rises)


def rising(losses: list[float]) -> float:
    """The share of steps at which a loss went up."""
    return sum(b > a for a, b in pairwise(losses)) / max(1, len(losses) - 1)


def until_80_percent(start: Start, pacer: Pacer, steps: int = 400) -> ExperimentResult:
    """Repeat on one batch until the right characters get 80 %, beside ordinary training."""
    start = start.bigram()
    text = FullTextLoss(start.dataset)
    pacer.expect(2 * steps)
    same, usual = (bigram_trainer(start, "adamw", 0.05) for _ in range(2))
    backwards = [0]

    def counted(trainer: Trainer) -> None:
        Trainer.backward(trainer)
        backwards[0] += 1

    once = tuple(counted if stage is Trainer.backward else stage for stage in USUAL_ORDER)
    same.batch()
    right: dict[str, list[float]] = {"one batch again and again": [], "another batch at each step": []}
    texts: dict[str, list[float]] = {name: [] for name in right}
    for step in range(steps):
        for trainer, order, name in (
            (same, USUAL_ORDER[1:], "one batch again and again"),
            (usual, once, "another batch at each step"),
        ):
            run_stages(trainer, order)
            right[name].append(chance_of_right(trainer))
            if step % (steps // POINTS or 1) == 0 or step == steps - 1:
                texts[name].append(text.loss(language_model(trainer)))
            pacer.advance()
    repeated, ordinary = right.values()
    reached = next((step + 1 for step, chance in enumerate(repeated) if chance >= 0.8), None)
    (again, other) = (losses[-1] for losses in texts.values())
    summary = (
        f"In training, backward() ran {backwards[0]} times in {steps} steps: once a step, with no threshold and no "
        "inner loop. Repeating on one batch instead, the right characters "
    )
    summary += (
        f"get 80 % after {reached} updates"
        if reached
        else f"get {percent(repeated[-1])} after {steps} updates and never 80 %"
    )
    summary += (
        ", since the same character is followed now by one, now by another"
        if not reached
        else ", by learning that batch by heart"
    )
    summary += f"; the loss on the whole text is then {again:.2f}, against {other:.2f} after as many ordinary steps."
    chart = Chart(
        "Probability of the right character, mean over the batch",
        "How sure the model is of what comes next in the batch it has just seen. The dashed line is the 80 % of the "
        "document; ordinary training has no such line.",
        "updates",
        "probability",
        (
            Curve("one batch again and again", list(range(1, steps + 1)), repeated, "changed"),
            Curve("another batch at each step", list(range(1, steps + 1)), ordinary, "usual", faint=True),
            Curve("80 %", [1, steps], [0.8, 0.8], "reference"),
        ),
    )
    at = [*range(1, steps + 1, steps // POINTS or 1)]
    at += [steps] if at[-1] != steps else []
    whole = Chart(
        "Loss on the whole training text",
        f"{EXACT_LOSS}; both loops began with the same weights, but one of them never saw a second batch.",
        "updates",
        LOSS_TITLE,
        tuple(
            Curve(name, at[: len(losses)], losses, tone)  # type: ignore[arg-type]
            for (name, losses), tone in zip(texts.items(), ("changed", "usual"), strict=True)
        ),
    )
    numbers = {"backwards": backwards[0], "again": again, "ordinary": other, "reached": reached or math.nan}
    return ExperimentResult(summary, (chart, whole), start.about(), numbers | {"chance": repeated[-1]})


def chance_of_right(trainer: Trainer) -> float:
    """The mean probability that the model gave the right tokens of its batch, before this step's update."""
    with torch.no_grad():
        probabilities = F.softmax(trainer.logits, dim=-1)
        return float(probabilities.gather(-1, trainer.targets.unsqueeze(-1)).mean())


def memorizing(start: Start, pacer: Pacer, steps: int = 2000, characters: int = 1000) -> ExperimentResult:
    """Train on the first characters of the text only: at which step does the validation loss turn?"""
    start = start.bigram()
    piece = min(characters, len(start.dataset.train))
    short = Corpus.of(start.dataset.tokenizer.decode(start.dataset.train[:piece].numpy()))
    start = Start(changed(start.config, val_fraction=0.1, test_fraction=0.1, block_size=8), start.settings, short)
    text, trainer = FullTextLoss(short), bigram_trainer(start, "adamw", 0.01)
    pacer.expect(steps)
    train, val, at = [], [], []
    for _ in range(60):
        at.append(trainer.step)
        train.append(text.loss(language_model(trainer)))
        val.append(split_loss(language_model(trainer), short.val, 64))
        for _ in range(steps // 60):
            run_stages(trainer, USUAL_ORDER)
            pacer.advance()
    best = min(range(len(val)), key=lambda i: val[i])
    turned = best < len(val) - 2
    summary = (
        f"Trained on {len(short.train):,} of the first {piece:,} tokens, with {len(short.val):,} for validation: the "
        f"validation loss is lowest at step {at[best]:,}, {val[best]:.3f}, and {val[-1]:.3f} at step {at[-1]:,}, while "
        f"the training loss went on from {train[best]:.3f} to {train[-1]:.3f}. "
    )
    summary += (
        "From there on the table learns which pairs happen to be in this piece of text: too many iterations do harm "
        "where there is little to learn from."
        if turned
        else "It has not turned yet."
    )
    chart = Chart(
        "A bigram on a short text",
        "Exact losses on the training and the validation part of a short piece. Healthy is two curves that fall "
        "together; where validation turns upwards, the model has begun to learn its text by heart.",
        "step",
        "loss, nats per token",
        (Curve("training", at, train, "usual"), Curve("validation", at, val, "second")),
    )
    numbers = {"best_step": at[best], "best": val[best], "last": val[-1], "train": train[-1], "turned": float(turned)}
    numbers |= {"trained_on": len(short.train), "of": piece}
    return ExperimentResult(summary, (chart,), "a fresh bigram on the first characters of the text", numbers)
