"""The backward pass made by hand: each node of autograd's graph called with the slopes that reach it; and one weight's
gradient written out as a sum of products.

Nodes have the names that torch gives them. No `.grad` changes: an AccumulateGrad is not called.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.base import LanguageModel
from ..training.sampling import evaluating


class NodeCall(NamedTuple):
    """A node that was called, and what it gave: a slope for each thing that its operation was computed from."""

    name: str
    gave: tuple[Tensor | None, ...]


@dataclass(frozen=True, eq=False)
class BackwardByHand:
    """All calls in the order in which they were made, and what arrived at each parameter, by the parameter's id."""

    calls: list[NodeCall]
    arrived: dict[int, Tensor]
    _ways: dict[int, list[tuple[int, int]]]

    def gradient(self, parameter: Tensor) -> Tensor | None:
        """What its AccumulateGrad would add to its `.grad`; None where the graph does not reach it."""
        return self.arrived.get(id(parameter))

    def way_to(self, parameter: Tensor) -> list[tuple[str, Tensor]]:
        """A shortest way from the loss to a parameter: the name of each node on it, and the slope that it passes on.

        Where several ways meet, their slopes are added; each slope here is the sum that goes on from there.
        """
        steps = []
        for number, place in self._ways.get(id(parameter), []):
            name, gave = self.calls[number]
            slope = gave[place]
            assert slope is not None
            steps.append((name, slope))
        return steps


def backward_by_hand(tensor: Tensor) -> BackwardByHand:
    """Run the backward pass of `tensor`, a scalar whose graph is still whole, node by node."""
    root: Any = tensor.grad_fn
    waiting_for = _uses(root)
    incoming: dict[Any, dict[int, Tensor]] = {root: {0: torch.ones_like(tensor)}}
    first_way: dict[Any, list[tuple[int, int]]] = {root: []}
    calls: list[NodeCall] = []
    arrived: dict[int, Tensor] = {}
    ways: dict[int, list[tuple[int, int]]] = {}
    ready = deque([root])
    while ready:
        node = ready.popleft()
        slopes = incoming.pop(node, {})
        if node.name().endswith("AccumulateGrad"):
            if slopes:
                arrived[id(node.variable)], ways[id(node.variable)] = slopes[0], first_way[node]
            continue
        with torch.no_grad():
            gave = node(*(slopes.get(place) for place in range(len(node._input_metadata)))) if slopes else None
        results = gave if isinstance(gave, tuple) else (gave,)
        calls.append(NodeCall(node.name(), results))
        for place, (source, number) in enumerate(node.next_functions):
            if source is None:
                continue
            slope = results[place] if place < len(results) else None
            if slope is not None:
                slope = slope.sum_to_size(source._input_metadata[number].shape)  # what was spread is added up
                held = incoming.setdefault(source, {})
                held[number] = held[number] + slope if number in held else slope
                way = [*first_way[node], (len(calls) - 1, place)]
                if source not in first_way or len(way) < len(first_way[source]):
                    first_way[source] = way
            waiting_for[source] -= 1
            if not waiting_for[source]:
                ready.append(source)
    return BackwardByHand(calls, arrived, ways)


def _uses(root: Any) -> dict[Any, int]:
    """How many edges lead to each node of the graph: a node is called when all of them have brought their slopes."""
    uses, waiting = {root: 0}, deque([root])
    while waiting:
        for source, _ in waiting.popleft().next_functions:
            if source is None:
                continue
            if source not in uses:
                uses[source] = 0
                waiting.append(source)
            uses[source] += 1
    return uses


class Term(NamedTuple):
    """What one place of the batch adds to the gradient of one weight: `pull` · `fed`.

    row, position: the place. pull: (p − 1)/(B·T) where the weight's token came, p/(B·T) where another did, with p the
    probability that the token was given. fed: the number that the weight was multiplied with there.
    """

    row: int
    position: int
    pull: float
    fed: float

    @property
    def product(self) -> float:
        """The term."""
        return self.pull * self.fed


def score_terms(model: LanguageModel, inputs: Tensor, targets: Tensor, name: str, row: int, column: int) -> list[Term]:
    """The gradient of one weight that makes scores directly, as one term for each place of the batch, float32.

    `name`: "head.weight" (C, D) of a model with a head, of which [row, column] is multiplied with number `column` of
    the last layer and added to the score of token `row`; or "token_embedding.weight" (C, C) of a table of pairs, whose
    [row, column] is the score of token `column` after `row`. Empty for any other. Dropout is off.
    """
    fed: list[Tensor] = []
    head = getattr(model, "head", None)
    if name == "head.weight" and isinstance(head, nn.Module):
        handle = head.register_forward_hook(lambda _, given, __: fed.append(given[0]))
        token = row
    elif name == "token_embedding.weight" and "pairs" in model.features:
        handle, token = None, column
    else:
        return []
    with evaluating(model):
        probabilities = F.softmax(model.logits(inputs), dim=-1)  # (B, T, C)
    if handle is not None:
        handle.remove()
    given = fed[0][..., column] if fed else (inputs == row).float()  # (B, T)
    pull = (probabilities[..., token] - (targets == token).float()) / targets.numel()  # (B, T)
    return [
        Term(at // inputs.size(1), at % inputs.size(1), one, other)
        for at, (one, other) in enumerate(zip(pull.flatten().tolist(), given.flatten().tolist(), strict=True))
    ]
