"""The plane of the embedding: PCA against numpy's SVD, frames that stay the same way up, and who is near whom."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine.config import LiveSettings, changed
from engine.models.line import Line
from engine.models.registry import build
from engine.presets import preset
from engine.stream.messages import Observation, Record, Scalars
from engine.text.corpus import Corpus
from engine.training import probes
from engine.training.projection import (
    LEAST_OBSERVATIONS,
    MOST_ROWS,
    TOKEN_EMBEDDING,
    Projector,
    analogy,
    centred,
    cosines,
    neighbours,
    project,
    projection_interval_of,
)
from engine.training.trainer import Trainer

KING, QUEEN, MAN, WOMAN = range(4)
UNLIMITED = LiveSettings(speed="unlimited", max_steps=500)


def table(rows: int, columns: int, seed: int = 0) -> Tensor:
    spread = torch.linspace(3, 0.2, columns)  # no two directions alike
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * spread + 5


def words(king: float = 0.7) -> Tensor:
    """Document 003's four words."""
    return torch.tensor([[1.0, king], [1.0, -0.5], [0.0, 0.5], [0.0, -0.5]])


@given(st.integers(3, 60), st.integers(2, 40), st.integers(0, 2**31))
def test_points_and_shares_against_svd(rows: int, columns: int, seed: int) -> None:
    data = table(rows, columns, seed)
    centred = data.double().numpy() - data.double().numpy().mean(0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    seen = project(data)
    assert seen.points.shape == (rows, 2) and seen.axes.shape == (2, columns)
    np.testing.assert_allclose(seen.shares, sizes[:2] ** 2 / (sizes**2).sum(), atol=1e-9)
    for axis in (0, 1):
        if sizes[axis] - sizes[axis + 1 : axis + 2].sum() > 1e-3 * sizes[0]:  # else the direction is not settled
            expected = left[:, axis] * sizes[axis]
            sign = np.sign(expected @ seen.points[:, axis].numpy())
            np.testing.assert_allclose(seen.points[:, axis], sign * expected, atol=1e-4)


def test_a_table_of_one_column_or_of_equal_rows_has_a_place_too() -> None:
    thin = project(torch.tensor([[1.0], [2.0], [4.0]]))
    assert thin.points[:, 1].tolist() == [0, 0, 0]
    assert thin.shares.tolist() == pytest.approx([1, 0])
    flat = project(torch.ones(3, 4))
    assert not flat.points.any() and not flat.shares.any()


def test_weights_of_any_finite_size_are_projected() -> None:
    huge = project(torch.full((4, 4), 1e38) * torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))
    assert bool(torch.isfinite(huge.points).all())


def test_a_picture_does_not_turn_over() -> None:
    """A cloud that turns through a full circle: the axes that describe it follow without a jump."""
    cloud = table(30, 2, seed=3) - 5
    projector, before = Projector(), None
    for degrees in range(0, 361, 5):
        turn = math.radians(degrees)
        turned = cloud @ torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        axes = projector.look(turned).axes
        if before is not None:
            assert ((before * axes).sum(1) > 0.99).all(), degrees
        before = axes


def test_axes_keep_their_place_when_they_change_rank() -> None:
    """First the one direction is the longer, then the other: what lay along x stays along x."""
    cloud = torch.randn(200, 3, generator=torch.Generator().manual_seed(1))
    cloud -= cloud.mean(0)
    cloud = torch.linalg.qr(cloud).Q * 10  # columns of equal length, at right angles
    projector, up = Projector(), 0.0
    for stretch in (2.0, 1.5, 1.1, 0.9, 0.5):
        seen = projector.look(cloud * torch.tensor([stretch, 1.0, 0.1]))
        up = up or float((seen.points[0, 0] * cloud[0, 0]).sign())
        np.testing.assert_allclose(up * seen.points[:, 0], cloud[:, 0] * stretch, atol=1e-3)
        assert bool(seen.shares[0] > seen.shares[1]) == (stretch > 1)


def test_the_same_table_always_comes_out_the_same_way_up() -> None:
    data = table(20, 8)
    assert torch.equal(project(data).points, project(data.clone()).points)
    assert torch.equal(project(data, before=-project(data).axes).points, -project(data).points)


def test_only_the_first_rows_are_looked_at() -> None:
    assert project(torch.randn(MOST_ROWS + 5, 3)).points.shape == (MOST_ROWS, 2)


# ---------------------------------------------------------------- neighbours


@given(st.integers(2, 20), st.integers(1, 10), st.integers(0, 2**31))
def test_neighbours_against_brute_force(rows: int, columns: int, seed: int) -> None:
    data = table(rows, columns, seed)
    row = seed % rows
    found = neighbours(data, data[row], leave_out=[row])
    assert {one.row for one in found} == set(range(rows)) - {row}
    assert [one.cosine for one in found] == sorted((one.cosine for one in found), reverse=True)
    mine = data[row].double().tolist()
    for one in found:
        other = data[one.row].double().tolist()
        dot = sum(a * b for a, b in zip(mine, other, strict=True))
        assert one.cosine == pytest.approx(dot / math.hypot(*mine) / math.hypot(*other), abs=1e-9)
        assert one.distance == pytest.approx(math.dist(mine, other), abs=1e-9)
        assert float(cosines(data)[row, one.row]) == pytest.approx(one.cosine, abs=1e-12)


def test_centred_rows_have_no_mean_and_keep_their_distances() -> None:
    data = table(9, 4)
    rows = centred(data)
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-12)
    assert neighbours(rows, rows[0])[0] == (0, pytest.approx(1), 0)
    apart = [sorted(one.distance for one in neighbours(which, which[2])) for which in (rows, data)]
    assert apart[0] == pytest.approx(apart[1])


def test_a_row_of_zeros_is_like_none() -> None:
    data = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    assert cosines(data)[0].tolist() == [0, 0]
    assert neighbours(data, data[1])[-1] == (0, 0.0, pytest.approx(math.sqrt(5)))


def test_king_minus_man_plus_woman_is_nearest_to_queen_and_not_equal() -> None:
    result = analogy(words(0.7), KING, MAN, WOMAN)
    assert result.tolist() == pytest.approx([1.0, -0.3])
    ranked = neighbours(words(0.7), result)
    assert [one.row for one in ranked] == [QUEEN, KING, WOMAN, MAN]
    assert ranked[0].distance == pytest.approx(0.2)
    assert ranked[0].cosine == pytest.approx(1.15 / math.sqrt(1.09 * 1.25))
    assert min(ranked, key=lambda one: one.distance).row == QUEEN


def test_with_the_other_king_of_document_003_it_is_equal() -> None:
    assert analogy(words(0.5), KING, MAN, WOMAN).tolist() == words()[QUEEN].tolist() == [1.0, -0.5]


# ---------------------------------------------------------------- in a run


@pytest.mark.parametrize("name", ["bigram", "gpt-tiny"])
def test_the_trainer_projects_the_full_table(name: str, corpus: Corpus) -> None:
    records: list[Record] = []
    config = changed(preset(name).config, device="cpu")
    trainer = Trainer(config, UNLIMITED, corpus, records.append)
    trainer.observer.show_start()
    first = trainer.model.token_embedding.weight.detach().clone()  # type: ignore[union-attr]
    for _ in range(200):
        trainer.advance()
    trainer.observer.observe_next = True
    trainer.advance()
    told = [r for r in records if isinstance(r, Observation) and TOKEN_EMBEDDING in r.tables]
    assert told[0].step == 0 and told[-1].step == 201, "before the first update, and at a step by hand"
    np.testing.assert_allclose(told[0].tables[TOKEN_EMBEDDING], project(first).points.float(), atol=1e-5)
    now = project(trainer.model.token_embedding.weight)  # type: ignore[union-attr,arg-type]
    shares = np.array([told[-1].scalars[f"explained_variance/{axis}"] for axis in (1, 2)])
    rank = (-shares).argsort()  # the axes keep the order that they had at first
    np.testing.assert_allclose(shares[rank], now.shares, atol=1e-6)
    np.testing.assert_allclose(abs(told[-1].tables[TOKEN_EMBEDDING][:, rank]), abs(now.points), atol=1e-4)


def test_projecting_changes_no_loss(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def losses() -> list[float]:
        records: list[Record] = []
        trainer = Trainer(changed(preset("bigram").config, device="cpu"), UNLIMITED, corpus, records.append)
        trainer.observer.show_start()
        for _ in range(300):
            trainer.advance()
        assert any(isinstance(r, Observation) and TOKEN_EMBEDDING in r.tables for r in records) == projecting
        return [r.loss for r in records if isinstance(r, Scalars)]

    projecting = True
    watched = losses()
    projecting = False
    monkeypatch.setattr(probes, "projection", lambda model, projector: ({}, {}))
    assert losses() == watched


def test_a_wide_table_is_projected_less_often() -> None:
    assert projection_interval_of(32, 30_000) == LEAST_OBSERVATIONS
    assert projection_interval_of(65, 65**2) == 6
    assert projection_interval_of(1000, 1000**2) == 100
    assert projection_interval_of(768, 162_419_712) == LEAST_OBSERVATIONS, (
        "beside such a model the eigenvectors cost nothing"
    )


def test_a_model_without_tokens_has_no_projection() -> None:
    assert probes.projection(Line(), Projector()) == ({}, {})
    assert probes.projection_interval(Line()) == 1
    assert probes.projection_interval(build(preset("bigram").config, 65)) == 6
