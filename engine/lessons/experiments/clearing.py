"""What if gradients are not cleared, cleared elsewhere in the loop, or set to zero instead of None?"""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

import torch
from torch import nn

from ...config import OptimizerName
from ...training.trainer import Trainer
from ..results import Chart, Curve, ExperimentResult, Table
from .loops import USUAL_ORDER, FullTextLoss, LoopResult, Stage, StageOrder, max_weight_difference, run_loop, run_stages
from .start import Pacer, Start

NEVER_CLEARED: StageOrder = tuple(stage for stage in USUAL_ORDER if stage is not Trainer.reset)
EXACT_LOSS = (
    "The exact loss on the whole training text: nothing scatters from batch to batch. Healthy is a fall that flattens"
)
LOSS_HELP = f"{EXACT_LOSS}; all curves began with the same weights and saw the same batches."
CLEARED = 30
LOSS_TITLE = "loss on the training text, nats per token"


def cleared_after(stage: Stage) -> StageOrder:
    """The usual order with the gradients cleared right after `stage`, and nowhere else."""
    order = list(NEVER_CLEARED)
    order.insert(order.index(stage) + 1, Trainer.reset)
    return tuple(order)


def curves(named: dict[str, LoopResult], tones: str = "usual changed") -> tuple[Curve, ...]:
    """One curve for each loop: its loss on the whole text, with `tones` given in the same order."""
    pairs = zip(named.items(), tones.split(), strict=False)
    return tuple(Curve(name, results.steps, results.losses, tone) for (name, results), tone in pairs)  # type: ignore[arg-type]


def never_cleared(start: Start, pacer: Pacer, optimizer: OptimizerName, lr: float, steps: int) -> ExperimentResult:
    """Train twice, with and without clearing the gradients after each step."""
    start = start.bigram()
    text = FullTextLoss(start.dataset)
    pacer.expect(2 * steps)
    decay = 0.01 if optimizer == "adamw" else 0.0
    results = {
        name: run_loop(start.trainer(optimizer, lr=lr, batch_size=32, weight_decay=decay, grad_clip=None), text, steps,
                       pacer, order)
        for name, order in (("with zero_grad", USUAL_ORDER), ("without zero_grad", NEVER_CLEARED))
    }  # fmt: skip
    kept, left = results.values()
    behind = [at for at, a, b in zip(kept.steps, kept.losses, left.losses, strict=False) if b >= a and at > 0]
    crossed = behind[0] if behind and behind[0] > kept.steps[2] else 0
    summary = (
        f"After {steps:,} steps the loss is {kept.losses[-1]:.2f} with zero_grad and {left.losses[-1]:.2f} without. "
    )
    summary += f"Forgetting it looks better up to about step {crossed:,}. " if crossed else ""
    if left.losses[-1] <= kept.losses[-1]:
        summary += "Here it is ahead: a sum of old gradients acts like a large momentum. Give it more steps."
    else:
        summary += (
            "Every backward() adds to what is in .grad, so each update repeats all gradients so far, also those that "
            "were computed where the weights were many steps ago, and overshoots. "
        )
        summary += (
            "AdamW divides by the size of the gradient, so its steps grow no longer; but they go on pointing where the "
            "slope was long ago."
            if optimizer == "adamw"
            else "SGD's steps grow with the sum."
        )
    chart = Chart("Loss with and without zero_grad", LOSS_HELP, "step", LOSS_TITLE, curves(results))
    numbers = {"with": kept.losses[-1], "without": left.losses[-1], "crossed": crossed}
    return ExperimentResult(summary, (chart,), start.about(), numbers)


def never_cleared_sgd(start: Start, pacer: Pacer, steps: int = 1000) -> ExperimentResult:
    """Plain SGD at learning rate 1: the sum of all gradients runs away."""
    return never_cleared(start, pacer, "sgd", 1.0, steps)


def never_cleared_adamw(start: Start, pacer: Pacer, steps: int = 3000) -> ExperimentResult:
    """AdamW at 3e-3: it first looks better."""
    return never_cleared(start, pacer, "adamw", 3e-3, steps)


def cleared_too_late(start: Start, pacer: Pacer, steps: int = 200) -> ExperimentResult:
    """Clear the gradients between backward() and step(), so that the optimizer finds none."""
    start = start.bigram()
    text = FullTextLoss(start.dataset)
    pacer.expect(2 * steps)
    orders = {"zero_grad after step": USUAL_ORDER, "zero_grad between backward and step": cleared_after(Trainer.guard)}
    trainers = [start.trainer("adamw", lr=0.01, batch_size=32, weight_decay=0.01, grad_clip=None) for _ in orders]
    results = {
        name: run_loop(trainer, text, steps, pacer, order)
        for trainer, (name, order) in zip(trainers, orders.items(), strict=True)
    }
    untouched = start.trainer("adamw")
    moved = [max_weight_difference(trainer, untouched) for trainer in trainers]
    late = results["zero_grad between backward and step"].losses
    summary = (
        f"In {steps:,} steps the largest change of a weight is {moved[0]:.3g} in the right order and {moved[1]:.3g} "
        f"with the gradients cleared before step(): the loss went from {late[0]:.4f} to {late[-1]:.4f}. "
    )
    summary += (
        "The optimizer passes over a weight whose .grad is None, so nothing is learnt, and no error says so."
        if moved[1] == 0
        else "Something moved all the same."
    )
    chart = Chart("Loss with the gradients cleared at two places", LOSS_HELP, "step", LOSS_TITLE, curves(results))
    return ExperimentResult(summary, (chart,), start.about(), {"moved": moved[0], "moved_late": moved[1]})


PLACES: dict[str, tuple[str, StageOrder]] = {
    "at the end of the step": ("000", USUAL_ORDER),
    "before the forward pass": ("001, 002", cleared_after(Trainer.batch)),
    "before backward()": ("003, 004", cleared_after(Trainer.loss_stage)),
    "between backward() and step()": ("none of them", cleared_after(Trainer.guard)),
}
"""Where a loop may clear its gradients, and in which documents it does; the last place is wrong."""


def cleared_at_three_places(start: Start, pacer: Pacer, steps: int = 100) -> ExperimentResult:
    """The documents clear gradients at three places of the loop: do the weights differ? And at a fourth, wrong one?"""
    start = start.small()
    pacer.expect(len(PLACES) * steps)
    trainers, losses = [], []
    for _, order in PLACES.values():
        trainer, ends = start.trainer(), []
        for _ in range(steps):
            run_stages(trainer, order)
            ends.append(trainer.recorder.loss)
            pacer.advance()
        trainers.append(trainer)
        losses.append(ends)
    *right, wrong = trainers
    apart_by = [max_weight_difference(trainer, trainers[0]) for trainer in trainers]
    apart = max(apart_by[: len(right)])
    same = apart == 0 and all(each == losses[0] for each in losses[: len(right)])
    moved = max_weight_difference(wrong, start.trainer())
    rows = tuple(
        (place, document, f"{ends[-1]:.9f}", f"{difference:.3g}")
        for (place, (document, _)), ends, difference in zip(PLACES.items(), losses, apart_by, strict=True)
    )
    summary = (
        f"After {steps} steps all three of the documents' loops have the same weights and the same losses, bit for "
        "bit. Any place will do, as long as it is after one step() and before the next backward(). "
        if same
        else "The documents' three loops differ, as the table says. "
    )
    summary += (
        f"The fourth throws each gradient away before step() can read it: its largest change of a weight is {moved:g}, "
        f"and its weights end up to {apart_by[-1]:.3g} from the others'."
    )
    table = Table(
        f"After {steps} steps",
        "Four loops from the same weights, on the same batches. A difference of 0 from the first means equal to the "
        "last bit; only the last loop, which learns nothing, may differ.",
        ("zero_grad stands", "documents", "last batch's loss, nats per token", "weights differ from the first's by"),
        rows,
    )
    return ExperimentResult(
        summary,
        (table,),
        start.about(),
        {"apart": apart, "losses_equal": float(same), "wrong": apart_by[-1], "wrong_moved": moved},
    )


def zeros_or_none(start: Start, pacer: Pacer, steps: int = 100, used: int = 20) -> ExperimentResult:
    """What AdamW does to a weight that the loss stops using, with its gradient set to zeros and set to None."""
    start = start.small()
    pacer.expect(2 * steps)
    paths: dict[bool, list[float]] = {}
    trainers = []
    for to_none in (True, False):
        trainer = start.trainer("adamw", lr=0.01, weight_decay=0.01)
        spare = nn.Parameter(torch.ones(()))
        trainer.optimizer.add_param_group({"params": [spare], "lr": 0.01, "weight_decay": 0.01})
        path = paths[to_none] = [1.0]
        order = cleared_with(to_none, spare)
        for step in range(steps):
            run_stages(trainer, order if step < used else tuple(_skipping(order)))
            path.append(float(spare.detach()))
            pacer.advance()
        trainers.append(trainer)
    rest = {to_none: path[-1] - path[used] for to_none, path in paths.items()}
    model_apart = max_weight_difference(*trainers)
    summary = (
        f"The loss uses this weight for {used} steps and then skips it. In the {steps - used} steps after that it "
        f"moves by {rest[False]:+.4f} where its gradient is set to zeros, and by {rest[True]:+.4f} where it is set to "
        "None. With zeros AdamW still sees a gradient: the momentum of old steps and the decay go on. None means: "
        "leave it. "
    ).replace("-", "−")
    summary += (
        "For the weights that every loss uses it makes no difference at all: they agree to the last bit."
        if model_apart == 0
        else f"The model's other weights differ by {model_apart:.3g}."
    )
    steps_at = list(range(steps + 1))
    chart = Chart(
        "A weight that the loss skips after a while",
        f"The value of one further weight, in the optimizer together with the model's; the loss uses it until step "
        f"{used}. Flat after that is what one expects of a weight that nothing depends on.",
        "step",
        "value of the weight",
        (
            Curve("set to None", steps_at, paths[True], "usual"),
            Curve("set to zeros", steps_at, paths[False], "changed"),
        ),
    )
    costs = {to_none: cost_of_clearing(start.trainer(), to_none) for to_none in (True, False)}
    none, zeros = costs[True], costs[False]
    weights = sum(p.numel() * p.element_size() for p in trainers[0].model.parameters())
    summary += (
        f" What either costs: through the next forward pass None holds {none.bytes:,} bytes of gradients and zeros "
        f"{zeros.bytes:,}, {zeros.bytes / weights:.0%} of what the weights take; one zero_grad() took "
        f"{none.clear:.0f} µs with None and {zeros.clear:.0f} µs with zeros here, beside a backward() of "
        f"{none.backward:,.0f} µs."
    ).replace("%", " %")
    table = Table(
        "What set_to_none costs, in memory and time",
        f"The middle of {CLEARED} measurements on a copy of the model. With None the next backward() hands its "
        "gradients over; with zeros it adds them to what is there, and the memory is held through the forward pass.",
        ("set_to_none", "bytes of .grad until backward()", "zero_grad(), µs", "backward() after it, µs"),
        tuple(
            (str(to_none), f"{cost.bytes:,}", f"{cost.clear:.1f}", f"{cost.backward:.1f}")
            for to_none, cost in costs.items()
        ),
    )
    numbers = {"none": rest[True], "zeros": rest[False], "apart": model_apart, "weights": weights}
    numbers |= {"none_bytes": none.bytes, "zeros_bytes": zeros.bytes}
    return ExperimentResult(summary, (chart, table), start.about(), numbers)


class ClearingCost(NamedTuple):
    """What clearing costs: bytes that the gradients hold after it, µs of zero_grad() and of the backward() after it."""

    bytes: int
    clear: float
    backward: float


def cost_of_clearing(trainer: Trainer, to_none: bool) -> ClearingCost:
    """Measure `zero_grad(set_to_none=to_none)` and the backward() that follows; no weight moves. Medians."""
    clears, backwards, held = [], [], 0
    trainer.batch()
    for _ in range(CLEARED + 1):  # the first one has nothing to clear
        trainer.forward()
        trainer.loss_stage()
        started = time.perf_counter()
        trainer.optimizer.zero_grad(set_to_none=to_none)
        cleared = time.perf_counter()
        held = sum(p.grad.numel() * p.grad.element_size() for p in trainer.parameters if p.grad is not None)
        began = time.perf_counter()
        trainer.backward()
        clears.append(cleared - started)
        backwards.append(time.perf_counter() - began)
    clear, backward = (1e6 * statistics.median(times[1:]) for times in (clears, backwards))
    return ClearingCost(held, clear, backward)


def cleared_with(to_none: bool, spare: nn.Parameter) -> StageOrder:
    """The usual order, with `spare` added to the loss and PyTorch's own zero_grad."""

    def loss_with_spare(trainer: Trainer) -> None:
        Trainer.loss_stage(trainer)
        trainer.loss = trainer.loss + spare

    def clear(trainer: Trainer) -> None:
        trainer.optimizer.zero_grad(set_to_none=to_none)

    changed: dict[Stage, Stage] = {Trainer.loss_stage: loss_with_spare, Trainer.reset: clear}
    return tuple(changed.get(stage, stage) for stage in USUAL_ORDER)


def _skipping(order: StageOrder) -> list[Stage]:
    """The same order with the model's own loss only."""
    return [
        Trainer.loss_stage if usual is Trainer.loss_stage else stage
        for stage, usual in zip(order, USUAL_ORDER, strict=True)
    ]
