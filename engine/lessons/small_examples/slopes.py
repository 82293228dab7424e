"""Gradients: the graph nodes they flow through, and how they accumulate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..results import Example, Table


def grad_fn_name(tensor: Tensor) -> str:
    """The name of the graph node that made `tensor`."""
    return type(tensor.grad_fn).__name__


def names_of_nodes() -> Example:
    """Real operations, and what their grad_fn is called."""
    w = torch.ones(3, requires_grad=True)
    image, kernel = torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2, requires_grad=True)
    weight, bias = torch.ones(2, 3, requires_grad=True), torch.ones(2)
    made: dict[str, tuple[str, Tensor]] = {
        "F.cross_entropy(logits, targets)": ("NllLossBackward0", F.cross_entropy(w.view(1, 3), torch.tensor([1]))),
        "a + b": ("AddBackward0", w + w),
        "a * b": ("MulBackward0", w * w),
        "a.mean()": ("MeanBackward0", w.mean()),
        "F.conv2d(image, kernel)": ("Conv2DBackward", F.conv2d(image, kernel)),
        "F.linear(rows, weight, bias)": ("LinearBackward", F.linear(torch.ones(4, 3), weight, bias)),
    }
    rows = tuple((code, said, grad_fn_name(tensor)) for code, (said, tensor) in made.items())
    wrong = [(said, real) for _, said, real in rows if said != real]
    made_of_w = w * 2
    assert made_of_w.grad_fn is not None
    leaf = made_of_w.grad_fn.next_functions[0][0]
    stores = getattr(leaf, "variable", None) is w
    actual = (
        "The real names are "
        + ", ".join(f"{real} (the document: {said})" for said, real in wrong)
        + f"; the other {len(rows) - len(wrong)} are right. At the end of every path stands {type(leaf).__name__}: it "
        f"holds the parameter itself{' (checked here)' if stores else ''} and adds what arrives to its `.grad`. It "
        "computes no gradient; the nodes before it have done that."
    )
    table = Table(
        "grad_fn of real operations",
        "Each operation was carried out just now; the last column is the name that PyTorch gives its node.",
        ("operation", "the document says", "PyTorch says"),
        rows,
    )
    return Example(
        "003, lines 412–432",
        "A list of nodes: NllLossBackward0, AddBackward0, MulBackward0, MeanBackward0, Conv2DBackward, "
        "LinearBackward; and "
        "AccumulateGrad, said to compute the gradients.",
        actual,
        (table,),
        {"wrong": len(wrong), "stores": float(stores)},
    )


def adding_up() -> Example:
    """backward() adds to `.grad`, it does not replace it."""
    w = torch.tensor(3.0, requires_grad=True)
    rows: list[tuple[str, str]] = [("before", str(w.grad))]
    for count in ("once", "twice"):
        (w**2).backward()  # type: ignore[no-untyped-call]
        assert w.grad is not None
        rows.append((f"backward() {count}", f"{float(w.grad):g}"))
    twice = float(w.grad) if w.grad is not None else 0.0
    torch.optim.SGD([w], lr=1).zero_grad(set_to_none=True)
    rows.append(("zero_grad(set_to_none=True)", str(w.grad)))
    cleared = w.grad is None
    (w**2).backward()  # type: ignore[no-untyped-call]
    assert w.grad is not None
    fresh = float(w.grad)
    rows.append(("backward() once more", f"{fresh:g}"))
    table = Table(
        "w = 3, loss = w²: what is in w.grad",
        "Each row is the state after one more call. The slope of w² at 3 is 6, and nothing else is ever computed.",
        ("after", "w.grad"),
        tuple(rows),
    )
    actual = (
        f"After two calls `.grad` is {twice:g}, twice the slope. `zero_grad` puts "
        f"{'None' if cleared else 'something else'} there, and the next call gives {fresh:g} again. Adding up is no "
        "fault: it is how several small batches become one large one."
    )
    return Example(
        "000, lines 395–409; 004, lines 31–38",
        "If the gradients are not cleared, the next batch's are added to the old ones.",
        actual,
        (table,),
        {"twice": twice, "fresh": fresh, "cleared": float(cleared)},
    )
