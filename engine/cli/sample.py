"""`sample`: text that a run writes, at one of its steps."""

from __future__ import annotations

import argparse

import torch

from ..config import Drawing, changed
from ..console import printable, say
from ..training.sampling import generate
from .stored_model import load_model


def sample(arguments: argparse.Namespace) -> int:
    """Print text from the moment asked for; a flag that was not given leaves its default."""
    flags = {name: getattr(arguments, name) for name in Drawing.model_fields}
    drawing = changed(Drawing(), **{name: value for name, value in flags.items() if value is not None})
    _, model, corpus, _ = load_model(arguments.run, arguments.at)
    start = corpus.tokenizer.encode(arguments.prompt).tolist() if arguments.prompt else [0]
    generator = torch.Generator().manual_seed(drawing.seed)
    sampled = generate(model, start, drawing.max_new_tokens, generator, drawing.temperature, drawing.top_k)
    say(printable(corpus.tokenizer.decode(sampled.ids), kept="\n\t"))
    return 0
