"""What is known about a line through points without training: fits, the loss surface and its curvature.

Plain arithmetic in float64 on (x, y) pairs, the loss being the mean squared error in squared units of y.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from ..errors import InputError

Point = tuple[float, float]
Floats = NDArray[np.float64]

FORMS = ("constant", "line", "quadratic", "cubic")
"""Polynomials by degree, simplest first."""


@dataclass(frozen=True, eq=False)
class Fit:
    """The polynomial of a given degree with the least mean squared error on some points."""

    polynomial: Polynomial
    coefficients: tuple[float, ...]
    """Constant first."""
    residuals: tuple[float, ...]
    """y minus what the polynomial says, one a point."""
    mean_squared_error: float


def fit_polynomial(pairs: Sequence[Point], degree: int) -> Fit:
    """Fit by least squares; InputError where the points do not determine the polynomial."""
    x, y = xy_arrays(pairs)
    different = len(set(x.tolist()))
    if different <= degree:
        raise InputError(
            f"a {FORMS[degree]} needs {degree + 1} different x, and here {'is' if different == 1 else 'are'} "
            f"{different}; add a point with another x"
        )
    domain = [x.min(), x.max()] if different > 1 else [x[0] - 1, x[0] + 1]
    found, (_, rank, _, _) = Polynomial.fit(x, y, degree, domain=domain, full=True)
    if rank <= degree:
        raise InputError(f"some x are too close together for a {FORMS[degree]}; move them apart")
    residuals = y - found(x)
    coefficients = found.convert().coef.tolist()  # without zeros at its end
    coefficients += [0.0] * (degree + 1 - len(coefficients))
    return Fit(found, tuple(coefficients), tuple(residuals.tolist()), float(np.mean(np.square(residuals))))


def line_through(one: Point, other: Point) -> Point:
    """Slope a and intercept b of the line through two points; InputError where there is no single one."""
    if one == other:
        raise InputError("the two points are the same, and any number of lines go through one point; choose another")
    if one[0] == other[0]:
        raise InputError(f"both points have x = {one[0]:g}, and y = ax + b has one y for each x; choose another point")
    a = (other[1] - one[1]) / (other[0] - one[0])
    return a, one[1] - a * one[0]


def residuals(pairs: Sequence[Point], a: float, b: float) -> list[float]:
    """y − (a·x + b) for each point."""
    return [y - (a * x + b) for x, y in pairs]


def minimum(pairs: Sequence[Point]) -> Point:
    """The (a, b) with the least loss; where a whole line of them is equally good, the one nearest to (0, 0)."""
    x, y = xy_arrays(pairs)
    if len(set(x.tolist())) == 1:
        share = float(np.mean(y) / (x[0] ** 2 + 1))
        return share * float(x[0]), share
    b, a = fit_polynomial(pairs, 1).coefficients
    return a, b


def loss_surface(pairs: Sequence[Point], a: Floats, b: Floats) -> Floats:
    """The loss of each line y = a·x + b, (len(b), len(a))."""
    x, y = xy_arrays(pairs)
    said = a[None, :, None] * x + b[:, None, None]  # (len(b), len(a), n)
    losses: Floats = np.mean(np.square(said - y), axis=-1)
    return losses


def loss_at(pairs: Sequence[Point], a: float, b: float) -> float:
    """The loss of one line."""
    return float(loss_surface(pairs, np.array([a]), np.array([b]))[0, 0])


def curvature(pairs: Sequence[Point]) -> Floats:
    """The Hessian of the loss in (a, b), (2, 2); the same everywhere, since the loss is quadratic."""
    x, _ = xy_arrays(pairs)
    return 2 * np.array([[np.mean(x * x), np.mean(x)], [np.mean(x), 1.0]])


def largest_stable_lr(pairs: Sequence[Point]) -> float:
    """2 / λ for the largest eigenvalue λ of the Hessian. A step multiplies the error in that direction by 1 − lr·λ.

    Above this rate the factor's absolute value exceeds 1, so plain gradient descent moves away from the minimum.
    """
    return float(2 / np.linalg.eigvalsh(curvature(pairs)).max())


def level_ellipse(pairs: Sequence[Point], above: float, longest: float, points: int = 121) -> tuple[Floats, Floats]:
    """The level set where the loss is `above` its minimum: a closed ellipse, as a (points,) and b (points,).

    Half-axes are cut at `longest`: along a direction without curvature the ellipse would be infinite. At ends that are
    cut, the loss is lower.
    """
    curved, directions = np.linalg.eigh(curvature(pairs))
    halves = np.sqrt(2 * above / np.maximum(curved, 2 * above / longest**2))
    turn = np.linspace(0, 2 * np.pi, points)
    around = directions @ (halves[:, None] * np.stack((np.cos(turn), np.sin(turn))))  # (2, points)
    a, b = minimum(pairs)
    return a + around[0], b + around[1]


def xy_arrays(pairs: Sequence[Point]) -> tuple[Floats, Floats]:
    """x (n,) and y (n,)."""
    table = np.array(pairs, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
