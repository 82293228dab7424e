"""`evaluate`: the exact loss of a run over a whole split, at one of its steps."""

from __future__ import annotations

import argparse

from ..console import Stages, say
from ..errors import InputError
from ..storage import reader
from ..training.evaluation import split_loss
from .result import SPLITS, json_line
from .stored_model import load_model


def evaluate(arguments: argparse.Namespace) -> int:
    """Say the exact loss over a whole split, of the moment asked for."""
    split = arguments.split
    if split not in SPLITS:
        raise InputError(f"--split {split!r} is not possible; choose {', '.join(SPLITS)}")
    stored, model, corpus, snapshot = load_model(arguments.run, arguments.at)
    config, _ = reader.configuration(stored)
    if split not in corpus.splits or len(corpus.splits[split]) < 2:
        raise InputError(f"run {stored.id} has no {split} split; choose {', '.join(corpus.splits)}")
    with Stages() as report:
        loss = split_loss(model, corpus.splits[split], config.block_size, report)
    result = {"run": stored.id, "step": snapshot.step, "split": split, "loss": loss}
    say(json_line(result) if arguments.json else f"{split} {loss:.6f} nats per token at step {snapshot.step:,}")
    return 0
