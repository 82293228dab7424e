"""The palette of charts, board and pages, on the dark stage and on light paper.

Its colours stand in `board/charts/palette.js`, which browsers load as it is and which is read here as JSON. Figures
are written in the colours of the dark stage, which have names here; `TWINS` leads from each to its light twin.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

Theme = Literal["dark", "light"]
Scale = Literal["signed", "probability"]

FILE = Path(__file__).resolve().parents[1] / "board" / "charts" / "palette.js"


def _read() -> dict[str, Any]:
    script = FILE.read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(script[script.index("= {") + 2 : script.rindex("}") + 1])
    return content


_PALETTE = _read()
_PAIRS: dict[str, list[str]] = _PALETTE["colours"]


def colours(theme: Theme) -> dict[str, str]:
    """Each colour of the theme by its meaning."""
    side = 1 if theme == "light" else 0
    return {name: pair[side] for name, pair in _PAIRS.items()}


TWINS: dict[str, str] = {pair[0]: pair[1] for pair in (*_PAIRS.values(), *_PALETTE["layers"])}

# Colour scales as Plotly takes them, [[place from 0 to 1, colour], …]. Most probabilities are small: theirs spends its
# first half below 0.2, and its bar shows so.
SCALES: dict[Scale, dict[Theme, list[list[Any]]]] = _PALETTE["scales"]

TRAIN, VALIDATION, BASELINE = (_PAIRS[name][0] for name in ("train", "validation", "baseline"))
TEXT, PANEL, GRID = (_PAIRS[name][0] for name in ("text", "panel", "grid"))
EVENT, ERROR = (_PAIRS[name][0] for name in ("event", "error"))
HEALTHY, GOOD = (_PAIRS[name][0] for name in ("healthy", "good"))
RING, LOWER_LOSS = (_PAIRS[name][0] for name in ("ring", "lower_loss"))

# From the input to the output of a network: ordered and readable with any colour vision (a piece of cividis).
LAYERS: tuple[str, ...] = tuple(dark for dark, _ in _PALETTE["layers"])

FIGURE_FONT = 14
"""Pixels: the size of the type in every figure."""
