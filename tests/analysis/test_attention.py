"""What is read from inside a GPT, against torch's own attention and the model's own logits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.analysis.attention import attention_weights, logit_lens, residual_streams
from engine.config import changed
from engine.models.gpt import GPT
from engine.models.registry import build_language_model
from engine.presets import PRESETS

V, HEADS = 17, 4


def a_model(dropout: float = 0.0, tie: bool = False, scale: float = 6) -> GPT:
    config = changed(PRESETS["gpt-tiny"].config, n_layer=3, n_head=HEADS, dropout=dropout, tie_weights=tie)
    model = build_language_model(config, V, torch.Generator().manual_seed(5))
    assert isinstance(model, GPT)
    with torch.no_grad():
        for parameter in model.parameters():  # far from the timid first weights, so that attention is uneven
            parameter.mul_(scale).add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return model


def some_ids(count: int) -> Tensor:
    return torch.randint(V, (count,), generator=torch.Generator().manual_seed(2))


def by_torch(model: GPT, ids: Tensor) -> Tensor:
    """(L, H, T, T): an identity for the values makes torch's attention return its weights."""
    found = []
    with torch.no_grad():
        x = model.token_embedding(ids) + model.position_embedding.weight[: len(ids)]
        for block in model.blocks:
            normed = F.layer_norm(x, x.shape[-1:], block.norm_1.weight, block.norm_1.bias)
            qkv = F.linear(normed, block.attention.qkv.weight)
            q, k, _ = (part.unflatten(-1, (HEADS, -1)).transpose(0, 1) for part in qkv.chunk(3, -1))
            values = torch.eye(len(ids), dtype=x.dtype).expand(q.size(0), -1, -1)
            found.append(F.scaled_dot_product_attention(q, k, values, is_causal=True))
            x = block(x.unsqueeze(0))[0]
    return torch.stack(found)


@pytest.mark.parametrize("steps", [1, 2, 9, 32])
@pytest.mark.parametrize(("dtype", "scale"), [(torch.float64, 6), (torch.float32, 2)])
def test_weights_are_those_of_torchs_own_attention(steps: int, dtype: torch.dtype, scale: float) -> None:
    """In float32 the two ways of rounding the sums stay below 1e-6 only while the scores are small."""
    model, ids = a_model(scale=scale).to(dtype).eval(), some_ids(steps)
    weights = attention_weights(model, ids)
    assert weights.shape == (3, 4, steps, steps)
    torch.testing.assert_close(weights, by_torch(model, ids), rtol=0, atol=1e-6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4, steps, dtype=dtype), rtol=0, atol=1e-6)
    assert torch.equal(weights, weights.tril()), "nothing above the diagonal"
    if steps == 9 and scale == 6:
        assert weights[:, :, 1:].max() > 0.5, "a test on even weights would say little"


def test_looking_leaves_no_hook_and_no_trace() -> None:
    model, ids = a_model(dropout=0.3).train(), some_ids(8)
    before = [p.clone() for p in model.parameters()]
    first = attention_weights(model, ids)
    assert torch.equal(first, attention_weights(model, ids)), "dropout is off while looking"
    assert model.training
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert not first.requires_grad


@pytest.mark.parametrize("tie", [False, True])
def test_after_the_last_block_the_reading_is_the_models_own(tie: bool) -> None:
    model, ids = a_model(tie=tie).eval(), some_ids(12)
    vectors = residual_streams(model, ids)
    assert vectors.shape == (4, 12, 32)
    with torch.no_grad():
        logits = model.logits(ids.unsqueeze(0))[0]
        first = model.token_embedding(ids) + model.position_embedding.weight[:12]
    assert torch.equal(logit_lens(model, vectors[-1]), logits)
    torch.testing.assert_close(vectors[0], first, rtol=0, atol=1e-6)
    assert logit_lens(model, vectors).shape == (4, 12, V)


def test_a_text_of_another_future_is_seen_alike_up_to_there() -> None:
    model, ids = a_model().eval(), some_ids(10)
    other = ids.clone()
    other[6:] = (other[6:] + 1) % V
    torch.testing.assert_close(residual_streams(model, ids)[:, :6], residual_streams(model, other)[:, :6])
    torch.testing.assert_close(attention_weights(model, ids)[:, :, :6], attention_weights(model, other)[:, :, :6])
