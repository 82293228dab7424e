"""What the snapshots of a run must hold, by its configuration and its text; one from elsewhere may hold anything.

Names, types and sizes are checked before a tensor is read, and what must lie within bounds afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..config import RunConfig
from ..models.base import Model
from ..models.registry import build
from ..text.corpus import Corpus
from ..text.epochs import window_count
from ..text.points import Points
from ..training.checkpoint import Snapshot

ADAM = frozenset({"exp_avg", "exp_avg_sq", "step"})
MOMENTUM = frozenset({"momentum_buffer"})
GENERATOR = torch.Generator().get_state().numel()
EMBEDDING = "token_embedding.weight"


class Stored(NamedTuple):
    """A tensor in a file of safetensors, as the file's header describes it."""

    dtype: str
    shape: tuple[int, ...]


Header = Mapping[str, Stored]


@dataclass(frozen=True, eq=False)
class StateShape:
    """The weights by name, what the optimizer keeps of each, and the windows of an epoch (0 for random windows)."""

    weights: Mapping[str, tuple[int, ...]]
    kept: Mapping[str, frozenset[str]]
    windows: int

    @classmethod
    def of(cls, config: RunConfig, dataset: Corpus | Points) -> StateShape:
        """That of a run with `config` on `dataset`."""
        with torch.device("meta"):
            model = build(config, dataset.vocab_size)
        weights = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
        epochs = config.epochs is not None and isinstance(dataset, Corpus)
        windows = window_count(len(dataset.train), config.block_size) if epochs else 0  # type: ignore[union-attr]
        return cls(weights, _kept(model, config), windows)

    def misfit(self, weights: Header, state: Header) -> str | None:
        """What of a snapshot's two files does not fit, in words; None if all does."""
        if wrong := next(iter({*weights} ^ {*self.weights}), None):
            return f"it is of another model: {wrong[:80]!r} is in one of the two alone"
        for name, shape in self.weights.items():
            if weights[name] != ("F32", shape):
                return f"it is of another model or text: {name} is {_words(weights[name])}, not {_size(shape)}"
        there: dict[str, set[str]] = {}
        for path, stored in state.items():
            if not self._is_possible(path, stored):
                return f"{path[:80]!r}, {_words(stored)}, is no state of this run"
            branch, _, rest = path.partition("/")
            there.setdefault(branch, set()).add(rest)
        if there.get("generators") != {"data", "dropout"}:
            return "it has not the two generators' states"
        if self.windows and there.get("batches") != {"order", "place"}:
            return "it has no place in the epoch"
        for name in self.weights:
            kept = {key for key in self.kept[name] if f"{name}/{key}" in there.get("optimizer", ())}
            if kept and kept != self.kept[name]:
                return f"what the optimizer keeps of {name} is not whole"
        return None

    def _is_possible(self, path: str, stored: Stored) -> bool:
        branch, _, rest = path.partition("/")
        name, _, key = rest.rpartition("/")
        if branch == "optimizer":
            shape = () if key == "step" else self.weights.get(name)
            return name in self.weights and key in self.kept[name] and stored == ("F32", shape)
        if branch == "generators":  # a GPU's dropout has a state of its own size
            return stored.dtype == "U8" and (
                stored.shape == (GENERATOR,) or (rest == "dropout" and len(stored.shape) == 1 and stored.shape[0] < 100)
            )
        if branch == "batches":
            return stored.dtype == "I64" and (
                stored.shape == (2,) if rest == "place" else stored.shape in ((self.windows,), (0,))
            )
        return False

    def misplaced(self, snapshot: Snapshot) -> str | None:
        """What of a snapshot that fits has a value that is not possible, in words; None if all have."""
        try:
            for state in snapshot.generators.values():
                if state.numel() == GENERATOR:
                    torch.Generator().set_state(state)
        except RuntimeError:
            return "a generator's state is none"
        if snapshot.axes is not None and tuple(snapshot.axes.shape) != (2, *self.weights.get(EMBEDDING, ())[1:]):
            return "its projection's axes are none"
        if self.windows:
            order, (epoch, at) = snapshot.batches["order"], snapshot.batches["place"].tolist()
            if epoch < 0 or not 0 <= at <= len(order) or not torch.equal(order.sort().values, torch.arange(len(order))):
                return "its place in the epoch is none"
        return None


def _kept(model: Model, config: RunConfig) -> dict[str, frozenset[str]]:
    """What the optimizer of a run keeps of each parameter, by name."""
    hidden = set(model.hidden_matrices()) if config.optimizer == "muon" else set()
    plain = {"sgd": MOMENTUM if config.momentum else frozenset[str]()}.get(config.optimizer, ADAM)
    return {name: MOMENTUM if parameter in hidden else plain for name, parameter in model.named_parameters()}


def _words(stored: Stored) -> str:
    return f"{_size(stored.shape)} of {stored.dtype[:8]}"


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{side:,}" for side in shape) or "one number"
