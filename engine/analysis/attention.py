"""What a GPT computes between input and output, read with forward hooks; the model is not changed.

Shape letters: T tokens of one text, L blocks, H heads, D = n_embd, C = vocab_size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..models.gpt import GPT, Attention, Block
from ..training.sampling import evaluating


def attention_weights(model: GPT, ids: Tensor) -> Tensor:
    """The attention weights for `ids` (T,) in every block and head: (L, H, T, T); rows sum to 1, 0 above the diagonal.

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


def residual_streams(model: GPT, ids: Tensor) -> Tensor:
    """The residual stream for `ids` (T,): (L + 1, T, D), after the embeddings and after each block."""
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


def logit_lens(model: GPT, vectors: Tensor) -> Tensor:
    """The logits (..., C) if the model ended at `vectors` (..., D): the final norm and head applied to them.

    For the last of `residual_streams` these are the model's logits.
    """
    with evaluating(model):
        logits: Tensor = model.head(model.norm(vectors))
    return logits


def _blocks(model: GPT) -> list[Block]:
    return [cast(Block, block) for block in model.blocks]


@contextmanager
def _hooked(hooks: Any) -> Iterator[None]:
    """Remove `hooks` on leaving the context."""
    handles: list[RemovableHandle] = list(hooks)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
