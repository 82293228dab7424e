"""Describe what a run is trained on, in words and in numbers."""

from __future__ import annotations

from ..config import RunConfig
from ..models import registry
from .corpus import Corpus
from .points import Points


def title_of(config: RunConfig, dataset: Corpus | Points | None, source: str) -> str:
    """What is being learnt from `source`, for people."""
    tuned = isinstance(dataset, Corpus) and dataset.former is not None
    return f"{registry.find(config.model).title} {'fine-tuned ' if tuned else ''}on {source}"


def training_size(dataset: Corpus | Points) -> int:
    """How many tokens, or numbers, one pass over the training data has."""
    return len(dataset.train) if isinstance(dataset, Corpus) else dataset.inputs.numel()
