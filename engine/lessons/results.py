"""What an experiment or an example shows, as plain data: charts, tables, grids of numbers, code and its output.

`pages/views/shared/results.py` draws them. Labels of rows and columns may be tokens, that is, text of a corpus, and
must be shown literally. Titles and sentences never contain text of a corpus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Tone = Literal["usual", "changed", "other", "second", "bad", "reference"]
"""The role of a curve, which decides its colour: the usual loop, the changed one, others, a bad one, a reference."""


@dataclass(frozen=True)
class Curve:
    """One line of a chart: points (x, y) in the units of the axes. `faint` draws noisy values behind another curve."""

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
    """A tensor (rows, columns) as coloured cells with their numbers; rows and columns are labelled by tokens or words.

    A blank in a label counts as a token's and is shown as a sign; `plain_labels` makes labels that are ordinary words.
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
class CodeOutput:
    """A piece of code and what running it gave: the type of the exception and its message, or the output."""

    code: str
    kind: str
    text: str


Display = Chart | Table | Grid | CodeOutput


@dataclass(frozen=True)
class ExperimentResult:
    """What an experiment found."""

    summary: str
    """One or two sentences, computed from what was measured."""
    displays: tuple[Display, ...]
    setup: str = ""
    """What it ran on, in words; may contain a text's title, so show it literally."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """The numbers behind `summary`, by name; the tests check these."""


@dataclass(frozen=True)
class Example:
    """A small example from one of the documents: what the document says, what is true, and the tensors behind both."""

    document: str
    """Which document and lines."""
    claim: str
    """What the document says, in our words and with its own numbers."""
    actual: str
    """What is true, computed here."""
    displays: tuple[Display, ...]
    numbers: Mapping[str, float] = field(default_factory=dict)


def cells(tensor: Tensor) -> NDArray[np.float64]:
    """A tensor (rows, columns) as float64 cells; a one-dimensional tensor becomes a single row."""
    table = tensor.detach().to("cpu").double().numpy()
    return np.atleast_2d(table)


def plain_labels(*names: str) -> tuple[str, ...]:
    """Labels that are words, not tokens: their blanks stay blanks."""
    return tuple(name.replace(" ", "\N{NO-BREAK SPACE}") for name in names)


def percent(share: float, places: int = 0) -> str:
    """A share of 1 as text: "46 %"."""
    return f"{100 * share:.{places}f} %"


def row_text(values: Sequence[float] | Tensor, places: int = 3) -> str:
    """Numbers in one line of text: ".256 .159"."""
    written = (f"{float(value):.{places}f}" for value in values)
    return " ".join(word.replace("0.", ".", 1) if word.startswith("0.") else word for word in written)
