"""A stored run's weights as one file that any tool for safetensors reads, with what it takes to build the model."""

from __future__ import annotations

import json
from typing import Any

from safetensors.torch import save

from . import reader
from .reader import StoredRun


def weights(stored: StoredRun) -> bytes:
    """The newest snapshot's weights by parameter name; run, step, settings and text are in the file's metadata.

    InputError where the run has no whole snapshot, or no model of ours.
    """
    config, _ = reader.made_of(stored)
    snapshot, _ = reader.newest_snapshot(stored)
    told: dict[str, Any] = {
        "format": "pt",
        "run": stored.id,
        "step": str(snapshot.step),
        "config": config.model_dump_json(),
        "settings": snapshot.settings.model_dump_json(),
        "environment": json.dumps((stored.about or {}).get("environment") or {}),
    }
    return save({name: tensor.contiguous() for name, tensor in snapshot.weights.items()}, metadata=told)
