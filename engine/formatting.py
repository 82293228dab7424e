"""Numbers and settings as text for people."""

from __future__ import annotations

SPOKEN_NAMES = {"max_steps": "iterations"}
"""What people call a setting, where that is not its name."""
SPOKEN_VALUES = {"unlimited": "max"}
"""What people call a value, where that is not how it is written."""


def format_setting(value: object) -> str:
    """A setting's value: 32, 1,000, 0.001, off, max."""
    if value is None:
        return "off"
    if isinstance(value, str):
        return SPOKEN_VALUES.get(value, value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_number(value: float, digits: int = 4) -> str:
    """A measured number to `digits` significant digits: 2.487, 0.01234, 12,340."""
    return f"{value:,.0f}" if 1000 <= abs(float(f"{value:.{digits}g}")) < 1e7 else f"{value:.{digits}g}"


def format_change(name: str, before: object, after: object) -> str:
    """A change of a setting: `batch_size 32 → 64`."""
    return f"{SPOKEN_NAMES.get(name, name)} {format_setting(before)} → {format_setting(after)}"


def format_layer(name: str) -> str:
    """What people call a layer of one of our models: "block_0" is block 1, as on Inside."""
    words = name.split("_")
    if words[0] == "block" and words[-1].isdigit():
        return f"block {int(words[-1]) + 1}"
    return " ".join(words)
