"""What if one knob were left out or turned: warm-up, AdamW's two averages, clipping, decay, the size of a batch?

Where a bigram is too simple to need the knob, a tiny GPT takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import torch
from torch import Tensor

from ...config import changed
from ...text.corpus import Corpus
from ...training.evaluation import mean_loss, split_loss
from ...training.trainer import Trainer
from ..results import Chart, Curve, ExperimentResult, Table, Tone
from .clearing import EXACT_LOSS, LOSS_TITLE
from .loops import USUAL_ORDER, FullTextLoss, language_model, run_loop, run_stages
from .start import Pacer, Start

WINDOWS = 128
"""Windows, spread evenly over the training text, on which a tiny GPT is looked at."""
GENTLE, STEEP = 3e-3, 0.02
"""AdamW's rates for a tiny GPT: one that needs no warm-up, and one that does."""
WARMUP = 50  # steps
CLIP = 0.5
OFF_THE_CHART = 1e4
"""A loss or a gradient from which on a loop that runs away is drawn no further."""
DECAYS = (0.0, 0.1, 1.0)
BATCHES = ((8, 1), (32, 4), (128, 1), (128, 16), (512, 64))
"""Windows in a batch, and its rate in units of that of the first."""
FIXED_LOSS = (
    f"The mean loss on {WINDOWS} fixed windows, spread evenly over the training text, so that nothing scatters from "
    "batch to batch. Healthy is a fall that flattens; all curves began with the same weights and saw the same batches."
)


@dataclass
class GptLoop:
    """A tiny GPT's losses: on the fixed windows at some `steps`, and at each step its batch's loss and gradient."""

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    batch_losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    diverged_at: int | None = None


def spread_windows(data: Tensor, block_size: int) -> tuple[Tensor, Tensor]:
    """WINDOWS windows of `data` [n], evenly spaced: inputs and targets, int64 (WINDOWS, block_size) each."""
    starts = torch.linspace(0, len(data) - block_size - 1, WINDOWS).long()
    rows = starts[:, None] + torch.arange(block_size)
    return data[rows].long(), data[rows + 1].long()


def train_gpt(start: Start, trainer: Trainer, steps: int, pacer: Pacer) -> GptLoop:
    """Make `steps` steps and look at the fixed windows about 40 times; stops where the guard finds no number."""
    found, batch = GptLoop(), spread_windows(start.dataset.train, start.config.block_size)
    every = max(1, steps // 40)
    for step in range(steps + 1):
        if step % every == 0 or step == steps:
            found.steps.append(step)
            found.losses.append(mean_loss(language_model(trainer), [batch]))
        if step == steps:
            break
        run_stages(trainer, USUAL_ORDER)
        pacer.advance()
        if trainer.recorder.diverged:
            found.diverged_at = step + 1
            break
        found.batch_losses.append(trainer.recorder.loss)
        found.grad_norms.append(trainer.recorder.grad_norm)
    return found


def warm_up_left_out(start: Start, pacer: Pacer, steps: int = 200) -> ExperimentResult:
    """Train a tiny GPT at a gentle and at a steep rate, each with and without a warm-up."""
    start = start.tiny_gpt()
    pacer.expect(4 * steps)
    kinds = {
        f"{lr:g}, {'with' if warmup else 'without'} warm-up": {"lr": lr, "warmup_steps": warmup}
        for lr in (GENTLE, STEEP)
        for warmup in (WARMUP, 0)
    }
    found = {name: train_gpt(start, start.trainer("adamw", **own), steps, pacer) for name, own in kinds.items()}
    gentle_warm, gentle, warm, cold = (loop.losses[-1] for loop in found.values())
    summary = (
        f"In the warm-up the rate climbs from 0 over {WARMUP} steps. After {steps} steps at {STEEP:g} the loss is "
        f"{warm:.3f} with it and {cold:.3f} without; at {GENTLE:g} it is {gentle_warm:.3f} with it and {gentle:.3f} "
        "without. "
    )
    summary += (
        "AdamW's first steps move every weight by about the whole rate, wherever the first few batches happen to "
        "point. At a high rate that carries a model to where it learns slowly; steps that grow find a better place "
        "first."
        if cold > warm + 0.02
        else "Here the first steps did no harm that the later ones did not mend."
    )
    if cold > warm + 0.02 and gentle <= gentle_warm + 0.02:
        summary += " At the low rate there is nothing to protect it from, and the warm-up only costs steps."
    tones: tuple[Tone, ...] = ("usual", "other", "second", "changed")
    numbers = {"warm": warm, "cold": cold, "gentle_warm": gentle_warm, "gentle": gentle}
    return ExperimentResult(
        summary, (_losses("Two rates, with and without warm-up", found, tones),), start.about(), numbers
    )


def averages_left_out(start: Start, pacer: Pacer, steps: int = 200) -> ExperimentResult:
    """Train a tiny GPT by AdamW, without its mean gradient, without its mean square, and without both."""
    start = start.tiny_gpt()
    pacer.expect(4 * steps)
    rules = {
        "AdamW": start.trainer("adamw", lr=GENTLE, weight_decay=0.0),
        "no mean gradient: β1 = 0": start.with_rule(beta1=0.0).trainer("adamw", lr=GENTLE, weight_decay=0.0),
        "no mean square: SGD with momentum": start.with_rule(momentum=0.9).trainer("sgd", lr=0.03, weight_decay=0.0),
        "neither: SGD": start.trainer("sgd", lr=0.3, weight_decay=0.0),
    }
    found = {name: train_gpt(start, trainer, steps, pacer) for name, trainer in rules.items()}
    both, no_mean, no_square, neither = (loop.losses[-1] for loop in found.values())
    sizes = [float(state["exp_avg_sq"].mean().sqrt()) for state in rules["AdamW"].optimizer.state.values()]
    apart = max(sizes) / min(sizes)
    summary = (
        f"AdamW keeps two averages for each weight. After {steps} steps its loss is {both:.3f}; without the mean of "
        f"the gradients {no_mean:.3f}, without the mean of their squares {no_square:.3f}, and without either, which is "
        f"SGD, {neither:.3f}. "
    )
    if both < min(no_mean, no_square, neither):
        summary += (
            "The mean gradient keeps what many batches agree on and cancels what one batch alone says. The root of the "
            "mean square divides each weight's step by the size of its own slopes, which here are up to "
            f"{apart:,.0f} times as large in one tensor as in another."
        )
    else:
        summary += "Here AdamW is not ahead of all the others: give each a rate of its own, or more steps."
    tones: tuple[Tone, ...] = ("usual", "changed", "other", "second")
    rates = Table(
        "The rules and their rates",
        "A learning rate belongs to its rule: those of SGD are among the best of a few that were tried on a tiny GPT.",
        ("rule", "learning rate", "loss at the end"),
        tuple((name, f"{rules[name].settings.lr:g}", loop.losses[-1]) for name, loop in found.items()),
    )
    numbers = {"both": both, "no_mean": no_mean, "no_square": no_square, "neither": neither, "apart": apart}
    return ExperimentResult(
        summary, (_losses("One average less, and both", found, tones), rates), start.about(), numbers
    )


def clipping_left_out(start: Start, pacer: Pacer, steps: int = 200, lr: float = 2.0) -> ExperimentResult:
    """Train a tiny GPT by SGD at a rate that is too high for its longest gradients, with and without clipping."""
    start = start.tiny_gpt()
    pacer.expect(2 * steps)
    found = {
        name: train_gpt(start, start.trainer("sgd", lr=lr, weight_decay=0.0, grad_clip=clip), steps, pacer)
        for name, clip in ((f"clipped at {CLIP:g}", CLIP), ("not clipped", None))
    }
    clipped, free = found.values()
    shortened = sum(norm > CLIP for norm in clipped.grad_norms)
    longest = max(free.grad_norms, default=math.nan)
    summary = (
        f"SGD at {lr:g}, where the step is as long as the gradient says. With gradients shortened to a length of "
        f"{CLIP:g} the loss is {clipped.losses[-1]:.3f} after {len(clipped.batch_losses)} steps; {shortened} of their "
        f"gradients were longer. "
    )
    if free.diverged_at is not None:
        summary += (
            f"Without that it is over at step {free.diverged_at}: one step threw the weights to where the slopes are "
            f"steeper still, the next went further, and the gradient grew to a length of {longest:.3g}. Clipping keeps "
            "the direction of a step and bounds its length."
        )
    elif free.losses[-1] > clipped.losses[-1] + 0.02:
        summary += (
            f"Without that it is {free.losses[-1]:.3f}: the longest gradient had a length of {longest:.3g}, and such "
            "steps throw away what was learnt before. Clipping keeps the direction of a step and bounds its length."
        )
    else:
        summary += (
            f"Without that it is {free.losses[-1]:.3f}: no gradient was long enough to do harm (the longest was "
            f"{longest:.3g}), and clipping only shortens good steps."
        )
    batches = Chart(
        "Loss of each step's batch",
        "Both loops began with the same weights and saw the same batches. A leap upwards is a step that went too far; "
        f"a curve ends where it leaves {OFF_THE_CHART:,.0f} behind.",
        "step",
        "loss, nats per token",
        tuple(_by_step(found, [loop.batch_losses for loop in found.values()])),
        log_y=True,
    )
    lengths = Chart(
        "Length of the gradient before clipping",
        f"The norm over all weights. Whatever lies above the dashed line, {CLIP:g}, is shortened to it in one of the "
        f"loops; a curve ends where it leaves {OFF_THE_CHART:,.0f} behind.",
        "step",
        "length of the gradient",
        (
            *_by_step(found, [loop.grad_norms for loop in found.values()]),
            Curve(f"{CLIP:g}", [1, steps], [CLIP, CLIP], "reference"),
        ),
        log_y=True,
    )
    numbers = {
        "clipped": clipped.losses[-1],
        "free": free.losses[-1],
        "shortened": shortened,
        "longest": longest,
        "diverged_at": math.nan if free.diverged_at is None else free.diverged_at,
    }
    return ExperimentResult(summary, (batches, lengths), start.about(), numbers)


def pulled_to_zero(start: Start, pacer: Pacer, steps: int = 1500, characters: int = 1000) -> ExperimentResult:
    """Train a bigram on the first characters of the text with three weight decays; look at text that it never saw."""
    start = start.first().bigram()
    piece = min(characters, len(start.dataset.train))
    short = Corpus.of(start.dataset.tokenizer.decode(start.dataset.train[:piece].numpy()))
    start = Start(changed(start.config, val_fraction=0.1, test_fraction=0.1), start.settings, short)
    text, looks = FullTextLoss(short), 30
    pacer.expect(len(DECAYS) * steps)
    at = sorted({round(share * steps / looks) for share in range(looks + 1)})
    val: dict[float, list[float]] = {}
    train: dict[float, float] = {}
    for decay in DECAYS:
        trainer = start.trainer("adamw", lr=0.01, batch_size=32, weight_decay=decay, grad_clip=None)
        model, val[decay] = language_model(trainer), []
        for step in range(steps + 1):
            if step in at:
                val[decay].append(split_loss(model, short.val, 64))
            if step < steps:
                run_stages(trainer, USUAL_ORDER)
                pacer.advance()
        train[decay] = text.loss(model)
    ends = {decay: losses[-1] for decay, losses in val.items()}
    none, some, much = DECAYS
    summary = (
        f"A bigram on {len(short.train):,} tokens, {steps:,} steps of AdamW at 0.01. The loss on text that it never "
        f"saw ends at "
        + ", ".join(f"{loss:.3f} with a decay of {decay:g}" for decay, loss in ends.items())
        + "; on its own "
        "text at " + ", ".join(f"{train[decay]:.3f}" for decay in DECAYS) + ". "
    )
    if ends[some] < ends[none]:
        summary += (
            "The pull to 0 is a pull to equal chances: a score stays high only while the text goes on asking for it, "
            "so that chance pairs of a short text are believed less. "
        )
    else:
        summary += "Here the text is too little or too much for it to help. "
    if ends[much] > ends[some]:
        summary += f"At {much:g} it forgets what is true as well."
    tones: tuple[Tone, ...] = ("changed", "usual", "other")
    chart = Chart(
        "Loss on text that was never seen",
        "The validation part of a short piece of text, whole. A curve that turns upwards has begun to learn its text "
        "by heart.",
        "step",
        "validation loss, nats per token",
        tuple(
            Curve(f"decay {decay:g}", at, losses, tone)
            for (decay, losses), tone in zip(val.items(), tones, strict=True)
        ),
    )
    numbers = {f"val_{decay:g}": loss for decay, loss in ends.items()}
    numbers |= {f"train_{decay:g}": loss for decay, loss in train.items()}
    setup = "a fresh bigram on the first characters of the text"
    return ExperimentResult(summary.strip(), (chart,), setup, numbers)


def batch_against_rate(start: Start, pacer: Pacer, windows: int = 19_200, lr: float = 5.0) -> ExperimentResult:
    """Train a bigram by SGD on as many windows in all, in small batches and large ones, at one rate and at larger."""
    start = start.first().bigram()
    text = FullTextLoss(start.dataset)
    steps = [max(1, windows // size) for size, _ in BATCHES]
    pacer.expect(sum(steps))
    above: list[float] = []
    curves: list[Curve] = []
    tones: tuple[Tone, ...] = ("usual", "second", "changed", "other", "bad")
    for (size, times), count, tone in zip(BATCHES, steps, tones, strict=True):
        trainer = start.trainer("sgd", lr=lr * times, batch_size=size, weight_decay=0.0, grad_clip=None)
        loop = run_loop(trainer, text, count, pacer)
        above.append(loop.losses[-1] - text.floor)
        read = [step * size for step in loop.steps]
        gaps = [max(loss - text.floor, 1e-9) for loss in loop.losses]
        curves.append(Curve(f"{size} windows at {lr * times:g}", read, gaps, tone))
    small, _, kept_128, scaled_128, scaled_512 = above
    summary = (
        f"All loops read {windows:,} windows. Batches of 8 at a rate of {lr:g} end {small:.3f} above the floor of any "
        f"bigram, after {steps[0]:,} steps. At the same rate batches of 128, in {steps[2]:,} steps, end {kept_128:.3f} "
        f"above it; at 16 times the rate {scaled_128:.3f}. "
    )
    summary += (
        "A larger batch makes fewer steps of the same text, each of them surer of its way: under plain SGD it may be "
        "made longer in the same measure, and the text is worth the same. "
        if abs(scaled_128 - small) < 0.25 * abs(kept_128 - small)
        else "Here the longer steps do not make up for their number. "
    )
    summary += (
        f"Not for ever: batches of 512 at 64 times the rate end {scaled_512:.3f} above it."
        if scaled_512 > 1.5 * small
        else f"Batches of 512 at 64 times the rate end {scaled_512:.3f} above it."
    )
    chart = Chart(
        "Above the floor, by text read",
        f"{EXACT_LOSS}. Curves that lie on each other learn as much from the same amount of text; SGD.",
        "windows read",
        "loss above the floor, nats per token",
        tuple(curves),
        log_y=True,
    )
    table = Table(
        "As much text in fewer steps",
        "Rate ÷ windows is the same in the rows marked with =. Noise of a gradient falls with the root of the batch "
        "size, its length does not.",
        ("windows in a batch", "learning rate", "rate ÷ windows", "steps", "above the floor"),
        tuple(
            (
                f"{size}",
                f"{lr * times:g}",
                f"{lr * times / size:.3g}{' =' if times == size // 8 else ''}",
                f"{n:,}",
                gap,
            )
            for (size, times), n, gap in zip(BATCHES, steps, above, strict=True)
        ),
    )
    numbers = {f"{size}@{times}": gap for (size, times), gap in zip(BATCHES, above, strict=True)}
    return ExperimentResult(summary, (chart, table), start.about(), numbers)


def _losses(title: str, found: dict[str, GptLoop], tones: Sequence[Tone]) -> Chart:
    return Chart(
        title,
        FIXED_LOSS,
        "step",
        LOSS_TITLE,
        tuple(
            Curve(name, loop.steps, loop.losses, tone) for (name, loop), tone in zip(found.items(), tones, strict=True)
        ),
    )


def _by_step(found: dict[str, GptLoop], values: Sequence[Sequence[float]]) -> list[Curve]:
    """One curve for each loop, up to where it leaves the chart for good."""
    tones: tuple[Tone, ...] = ("usual", "bad")
    shown = [list(takewhile(lambda value: value < OFF_THE_CHART, each)) for each in values]
    return [
        Curve(name, range(1, len(each) + 1), each, tone) for name, each, tone in zip(found, shown, tones, strict=True)
    ]
