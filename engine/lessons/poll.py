"""A question to a room: who may answer what, what has been said, and how it is told back, as plain data.

Answers live in memory with their question. A browser is known by a random id and by nothing else; what is kept of a
poll afterwards, and what anybody is shown, are counts and values without ids.
"""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import InputError

MOST_BROWSERS = 1000
MOST_POINTS = 64  # of a drawn curve
SHOWN_CURVES = 40  # a picture of more is a blot; the median is that of all
FEWEST_OPTIONS, MOST_OPTIONS = 2, 5

Answer = int | float | str | tuple[tuple[float, float], ...]
"""An option's place, a number, a character, or the points (step, value) of a curve."""


class Refused(InputError):
    """An answer that this question cannot take."""


class Closed(Refused):
    """The question is not open (any more)."""


class Full(Refused):
    """So many browsers have answered that one more is not let in."""


@dataclass(frozen=True)
class Choice:
    """One of two to five options."""

    options: tuple[str, ...]

    def __post_init__(self) -> None:
        if not FEWEST_OPTIONS <= len(self.options) <= MOST_OPTIONS:
            raise InputError(f"{len(self.options)} options are not possible; give {FEWEST_OPTIONS} to {MOST_OPTIONS}")

    def read(self, value: object) -> int:
        """The place of an option; Refused if there is none there."""
        if type(value) is not int or not 0 <= value < len(self.options):
            raise Refused(f"choose an option from 0 to {len(self.options) - 1}")
        return value

    def told(self, answers: Sequence[Any]) -> dict[str, Any]:
        """How many chose each option: {"counts": [options]}."""
        return {"counts": np.bincount(np.asarray(answers, dtype=np.int64), minlength=len(self.options)).tolist()}

    def header(self) -> dict[str, Any]:
        """The kind as plain data."""
        return {"kind": "choice", "options": self.options}


@dataclass(frozen=True)
class Number:
    """A number in `unit` from `low` to `high`; `log` asks with a logarithmic slider."""

    low: float
    high: float
    unit: str = ""
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"a number from {self.low} to {self.high} is not possible; give two bounds in order")
        if self.log and self.low <= 0:
            raise InputError(f"a logarithmic slider cannot begin at {self.low}; let it begin above 0")

    def read(self, value: object) -> float:
        """A number in bounds; Refused otherwise."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise Refused(f"give a number from {self.low:g} to {self.high:g}")
        return float(value)

    def told(self, answers: Sequence[Any]) -> dict[str, Any]:
        """All numbers in order of size, and their median: {"values": [n], "median": a number or None}."""
        return {"values": sorted(answers), "median": float(np.median(answers)) if answers else None}

    def header(self) -> dict[str, Any]:
        """The kind as plain data."""
        return {"kind": "number", "low": self.low, "high": self.high, "unit": self.unit, "log": self.log}


@dataclass(frozen=True)
class Drawing:
    """A curve of `channel` over the steps from `first` to `last`, its values from `low` to `high`."""

    first: int
    last: int
    low: float
    high: float
    channel: str = "train/loss"

    def __post_init__(self) -> None:
        if not (self.first < self.last and self.low < self.high):
            raise InputError("a curve needs a stretch of steps and a range of values; give bounds in order")

    def read(self, value: object) -> tuple[tuple[float, float], ...]:
        """Two to 64 points in bounds, their steps in order; Refused otherwise."""
        if not isinstance(value, list) or not 2 <= len(value) <= MOST_POINTS:
            raise Refused(f"draw a curve of 2 to {MOST_POINTS} points")
        points = tuple(tuple(point) if isinstance(point, list) else () for point in value)
        for point in points:
            numbers = len(point) == 2 and all(type(one) in (int, float) for one in point)
            if not numbers or not (self.first <= point[0] <= self.last and self.low <= point[1] <= self.high):
                raise Refused(
                    f"a point is a step from {self.first:,} to {self.last:,} with a value from "
                    f"{self.low:g} to {self.high:g}"
                )
        if any(after[0] <= before[0] for before, after in pairwise(points)):
            raise Refused("the steps of a curve go up; draw it from left to right")
        return points

    def told(self, answers: Sequence[Any]) -> dict[str, Any]:
        """At most SHOWN_CURVES curves spread over all, and the median of all: {"curves": [[[step, value]]], "median"}.

        Between its points a curve is straight; beyond them it is not asked.
        """
        chosen = answers[:: math.ceil(len(answers) / SHOWN_CURVES)] if answers else []
        return {"curves": [[list(point) for point in curve] for curve in chosen], "median": self._median(answers)}

    def _median(self, answers: Sequence[Any]) -> list[list[float]]:
        if not answers:
            return []
        steps = np.linspace(self.first, self.last, MOST_POINTS)
        drawn = np.empty((len(answers), len(steps)))
        for row, curve in zip(drawn, answers, strict=True):
            at, values = np.array(curve).T
            row[:] = np.interp(steps, at, values, left=np.nan, right=np.nan)
        reached = ~np.isnan(drawn).all(axis=0)
        medians = np.nanmedian(drawn[:, reached], axis=0)
        return [[float(step), float(value)] for step, value in zip(steps[reached], medians, strict=True)]

    def header(self) -> dict[str, Any]:
        """The kind as plain data."""
        bounds = {"first": self.first, "last": self.last, "low": self.low, "high": self.high}
        return {"kind": "curve", "channel": self.channel, **bounds}


@dataclass(frozen=True)
class Character:
    """One character of the vocabulary."""

    tokens: tuple[str, ...]

    def read(self, value: object) -> str:
        """A character that the model knows; Refused otherwise."""
        if not isinstance(value, str) or value not in self.tokens:
            raise Refused("give one character that the text has")
        return value

    def told(self, answers: Sequence[Any]) -> dict[str, Any]:
        """How many gave each character, in the vocabulary's order: {"counts": [vocab_size]}."""
        places = {token: place for place, token in enumerate(self.tokens)}
        return {"counts": np.bincount([places[one] for one in answers], minlength=len(self.tokens)).tolist()}

    def header(self) -> dict[str, Any]:
        """The kind as plain data."""
        return {"kind": "character", "tokens": self.tokens}


Kind = Choice | Number | Drawing | Character


class Poll:
    """One question, open at first. Any thread may call it."""

    def __init__(self, id: str, text: str, kind: Kind) -> None:
        self.id, self.text, self.kind = id, text, kind
        self.asking = secrets.token_hex(4)
        """Tells it from the same question asked at another time."""
        self._answers: dict[str, Answer] = {}
        self._open = True
        self._lock = threading.Lock()

    @property
    def open(self) -> bool:
        """May one answer?"""
        return self._open

    @property
    def count(self) -> int:
        """How many browsers have answered."""
        return len(self._answers)

    def answer(self, browser: str, value: object) -> None:
        """Take the answer of a browser, or the one it changes its mind to; Refused, Closed or Full say why not."""
        read = self.kind.read(value)
        with self._lock:
            if not self._open:
                raise Closed("this question is closed; wait for the next one")
            if browser not in self._answers and len(self._answers) >= MOST_BROWSERS:
                raise Full(f"{MOST_BROWSERS:,} browsers have answered, the most there may be; watch along")
            self._answers[browser] = read

    def close(self) -> None:
        """Take no answer any more."""
        with self._lock:
            self._open = False

    def answers(self) -> list[Answer]:
        """What was said, in no order of people, without ids."""
        with self._lock:
            return sorted(self._answers.values(), key=str)

    def told(self) -> dict[str, Any]:
        """What was said, as the kind tells it. For after the close, so that nobody follows the crowd."""
        return self.kind.told(self.answers())

    def header(self) -> dict[str, Any]:
        """The question for a frame's header: how many have answered while it is open, the distribution afterwards."""
        closed = {} if self._open else {"distribution": self.told()}
        return {
            "id": self.id,
            "asking": self.asking,
            "text": self.text,
            **self.kind.header(),
            "open": self._open,
            "count": self.count,
            **closed,
        }
