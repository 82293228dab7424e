"""What a GPT does between input and output, read with hooks while it runs; the model itself is not touched.

Shape letters: T tokens of one text, L blocks, H heads, D = n_embd, C = vocab_size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..models import GPT
from ..models.gpt import Attention, Block
from ..training.sampling import evaluating


def attention_weights(model: GPT, ids: Tensor) -> Tensor:
    """Where each token of `ids` (T,) looks, in every block and head: (L, H, T, T), rows sum to 1, 0 above the diagonal.

    T is at most the model's block_size.
    """
    seen: list[Tensor] = []

    def keep(attention: nn.Module, inputs: tuple[Tensor], _: Tensor) -> None:
        layer = cast(Attention, attention)
        queries, keys, _values = layer.heads(inputs[0])
        seen.append(layer.weights(queries, keys)[0])  # (H, T, T)

    with _hooked(block.attention.register_forward_hook(keep) for block in _blocks(model)), evaluating(model):
        model.logits(ids.unsqueeze(0))
    return torch.stack(seen)


def streams(model: GPT, ids: Tensor) -> Tensor:
    """The vectors that run through the model for `ids` (T,): (L + 1, T, D), after the embeddings and each block."""
    seen: list[Tensor] = []

    def first(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(inputs[0][0])

    def after(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
        seen.append(output[0])

    blocks = _blocks(model)
    hooks = [blocks[0].register_forward_pre_hook(first), *(block.register_forward_hook(after) for block in blocks)]
    with _hooked(hooks), evaluating(model):
        model.logits(ids.unsqueeze(0))
    return torch.stack(seen)


def read_out(model: GPT, vectors: Tensor) -> Tensor:
    """The scores that the model would give if it ended at `vectors` (..., D): its last norm and head, (..., C).

    For the last of `streams` these are the model's logits.
    """
    with evaluating(model):
        logits: Tensor = model.head(model.norm(vectors))
    return logits


def _blocks(model: GPT) -> list[Block]:
    return [cast(Block, block) for block in model.blocks]


@contextmanager
def _hooked(hooks: Any) -> Iterator[None]:
    """Hooks inside, none after."""
    handles: list[RemovableHandle] = list(hooks)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
