"""Describe what a run is trained on, in words and in numbers."""

from __future__ import annotations

from ..config import RunConfig
from ..models import registry
from .bpe import Bounds
from .corpus import Corpus
from .points import Points


def title_of(config: RunConfig, dataset: Corpus | Points | None, source: str) -> str:
    """What is being learnt from `source`, for people."""
    tuned = isinstance(dataset, Corpus) and dataset.former is not None
    return f"{registry.find(config.model).title} {'fine-tuned ' if tuned else ''}on {source}"


def learnt_part(bounds: Bounds | None, characters: int) -> str:
    """From how much of a training text of so many characters tokens were learnt; empty for all of it."""
    if bounds is None or characters <= bounds.learnt_from:
        return ""
    return f"The tokens are learnt from the first {bounds.learnt_from:,} of its {characters:,} characters for training."


def training_size(dataset: Corpus | Points) -> int:
    """How many tokens, or numbers, one pass over the training data has."""
    return len(dataset.train) if isinstance(dataset, Corpus) else dataset.inputs.numel()
