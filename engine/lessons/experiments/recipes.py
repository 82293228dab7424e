"""What if the rate fell at the end, or were the largest possible, the first weights others, a batch in parts?"""

from __future__ import annotations

import math
from itertools import pairwise

import torch

from ...analysis.curvature import largest_curvature
from ...config import FirstWeights, changed
from ...generators import generator
from ..results import Chart, Curve, ExperimentResult, Table, Tone
from .clearing import LOSS_HELP, LOSS_TITLE, curves
from .loops import FullTextLoss, language_model, run_loop
from .start import Pacer, Start

FALLING = 0.4
"""The share of the steps in which the rate falls."""
SHARES = (0.5, 0.9, 1.1, 4.0)
"""Of the rate at which plain gradient descent becomes unstable."""
STARTS: dict[FirstWeights, str] = {"zeros": "all 0", "small": "N(0, 0.02)", "normal": "N(0, 1)"}


def decay_at_the_end(start: Start, pacer: Pacer, steps: int = 3000, lr: float = 0.03) -> ExperimentResult:
    """Train a bigram twice at one rate; in one loop it falls along a line to 0 at the end."""
    start = start.bigram()
    text = FullTextLoss(start.dataset)
    pacer.expect(2 * steps)
    falling = {"schedule": "linear", "decay_share": FALLING, "final_share": 0.0, "max_steps": start.step + steps}
    results = {
        name: run_loop(start.trainer("adamw", lr=lr, batch_size=32, grad_clip=None, **own), text, steps, pacer)
        for name, own in (("constant", {}), ("falling at the end", falling))
    }
    above = {name: each.losses[-1] - text.floor for name, each in results.items()}
    constant, fallen = above.values()
    summary = (
        f"After {steps:,} steps at {lr:g} the loss on the whole text is {constant:.4f} above the floor of any bigram "
        f"({text.floor:.3f}). Where the rate falls to 0 over the last {FALLING:.0%} of the steps it is {fallen:.4f}. "
    )
    summary += (
        "A constant rate keeps throwing each weight about by what single batches happen to hold; smaller and smaller "
        "steps let that noise average out."
        if fallen < constant
        else "Here the fall came before the weights had got near the floor: they still needed the distance."
    )
    gaps = [
        Curve(one.name, one.x, [max(loss - text.floor, 1e-9) for loss in one.y], one.tone) for one in curves(results)
    ]
    chart = Chart("Above the floor", LOSS_HELP, "step", "loss above the floor, nats per token", tuple(gaps), log_y=True)
    return ExperimentResult(summary, (chart,), start.about(), {"constant": constant, "falling": fallen})


def other_first_weights(start: Start, pacer: Pacer, steps: int = 500) -> ExperimentResult:
    """Train a bigram from zeros, from small numbers and from N(0, 1)."""
    start = start.first().bigram()
    text = FullTextLoss(start.dataset)
    pacer.expect(len(STARTS) * steps)
    results = {
        name: run_loop(
            Start(changed(start.config, first_weights=kind), start.settings, start.dataset).trainer(
                "adamw", lr=0.01, batch_size=32, grad_clip=None
            ),
            text,
            steps,
            pacer,
        )
        for kind, name in STARTS.items()
    }
    guessing = math.log(start.dataset.vocab_size)
    first = {name: each.losses[0] for name, each in results.items()}
    zeros, small, normal = first.values()
    summary = (
        f"Whoever knows nothing and says so has a loss of ln {start.dataset.vocab_size} = {guessing:.3f}. Weights of 0 "
        f"begin at {zeros:.3f} and small ones at {small:.3f}. Weights from N(0, 1) begin at {normal:.3f}: they hold "
        "opinions that nothing supports, and the first steps go into giving them up."
    )
    chart = Chart(
        "Loss from three first weights", LOSS_HELP, "step", LOSS_TITLE, curves(results, "usual usual changed")
    )
    return ExperimentResult(summary, (chart,), start.about(), {"guessing": guessing, "zeros": zeros, "normal": normal})


def a_batch_in_parts(start: Start, pacer: Pacer, parts: int = 4) -> ExperimentResult:
    """Take the gradient of a batch of 32 windows at once, and as the sum over its parts."""
    start = start.small()
    pacer.expect(2)
    slopes, losses = [], []
    for count in (1, parts):
        trainer = start.trainer("adamw", batch_size=32, micro_batches=count, grad_clip=None)
        for stage in (trainer.batch, trainer.forward, trainer.loss_stage, trainer.backward):
            stage()
        slopes.append(torch.cat([p.grad.flatten() for p in trainer.parameters if p.grad is not None]))
        losses.append(trainer.loss.item())
        pacer.advance()
    apart = float((slopes[0] - slopes[1]).abs().max())
    largest = float(slopes[0].abs().max())
    summary = (
        f"The batch's loss is {losses[0]:.6f} at once and {losses[1]:.6f} in {parts} parts. The largest of "
        f"{len(slopes[0]):,} slopes is {largest:.2e}, and none differs by more than {apart:.0e}, which is rounding. "
        "backward() adds to what is there, so a batch that does not fit into memory is worked through in parts; each "
        "part's loss is weighed by its share of the windows."
    )
    table = Table(
        "At once and in parts",
        "The mean over a batch is the mean of its parts' means, each weighed by its size. So is the slope.",
        ("batch", "loss", "length of the gradient"),
        tuple(
            (f"{32 // count} windows × {count}", loss, float(slope.norm()))
            for count, loss, slope in zip((1, parts), losses, slopes, strict=True)
        ),
    )
    return ExperimentResult(summary, (table,), start.about(), {"apart": apart, "largest": largest})


def how_far_a_step_may_go(start: Start, pacer: Pacer, steps: int = 100) -> ExperimentResult:
    """Measure the sharpest curvature of one batch's loss, and descend that batch at rates around 2 / curvature."""
    start = start.small()
    pacer.expect(len(SHARES) * steps + 1)
    trainer = start.trainer("sgd", batch_size=32, weight_decay=0.0, grad_clip=None)
    trainer.batch()
    model, parameters = language_model(trainer), trainer.parameters
    first = [p.detach().clone() for p in parameters]

    def loss() -> torch.Tensor:
        return model.loss(model(trainer.inputs)[0], trainer.targets)

    limit = 2 / abs(largest_curvature(loss, parameters, generator(start.config.seed, "curvature")))
    pacer.advance()
    losses: dict[float, list[float]] = {}
    for share in SHARES:
        with torch.no_grad():
            for parameter, weights in zip(parameters, first, strict=True):
                parameter.copy_(weights)
        losses[share] = []
        for _ in range(steps):
            now = loss()
            losses[share].append(now.item())
            with torch.no_grad():
                for parameter, slope in zip(parameters, torch.autograd.grad(now, parameters), strict=True):
                    parameter.sub_(slope, alpha=share * limit)
            pacer.advance()
    rises = {share: sum(after > before for before, after in pairwise(found)) for share, found in losses.items()}
    summary = (
        f"The sharpest curvature of this batch's loss is {2 / limit:.3g}, so that a step of plain gradient descent "
        f"leaves the valley above 2 / {2 / limit:.3g} = {limit:.3g}. In {steps} steps on this one batch the loss rose "
        + ", ".join(f"{count} times at {share:g} of that rate" for share, count in rises.items())
        + ". Above the limit a step lands higher on the other side of the narrowest valley. Often it throws weights "
        "to where the valley is wider, and the loss still falls, in leaps."
    )
    tones: tuple[Tone, ...] = ("usual", "usual", "changed", "other")
    chart = Chart(
        "One batch, four rates",
        "The loss of one batch, descended by plain gradients. Smooth below the limit, in zigzags above it.",
        "step",
        "loss of this batch, nats per token",
        tuple(
            Curve(f"{share:g} × 2/λ = {share * limit:.3g}", range(steps), found, tone)
            for (share, found), tone in zip(losses.items(), tones, strict=True)
        ),
    )
    return ExperimentResult(
        summary, (chart,), start.about(), {"limit": limit} | {f"{k:g}": n for k, n in rises.items()}
    )
