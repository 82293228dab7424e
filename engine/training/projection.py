"""Rows of a table as points of a plane, and how alike they are. Plain functions of tensors; knows no model.

Shape letters: V rows (tokens), D columns (dimensions). At most `MOST_ROWS` rows are looked at: the first ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_ROWS = 1000
LEAST_OBSERVATIONS = 4
TOKEN_EMBEDDING = "projection/token_embedding"


class Projected(NamedTuple):
    """points (V, 2); axes (2, D) of length 1; shares (2,) of the rows' variance that lie along each axis."""

    points: Tensor
    axes: Tensor
    shares: Tensor


def project(table: Tensor, before: Tensor | None = None) -> Projected:
    """The two principal components of `table` (V, D), float64 on the CPU: the plane in which its rows differ most.

    `before`, the axes (2, D) of an earlier look, settles order and signs, so that a picture does not turn over.
    """
    rows = table.detach()[:MOST_ROWS].to("cpu", torch.float64)  # in float32 the squares of large weights overflow
    rows = rows - rows.mean(0)
    scatter = rows.T @ rows  # (D, D)
    sizes, directions = torch.linalg.eigh(scatter)  # from the smallest to the largest
    axes = directions.T.flip(0)[:2]
    shares = sizes.flip(0)[:2].clamp(min=0) / scatter.trace().clamp(min=torch.finfo(torch.float64).tiny)
    if len(axes) < 2:  # a table of one column has one direction
        axes, shares = F.pad(axes, (0, 0, 0, 1)), F.pad(shares, (0, 1))
    order, signs = _fit(axes, axes_of_largest(axes) if before is None else before)
    axes = axes[order] * signs.unsqueeze(1)
    return Projected(rows @ axes.T, axes, shares[order])


def axes_of_largest(axes: Tensor) -> Tensor:
    """For axes (2, D) without a past: stand-ins (2, D), 1 where each is largest, so that this side is positive."""
    return F.one_hot(axes.abs().argmax(1), axes.size(1)).to(axes.dtype)


def _fit(axes: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """The order (2,) and the signs (2,) that bring `axes` (2, D) nearest to `before` (2, D)."""
    match = before @ axes.T  # (2, 2): cosines
    straight, crossed = match.diagonal().abs().sum(), match.flip(1).diagonal().abs().sum()
    order = torch.tensor([1, 0] if crossed > straight else [0, 1])
    signs = torch.where(match[:, order].diagonal() < 0, -1.0, 1.0).to(axes.dtype)
    return order, signs


class Projector:
    """Looks at one table again and again, each time from the side it saw before."""

    def __init__(self) -> None:
        self.axes: Tensor | None = None
        """Of the last look (2, D); None before the first."""

    def look(self, table: Tensor) -> Projected:
        """As `project`, aligned with the last look."""
        seen = project(table, self.axes)
        self.axes = seen.axes
        return seen


def projection_interval_of(columns: int, parameters: int) -> int:
    """How many observations apart a table of `columns` columns is projected, of a model with `parameters` numbers.

    The eigenvectors cost columns³, a step about the number of parameters: a table that is wide for its model is
    projected less often.
    """
    return max(LEAST_OBSERVATIONS, columns**3 // (10 * parameters))


def cosines(table: Tensor) -> Tensor:
    """Cosine similarity of all rows of `table` (V, D): (V, V), float64, from -1 to 1; a row of zeros is like none."""
    rows = F.normalize(table.detach().double(), dim=1)
    return (rows @ rows.T).clamp(-1, 1)


def centred(table: Tensor) -> Tensor:
    """`table` (V, D), float64, less its mean row: what all rows share makes none of them alike."""
    rows = table.detach().double()
    return rows - rows.mean(0)


class Neighbour(NamedTuple):
    """A row of a table: its cosine similarity with a vector, and its distance from it."""

    row: int
    cosine: float
    distance: float


def neighbours(table: Tensor, vector: Tensor, leave_out: Sequence[int] = ()) -> list[Neighbour]:
    """All rows of `table` (V, D) but `leave_out`, the ones most like `vector` (D,) by cosine first."""
    rows, vector = table.detach().double(), vector.detach().double()
    cosine = (F.normalize(rows, dim=1) @ F.normalize(vector, dim=0)).clamp(-1, 1)
    distance = torch.linalg.vector_norm(rows - vector, dim=1)
    order = [row for row in cosine.argsort(descending=True, stable=True).tolist() if row not in leave_out]
    return [Neighbour(row, float(cosine[row]), float(distance[row])) for row in order]


def analogy(table: Tensor, first: int, minus: int, plus: int) -> Tensor:
    """Row `first` - row `minus` + row `plus` of `table` (V, D): the vector (D,) where the fourth is looked for."""
    rows = table.detach().double()
    return rows[first] - rows[minus] + rows[plus]
