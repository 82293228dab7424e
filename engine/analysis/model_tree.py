"""What a model is made of: its modules and parameters as a tree, and the shapes that run through it.

Reads models of any kind and changes none.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import RunConfig
from ..models import LanguageModel, Model, build_language_model
from ..models.base import Dropout


@dataclass(frozen=True)
class Part:
    """A module or a parameter. `count` numbers are in it and all below, `share` of the model's; `own` of `_parameters`.

    `path` is the attribute path from the model (empty: the model itself). Of a module `shape` and `dtype` are empty, of
    a parameter `own` is. A parameter that appears a second time (a tied weight) counts 0 and names the first in `same`.
    """

    path: str
    depth: int
    kind: str
    shape: tuple[int, ...] | None
    dtype: str
    count: int
    share: float
    trainable: bool
    own: tuple[str, ...]
    same: str = ""


def tree(model: nn.Module) -> list[Part]:
    """The modules and parameters of `model`, each module before what is in it."""
    whole = sum(p.numel() for p in model.parameters())
    seen: dict[int, str] = {}
    return list(_parts(model, "", 0, max(1, whole), seen))


def _parts(module: nn.Module, path: str, depth: int, whole: int, seen: dict[int, str]) -> Iterator[Part]:
    own = dict(module._parameters)
    new = {id(p) for p in module.parameters()} - seen.keys()
    count = sum(p.numel() for p in module.parameters() if id(p) in new)
    trainable = any(p.requires_grad for p in module.parameters())
    yield Part(path, depth, type(module).__name__, None, "", count, count / whole, trainable, tuple(own))
    for name, parameter in own.items():
        if parameter is None:
            continue
        where = f"{path}.{name}".lstrip(".")
        same = seen.setdefault(id(parameter), where)
        same = "" if same == where else same
        count = 0 if same else parameter.numel()
        dtype = str(parameter.dtype).removeprefix("torch.")
        shape, needed = tuple(parameter.shape), parameter.requires_grad
        yield Part(where, depth + 1, "Parameter", shape, dtype, count, count / whole, needed, (), same)
    for name, child in module.named_children():
        yield from _parts(child, f"{path}.{name}".lstrip("."), depth + 1, whole, seen)


class Yielded(NamedTuple):
    """What `parameters()` gives and where `_parameters` keeps it, for one model.

    own: the names in the model's own `_parameters`; kept: by path, the names in each module's that has some.
    names: what `parameters()` yields. after_freezing: how many it yields once the first of them is frozen.
    again: how many a generator yields that has been used up once.
    """

    own: tuple[str, ...]
    kept: dict[str, tuple[str, ...]]
    names: tuple[str, ...]
    kind: str
    again: int
    frozen: str
    after_freezing: int
    trainable_after_freezing: int


def yielded(model: nn.Module) -> Yielded:
    """`parameters()` and `_parameters` as they are, tried out on a copy of `model`."""
    trial = copy.deepcopy(model)
    names = tuple(name for name, _ in trial.named_parameters())
    generator = trial.parameters()
    first, *_ = generator
    again = len(list(generator))  # its end was reached: nothing is left
    first.requires_grad_(False)
    after = list(trial.parameters())
    kept = {path: tuple(module._parameters) for path, module in trial.named_modules() if module._parameters}
    return Yielded(
        own=tuple(model._parameters),
        kept=kept,
        names=names,
        kind=type(model.parameters()).__name__,
        again=again,
        frozen=names[0],
        after_freezing=len(after),
        trainable_after_freezing=sum(p.requires_grad for p in after),
    )


class Stop(NamedTuple):
    """A tensor on its way through a model: what made it, its name, shape and type."""

    step: str
    name: str
    shape: tuple[int, ...]
    dtype: str


def path(config: RunConfig, vocab_size: int, batch_size: int) -> list[Stop]:
    """The tensors from a batch to its loss, for a model of text: real shapes of a real pass, without its arithmetic.

    The pass happens on torch's "meta" device, which keeps shapes and no numbers, so a large batch costs nothing.
    """
    with torch.device("meta"):
        model = build_language_model(config, vocab_size)
        inputs = torch.zeros(batch_size, config.block_size, dtype=torch.long)
        targets = torch.zeros_like(inputs)
    stops = [_stop("a batch", "inputs", inputs)]
    hooks = [
        module.register_forward_hook(lambda _m, _i, output, name=name: stops.append(_stop(name, "x", output)))
        for name, module in _stations(model)
    ]
    logits = model.logits(inputs)
    for hook in hooks:
        hook.remove()
    stops[-1] = stops[-1]._replace(name="logits")
    flat, right = logits.view(-1, logits.size(-1)), targets.view(-1)
    stops.append(_stop("view(B·T, C)", "logits", flat))
    stops.append(_stop("view(B·T)", "targets", right))
    stops.append(_stop("cross_entropy", "loss", F.cross_entropy(flat, right)))
    return stops


def _stations(model: LanguageModel) -> list[tuple[str, nn.Module]]:
    """The modules that the picture names: the model's children, and each block by itself.

    A dropout among the children is the one place to see what was added up before it.
    """
    found: list[tuple[str, nn.Module]] = []
    for name, child in model.named_children():
        if isinstance(child, nn.ModuleList):
            found += [(f"{name}.{i}", block) for i, block in enumerate(child)]
        elif isinstance(child, Dropout) or next(child.parameters(), None) is not None:
            found.append((name, child))
    return found


def _stop(step: str, name: str, tensor: Tensor) -> Stop:
    return Stop(step, name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


def share_by_part(model: Model) -> dict[str, tuple[int, float]]:
    """How many numbers each layer holds, and its share of all, in the order of the forward pass."""
    counts = {name: sum(p.numel() for p in part) for name, part in model.parts().items()}
    whole = max(1, sum(counts.values()))
    return {name: (count, count / whole) for name, count in counts.items()}
