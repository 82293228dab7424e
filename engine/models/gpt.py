"""A GPT: token and position embeddings, pre-norm blocks of causal self-attention and an MLP, a linear head.

It departs from GPT-2 in five things: no bias in queries, keys and values; a head of its own, where GPT-2 uses the
token embedding a second time, as `tie_weights` does; the exact GELU, not its approximation by tanh; weights are drawn
from a generator of the run; attention can be written out, and is for whoever looks at its weights (in training it may
be the fused kernel, equal to it within rounding).

B  windows in a batch
T  tokens in a window, at most block_size
D  n_embd: the width of the residual stream
H  n_head: attention heads in a block
S  D / H: the width of a head
C  vocab_size: scores per token
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import EMBEDDING, Dropout, LanguageModel, StepCost
from .registry import register

RESIDUAL = ("project.weight", "narrow.weight")


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    causal: Tensor

    def __init__(self, block_size: int, n_head: int, n_embd: int, dropout: float, fused: bool) -> None:
        super().__init__()
        self.n_head, self.fused = n_head, fused
        self.qkv = nn.Linear(n_embd, 3 * n_embd, bias=False)
        self.project = nn.Linear(n_embd, n_embd)
        self.dropout = Dropout(dropout)
        hidden = torch.full((block_size, block_size), -math.inf).triu(1)
        self.register_buffer("causal", hidden, persistent=False)

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """Queries and keys (B, H, T, S) -> attention weights (B, H, T, T); row t looks at columns 0..t only."""
        steps = q.size(-2)
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))  # (B, H, T, S) @ (B, H, S, T) -> (B, H, T, T)
        return F.softmax(scores + self.causal[:steps, :steps], dim=-1)  # each row sums to 1: (B, H, T, T)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, D) -> queries, keys and values, each (B, H, T, S)."""
        batch, steps, width = x.shape
        qkv = self.qkv(x).view(batch, steps, 3, self.n_head, width // self.n_head)  # (B, T, 3·D) -> (B, T, 3, H, S)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # three of (B, H, T, S)
        return q, k, v

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        q, k, v = self.heads(x)  # (B, H, T, S) each
        if self.fused and not (self.training and self.dropout.p):  # its dropout draws from the process-wide generator
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, S)
        else:
            mixed = self.dropout(self.weights(q, k)) @ v  # (B, H, T, T) @ (B, H, T, S) -> (B, H, T, S)
        out: Tensor = self.project(mixed.transpose(1, 2).reshape(x.shape))  # heads side by side: (B, T, D)
        return out


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, block_size: int, n_head: int, n_embd: int, dropout: float, fused: bool) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(n_embd)
        self.attention = Attention(block_size, n_head, n_embd, dropout, fused)
        self.norm_2 = nn.LayerNorm(n_embd)
        self.widen = nn.Linear(n_embd, 4 * n_embd)
        self.narrow = nn.Linear(4 * n_embd, n_embd)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x = x + self.dropout(self.attention(self.norm_1(x)))  # (B, T, D)
        out: Tensor = x + self.dropout(self.narrow(F.gelu(self.widen(self.norm_2(x)))))  # D -> 4·D -> D
        return out


@register("gpt")
class GPT(LanguageModel):
    """A decoder-only transformer."""

    title = "GPT"
    settings = ("block_size", "n_layer", "n_head", "n_embd", "dropout", "tie_weights", "attention")
    preset = "gpt-small"
    features = frozenset({"embedding", "attention", "blocks"})
    heatmap = EMBEDDING

    positions: Tensor

    def __init__(
        self,
        vocab_size: int,
        block_size: int,
        n_layer: int,
        n_head: int,
        n_embd: int,
        dropout: float = 0.0,
        tie_weights: bool = False,
        attention: Literal["written-out", "fused"] = "written-out",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.context = block_size
        self.token_embedding = nn.Embedding(vocab_size, n_embd, _weight=torch.empty(vocab_size, n_embd))
        self.position_embedding = nn.Embedding(block_size, n_embd, _weight=torch.empty(block_size, n_embd))
        self.dropout = Dropout(dropout)
        fused = attention == "fused"
        self.blocks = nn.ModuleList(Block(block_size, n_head, n_embd, dropout, fused) for _ in range(n_layer))
        self.norm = nn.LayerNorm(n_embd)
        self.head = nn.Linear(n_embd, vocab_size, bias=False)
        if tie_weights:
            self.head.weight = self.token_embedding.weight
        self.register_buffer("positions", torch.arange(block_size), persistent=False)
        self._draw(n_layer, generator)

    @classmethod
    def step_cost(cls, tokens: int, vocab_size: int, parameters: int, settings: Mapping[str, Any]) -> StepCost:
        """Activations: three times the logits (B, T, C), and in each block twenty times (B, T, D) and six times
        the attention (B, H, T, T).

        Operations: forward and backward multiply each token with each weight of a matrix three times, two operations
        each; attention adds 12·T·D a block.
        """
        block_size, width, blocks = settings["block_size"], settings["n_embd"], settings["n_layer"]
        kept = 3 * vocab_size + blocks * (20 * width + 6 * settings["n_head"] * block_size)
        looked_up = (vocab_size + block_size) * width
        tied = vocab_size * width if settings["tie_weights"] else 0  # a table that is multiplied as well
        work = 6 * (parameters - looked_up + tied) + 12 * blocks * block_size * width
        return StepCost(activations=tokens * kept, operations=tokens * work)

    def _draw(self, n_layer: int, generator: torch.Generator | None) -> None:
        """GPT-2's first weights: N(0, 0.02), narrower where a block adds to the stream, biases 0."""
        for name, parameter in self.named_parameters():
            if "norm" in name:
                continue
            if parameter.dim() < 2:
                nn.init.zeros_(parameter)
                continue
            adds = name.endswith(RESIDUAL)
            std = 0.02 / math.sqrt(2 * n_layer) if adds else 0.02
            nn.init.normal_(parameter, std=std, generator=generator)

    def hidden_matrices(self) -> list[nn.Parameter]:
        """The matrices of the blocks: of attention and MLP."""
        return [parameter for parameter in self.blocks.parameters() if parameter.dim() == 2]

    def residual_matrices(self) -> list[nn.Parameter]:
        """The last matrix of each attention and of each MLP."""
        return [p for name, p in self.named_parameters() if name.endswith(RESIDUAL)]

    def logits(self, inputs: Tensor) -> Tensor:
        """Token ids (B, T), T at most block_size -> scores (B, T, C)."""
        steps = inputs.size(1)  # T
        x = self.token_embedding(inputs) + self.position_embedding(self.positions[:steps])  # (B, T, D) + (T, D)
        x = self.dropout(x)  # (B, T, D)
        for block in self.blocks:
            x = block(x)  # (B, T, D)
        logits: Tensor = self.head(self.norm(x))  # (B, T, D) -> (B, T, C)
        return logits
