"""Numbers and values as people read them."""

from __future__ import annotations


def short(value: object) -> str:
    """A setting's value as people write it."""
    if value is None:
        return "off"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def figures(value: float, digits: int = 4) -> str:
    """A measured number as people read it: 2.487, 0.01234, 12,340."""
    return f"{value:,.0f}" if 1000 <= abs(float(f"{value:.{digits}g}")) < 1e7 else f"{value:.{digits}g}"
