"""The full state of a training run between two steps: everything that the next step depends on.

Plain data, CPU copies; `engine.training.state` takes and restores them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..config import LiveSettings

if TYPE_CHECKING:
    from torch import Tensor  # `record` stores runs where torch is not installed


@dataclass(frozen=True, eq=False)
class Snapshot:
    """State after `step` updates. `optimizer` has, by parameter name, what its rule keeps (AdamW: two moments)."""

    step: int
    tokens_seen: int
    settings: LiveSettings
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Mapping[str, Tensor]]
    generators: Mapping[str, Tensor]
    batches: Mapping[str, Tensor] = field(default_factory=dict)
    """Where a run by epochs stands in its epoch (`EpochBatcher.state`); empty for one that draws random windows."""
    axes: Tensor | None = None
    """From which side the token embedding was projected last (2, D), float64; None where it never was."""


@dataclass(frozen=True, eq=False)
class PausedState:
    """Where a paused run stands, inside a step or between two.

    `snapshot` is from before the step under way, `stages` counts what is done of it, and `turns` are the knobs turned
    since, each with the number of stages done at that time. `engine.training.state.replay` makes a trainer of it.
    """

    snapshot: Snapshot
    stages: int
    turns: tuple[tuple[int, LiveSettings], ...] = ()


@dataclass(frozen=True, eq=False)
class FineTuneSource:
    """Where the first weights of a fine-tuned run come from: another run, as it stood at `step`."""

    run: str
    step: int
    weights: Mapping[str, Tensor]


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """CPU copies by name."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
