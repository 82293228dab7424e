"""Fits, curvature and the loss surface of a line, against numpy.polyfit, hand arithmetic and finite differences."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.analysis import least_squares
from engine.config import LiveSettings, RunConfig
from engine.errors import InputError
from engine.lessons.logistic_printout import record_steps
from engine.models.line import Line
from engine.presets import preset
from engine.text.points import Points, read_points, write_points
from engine.training.trainer import Trainer

THREE = [(1.0, 3.0), (2.0, 5.0), (3.0, 7.0)]
FOUR = [*THREE, (4.0, 8.0)]

some_points = st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=1, max_size=12).map(
    lambda pairs: [(float(x), float(y)) for x, y in pairs]
)


def test_document_002_a_and_b_from_two_points_fit_the_third_and_miss_the_fourth() -> None:
    a, b = least_squares.line_through(FOUR[0], FOUR[1])
    assert (a, b) == (2, 1)
    assert least_squares.residuals(FOUR, a, b) == [0, 0, 0, -1]


def test_document_002_four_points_and_four_forms() -> None:
    found = [least_squares.fit_polynomial(FOUR, degree) for degree in range(4)]
    assert found[1].coefficients == pytest.approx((1.5, 1.7))
    assert [one.mean_squared_error for one in found] == pytest.approx([3.6875, 0.075, 0.0125, 0], abs=1e-12)
    assert found[1].residuals == pytest.approx((-0.2, 0.1, 0.4, -0.3))
    assert least_squares.fit_polynomial(THREE, 1).coefficients == pytest.approx((1, 2))
    assert least_squares.fit_polynomial(THREE, 1).mean_squared_error == pytest.approx(0, abs=1e-24)


@given(some_points, st.integers(0, 3))
def test_a_fit_is_numpy_s(pairs, degree) -> None:
    x, y = least_squares.xy_arrays(pairs)
    assume(len(set(x)) > degree)
    one = least_squares.fit_polynomial(pairs, degree)
    np.testing.assert_allclose(np.polyval(np.polyfit(x, y, degree), x), y - np.array(one.residuals), atol=1e-6)
    np.testing.assert_allclose(np.polyval(one.coefficients[::-1], x), one.polynomial(x), atol=1e-6)
    assert len(one.coefficients) == degree + 1
    assert one.mean_squared_error == pytest.approx(np.mean(np.square(one.residuals)))


@pytest.mark.parametrize(
    ("pairs", "degree", "named"),
    [
        ([(2.0, 4.0)], 1, "line"),
        ([(2.0, 4.0), (2.0, 4.0)], 1, "line"),
        ([(2.0, 4.0), (2.0, 5.0), (2.0, 7.0)], 1, "different x"),
        (THREE, 3, "cubic"),
        ([(0.0, 1.0), (1e-18, 2.0), (1e6, 3.0)], 2, "too close"),
    ],
)
def test_points_that_leave_a_form_undetermined_are_named_in_one_sentence(pairs, degree, named) -> None:
    with pytest.raises(InputError, match=named) as error:
        least_squares.fit_polynomial(pairs, degree)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("other", [(1.0, 3.0), (1.0, 4.0)])
def test_two_points_without_a_single_line_are_refused(other) -> None:
    with pytest.raises(InputError, match="choose another"):
        least_squares.line_through((1.0, 3.0), other)


@given(some_points)
def test_nothing_around_the_lowest_place_is_lower(pairs) -> None:
    a, b = least_squares.minimum(pairs)
    least = least_squares.loss_at(pairs, a, b)
    for turn in np.linspace(0, 6.2, 8):
        assert least_squares.loss_at(pairs, a + 0.1 * np.cos(turn), b + 0.1 * np.sin(turn)) >= least - 1e-9 * (
            1 + least
        )


def test_where_a_whole_valley_is_lowest_training_from_zero_arrives_at_the_place_named() -> None:
    config = RunConfig(model="line", points="2,4 2,6", optimizer="sgd")
    trainer = Trainer(config, LiveSettings(lr=0.1, weight_decay=0), Points.of(config), lambda _: None)
    for _ in range(100):
        trainer.advance()
    ends = trainer.model.a.item(), trainer.model.b.item()
    assert ends == pytest.approx(least_squares.minimum(read_points(config.points)), abs=1e-5)


def test_the_surface_is_the_model_s_own_loss() -> None:
    a, b = np.array([-1.0, 0.5, 2.0]), np.array([0.0, 3.0])
    x, y = (torch.tensor(part, dtype=torch.float32).unsqueeze(1) for part in least_squares.xy_arrays(FOUR))
    model = Line()
    for (row, column), loss in np.ndenumerate(least_squares.loss_surface(FOUR, a, b)):
        with torch.no_grad():
            model.a.fill_(a[column])
            model.b.fill_(b[row])
        assert model(x, y)[1].item() == pytest.approx(loss, rel=1e-6)


@given(some_points)
def test_the_curvature_is_the_second_difference_of_the_loss(pairs) -> None:
    h = 0.5  # exact for any h, the loss being quadratic
    loss = least_squares.loss_surface(pairs, np.array([-h, 0, h]), np.array([-h, 0, h]))  # (b, a)
    found = least_squares.curvature(pairs)
    assert found[0, 0] == pytest.approx((loss[1, 2] - 2 * loss[1, 1] + loss[1, 0]) / h**2, abs=1e-6)
    assert found[1, 1] == pytest.approx((loss[2, 1] - 2 * loss[1, 1] + loss[0, 1]) / h**2, abs=1e-6)
    assert found[0, 1] == pytest.approx((loss[2, 2] - loss[0, 2] - loss[2, 0] + loss[0, 0]) / (4 * h**2), abs=1e-6)


@given(some_points, st.floats(1e-3, 1e3))
def test_a_ring_has_one_loss(pairs, above) -> None:
    assume(len({x for x, _ in pairs}) > 1)
    least = least_squares.loss_at(pairs, *least_squares.minimum(pairs))
    for a, b in zip(*least_squares.level_ellipse(pairs, above, 1e4, points=9), strict=True):
        assert least_squares.loss_at(pairs, a, b) - least == pytest.approx(above, rel=1e-3, abs=1e-4 + 1e-9 * least)


@pytest.mark.parametrize("points", ["1,3 2,5 3,7", "1,3 2,5 3,7 4,8", "2,4", "-3,1 0,1 5,-2", "0,0 0,3"])
def test_the_largest_stable_lr_is_where_a_real_run_tips_over(points) -> None:
    most = least_squares.largest_stable_lr(read_points(points))
    config = RunConfig(model="line", points=points, optimizer="sgd", observe_every=10**6)
    ends = {}
    for factor in (0.98, 1.02):
        trainer = Trainer(config, LiveSettings(lr=factor * most, weight_decay=0), Points.of(config), lambda _: None)
        losses = []
        for _ in range(200):
            trainer.advance()
            losses.append(trainer.recorder.loss)
        ends[factor] = losses
    assert ends[0.98][-1] <= ends[0.98][0] and ends[0.98][-1] <= ends[0.98][-20]
    assert ends[1.02][-1] > 2 * ends[1.02][-20], "each step should have gone further out"
    assert ends[1.02][-1] > ends[1.02][0]


def test_document_002_largest_stable_lr_by_hand() -> None:
    # 2/n [[Σx², Σx], [Σx, n]] = [[28/3, 4], [4, 2]]: λ = (34/3 + √((34/3)² − 4·8/3)) / 2
    steepest = (34 / 3 + np.sqrt((34 / 3) ** 2 - 4 * 8 / 3)) / 2
    assert least_squares.largest_stable_lr(THREE) == pytest.approx(2 / steepest)


def test_huge_points_have_fits_too() -> None:
    pairs = read_points(write_points([(1e6, -1e6), (-1e6, 1e6), (999_999.0, 12.0)]))
    assert least_squares.fit_polynomial(pairs, 1).mean_squared_error > 0
    assert 0 < least_squares.largest_stable_lr(pairs) < 1e-11


def test_document_002_the_printed_gradients_of_five_steps() -> None:
    start = preset("document-002")
    told = record_steps(start.config, start.settings, 5)
    w, b = told_weights(start.config)
    for step, one in enumerate(told):  # the same five steps by hand, in float64
        z = np.ones(5) @ w + b
        slope = 1 / (1 + np.exp(-z)) / 3
        np.testing.assert_allclose(one.z, z, rtol=1e-5)
        np.testing.assert_allclose(one.b_grad, slope, rtol=1e-5)
        np.testing.assert_allclose(one.w_grad, np.tile(slope, (5, 1)), rtol=1e-5)
        assert one.loss == pytest.approx(np.mean(np.log1p(np.exp(z))), rel=1e-5)
        assert str(one) == f"Training step {step}:\n{one.w_grad}\n{one.b_grad}"
        w, b = w - 0.01 * np.tile(slope, (5, 1)), b - 0.01 * slope


def test_document_002_the_loss_of_the_layer_only_falls_and_z_with_it() -> None:
    start = preset("document-002")
    told = record_steps(start.config, start.settings, 600)
    losses = [one.loss for one in told]
    assert all(after < before for before, after in pairwise(losses))
    assert all((after.z < before.z).all() for before, after in pairwise(told))


def told_weights(config):
    """The first weights of the layer, float64."""
    trainer = Trainer(config, preset("document-002").settings, Points.of(config), lambda _: None)
    return tuple(p.detach().double().numpy() for p in (trainer.model.w, trainer.model.b))
