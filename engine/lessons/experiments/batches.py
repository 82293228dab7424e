"""What if batches were smaller or larger, drawn differently, or drawn from the generator that evaluation uses?"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ...config import changed
from ...generators import generator
from ...text.corpus import Batcher, draw
from ...training.evaluation import mean_loss
from ...training.trainer import Trainer
from ..results import Chart, Curve, ExperimentResult, Table, Tone, percent
from ..snippets import run_code
from .loops import POINTS, USUAL_ORDER, language_model, max_weight_difference, run_stages
from .start import Pacer, Start

GRADIENT_STAGES = (Trainer.batch, Trainer.forward, Trainer.loss_stage, Trainer.backward)
SIZES = (1, 8, 32, 256)
MIXED_SIZES = (8, 1, 32, 256)
"""In no order, so that a chart without names does not give them away."""
MIXED_TONES: tuple[Tone, ...] = ("second", "changed", "usual", "other")
DOCUMENT_STEPS = 10_000
REFERENCE = 512  # windows in each of the batches whose mean stands for the whole text


def gradient(trainer: Trainer, batch_size: int) -> Tensor:
    """The gradient of one batch as one vector over all parameters; the weights do not change."""
    trainer.tune(changed(trainer.settings, batch_size=batch_size))
    run_stages(trainer, GRADIENT_STAGES)
    row = torch.cat([p.grad.reshape(-1) for p in trainer.parameters if p.grad is not None]).clone()
    trainer.optimizer.zero_grad()
    return row


def batch_sizes(start: Start, pacer: Pacer, draws: int = 16) -> ExperimentResult:
    """Compare gradients of many batches of each size, all at the same weights, with the gradient of the whole text."""
    start = start.small()
    trainer = start.trainer(grad_clip=None)
    pacer.expect(draws * (len(SIZES) + 1))
    reference = torch.zeros_like(gradient(trainer, 1))
    for _ in range(draws):
        reference += gradient(trainer, REFERENCE) / draws
        pacer.advance()
    sigma, angle = [], []
    for size in SIZES:
        away, angles = [], []
        for _ in range(draws):
            row = gradient(trainer, size)
            away.append(float((row - reference).norm()))
            cosine = float(torch.cosine_similarity(row, reference, dim=0))
            angles.append(math.degrees(math.acos(max(-1.0, min(1.0, cosine)))))
            pacer.advance()
        sigma.append(math.sqrt(float(np.mean(np.square(away)))))
        angle.append(float(np.median(angles)))
    power = fitted_exponent(SIZES, sigma)
    length = float(reference.norm())
    summary = (
        f"A gradient from 1 window points {angle[0]:.0f}° away from that of the text, one from 256 windows "
        f"{angle[-1]:.0f}°. Its noise falls as the batch size to the power {power:.2f} (averaging says −0.5): to halve "
        "the noise takes four times as much work."
    ).replace("power -", "power −")
    chart = Chart(
        "Noise of the gradient",
        f"How far the gradient of a batch is from the mean one, root mean square over {draws} real batches of each "
        "size. Both axes are logarithmic; the dashed line falls as one over the square root of the batch size.",
        "batch size, windows",
        "σ of the gradient, nats per unit of weight",
        (
            Curve("measured", SIZES, sigma, "usual"),
            Curve("1/√(batch size)", SIZES, [sigma[0] / math.sqrt(size) for size in SIZES], "reference"),
        ),
        log_x=True,
        log_y=True,
    )
    table = Table(
        "Batches beside the text's gradient",
        "All gradients were taken at the same weights, which nothing here moves. An angle of 90° says that a batch "
        "knows nothing of the direction, 0° that it is the text's own.",
        ("windows", "angle to the text's gradient, median", "σ", "σ : length of the gradient"),
        tuple(
            (f"{size:,}", f"{a:.1f}°", f"{s:.4f}", f"{s / length:.2f}" if length else "–")
            for size, a, s in zip(SIZES, angle, sigma, strict=True)
        ),
    )
    numbers = {"power": power} | {f"sigma_{size}": s for size, s in zip(SIZES, sigma, strict=True)}
    numbers |= {f"angle_{size}": a for size, a in zip(SIZES, angle, strict=True)}
    return ExperimentResult(summary, (chart, table), start.about(), numbers)


def batch_losses(start: Start, pacer: Pacer, steps: int = 250) -> ExperimentResult:
    """Train four bigrams that differ in their batch size alone, and keep the loss of each step's batch."""
    start = start.bigram()
    pacer.expect(len(MIXED_SIZES) * steps)
    losses: dict[int, list[float]] = {}
    for size in MIXED_SIZES:
        trainer = start.trainer("adamw", lr=0.01, batch_size=size, grad_clip=None)
        losses[size] = []
        for _ in range(steps):
            run_stages(trainer, USUAL_ORDER)
            losses[size].append(trainer.recorder.loss)
            pacer.advance()
    scatter = {size: scatter_of(found) for size, found in losses.items()}
    sizes = sorted(scatter)
    summary = (
        f"From one batch to the next the loss scatters by {scatter[sizes[0]]:.2f} nats where a batch is {sizes[0]} "
        f"window, and by {scatter[sizes[-1]]:.3f} where it is {sizes[-1]} windows. All four models learn at one rate; "
        "how much the curve jumps says how few characters each loss is the mean of."
    )
    chart = Chart(
        "The losses of four batch sizes",
        "The loss of each step's own batch. Four bigrams from the same weights at the same rate, AdamW at 0.01; a band "
        "that is narrow is a mean over many characters.",
        "step",
        "loss of this batch, nats per token",
        tuple(
            Curve(f"{size} window{'s' * (size > 1)}", list(range(1, steps + 1)), losses[size], tone)
            for size, tone in zip(MIXED_SIZES, MIXED_TONES, strict=True)
        ),
    )
    return ExperimentResult(
        summary, (chart,), start.about(), {f"scatter_{size}": scatter[size] for size in MIXED_SIZES}
    )


def scatter_of(losses: list[float]) -> float:
    """The standard deviation of one loss around its course: half of the mean square of their differences, rooted."""
    return float(np.sqrt(np.mean(np.square(np.diff(losses))) / 2))


def fitted_exponent(x: tuple[int, ...], y: list[float]) -> float:
    """The power p of y ≈ c·xᵖ, by least squares on the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def passes(start: Start, pacer: Pacer, most_passes: float = 5.0) -> ExperimentResult:
    """Count which positions of the text a run's random windows have covered after how many passes."""
    corpus, config, size = start.dataset, start.config, start.settings.batch_size
    places = len(corpus.train)
    window = size * config.block_size
    steps = min(DOCUMENT_STEPS, math.ceil(most_passes * places / window), max(1, 4_000_000 // window))
    pacer.expect(steps)
    # the run's own generator over the places themselves: the windows that it draws from its first step on
    batcher = Batcher(torch.arange(places), config.block_size, generator(config.seed, "data"))
    seen_at = torch.zeros(places, dtype=torch.bool)
    at, shares = [0.0], [0.0]
    for step in range(1, steps + 1):
        _, targets = batcher.draw(size)
        seen_at[targets] = True
        if step % max(1, steps // POINTS) == 0 or step == steps:
            at.append(step * window / places)
            shares.append(float(seen_at[1:].float().mean()))  # nothing comes before the first place
        pacer.advance()
    ordered = [min(1.0, share) for share in at]
    summary = (
        f"{steps:,} steps of {size} × {config.block_size} are {steps * window:,} characters, {at[-1]:.2f} times the "
        f"{places:,} of the training text. Windows are drawn at random, so {percent(1 - shares[-1], 1)} of the places "
        f"were not a target once, and others came many times. Document 000's {DOCUMENT_STEPS:,} steps would be "
        f"{DOCUMENT_STEPS * window / places:.2f} passes' worth of this text: count tokens seen, not epochs."
    )
    chart = Chart(
        "How much of the text has been seen",
        "The share of all places that were a target at least once. Reading in order reaches all of it after one pass; "
        "random windows come close to it slowly, as the dashed line says.",
        "passes: tokens seen / length of the training text",
        "share of the text seen at least once",
        (
            Curve("windows drawn at random", at, shares, "usual"),
            Curve("read in order", at, ordered, "changed"),
            Curve("1 − e^(−passes)", at, [1 - math.exp(-p) for p in at], "reference"),
        ),
    )
    numbers = {"passes": at[-1], "never": 1 - shares[-1], "expected": math.exp(-at[-1]), "steps": steps}
    return ExperimentResult(summary, (chart,), f"the draws of a run on {corpus.title}", numbers)


def last_window(start: Start, pacer: Pacer, draws: int = 20_000) -> ExperimentResult:
    """`randint(len(data) - block_size - 1)`: which windows it draws, and what it does on a one-window text."""
    block_size, length = 8, 12
    data = torch.arange(length)
    pacer.expect(2)
    counted: dict[str, list[int]] = {}
    for name, spare in (("len(data) - block_size", 0), ("len(data) - block_size - 1", 1)):
        starts = Batcher(data, block_size, generator(start.config.seed, "data"), spare).draw(draws)[0][:, 0]
        counted[name] = torch.bincount(starts, minlength=length - block_size).tolist()
        pacer.advance()
    lost = [at for at, count in enumerate(counted["len(data) - block_size - 1"]) if count == 0]
    short = torch.arange(block_size + 1)
    code = "ix = torch.randint(len(data) - block_size - 1, (batch_size,))"
    tried = run_code(code, {"data": short, "block_size": block_size, "batch_size": 4})
    one = draw(short, 1, block_size, generator(start.config.seed, "data"))[0]
    summary = (
        f"A text of {length} characters has {length - block_size} windows of {block_size} with a target for each "
        f"place. In {draws:,} draws the document's bound never gives the window at "
        f"{', '.join(map(str, lost)) or 'none'}; without the −1 all "
        f"{sum(map(bool, counted['len(data) - block_size']))} come. And on {block_size + 1} characters, which hold one "
        f"whole window, it fails, where the other bound finds it ({one.numel()} inputs)."
    )
    rows = tuple((str(at), *(f"{count[at]:,}" for count in counted.values())) for at in range(length - block_size))
    table = Table(
        f"How often each window came in {draws:,} draws",
        "Rows are the places where a window can begin. Each should come about equally often; a 0 is text that is never "
        "learnt from, here the last character as a target.",
        ("begins at", *counted),
        rows,
    )
    numbers = {"lost": len(lost), "windows": length - block_size}
    return ExperimentResult(summary, (table, tried), f"the numbers 0 to {length - 1} in place of a text", numbers)


def evaluation_moves_training(start: Start, pacer: Pacer, steps: int = 60) -> ExperimentResult:
    """Evaluate on batches from the training's own generator, or from another one: does it change the weights?"""
    start = start.small()
    own = start.dataset.val_batches(start.config, start.settings.batch_size, torch.device("cpu"))[:5]

    def shared_loader(trainer: Trainer) -> None:
        with torch.no_grad():
            for _ in range(5):
                run_stages(trainer, GRADIENT_STAGES[:-1])

    def own_loader(trainer: Trainer) -> None:
        mean_loss(language_model(trainer), own)

    kinds: dict[str, tuple[Callable[[Trainer], None], int]] = {
        "its own generator, every 5 steps": (own_loader, 5),
        "the training's generator, every 5 steps": (shared_loader, 5),
        "the training's generator, every 20 steps": (shared_loader, 20),
    }
    pacer.expect(steps * (len(kinds) + 1))
    never = start.trainer()
    others = {name: start.trainer() for name in kinds}
    far: dict[str, list[float]] = {name: [0.0] for name in kinds}
    for step in range(steps):
        run_stages(never, USUAL_ORDER)
        pacer.advance()
        for name, trainer in others.items():
            evaluate, every = kinds[name]
            run_stages(trainer, USUAL_ORDER)
            if step % every == 0:
                evaluate(trainer)
            far[name].append(max_weight_difference(trainer, never))
            pacer.advance()
    same, five, twenty = (path[-1] for path in far.values())
    between = max_weight_difference(*list(others.values())[1:])
    summary = (
        f"After {steps} steps the weights of a run that evaluates with its own generator differ by {same:.3g} from "
        "those of a run that never evaluates. Drawing the evaluation's batches from the training's own shuffled "
        f"loader changes them by {five:.3g} (every 5 steps) and {twenty:.3g} (every 20), and by {between:.3g} between "
        "these two: "
    )
    summary += (
        "with a shared generator, how often one looks decides what is learnt."
        if five and twenty and between
        else "here it made no difference."
    )
    colours = ("usual", "changed", "other")
    chart = Chart(
        "Largest difference of a weight from a run that never evaluates",
        "All runs begin with the same weights and the same generator. Flat at 0 means that looking changed nothing; "
        "anything else means that another evaluation interval is another experiment.",
        "step",
        "largest difference of a weight",
        tuple(
            Curve(name, list(range(steps + 1)), path, tone)  # type: ignore[arg-type]
            for (name, path), tone in zip(far.items(), colours, strict=True)
        ),
    )
    return ExperimentResult(
        summary, (chart,), start.about(), {"own": same, "shared": five, "rarely": twenty, "between": between}
    )
