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
OTHER_WINDOWS = 256
MOST_STEPS, FEWEST_STEPS = 100, 5
MOST_WORK, MOST_WORK_A_STEP = 2 * 10**8, 10**9
"""In parameters times tokens: for the steps at one rate, and for a single step where even FEWEST_STEPS are more."""


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
    """One step of AdamW and of SGD from these weights; then AdamW at other learning rates, for one step and for more.

    A rate is judged on other windows of the text than those of the batch: a large one fits its own batch only.
    """
    default = float(inspect.signature(torch.optim.AdamW).parameters["lr"].default)
    (other,) = context.other_windows(_other_rows(context))
    with evaluating(context.model):
        elsewhere_before = float(context.model(*other)[1])
    adamw, sgd = (_first_step(context, rule, default, other) for rule in (torch.optim.AdamW, torch.optim.SGD))
    after = {rate: _first_step(context, torch.optim.AdamW, rate, other) for rate in RATES}
    own = {rate: step.loss for rate, step in after.items()}
    elsewhere = {rate: step.elsewhere for rate, step in after.items()}
    steps = _steps_to_try(context)
    trained = {rate: _train(context, rate, steps, other) for rate in RATES} if steps else {}
    low, high = adamw.slopes
    weight = float(torch.cat([p.detach().flatten() for p in context.model.parameters()]).abs().median())
    answer = (
        "AdamW divides the running mean of each weight's slopes by their running size, so one learning rate suits "
        f"weights whose slopes differ. The middle nine tenths of the slopes on this batch run from {low:.2g} to "
        f"{high:.2g}; a first step of AdamW moves those weights by {adamw.moves[0]:.3f} to {adamw.moves[1]:.3f} times "
        f"the rate, a step of SGD by {sgd.moves[0]:.2g} to {sgd.moves[1]:.2g} times (0 where the move is lost in a "
        "weight's own rounding).\n\n"
        "So AdamW's rate has the unit of a weight: it is about how far one step takes each of them at most. "
        f"{default:g} is the default of `torch.optim.AdamW`, and the middle weight here has the size {weight:.3g}. "
    )
    best, best_elsewhere = (min(losses, key=lambda rate: losses[rate]) for losses in (own, elsewhere))
    raised = elsewhere[best] > elsewhere_before
    answer += (
        f"One step at {best:g} lowers the loss of its own batch most, from {adamw.before:.4f} to {own[best]:.4f}, "
        f"{'but takes' if raised else 'and takes'} that of {len(other[0]):,} other windows of the text from "
        f"{elsewhere_before:.4f} to {elsewhere[best]:.4f}{': it fits this batch and nothing else' if raised else ''}. "
    )
    if best_elsewhere != best:
        answer += f"On those windows {best_elsewhere:g} is the best single step, to {elsewhere[best_elsewhere]:.4f}. "
    if default not in (best, best_elsewhere):
        answer += f"At {default:g} it comes to {elsewhere[default]:.4f} there. "
    if trained:
        furthest = min(trained, key=lambda rate: trained[rate])
        others = " and ".join(f"{rate:g} to {trained[rate]:.4f}" for rate in (default, RATES[-1]) if rate != furthest)
        answer += (
            f"\n\nIn {steps} steps, each on a batch of its own, {furthest:g} gets furthest on the other windows, to "
            f"{trained[furthest]:.4f}; {others}. "
        )
        answer += (
            f"Here {default:g} is a cautious start: nearly any network can bear it, and this one learns faster at a "
            "larger rate."
            if furthest > default
            else f"Here the default is {'the best of the rates tried' if furthest == default else 'too large already'}."
        )
        answer += " "
    answer += "It is a place to start and no law; the race of learning rates on Race shows a whole training."
    return Answer(
        answer,
        {
            "default rate": default,
            "loss before": adamw.before,
            **{f"loss after one step at {rate:g}": loss for rate, loss in own.items()},
            "loss after one step of SGD at the default": sgd.loss,
            "on other windows, before": elsewhere_before,
            **{f"on other windows, after one step at {rate:g}": loss for rate, loss in elsewhere.items()},
            **{f"on other windows, after {steps} steps at {rate:g}": loss for rate, loss in trained.items()},
            "the middle weight's size": weight,
            "slope, 5 %": low,
            "slope, 95 %": high,
            "AdamW's move ÷ rate, 5 %": adamw.moves[0],
            "AdamW's move ÷ rate, 95 %": adamw.moves[1],
            "SGD's move ÷ rate, 5 %": sgd.moves[0],
            "SGD's move ÷ rate, 95 %": sgd.moves[1],
        },
    )


def _other_rows(context: QuestionContext) -> int:
    """On how many other windows a loss is measured: fewer of a large model, but as many as a batch has."""
    work = context.model.parameter_count() * context.inputs.size(1)
    return max(len(context.inputs), min(OTHER_WINDOWS, MOST_WORK // 4 // work))


def _steps_to_try(context: QuestionContext) -> int:
    """How many steps at each rate the model is small enough for; 0 for a large one."""
    work = context.model.parameter_count() * context.inputs.numel()
    steps = min(MOST_STEPS, MOST_WORK // work)
    return steps if steps >= FEWEST_STEPS else FEWEST_STEPS if work <= MOST_WORK_A_STEP else 0


def _train(context: QuestionContext, rate: float, steps: int, other: tuple[Tensor, Tensor]) -> float:
    """The loss on `other` after `steps` updates of AdamW at `rate` on a copy, each on a batch of its own."""
    trial = copy.deepcopy(context.model).eval()
    optimizer = torch.optim.AdamW(trial.parameters(), lr=rate, weight_decay=0.0)
    for step, batch in enumerate(context.other_windows(len(context.inputs), steps)):
        context.report(f"training at rate {rate:g}", step, steps)
        optimizer.zero_grad()
        trial(*batch)[1].backward()
        optimizer.step()
    with evaluating(trial):
        return float(trial(*other)[1])


class _Step(NamedTuple):
    """A first update: the batch's loss before and after it, and that of other windows after it; of the weights with a
    slope, the 5th and 95th percentiles of |slope| and of |Δw| ÷ rate.
    """

    before: float
    loss: float
    elsewhere: float
    slopes: tuple[float, float]
    moves: tuple[float, float]


def _first_step(
    context: QuestionContext, rule: type[torch.optim.Optimizer], rate: float, other: tuple[Tensor, Tensor]
) -> _Step:
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
        _, elsewhere = trial(*other)
    return _Step(
        float(loss.detach()),
        float(after),
        float(elsewhere),
        _percentiles(slopes[touched].abs()),
        _percentiles(moves[touched].abs() / rate),
    )


def _percentiles(sizes: Tensor) -> tuple[float, float]:
    """The 5th and the 95th percentile of (n,); 0 if it is empty."""
    if not len(sizes):
        return 0.0, 0.0
    ordered = sizes.sort().values
    return float(ordered[int(0.05 * (len(ordered) - 1))]), float(ordered[int(0.95 * (len(ordered) - 1))])
