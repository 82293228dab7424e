"""What all models share: the face that the trainer relies on, and what a class says of itself.

Every model has `forward(inputs, targets) -> (outputs, loss)`.

B  windows in a batch
T  tokens in a window
C  vocab_size: scores per token
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Feature = Literal["embedding", "pairs", "attention", "blocks", "plane"]
"""What pages can show of a model:

- embedding: `token_embedding` has a row for each token (Embeddings, the look-up of a step).
- pairs: and row i are the scores of what follows token i, so that it can be held against counted pairs.
- attention: its heads can be read by `engine.analysis.attention` (Inside).
- blocks: many layers above each other; the rule of thumb for the update ratio is about these.
- plane: two numbers, a and b, so that its loss is a surface over a plane (First steps).
"""


@dataclass(frozen=True)
class Heatmap:
    """How one of a model's tables is shown while it trains: what its axes count, and how a person reads it.

    `tokens` names the axes that count the tokens of the vocabulary. `softmax` adds a view in which each row is turned
    into probabilities.
    """

    table: str
    title: str
    rows: str
    columns: str
    help: str
    tokens: Literal["", "y", "xy"] = ""
    softmax: bool = False


EMBEDDING = Heatmap(
    "token_embedding",
    title="Embedding",
    rows="token",
    columns="dimension",
    help=(
        "A row is the vector of one token, a column one of its dimensions; no single cell means anything by "
        "itself. Healthy: values stay in a range, and tokens that are used alike slowly get similar rows."
    ),
    tokens="y",
)
"""Of a token embedding whose columns mean nothing by themselves."""


class StepCost(NamedTuple):
    """What one step of a model asks of a machine, beside its parameters."""

    activations: int
    """Numbers that a batch leaves for the way back."""
    operations: int
    """Additions and multiplications of forward and backward together."""


class FixedExamples(NamedTuple):
    """The examples of a model that always learns from the same: inputs (n, d) and targets (n, k)."""

    name: str
    title: str
    inputs: Tensor
    targets: Tensor


class Model(nn.Module):
    """Anything that trains here: outputs from inputs, and a loss that compares them with targets."""

    name: ClassVar[str] = ""
    """What a configuration calls it; set by `register`."""
    title: ClassVar[str]
    """What people call it."""
    learns_from: ClassVar[Literal["text", "points"]]
    loss_unit: ClassVar[str]
    """What its loss counts: "nats per token"."""
    settings: ClassVar[tuple[str, ...]] = ()
    """The fields of `RunConfig` that `build` takes, by name."""
    preset: ClassVar[str] = "bigram"
    """Where its other settings start when only its name is given."""
    features: ClassVar[frozenset[Feature]] = frozenset()
    heatmap: ClassVar[Heatmap | None] = None
    """The table that is on stage while it trains."""
    code: ClassVar[Mapping[str, str]] = {}
    """Its own lines of PyTorch, by stage of a step; the other stages have those of any model of text."""

    @classmethod
    def build(cls, vocab_size: int, generator: torch.Generator | None, **settings: Any) -> Model:
        """A model on the CPU, its first weights drawn from `generator`; `settings` are those that the class names."""
        return cls(vocab_size, generator=generator, **settings)

    @classmethod
    def examples(cls) -> FixedExamples | None:
        """What a model of points always learns from; None: the x,y pairs of its configuration."""
        return None

    @classmethod
    def step_cost(cls, tokens: int, vocab_size: int, parameters: int, settings: Mapping[str, Any]) -> StepCost:
        """About what a step with a batch of `tokens` asks for: here of a table, which is looked up, not multiplied."""
        return StepCost(activations=3 * tokens * vocab_size, operations=0)

    def outputs(self, inputs: Tensor) -> Tensor:
        """What the model says about `inputs`; the batch is the first dimension of both."""
        raise NotImplementedError

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """How wrong `outputs` are, a scalar tensor: the mean of `pointwise_loss`."""
        raise NotImplementedError

    def pointwise_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each position before the mean, in the shape of `targets`."""
        raise NotImplementedError

    def forward(self, inputs: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Inputs, and what is right for them -> outputs, and the loss."""
        outputs = self.outputs(inputs)
        return outputs, None if targets is None else self.loss(outputs, targets)

    def tables(self) -> dict[str, Tensor]:
        """The parameters (rows, cols) that are shown as heatmaps while training, by name."""
        return {}

    def scalars(self) -> dict[str, Tensor]:
        """The parameters of one number that are shown as curves while training, by name."""
        return {}

    def load_weights(self, weights: Mapping[str, Tensor]) -> Self:
        """Copy `weights` in, by parameter name, from any device; returns the model itself."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(weights[name])
        return self

    def layers(self) -> dict[str, list[nn.Parameter]]:
        """The trainable parameters by layer, in the order of the forward pass; each parameter once."""
        layers: dict[str, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            words = name.split(".")
            layer = ".".join(words[:2]) if words[0] == "blocks" else words[0]
            layers.setdefault(layer.replace("blocks.", "block_"), []).append(parameter)
        return layers

    def hidden_matrices(self) -> list[nn.Parameter]:
        """The matrices between embedding and head, for optimizers that treat them as such; here none."""
        return []

    def residual_matrices(self) -> list[nn.Parameter]:
        """Those of them whose product is added to the stream that runs through all blocks."""
        return []

    def draw_weights(self, kind: str, generator: torch.Generator) -> None:
        """Draw all matrices anew, in their order; biases and norms stay as they are.

        "zeros" sets them to 0, "normal" draws from N(0, 1), "small" from N(0, 0.02), and "small-scaled" divides that by
        the root of the number of matrices that add to the stream, for these (GPT-2's way); "own" changes nothing.
        """
        if kind == "own":
            return
        adds = set(self.residual_matrices()) if kind == "small-scaled" else set()
        for matrix in (parameter for parameter in self.parameters() if parameter.dim() >= 2):
            std = {"zeros": 0.0, "normal": 1.0}.get(kind, 0.02) / (math.sqrt(len(adds)) if matrix in adds else 1.0)
            nn.init.normal_(matrix, std=std, generator=generator)

    def parameter_count(self) -> int:
        """How many trainable numbers the model holds."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


class LanguageModel(Model):
    """Scores the next token at every position."""

    learns_from = "text"
    loss_unit = "nats per token"

    context: int
    """How many of the last tokens change the prediction."""

    token_embedding: nn.Embedding
    """One row per token of the vocabulary; a model without the feature "embedding" has none."""

    def logits(self, inputs: Tensor) -> Tensor:
        """Token ids (B, T) -> scores (B, T, C)."""
        raise NotImplementedError

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of logits (B, T, C) against ids (B, T), nats per token."""
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1))  # (B·T, C) and (B·T,)

    def pointwise_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of logits (B, T, C) against ids (B, T) at each position: (B, T)."""
        flat = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1), reduction="none")  # (B·T,)
        return flat.view(targets.shape)

    def outputs(self, inputs: Tensor) -> Tensor:
        """Token ids (B, T) -> logits (B, T, C)."""
        return self.logits(inputs)

    def tables(self) -> dict[str, Tensor]:
        """The token embedding, where there is one: one row per token."""
        return {"token_embedding": self.token_embedding.weight} if "embedding" in self.features else {}

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device


class Dropout(nn.Module):
    """Inverted dropout that draws from its own generator.

    `nn.Dropout` draws from the process-wide generator, which any other thread may move; then two runs with one
    seed would differ. `generator` stands on the device of the activations, or on the CPU; the trainer sets it.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        if not self.training or self.p == 0:
            return x
        drawn_on = x.device if self.generator is None else self.generator.device
        keep = torch.empty_like(x, device=drawn_on).bernoulli_(1 - self.p, generator=self.generator)
        return x * keep.to(x.device) / (1 - self.p)
