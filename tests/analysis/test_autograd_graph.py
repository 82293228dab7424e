"""The recorded graph, node by node, and what autograd keeps."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from engine.analysis.autograd_graph import accumulate_gradients, graph_nodes, nodes_within, saved_by
from engine.config import RunConfig
from engine.models.registry import build_language_model
from engine.training.sampling import evaluating


def bigram_loss(config=RunConfig()):  # noqa: B008
    model = build_language_model(config, 12, torch.Generator().manual_seed(0))
    ids = torch.arange(8).view(2, 4)
    return model, model(ids, ids + 1)[1], ids


def test_the_bigram_s_graph_is_the_document_s_chain() -> None:
    model, loss, _ = bigram_loss()
    nodes = graph_nodes(loss, dict(model.named_parameters()))
    assert [node.name for node in nodes] == [
        "NllLossBackward0",
        "LogSoftmaxBackward0",
        "ViewBackward0",
        "EmbeddingBackward0",
        "torch::autograd::AccumulateGrad",
    ]
    assert [node.inputs for node in nodes] == [(1,), (2,), (3,), (4,), ()]
    assert [node.parameter for node in nodes] == [None] * 4 + ["token_embedding.weight"]


def test_a_gpt_s_graph_ends_in_every_parameter_once() -> None:
    config = RunConfig(model="gpt", block_size=4, n_layer=2, n_head=2, n_embd=8, tie_weights=True)
    model, loss, _ = bigram_loss(config)
    nodes = graph_nodes(loss, dict(model.named_parameters()))
    leaves = [node.parameter for node in nodes if node.name.endswith("AccumulateGrad")]
    assert sorted(leaves) == sorted(name for name, _ in model.named_parameters())
    assert (
        nodes_within(nodes, 0, len(nodes))
        == sorted(nodes_within(nodes, 0, len(nodes)))
        == [node.number for node in nodes]
    )
    assert nodes_within(nodes, 0, 1) == [0, *nodes[0].inputs]
    assert nodes_within(nodes, nodes[-1].number, 3) == [nodes[-1].number]


def test_without_a_graph_there_are_no_nodes() -> None:
    assert graph_nodes(torch.ones(()), {}) == []


def test_what_is_kept_is_counted_by_storage() -> None:
    weight, x = torch.randn(3, 5, requires_grad=True), torch.randn(4, 3)
    kept = saved_by(lambda: F.relu(x @ weight))
    assert (kept.tensors, kept.bytes) == (2, 4 * (4 * 3 + 4 * 5))  # x for the weight's slope, and relu's own result


def test_nothing_is_kept_without_gradients() -> None:
    model, _, ids = bigram_loss()
    with evaluating(model):
        assert saved_by(lambda: model(ids, ids)).bytes == 0
    assert saved_by(lambda: model(ids, ids)).bytes > 0


def test_accumulate_grad_adds() -> None:
    assert accumulate_gradients([torch.ones(3), torch.arange(3.0)]).tolist() == [1, 2, 3]
