"""Questions about modules, calls and the optimizer."""

from __future__ import annotations

import copy
import inspect
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...training.sampling import evaluating
from .question import Answer, QuestionContext

RATES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def purpose_of_nn(context: QuestionContext) -> Answer:
    """The layer and the plain function give the same numbers; the layer also keeps the weight."""
    layer = context.model.token_embedding
    with evaluating(context.model):
        apart = (layer(context.inputs) - F.embedding(context.inputs, layer.weight)).abs().max().item()
    modules, numbers = sum(1 for _ in context.model.modules()), context.model.parameter_count()
    return Answer(
        "`torch.nn` holds the building blocks that remember something: classes whose objects own parameters, can be "
        "nested, saved and moved as one, and hand all their parameters to an optimizer. This model is a tree of "
        f"{modules} such modules with {numbers:,} trainable numbers. The arithmetic does not need them: the embedding "
        f"layer and the plain function `F.embedding`, given its weight, differ by {apart:g} on this batch.",
        {"modules": modules, "trainable numbers": numbers, "largest difference, layer and function": apart},
    )


def idx_or_xb(context: QuestionContext) -> Answer:
    """Parameter names are local to a function; `model(x)` goes through `__call__` and its hooks."""
    names = list(inspect.signature(context.model.forward).parameters)
    calls: list[int] = []
    handle = context.model.register_forward_hook(lambda *_: calls.append(1))
    with evaluating(context.model):
        _, called = context.model(context.inputs, context.targets)
        hooks_by_call = len(calls)
        _, direct = context.model.forward(context.inputs, context.targets)
    handle.remove()
    assert called is not None and direct is not None
    return Answer(
        "A name in a signature is the function's own: inside, the first argument is called that, whatever the caller "
        f"calls it. Here `forward` names its parameters {' and '.join(f'`{name}`' for name in names)}, the loop passes "
        "`xb` and `yb`, and the position alone decides. `model(xb, yb)` is `model.__call__`, which runs hooks and then "
        f"`forward`: a hook on this model was called {hooks_by_call} time by `model(xb, yb)` and "
        f"{len(calls) - hooks_by_call} times by `model.forward(xb, yb)`; the losses are {float(called):.6f} and "
        f"{float(direct):.6f}.",
        {
            "parameters of forward": ", ".join(names),
            "hooks run by model(xb, yb)": hooks_by_call,
            "hooks run by model.forward(xb, yb)": len(calls) - hooks_by_call,
            "loss by model(xb, yb)": float(called),
            "loss by model.forward(xb, yb)": float(direct),
        },
    )


def why_adamw(context: QuestionContext) -> Answer:
    """One first step of AdamW and of SGD from these weights, and of AdamW at other learning rates."""
    default = float(inspect.signature(torch.optim.AdamW).parameters["lr"].default)
    adamw = _first_step(context, torch.optim.AdamW, default)
    sgd = _first_step(context, torch.optim.SGD, default)
    after = {rate: _first_step(context, torch.optim.AdamW, rate).loss for rate in RATES}
    low, high = adamw.slopes
    best = min(after, key=lambda rate: after[rate])
    return Answer(
        "AdamW divides each weight's slope by a running size of its own slopes, so one learning rate suits them all. "
        f"The middle nine tenths of the slopes on this batch run from {low:.2g} to {high:.2g}; a first step of AdamW "
        f"moves those weights by {adamw.moves[0]:.3f} to {adamw.moves[1]:.3f} times the rate, a step of SGD by "
        f"{sgd.moves[0]:.2g} to {sgd.moves[1]:.2g} times (0 where the move is lost in a weight's own rounding). "
        f"{default:g} is the default of `torch.optim.AdamW`, a place to start and no law: from these weights one step "
        f"at {default:g} takes the loss on this batch from {adamw.before:.4f} to {adamw.loss:.4f}; of the rates tried, "
        f"{best:g} lowers it most, to {after[best]:.4f}. One step on one batch is not training: over thousands of "
        "steps a rate that high may never settle.",
        {
            "default rate": default,
            "loss before": adamw.before,
            **{f"loss after one step at {rate:g}": loss for rate, loss in after.items()},
            "loss after one step of SGD at the default": sgd.loss,
            "slope, 5 %": low,
            "slope, 95 %": high,
            "AdamW's move ÷ rate, 5 %": adamw.moves[0],
            "AdamW's move ÷ rate, 95 %": adamw.moves[1],
            "SGD's move ÷ rate, 5 %": sgd.moves[0],
            "SGD's move ÷ rate, 95 %": sgd.moves[1],
        },
    )


class _Step(NamedTuple):
    """A first update: the loss before and after it, and the 5th and 95th percentiles of |slope| and of |Δw| ÷ rate."""

    before: float
    loss: float
    slopes: tuple[float, float]
    moves: tuple[float, float]


def _first_step(context: QuestionContext, rule: type[torch.optim.Optimizer], rate: float) -> _Step:
    """One step of `rule` without weight decay on a copy; weights with a gradient of exactly 0 are not counted."""
    trial = copy.deepcopy(context.model)
    trial.eval()
    optimizer = rule(trial.parameters(), lr=rate, weight_decay=0.0)  # type: ignore[call-arg]
    _, loss = trial(context.inputs, context.targets)
    loss.backward()
    slopes = torch.cat([p.grad.flatten() for p in trial.parameters() if p.grad is not None])
    optimizer.step()
    pairs = zip(trial.parameters(), context.model.parameters(), strict=True)
    moves = torch.cat([(new.detach() - old.detach()).flatten() for new, old in pairs if new.grad is not None])
    touched = slopes != 0
    with evaluating(trial):
        _, after = trial(context.inputs, context.targets)
    return _Step(
        float(loss.detach()),
        float(after),
        _percentiles(slopes[touched].abs()),
        _percentiles(moves[touched].abs() / rate),
    )


def _percentiles(sizes: Tensor) -> tuple[float, float]:
    """The 5th and the 95th percentile of (n,); 0 if it is empty."""
    if not len(sizes):
        return 0.0, 0.0
    ordered = sizes.sort().values
    return float(ordered[int(0.05 * (len(ordered) - 1))]), float(ordered[int(0.95 * (len(ordered) - 1))])
