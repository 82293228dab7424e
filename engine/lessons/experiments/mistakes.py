"""Mistakes that raise an error, or do not: softmax over the wrong dimension, a freed graph, an exhausted generator."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ...training.trainer import Trainer
from ..results import ExperimentResult, Grid, Table, cells
from ..snippets import run_code
from .loops import run_stages
from .start import Pacer, Start

FORWARD_STAGES = (Trainer.batch, Trainer.forward, Trainer.loss_stage)
PLACES, TOKENS = 8, 5


def softmax_dimension(start: Start, pacer: Pacer) -> ExperimentResult:
    """dim=1 is right on (B, C) and wrong on (B, T, C)."""
    trainer = start.trainer()
    run_stages(trainer, FORWARD_STAGES)
    with torch.no_grad():
        logits = trainer.logits  # (B, T, C)
        right, wrong = F.softmax(logits, dim=-1), F.softmax(logits, dim=1)
        last = logits[:, -1, :]  # (B, C)
        same = torch.equal(F.softmax(last, dim=1), F.softmax(last, dim=-1))
        both = {"-1": right, "1": wrong}
        chance = {name: float(p.gather(-1, trainer.targets.unsqueeze(-1)).mean()) for name, p in both.items()}
        level = {name: float(p.mean()) for name, p in both.items()}
    batch, steps, tokens = logits.shape
    sums = {name: p[0].sum(-1) for name, p in both.items()}
    summary = (
        f"On (B, C) = ({batch}, {tokens}) dim=1 is the tokens: dim=1 and dim=-1 "
        f"agree{' to the last bit' if same else ', it should be'}. On (B, T, C) = ({batch}, {steps}, {tokens}) dim=1 "
        f"is time: the probabilities of one position then sum to {float(sums['1'].min()):.2f} … "
        f"{float(sums['1'].max()):.2f} instead of 1, and those of one token over the {steps} places of a window sum to "
        f"{float(wrong[0].sum(0).mean()):.2f}. No error says so. dim=-1 is the tokens in both. "
    )
    summary += (
        f"Under dim=1 the right token seems to get {chance['1'] / chance['-1']:.1f} times as much, {chance['1']:.4f} "
        f"against {chance['-1']:.4f}: no better a model, but larger numbers all over. A window's {steps} places share "
        f"1 there instead of the {tokens} tokens, so that the mean over right and wrong tokens is 1/{steps} = "
        f"{level['1']:.4f} instead of 1/{tokens} = {level['-1']:.4f}. Held against that, the right token has "
        f"{chance['1'] / level['1']:.2f} times the mean under dim=1 and {chance['-1'] / level['-1']:.2f} times under "
        "dim=-1."
    )
    labels = start.dataset.tokenizer.labels
    most = right[0].amax(0).topk(min(TOKENS, tokens)).indices.sort().values
    rows = tuple(labels[int(i)] for i in trainer.inputs[0, :PLACES])
    columns = tuple(labels[int(i)] for i in most)
    grids = tuple(
        Grid(
            f"softmax(logits, dim={name}) of the first window",
            "Rows are the places of one window, columns some of the tokens that could come next. In each row the "
            "probabilities of all tokens have to sum to 1; the last column says what they do sum to.",
            cells(torch.cat((p[0, :PLACES, most], p[0, :PLACES].sum(-1, keepdim=True)), dim=1)),
            rows,
            (*columns, "sum"),
            "probability",
            "seen",
            "next",
        )
        for name, p in both.items()
    )
    table = Table(
        "What each dimension gives",
        "The same logits, turned into probabilities over two dimensions. Only sums of 1 along the tokens are "
        "chances of what comes next; the last column compares the right token with the mean of its call.",
        (
            "call",
            "sum over the tokens of a position",
            "sum over the places of a window",
            "mean of all cells",
            "mean of the right token",
            "right ÷ all",
        ),
        tuple(
            (
                f"F.softmax(logits, dim={name})",
                f"{float(p[0].sum(-1).min()):.3f} … {float(p[0].sum(-1).max()):.3f}",
                f"{float(p[0].sum(0).min()):.3f} … {float(p[0].sum(0).max()):.3f}",
                f"{level[name]:.4f}",
                f"{chance[name]:.4f}",
                f"{chance[name] / level[name]:.2f}",
            )
            for name, p in both.items()
        ),
    )
    numbers = {"same": float(same), "right": float(sums["-1"].mean()), "wrong": float(sums["1"].max())}
    numbers |= {f"{what}_{name}": v[name] for what, v in (("chance", chance), ("level", level)) for name in both}
    return ExperimentResult(summary, (*grids, table), start.about(), numbers)


def second_backward(start: Start, pacer: Pacer) -> ExperimentResult:
    """backward() frees the graph, so a second call fails unless the graph was retained."""
    trainer = start.trainer()
    run_stages(trainer, FORWARD_STAGES)
    first = run_code("loss.backward()", {"loss": trainer.loss})
    once = [p.grad.clone() for p in trainer.parameters if p.grad is not None]
    second = run_code("loss.backward()  # again", {"loss": trainer.loss})
    again = start.trainer()
    run_stages(again, FORWARD_STAGES)
    kept = run_code("loss.backward(retain_graph=True)\nloss.backward()", {"loss": again.loss})
    twice = [p.grad for p in again.parameters if p.grad is not None]
    doubled = all(torch.equal(b, 2 * a) for a, b in zip(once, twice, strict=True))
    summary = (
        f"The first backward() fills .grad. The second raises {second.kind}: what the forward pass had kept for the "
        "chain rule was freed on the way, to save memory. "
    )
    summary += (
        "With retain_graph=True it is kept, and the second call adds the same gradient once more: every .grad is "
        "exactly twice as large."
        if doubled
        else "With retain_graph=True it is kept."
    )
    return ExperimentResult(summary, (first, second, kept), start.about(), {"doubled": float(doubled)})


def item_backward(start: Start, pacer: Pacer) -> ExperimentResult:
    """`loss.item()` is a Python number without a graph."""
    trainer = start.trainer()
    run_stages(trainer, FORWARD_STAGES)
    code = "loss.item().backward()"
    raised = run_code(code, {"loss": trainer.loss})
    function = type(trainer.loss.grad_fn).__name__
    summary = (
        f"loss is a tensor whose grad_fn is {function}: the way back into the model. loss.item() is a "
        f"{type(trainer.loss.item()).__name__} of the same value, {trainer.loss.item():.6f}, without that way, so "
        "there is no backward() to call."
    )
    table = Table(
        "The same number twice",
        "What Python knows about each. Only what has a grad_fn can be walked back.",
        ("expression", "type", "value", "grad_fn"),
        (
            ("loss", type(trainer.loss).__name__, f"{trainer.loss.item():.6f}", function),
            ("loss.item()", type(trainer.loss.item()).__name__, f"{trainer.loss.item():.6f}", "–"),
        ),
    )
    return ExperimentResult(summary, (table, raised), start.about(), {"raised": float(raised.kind != "no error")})


def one_generator(start: Start, pacer: Pacer) -> ExperimentResult:
    """`parameters()` is a generator, so the second optimizer that reads it gets nothing."""
    model = start.trainer().model
    names: dict[str, object] = {"model": model}
    code = "p = model.parameters()\nfirst = torch.optim.AdamW(p)\nsecond = torch.optim.SGD(p)"
    raised = run_code(code, names)
    first_optimizer = names["first"]
    assert isinstance(first_optimizer, torch.optim.Optimizer)
    held = sum(len(group["params"]) for group in first_optimizer.param_groups)
    listed = run_code("p = list(model.parameters())\nfirst = torch.optim.AdamW(p)\nsecond = torch.optim.SGD(p)", names)
    there_are = len(list(model.parameters()))
    summary = (
        f"The first optimizer took {held} of {there_are} parameter tensors out of the generator; the "
        f"second found it empty, and raised {raised.kind}. list(model.parameters()) can be given "
        f"twice{'.' if listed.kind == 'no error' else ', it should be.'} So can calling parameters() anew."
    )
    table = Table(
        "Who holds what",
        "The number of parameter tensors in each optimizer. An optimizer without any would train nothing.",
        ("optimizer", "parameter tensors"),
        (("first", f"{held}"), ("second", "none: " + raised.kind)),
    )
    return ExperimentResult(summary, (table, raised, listed), start.about(), {"held": held, "of": there_are})
