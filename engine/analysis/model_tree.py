"""What a model is made of: its modules and parameters as a tree, and the shapes of a forward pass.

Works on models of any kind and changes none.
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
from ..models.base import Dropout, LanguageModel, Model
from ..models.registry import build_language_model


@dataclass(frozen=True)
class Part:
    """A module or a parameter. It and everything below it holds `count` numbers, a `share` of the model's.

    `path` is the attribute path from the model (empty: the model itself). A module has no `shape` and `dtype`, but
    `own`, the names in its `_parameters`. A parameter that appears a second time (a tied weight) counts 0 and names
    the first in `same`.
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


def model_tree(model: nn.Module) -> list[Part]:
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


class ParametersReport(NamedTuple):
    """What `parameters()` yields for one model, and where `_parameters` holds it.

    own: the names in the model's own `_parameters`; kept: by path, the names in each module's `_parameters`, if any.
    names: what `parameters()` yields. after_freezing: how many it yields once the first of them is frozen.
    again: how many an exhausted generator yields.
    """

    own: tuple[str, ...]
    kept: dict[str, tuple[str, ...]]
    names: tuple[str, ...]
    kind: str
    again: int
    frozen: str
    after_freezing: int
    trainable_after_freezing: int


def inspect_parameters(model: nn.Module) -> ParametersReport:
    """Try out `parameters()` and `_parameters` on a copy of `model`."""
    trial = copy.deepcopy(model)
    names = tuple(name for name, _ in trial.named_parameters())
    generator = trial.parameters()
    first, *_ = generator
    again = len(list(generator))  # its end was reached: nothing is left
    first.requires_grad_(False)
    after = list(trial.parameters())
    kept = {path: tuple(module._parameters) for path, module in trial.named_modules() if module._parameters}
    return ParametersReport(
        own=tuple(model._parameters),
        kept=kept,
        names=names,
        kind=type(model.parameters()).__name__,
        again=again,
        frozen=names[0],
        after_freezing=len(after),
        trainable_after_freezing=sum(p.requires_grad for p in after),
    )


class ForwardStep(NamedTuple):
    """A tensor of the forward pass: what made it, its name, shape and dtype."""

    step: str
    name: str
    shape: tuple[int, ...]
    dtype: str


def forward_shapes(config: RunConfig, vocab_size: int, batch_size: int) -> list[ForwardStep]:
    """The tensors from a batch to its loss, for a language model, with the real shapes of a real pass.

    The pass runs on torch's "meta" device, which has shapes but no numbers, so a large batch costs nothing.
    """
    with torch.device("meta"):
        model = build_language_model(config, vocab_size)
        inputs = torch.zeros(batch_size, config.block_size, dtype=torch.long)
        targets = torch.zeros_like(inputs)
    steps = [_step("a batch", "inputs", inputs)]
    hooks = [
        module.register_forward_hook(lambda _m, _i, output, name=name: steps.append(_step(name, "x", output)))
        for name, module in _drawn_modules(model)
    ]
    logits = model.logits(inputs)
    for hook in hooks:
        hook.remove()
    steps[-1] = steps[-1]._replace(name="logits")
    flat, right = logits.view(-1, logits.size(-1)), targets.view(-1)
    steps.append(_step("view(B·T, C)", "logits", flat))
    steps.append(_step("view(B·T)", "targets", right))
    steps.append(_step("cross_entropy", "loss", F.cross_entropy(flat, right)))
    return steps


def _drawn_modules(model: LanguageModel) -> list[tuple[str, nn.Module]]:
    """The modules to report on: the model's children, with each block on its own.

    A dropout among the children is included because its input is the sum of the embeddings.
    """
    found: list[tuple[str, nn.Module]] = []
    for name, child in model.named_children():
        if isinstance(child, nn.ModuleList):
            found += [(f"{name}.{i}", block) for i, block in enumerate(child)]
        elif isinstance(child, Dropout) or next(child.parameters(), None) is not None:
            found.append((name, child))
    return found


def _step(step: str, name: str, tensor: Tensor) -> ForwardStep:
    return ForwardStep(step, name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


def share_by_part(model: Model) -> dict[str, tuple[int, float]]:
    """How many numbers each layer holds, and its share of all, in the order of the forward pass."""
    counts = {name: sum(p.numel() for p in part) for name, part in model.layers().items()}
    whole = max(1, sum(counts.values()))
    return {name: (count, count / whole) for name, count in counts.items()}
