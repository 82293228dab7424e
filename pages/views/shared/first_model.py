"""The model that a run begins with: its random first weights."""

from __future__ import annotations

from engine.config import RunConfig
from engine.generators import generator
from engine.models.base import Model
from engine.models.registry import build
from engine.presets import preset
from engine.text.corpus import Corpus
from engine.text.points import Points
from engine.training.trainer import Trainer


def first_model(config: RunConfig, dataset: Corpus | Points) -> Model:
    """The model of a run with `config` before its first update, in eval mode; of a fine-tuned one as if it were new."""
    if config.draws == "separate" or isinstance(dataset, Points):
        return build(config, dataset.vocab_size, generator(config.seed, "weights")).eval()
    settings = preset(config.preset).settings  # the lecture's draws come in order, and no setting changes them
    return Trainer(config, settings, dataset, lambda _: None).model.eval()
