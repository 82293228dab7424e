from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from engine.config import RunConfig, changed
from engine.models.base import Dropout, LanguageModel
from engine.models.bigram import Bigram
from engine.models.gpt import GPT, Attention, Block
from engine.models.registry import build
from engine.presets import PRESETS
from engine.text.corpus import Corpus


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_gpt(**changes: object) -> GPT:
    shape = {"vocab_size": 11, "block_size": 7, "n_layer": 2, "n_head": 3, "n_embd": 12, "generator": seeded()}
    return GPT(**{**shape, **changes})  # type: ignore[arg-type]


def ids(*shape: int, vocab_size: int = 11, seed: int = 1) -> Tensor:
    return torch.randint(vocab_size, shape, generator=seeded(seed))


# ---------------------------------------------------------------- bigram


def test_bigram_loss_is_the_mean_surprise_by_hand() -> None:
    model = Bigram(5, seeded())
    inputs, targets = ids(3, 4, vocab_size=5), ids(3, 4, vocab_size=5, seed=2)
    table = model.token_embedding.weight.detach().double().numpy()
    surprise = [
        math.log(np.exp(table[i]).sum()) - table[i, j]
        for i, j in zip(inputs.flatten().tolist(), targets.flatten().tolist(), strict=True)
    ]
    logits, loss = model(inputs, targets)
    assert logits.shape == (3, 4, 5)
    assert loss.item() == pytest.approx(np.mean(surprise), rel=1e-6)
    assert torch.equal(logits[1, 2], model.token_embedding.weight[inputs[1, 2]])
    assert model(inputs)[1] is None


def test_a_bigram_of_the_counts_reaches_the_entropy_of_the_pairs(corpus: Corpus) -> None:
    data = corpus.train.tolist()
    pairs, firsts = Counter(pairwise(data)), Counter(data[:-1])
    total = len(data) - 1
    entropy = -sum(n / total * math.log(n / firsts[first]) for (first, _), n in pairs.items())
    model = Bigram(corpus.distinct)
    with torch.no_grad():
        model.token_embedding.weight.fill_(-50.0)
        for (first, second), n in pairs.items():
            model.token_embedding.weight[first, second] = math.log(n / firsts[first])
        loss = model(torch.tensor([data[:-1]]), torch.tensor([data[1:]]))[1]
    assert float(loss) == pytest.approx(entropy, abs=1e-5)


def test_bigram_gradient_is_softmax_minus_one_hot() -> None:
    model = Bigram(6, seeded())
    inputs, targets = ids(4, 5, vocab_size=6), ids(4, 5, vocab_size=6, seed=2)
    model(inputs, targets)[1].backward()
    expected = torch.zeros(6, 6)
    chances = F.softmax(model.token_embedding.weight.detach(), dim=-1)
    for i, j in zip(inputs.flatten().tolist(), targets.flatten().tolist(), strict=True):
        expected[i] += chances[i] / 20
        expected[i, j] -= 1 / 20
    torch.testing.assert_close(model.token_embedding.weight.grad, expected)


def test_bigram_starts_as_nn_embedding_does() -> None:
    torch.manual_seed(1337)
    textbook = nn.Embedding(65, 65)
    assert torch.equal(Bigram(65, seeded(1337)).token_embedding.weight, textbook.weight)


def test_only_the_last_token_moves_a_bigram() -> None:
    model = Bigram(6, seeded())
    assert model.context == 1
    assert torch.equal(model.logits(torch.tensor([[0, 3]]))[0, 1], model.logits(torch.tensor([[5, 3]]))[0, 1])


# ---------------------------------------------------------------- attention


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_attention_agrees_with_torch(steps: int, device: str) -> None:
    attention = Attention(block_size=7, n_head=3, n_embd=12, dropout=0.0, fused=False).to(device)
    x = torch.randn(2, steps, 12, generator=seeded()).to(device)
    q, k, v = attention.heads(x)
    assert q.shape == (2, 3, steps, 4)
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    expected = attention.project(mixed.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x), expected)


def test_attention_weights_agree_with_torch(device: str) -> None:
    attention = Attention(block_size=9, n_head=2, n_embd=8, dropout=0.0, fused=False).to(device)
    q, k = torch.randn(2, 5, 2, 6, 4, generator=seeded()).to(device)
    weights = attention.weights(q, k)
    # with the identity as values, what comes out are the weights themselves
    identity = torch.eye(6, device=device).expand(5, 2, 6, 6)
    torch.testing.assert_close(weights, F.scaled_dot_product_attention(q, k, identity, is_causal=True))
    assert torch.equal(weights, weights.tril())
    torch.testing.assert_close(weights.sum(-1), torch.ones(5, 2, 6, device=device))


def test_a_block_agrees_with_torchs_encoder_layer() -> None:
    block = Block(block_size=7, n_head=3, n_embd=12, dropout=0.0, fused=False)
    theirs = nn.TransformerEncoderLayer(12, 3, 48, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    theirs.load_state_dict(
        {
            "self_attn.in_proj_weight": block.attention.qkv.weight,
            "self_attn.in_proj_bias": torch.zeros(36),
            "self_attn.out_proj.weight": block.attention.project.weight,
            "self_attn.out_proj.bias": block.attention.project.bias,
            "linear1.weight": block.widen.weight,
            "linear1.bias": block.widen.bias,
            "linear2.weight": block.narrow.weight,
            "linear2.bias": block.narrow.bias,
            "norm1.weight": block.norm_1.weight,
            "norm1.bias": block.norm_1.bias,
            "norm2.weight": block.norm_2.weight,
            "norm2.bias": block.norm_2.bias,
        }
    )
    x = torch.randn(2, 7, 12, generator=seeded())
    mask = nn.Transformer.generate_square_subsequent_mask(7)
    torch.testing.assert_close(block(x), theirs(x, src_mask=mask, is_causal=True))


# ---------------------------------------------------------------- the GPT


@pytest.mark.parametrize("changed_at", range(1, 7))
def test_a_later_token_changes_no_earlier_prediction(changed_at: int, device: str) -> None:
    model = small_gpt().to(device)
    inputs = ids(2, 7).to(device)
    other = inputs.clone()
    other[:, changed_at] = (other[:, changed_at] + 1) % 11
    before, after = model.logits(inputs), model.logits(other)
    torch.testing.assert_close(before[:, :changed_at], after[:, :changed_at], rtol=0, atol=1e-7)
    moved = (before[:, changed_at:] - after[:, changed_at:]).abs().amax(dim=(0, 2))
    assert (moved > 1e-6).all(), "the changed token and all later ones should see it"


def test_gpt_loss_is_cross_entropy_of_its_logits() -> None:
    model = small_gpt()
    inputs, targets = ids(3, 5), ids(3, 5, seed=2)
    logits, loss = model(inputs, targets)
    assert logits.shape == (3, 5, 11)
    by_hand = -logits.double().log_softmax(-1).gather(-1, targets[..., None]).mean()
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-6)


def test_position_and_order_matter() -> None:
    model = small_gpt()
    same = model.logits(torch.full((1, 4), 3))[0]
    assert not torch.allclose(same[0], same[3])
    swapped = model.logits(torch.tensor([[1, 2, 3]]))[0, -1], model.logits(torch.tensor([[2, 1, 3]]))[0, -1]
    assert not torch.allclose(*swapped)


def test_tied_weights_are_one_tensor() -> None:
    free, tied = small_gpt(), small_gpt(tie_weights=True)
    assert tied.head.weight is tied.token_embedding.weight
    assert free.parameter_count() - tied.parameter_count() == 11 * 12
    assert "head" not in tied.layers()
    tied(ids(2, 3), ids(2, 3, seed=2))[1].backward()
    grad = tied.token_embedding.weight.grad
    assert grad is not None and (grad.abs().sum(dim=1) > 0).all(), "as an output layer every row has a gradient"


@pytest.mark.parametrize(
    ("block_size", "tie_weights", "expected"),
    [(1024, False, 163_009_536), (1024, True, 124_412_160), (256, False, 162_419_712)],
)
def test_parameter_counts_of_the_large_gpt(block_size: int, tie_weights: bool, expected: int) -> None:
    with torch.device("meta"):
        model = GPT(50_257, block_size, n_layer=12, n_head=12, n_embd=768, tie_weights=tie_weights)
    assert model.parameter_count() == expected


def test_parameter_counts_of_the_presets() -> None:
    assert build(PRESETS["gpt-small"].config, 65).parameter_count() == 816_640
    assert build(PRESETS["bigram"].config, 65).parameter_count() == 65 * 65


@pytest.mark.parametrize("name", ["bigram", "gpt-tiny", "gpt-small"])
def test_parts_hold_every_parameter_once(name: str) -> None:
    model = build(PRESETS[name].config, 20)
    parts = model.layers()
    assert [id(p) for part in parts.values() for p in part] == [id(p) for p in model.parameters()]
    if name == "gpt-tiny":
        assert list(parts) == ["token_embedding", "position_embedding", "block_0", "block_1", "norm", "head"]


def test_build_follows_the_config() -> None:
    config = changed(PRESETS["gpt-tiny"].config, n_layer=3, n_head=4, n_embd=8, block_size=5, dropout=0.25)
    model = build(config, 9, seeded())
    assert isinstance(model, GPT)
    assert (len(model.blocks), model.context) == (3, 5)
    assert model.token_embedding.weight.shape == (9, 8)
    assert [m.p for m in model.modules() if isinstance(m, Dropout)] == [0.25] * 7
    assert isinstance(build(RunConfig(preset="bigram"), 9), Bigram)


def test_first_weights_come_from_the_generator_alone() -> None:
    torch.manual_seed(1)
    one = small_gpt(generator=seeded(5)).state_dict()
    torch.manual_seed(2)
    two = small_gpt(generator=seeded(5)).state_dict()
    other = small_gpt(generator=seeded(6)).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_first_weights_are_those_of_gpt_2() -> None:
    model = GPT(200, 64, n_layer=8, n_head=4, n_embd=128, generator=seeded())
    for name, parameter in model.named_parameters():
        values = parameter.detach()
        if "norm" in name:
            assert torch.equal(values, torch.full_like(values, float(name.endswith("weight"))))
        elif name.endswith("bias"):
            assert not values.any()
        else:
            narrow = name.endswith(("project.weight", "narrow.weight"))
            assert values.std().item() == pytest.approx(0.02 / 4 if narrow else 0.02, rel=0.03), name
    loss = model(ids(4, 64, vocab_size=200), ids(4, 64, vocab_size=200, seed=2))[1]
    assert loss.item() == pytest.approx(math.log(200), abs=0.1)


@pytest.mark.parametrize("name", ["bigram", "gpt-tiny"])
def test_every_model_says_the_same_on_every_device(name: str, device: str) -> None:
    model: LanguageModel = build(PRESETS[name].config, 20, seeded())
    inputs, targets = ids(4, 8, vocab_size=20), ids(4, 8, vocab_size=20, seed=2)
    here = model(inputs, targets)[1].item()
    assert model.to(device)(inputs.to(device), targets.to(device))[1].item() == pytest.approx(here, rel=1e-5)


# ---------------------------------------------------------------- dropout


@given(st.floats(0.05, 0.9))
def test_dropout_drops_its_share_and_keeps_the_mean(p: float) -> None:
    dropout = Dropout(p)
    dropout.generator = seeded(3)
    out = dropout(torch.full((200, 500), 2.0))
    share = (out == 0).float().mean().item()
    assert share == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / 1e5))
    torch.testing.assert_close(out[out != 0], torch.full_like(out[out != 0], 2 / (1 - p)))
    assert out.mean().item() == pytest.approx(2.0, rel=0.05)


def test_dropout_gradient_passes_where_the_value_did(device: str) -> None:
    dropout = Dropout(0.5)
    dropout.generator = torch.Generator(device).manual_seed(3)
    x = torch.ones(64, 64, device=device, requires_grad=True)
    out = dropout(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


def test_dropout_is_nothing_while_evaluating_or_at_zero() -> None:
    x = torch.randn(5, 5, generator=seeded())
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_dropout_draws_from_its_own_generator() -> None:
    model = small_gpt(dropout=0.3)
    state = torch.get_rng_state()

    def once(seed: int) -> Tensor:
        generator = seeded(seed)
        for module in model.modules():
            if isinstance(module, Dropout):
                module.generator = generator
        return model.logits(ids(2, 7))

    assert torch.equal(once(1), once(1))
    assert not torch.equal(once(1), once(2))
    assert torch.equal(torch.get_rng_state(), state)
