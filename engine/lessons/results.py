"""What an experiment or an example has to show, as plain data: curves, tables, grids of cells, code and errors.

Knows nothing of models, of what is shown, or of how it is drawn. Tokens in it are text of a corpus: whoever draws
it shows them literally. Titles, axis titles and sentences are written here and nowhere come from a corpus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Tone = Literal["usual", "changed", "other", "second", "bad", "reference"]
"""What a curve stands for: the ordinary way, the changed one, further ones, a bad one, or a line to compare with."""


@dataclass(frozen=True)
class Curve:
    """One line: points (x, y), y in the units of its chart's axis; `faint` for what scatters behind another."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    tone: Tone = "usual"
    faint: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves on common axes; `help` says in two sentences how to read them."""

    title: str
    help: str
    x_title: str
    y_title: str
    curves: tuple[Curve, ...]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of words and numbers under named columns."""

    title: str
    help: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]


@dataclass(frozen=True, eq=False)
class Grid:
    """A tensor (rows, columns) in colour, with a token or a name for each row and column, and its numbers in the cells.

    A blank in a name is taken for a token's and shown as a sign; `named` writes names that are words.
    """

    title: str
    help: str
    cells: NDArray[np.float64]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    scale: Literal["signed", "probability"]
    row_title: str = ""
    column_title: str = ""


@dataclass(frozen=True)
class Raised:
    """Code, and what really came of it: the kind of the exception and its text, or what it printed."""

    code: str
    kind: str
    text: str


Exhibit = Chart | Table | Grid | Raised


@dataclass(frozen=True)
class Outcome:
    """What an experiment found: `seen` in one or two sentences, `about` where it began, and what shows it."""

    seen: str
    exhibits: tuple[Exhibit, ...]
    about: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    """The numbers behind `seen`, by name, for whoever wants them as numbers."""


@dataclass(frozen=True)
class Example:
    """A document's own small example: what it says, what is true, both opened as tiny tensors."""

    document: str
    """Which document, which lines."""
    says: str
    """In our words, with the document's own figures."""
    true: str
    """Computed here."""
    exhibits: tuple[Exhibit, ...]
    figures: Mapping[str, float] = field(default_factory=dict)


def cells(tensor: Tensor) -> NDArray[np.float64]:
    """A tensor (rows, columns) as cells; one of one dimension becomes a single row."""
    table = tensor.detach().to("cpu").double().numpy()
    return np.atleast_2d(table)


def named(*names: str) -> tuple[str, ...]:
    """Words for the rows or columns of a grid: their blanks stay blanks."""
    return tuple(name.replace(" ", "\N{NO-BREAK SPACE}") for name in names)


def percent(share: float, places: int = 0) -> str:
    """A share of 1 as people read it: "46 %"."""
    return f"{100 * share:.{places}f} %"


def numbers(values: Sequence[float] | Tensor, places: int = 3) -> str:
    """Numbers in a row: ".256 .159"."""
    written = (f"{float(value):.{places}f}" for value in values)
    return " ".join(word.replace("0.", ".", 1) if word.startswith("0.") else word for word in written)
