"""What a model is made of, against torch's own lists; shapes against a real pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.analysis.model_tree import forward_shapes, inspect_parameters, model_tree, share_by_part
from engine.config import RunConfig, changed
from engine.models.registry import build
from engine.presets import PRESETS

CONFIGS = {name: PRESETS[name].config for name in ("bigram", "gpt-tiny", "document-002", "document-002-line")}
CONFIGS["tied"] = changed(CONFIGS["gpt-tiny"], tie_weights=True)
V = 21


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_tree_holds_every_parameter_once(config: RunConfig) -> None:
    model = build(config, V)
    parts = model_tree(model)
    parameters = [part for part in parts if part.shape is not None and not part.same]
    named = dict(model.named_parameters())
    assert {part.path: part.shape for part in parameters} == {name: tuple(p.shape) for name, p in named.items()}
    assert sum(part.count for part in parameters) == parts[0].count == sum(p.numel() for p in named.values())
    assert sum(part.share for part in parameters) == pytest.approx(1)
    assert {part.path for part in parts if part.shape is None} == {name for name, _ in model.named_modules()}
    assert all(part.dtype == "float32" for part in parameters)
    for part in parts:
        if part.shape is None:
            assert part.own == tuple(model.get_submodule(part.path)._parameters)
    shares = share_by_part(model)
    assert sum(count for count, _ in shares.values()) == parts[0].count
    assert sum(share for _, share in shares.values()) == pytest.approx(1)


def test_a_tied_weight_is_named_and_counts_once() -> None:
    (tied,) = [part for part in model_tree(build(CONFIGS["tied"], V)) if part.same]
    assert (tied.path, tied.same, tied.count) == ("head.weight", "token_embedding.weight", 0)


def test_the_bigrams_own_parameters_are_none_and_sit_in_the_child() -> None:
    model = build(CONFIGS["bigram"], V)
    found = inspect_parameters(model)
    assert found.own == () and model._parameters == {}
    assert found.kept == {"token_embedding": ("weight",)}
    assert found.kind == "generator"
    assert found.again == 0


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_frozen_parameter_is_yielded_too(config: RunConfig) -> None:
    model = build(config, V)
    found = inspect_parameters(model)
    count = len(list(model.parameters()))
    assert found.names == tuple(name for name, _ in model.named_parameters())
    assert (found.after_freezing, found.trainable_after_freezing) == (count, count - 1)
    assert all(p.requires_grad for p in model.parameters()), "the model itself was not touched"


def test_the_frozen_part_of_a_tree_says_so() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    assert {part.path: part.trainable for part in model_tree(model)} == {
        "": True,
        "0": False,
        "0.weight": False,
        "0.bias": False,
        "1": True,
        "1.weight": True,
        "1.bias": True,
    }


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_path_of_a_bigram_is_that_of_a_real_pass(batch_size: int) -> None:
    config = CONFIGS["bigram"]
    stops = forward_shapes(config, V, batch_size)
    inputs = torch.zeros(batch_size, 8, dtype=torch.long)
    model = build(config, V)
    logits, loss = model(inputs, inputs)
    assert [(stop.name, stop.shape) for stop in stops] == [
        ("inputs", tuple(inputs.shape)),
        ("logits", tuple(logits.shape)),
        ("logits", (batch_size * 8, V)),
        ("targets", (batch_size * 8,)),
        ("loss", tuple(loss.shape)),
    ]
    assert [stop.dtype for stop in stops] == ["int64", "float32", "float32", "int64", "float32"]


def test_the_path_of_a_gpt_passes_every_block() -> None:
    config = CONFIGS["gpt-tiny"]
    stops = {stop.step: stop.shape for stop in forward_shapes(config, V, 4)}
    wide = (4, config.block_size, config.n_embd)
    assert stops["token_embedding"] == stops["blocks.0"] == stops["blocks.1"] == stops["norm"] == wide
    assert stops["position_embedding"] == (config.block_size, config.n_embd)
    assert stops["dropout"] == wide, "behind the sum of both embeddings"
    assert stops["head"] == (4, config.block_size, V)


def test_a_batch_that_no_memory_holds_has_shapes_all_the_same() -> None:
    config = changed(CONFIGS["bigram"], block_size=4096)
    assert forward_shapes(config, 60_000, 8192)[1].shape == (8192, 4096, 60_000)
