"""Figures with their targets, and fair ways to take them. Knows nothing of what is measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Rates = dict[str, list[float]]


@dataclass(frozen=True)
class Figure:
    """One measured number; `target` is the least it should be, or with `at_most` the most."""

    part: str
    name: str
    value: float | None
    unit: str = "ratio"
    target: float | None = None
    at_most: bool = False
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Is the target met? None where there is none, or nothing was measured."""
        if self.value is None or self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target

    def line(self) -> str:
        """The figure as a row of the printed table."""
        value = "-" if self.value is None else f"{self.value:,.3f}" if self.unit == "ratio" else f"{self.value:,.1f}"
        bound = "" if self.target is None else f"{'<=' if self.at_most else '>='} {self.target:g}"
        verdict = {True: "holds", False: "MISSED", None: ""}[self.holds]
        return f"{self.name:54} {value:>12} {self.unit:9} {bound:>10}  {verdict:7}{self.note}".rstrip()


def interleave(variants: Mapping[str, Callable[[], float]], rounds: int) -> Rates:
    """Measure all variants in turn, A B then B A, so that a machine that grows warm or busy wrongs none of them."""
    rates: Rates = {name: [] for name in variants}
    for turn in range(rounds):
        names = list(variants) if turn % 2 == 0 else list(variants)[::-1]
        for name in names:
            rates[name].append(variants[name]())
    return rates


def ratio(rates: Mapping[str, Sequence[float]], of: str, to: str) -> float:
    """The median, over the rounds, of what `of` reached relative to `to` in the same round."""
    return statistics.median(a / b for a, b in zip(rates[of], rates[to], strict=True))


def told(rates: Mapping[str, Sequence[float]], *names: str) -> str:
    """The medians behind a ratio, for its note."""
    return "; ".join(f"{name} {statistics.median(rates[name]):,.0f}/s" for name in names)


def p95(values: Sequence[float]) -> float:
    """The 95th percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
