"""What autograd records: the graph behind a loss, and the tensors that it saves for the backward pass.

Nodes have the names that torch gives them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class GraphNode:
    """One operation of the backward pass. `inputs` are the numbers of the nodes it passes its gradient to.

    `parameter` names the tensor whose `.grad` an AccumulateGrad fills; None for all other nodes.
    """

    number: int
    name: str
    inputs: tuple[int, ...]
    parameter: str | None = None


def graph_nodes(tensor: Tensor, names: Mapping[str, Tensor]) -> list[GraphNode]:
    """All nodes behind `tensor`, breadth first; number 0 made the tensor itself. `names` maps names to parameters."""
    known = {id(parameter): name for name, parameter in names.items()}
    root: Any = tensor.grad_fn
    if root is None:
        return []
    order, numbers, waiting = [root], {root: 0}, deque([root])
    while waiting:
        for source, _ in waiting.popleft().next_functions:
            if source is not None and source not in numbers:
                numbers[source] = len(order)
                order.append(source)
                waiting.append(source)
    return [
        GraphNode(
            number,
            step.name(),
            tuple(dict.fromkeys(numbers[source] for source, _ in step.next_functions if source is not None)),
            known.get(id(getattr(step, "variable", None))),
        )
        for number, step in enumerate(order)
    ]


def nodes_within(nodes: Sequence[GraphNode], start: int, depth: int) -> list[int]:
    """The numbers of the nodes at most `depth` steps from `start`, nearest first."""
    found, edge = [start], [start]
    for _ in range(depth):
        edge = list(dict.fromkeys(n for number in edge for n in nodes[number].inputs if n not in found))
        found += edge
    return found


@dataclass(frozen=True)
class SavedTensors:
    """What a computation saved for its backward pass: how many tensors, and bytes of distinct storage."""

    tensors: int
    bytes: int


def saved_by(compute: Callable[[], object]) -> SavedTensors:
    """Run `compute` and count what autograd saves for the backward pass, parameters included."""
    sizes: dict[int, int] = {}
    count = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal count
        count += 1
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        held = compute()  # kept alive until here, so that no address is reused
    del held
    return SavedTensors(count, sum(sizes.values()))


def accumulate_gradients(gradients: Sequence[Tensor]) -> Tensor:
    """The `.grad` that an AccumulateGrad leaves after receiving each of `gradients` (at least one)."""
    held = torch.zeros_like(gradients[0], requires_grad=True)
    made_from: Any = held.view_as(held).grad_fn
    store = made_from.next_functions[0][0]
    for gradient in gradients:
        store(gradient)
    assert held.grad is not None
    return held.grad
