"""Presets without what makes them fast: for references that are written with plain AdamW."""

from __future__ import annotations

from dataclasses import replace

from engine.config import changed
from engine.presets import PRESETS, Preset


def plain(name: str) -> Preset:
    """The preset with AdamW at one constant rate, and attention written out."""
    start = PRESETS[name]
    if start.config.model != "gpt":
        return start
    config = changed(start.config, optimizer="adamw", decays="all", attention="written-out")
    return replace(start, config=config, settings=changed(start.settings, schedule="constant", warmup_steps=0, lr=3e-3))
