"""Opening a run's folder: what its config.json says, and the folders that this process writes."""

from __future__ import annotations

import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import InputError
from ..paths import home
from ..storage.manifest import FORMAT
from ..storage.writer import RunWriter
from ..text.bpe import ByteTokenizer
from ..text.corpus import Corpus
from ..text.points import Points
from .run import Run


class OpenStores:
    """The run folders that this process writes."""

    def __init__(self) -> None:
        self._stores: dict[str, RunWriter | None] = {}

    def open(self, run: Run) -> Path:
        """Store a new run in a folder of its own, and return the folder.

        InputError where another process was quicker; the run is then closed.
        """
        folder = home() / "runs" / run.id
        self._stores[run.id] = None  # before its folder is made: it is no run of another process
        try:
            store = self._stores[run.id] = RunWriter(folder, run_description(run))
        except InputError:
            del self._stores[run.id]
            run.close()
            raise
        run.save_to(store)
        return folder

    def __contains__(self, run_id: str) -> bool:
        """Does this process write that run?"""
        store = self._stores.get(run_id)
        if store is not None and store.closed:
            self._stores.pop(run_id, None)
        return run_id in self._stores


def run_description(run: Run) -> dict[str, Any]:
    """What config.json says of a run: its settings, and the versions and the machine behind its numbers."""
    return {
        "run": run.id,
        "format": FORMAT,
        "config": run.config.model_dump(),
        "settings": run.first_settings.model_dump(),
        "parent": None if run.parent is None else {"run": run.parent[0], "step": run.parent[1]},
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "platform": platform.platform(),
            "device": torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else run.device.type,
            "threads": torch.get_num_threads(),
            "corpus": _text_description(run.dataset),
        },
    }


def _text_description(dataset: Corpus | Points | None) -> dict[str, Any] | None:
    """What a text is recognized by, and the one learnt before it; None for points."""
    if not isinstance(dataset, Corpus):
        return None
    bounds = dataset.tokenizer.bounds if isinstance(dataset.tokenizer, ByteTokenizer) else None
    return {
        "name": dataset.name,
        "characters": dataset.characters,
        "sha256": dataset.sha256,
        **({} if bounds is None else {"tokenizer": asdict(bounds)}),
        "former": _text_description(dataset.former),
    }
