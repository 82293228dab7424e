"""What an optimizer makes of a gradient: its size, its sign over many batches; and what an optimizer is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...generators import generator
from ..results import Example, Table
from ..snippets import run_code

GRADIENTS = (2e-2, 2e-4, 2e-6)
LR = 1e-3
LONG = 200
"""Steps until the moments have nothing left of the start."""
ALWAYS, RANDOM = "always the same", "drawn at random"


def three_weights() -> Example:
    """A big, a small and a very small gradient: what SGD and AdamW do with them at the first step."""
    moved: dict[str, list[float]] = {}
    for name in ("SGD", "AdamW"):
        weights = torch.zeros(len(GRADIENTS), dtype=torch.float64, requires_grad=True)
        weights.grad = torch.tensor(GRADIENTS, dtype=torch.float64)
        kind: type[torch.optim.Optimizer] = getattr(torch.optim, name)
        kind([weights], lr=LR).step()  # type: ignore[call-arg]
        moved[name] = (-weights.detach()).tolist()
    spans = {name: max(steps) / min(steps) for name, steps in moved.items()}
    ends = GRADIENTS[0], GRADIENTS[-1]
    later = {kind: [mean_move(signs, size) for size in ends] for kind, signs in kinds().items()}
    actual = (
        f"The gradients differ by a factor of {GRADIENTS[0] / GRADIENTS[-1]:,.0f}. Under SGD the three moves differ by "
        f"a factor of {spans['SGD']:,.0f}, as the formula says; under AdamW, which the document uses, by "
        f"{spans['AdamW']:.3f}: at the first step each weight moves by about the learning rate, {LR:g}, whatever its "
        "gradient. Size does not come back later: the mean of the gradients is divided by their size, so that no "
        f"scale is left. What does show later is whether batches agree. After {LONG} steps a weight whose gradient "
        f"always has one sign still moves by {later[ALWAYS][0]:.2f} × the rate, large gradient or small; one whose "
        f"sign is drawn at random moves by {later[RANDOM][0]:.2f} × the rate on average, large or small."
    )
    agreement = Table(
        f"Steps {LONG // 2} to {LONG}: what counts is whether batches agree",
        "The mean |Δw| ÷ rate under AdamW for a weight whose gradient has always the same size, and a sign on which "
        "batches agree or not. Compare rows, then columns: the size of the gradient makes no difference.",
        ("sign of the gradient", f"gradient {GRADIENTS[0]:.0e}", f"gradient {GRADIENTS[-1]:.0e}"),
        tuple((kind, *(f"{move:.3f}" for move in moves)) for kind, moves in later.items()),
    )
    table = Table(
        f"The first step at learning rate {LR:g}",
        "How far each weight moves against its gradient. Read down a column: SGD keeps the proportions, AdamW nearly "
        "removes them.",
        ("gradient", "moved by SGD", "moved by AdamW"),
        tuple(
            (f"{g:.0e}", f"{s:.2e}", f"{a:.6f}")
            for g, s, a in zip(GRADIENTS, moved["SGD"], moved["AdamW"], strict=True)
        ),
    )
    return Example(
        "000, lines 303–305 and 355–361",
        "A weight that contributed much to the error gets a big update, one that contributed little a very small "
        "one: new = old − learning rate × gradient.",
        actual,
        (table, agreement),
        {"sgd": spans["SGD"], "adamw": spans["AdamW"], "largest": moved["AdamW"][0]}
        | {f"{kind}/{size:g}": move for kind in later for size, move in zip(ends, later[kind], strict=True)},
    )


def kinds() -> dict[str, Tensor]:
    """Signs of a gradient over LONG steps, (LONG,) each: what batches agree on, nearly, hardly, and not at all."""
    luck = torch.rand(LONG, generator=generator(0, "signs"), dtype=torch.float64)
    shares = {ALWAYS: 0.0, "one in ten differs": 0.1, "three in ten differ": 0.3, RANDOM: 0.5}
    return {kind: torch.where(luck < share, -1.0, 1.0).double() for kind, share in shares.items()}


def mean_move(signs: Tensor, size: float) -> float:
    """The mean |Δw| ÷ rate of one weight under AdamW in the second half of gradients of this size with these signs."""
    weight = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.AdamW([weight], lr=LR, weight_decay=0.0)
    path = [0.0]
    for sign in signs:
        weight.grad = sign * size
        optimizer.step()
        path.append(float(weight.detach()))
    moves = torch.tensor(path, dtype=torch.float64).diff().abs() / LR
    return float(moves[len(signs) // 2 :].mean())


def what_adamw_is() -> Example:
    """`backwards()`, AdamW beside a perceptron, and a gradient beside the change that an optimizer makes of it."""
    layer = nn.Linear(3, 1, device="meta").to_empty(device="cpu")  # else it would draw from the generator of all
    perceptron = nn.Sequential(layer, nn.Sigmoid())
    with torch.no_grad():
        for parameter in perceptron.parameters():
            parameter.fill_(0.5)
    x, y = torch.tensor([[0.01, 0.3, 3.0]]), torch.tensor([[0.0]])
    optimizer = torch.optim.AdamW(perceptron.parameters(), lr=LR, weight_decay=0.0)
    answer = perceptron(x)
    loss = nn.functional.binary_cross_entropy(answer, y)
    misspelt = run_code("loss.backwards()", {"loss": loss})
    spelt = run_code("loss.backward()", {"loss": loss})
    called = run_code("optimizer(x)", {"optimizer": optimizer, "x": x})
    weight, bias = layer.weight, layer.bias
    assert weight.grad is not None
    (row,) = weight.grad.tolist()
    before = weight.detach().clone()
    optimizer.step()
    by_adamw = (weight.detach() - before)[0].tolist()
    own = sum(isinstance(held, nn.Parameter) for held in vars(optimizer).values())
    memory = sum(t.numel() for kept in optimizer.state.values() for name, t in kept.items() if name != "step")
    trained = weight.numel() + bias.numel()
    facts = Table(
        "A perceptron and its optimizer",
        "What each object is, and what it can do. The optimizer has no layer and gives no answer; it holds references "
        "to somebody else's weights, and a memory of their gradients.",
        ("object", "a model (nn.Module)?", "weights of its own", "other numbers that it keeps", "an answer to x"),
        (
            ("perceptron", str(isinstance(perceptron, nn.Module)), f"{trained}", "0", f"{answer.item():.4f}"),
            ("AdamW", str(isinstance(optimizer, nn.Module)), f"{own}", f"{memory}, the two moments", called.kind),
        ),
    )
    changes = Table(
        "A gradient is not a change",
        "The slope of the loss in each of the perceptron's three weights, and how far two rules move the weight for "
        f"it at learning rate {LR:g}. Read down: the slopes grow, and so do SGD's moves; AdamW's first moves do not.",
        ("weight", "gradient", "change by SGD", "change by AdamW"),
        tuple(
            (f"w{i}", f"{g:.4f}", f"{-LR * g:.6f}".replace("-", "−"), f"{moved:.6f}".replace("-", "−"))
            for i, (g, moved) in enumerate(zip(row, by_adamw, strict=True))
        ),
    )
    actual = (
        f"`loss.backwards()` raises {misspelt.kind}; the method is `backward()`. AdamW is no perceptron of any kind "
        "but an optimizer: a perceptron is a model that gives an answer, and an optimizer a rule that changes a "
        f"model's weights. It has {own} weights of its own and keeps {memory} numbers for the {trained} weights of "
        f"this perceptron: two moments each. And a gradient is a slope, not a change: for slopes of {row[0]:.3f}, "
        f"{row[1]:.3f} and {row[2]:.3f} AdamW's first step changes the weights by {by_adamw[0]:.6f}, {by_adamw[1]:.6f} "
        f"and {by_adamw[2]:.6f}."
    ).replace(" -", " −")
    numbers = {"own": own, "memory": memory, "trained": trained, "raised": float(misspelt.kind == "AttributeError")}
    numbers |= {f"gradient_{i}": g for i, g in enumerate(row)} | {f"change_{i}": c for i, c in enumerate(by_adamw)}
    return Example(
        "001, lines 17 and 116–120",
        "The gradients are computed by loss.backwards(). AdamW is a more complex version of a perceptron neural "
        "network, with means of gradients in it (gradients = change in weights).",
        actual,
        (misspelt, spelt, facts, called, changes),
        numbers,
    )
