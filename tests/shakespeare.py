"""Tiny shakespeare, where somebody has brought it."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MISSING = "tiny shakespeare is not here; python -m engine fetch tiny-shakespeare brings it"


def tiny_shakespeare() -> str | None:
    """Its text, as the command line fetches it or from a folder of texts; None where there is none."""
    places = [
        ROOT / "data" / "downloads" / "tiny-shakespeare.txt",
        Path(os.environ.get("LOOPSCOPE_CORPORA") or ROOT.parent / "shared" / "corpora") / "tinyshakespeare.txt",
    ]
    found = next((place for place in places if place.is_file()), None)
    return None if found is None else found.read_text(encoding="utf-8")
