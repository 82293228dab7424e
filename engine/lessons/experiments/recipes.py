"""What if the rate fell at the end, the first weights were others, or a batch were worked through in parts?"""

from __future__ import annotations

import math

import torch

from ...config import FirstWeights, changed
from ..results import Chart, Curve, ExperimentResult, Table
from .clearing import LOSS_HELP, LOSS_TITLE, curves
from .loops import FullTextLoss, run_loop
from .start import Pacer, Start

FALLING = 0.4
"""The share of the steps in which the rate falls."""
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
