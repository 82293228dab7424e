"""What is measured in a step, on copies: norms, update ratios, pooled tables.

Every quantity here is a plain function of tensors, so that a test can hold it against autograd. One more is a function
of the model with `@quantity(...)` above it: its name is its channel, and a chart of the same name comes with it, whose
help is the function's docstring. It is measured after an update, in the steps that are observed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..models.base import LanguageModel, Model
from ..stream import downsampling
from ..stream.downsampling import MAX_CELLS
from .projection import TOKEN_EMBEDDING, Projector, projection_interval_of

MOST_COMPARED = 100_000


class Quantity(NamedTuple):
    """A number that is measured of a model in each observed step."""

    name: str
    title: str
    unit: str
    measure: Callable[[Model], float]


QUANTITIES: dict[str, Quantity] = {}
"""Those that were added by `quantity`, by channel."""


def quantity(title: str, unit: str) -> Callable[[Callable[[Model], float]], Callable[[Model], float]]:
    """Measure the decorated function, under its own name, in every run from then on."""

    def add(measure: Callable[[Model], float]) -> Callable[[Model], float]:
        QUANTITIES[measure.__name__] = Quantity(measure.__name__, title, unit, measure)
        return measure

    return add


def measured(model: Model) -> dict[str, float]:
    """The added quantities of `model`, by channel."""
    return {name: one.measure(model) for name, one in QUANTITIES.items()}


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean length of all numbers in `tensors` together, a scalar tensor."""
    if len(tensors) == 1:
        return cast(Tensor, torch.linalg.vector_norm(tensors[0]))
    return cast(Tensor, torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors)))))


def gradients(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """The gradients that exist; a parameter that the loss skipped has none."""
    return [p.grad for p in parameters if p.grad is not None]


def layer_norms(parts: Mapping[str, Sequence[nn.Parameter]]) -> dict[str, float]:
    """Gradient norm of each layer, in the units of the loss per unit of weight."""
    return {name: float(global_norm(grads)) for name, part in parts.items() if (grads := gradients(part))}


def weight_copies(parts: Mapping[str, Sequence[nn.Parameter]]) -> dict[str, list[Tensor]]:
    """The weights of each layer as they are now."""
    return {name: [p.detach().clone() for p in part] for name, part in parts.items()}


def update_ratios(before: Mapping[str, list[Tensor]], parts: Mapping[str, Sequence[nn.Parameter]]) -> dict[str, float]:
    """‖Δw‖ / ‖w‖ of an update as it happened, w as before it: of all weights, and of each layer.

    A layer whose weights were all 0 has no ratio and is left out.
    """
    moved, length = {}, {}
    for name, part in parts.items():
        deltas = [after.detach() - was for after, was in zip(part, before[name], strict=True)]
        moved[name], length[name] = float(global_norm(deltas)), float(global_norm(before[name]))
    ratios = {f"update_ratio/{name}": moved[name] / length[name] for name in parts if length[name]}
    if total := math.hypot(*length.values()):
        ratios["update_ratio"] = math.hypot(*moved.values()) / total
    return ratios


def update_agreement(
    before: Mapping[str, list[Tensor]], parts: Mapping[str, Sequence[nn.Parameter]], lr: float
) -> dict[str, float]:
    """An update as it happened, held against the gradient of its batch, over the weights that have one.

    `update_per_lr`: the median |Δw| ÷ lr. `update_against_gradient`: the share, 0 to 1, that moved against their slope.
    Of a large model every so many weights are taken, at most about MOST_COMPARED; nothing where no weight has a slope.
    """
    pairs = [(p, was) for name, part in parts.items() for p, was in zip(part, before[name], strict=True)]
    every = max(1, sum(was.numel() for _, was in pairs) // MOST_COMPARED)
    slopes, moves = [], []
    for parameter, was in pairs:
        if parameter.grad is not None:
            slopes.append(parameter.grad.flatten()[::every])
            moves.append(parameter.detach().flatten()[::every] - was.flatten()[::every])
    if not slopes or lr <= 0:
        return {}
    slope, moved = torch.cat(slopes), torch.cat(moves)
    has = slope != 0
    slope, moved = slope[has], moved[has]
    if not len(slope):
        return {}
    return {
        "update_per_lr": float(moved.abs().median()) / lr,
        "update_against_gradient": float((moved.sign() == -slope.sign()).float().mean()),
    }


def pooled(table: Tensor, most: int = MAX_CELLS) -> NDArray[np.float32]:
    """A CPU copy of a table (rows, cols), float32, neighbours averaged so that neither side is above `most`."""
    return downsampling.pool_table(table.detach().to("cpu", torch.float32).numpy(), most)


def weight_tables(model: Model) -> dict[str, NDArray[np.float32]]:
    """The values of the model's tables, pooled, by channel."""
    return {f"weights/{name}": pooled(table) for name, table in model.tables().items()}


def gradient_tables(model: Model) -> dict[str, NDArray[np.float32]]:
    """The gradients of the model's tables, pooled, by channel; nothing where there is none."""
    return {f"gradients/{name}": pooled(t.grad) for name, t in model.tables().items() if t.grad is not None}


def scalar_values(model: Model) -> dict[str, float]:
    """The values of the model's single numbers, by channel."""
    return {f"parameter/{name}": float(number.detach()) for name, number in model.scalars().items()}


def scalar_gradients(model: Model) -> dict[str, float]:
    """The gradients of the model's single numbers, by channel."""
    return {f"gradient/{name}": float(n.grad) for name, n in model.scalars().items() if n.grad is not None}


def projection(model: Model, projector: Projector) -> tuple[dict[str, float], dict[str, NDArray[np.float32]]]:
    """The token embedding as points of a plane (V, 2), and the share of the variance along each axis, by channel."""
    if not isinstance(model, LanguageModel) or "embedding" not in model.features:
        return {}, {}
    seen = projector.look(model.token_embedding.weight)
    shares = {f"explained_variance/{axis}": float(share) for axis, share in zip((1, 2), seen.shares, strict=True)}
    return shares, {TOKEN_EMBEDDING: np.ascontiguousarray(seen.points, np.float32)}


def projection_interval(model: Model) -> int:
    """How many observations apart the token embedding of `model` is projected."""
    if not isinstance(model, LanguageModel) or "embedding" not in model.features:
        return 1
    return projection_interval_of(model.token_embedding.embedding_dim, model.parameter_count())
