"""`train`: from the flags to an experiment. Nothing heavy is imported until the flags are known to be good."""

from __future__ import annotations

import argparse

from ..config import MAX_STEPS, LiveSettings, RunConfig, changed
from ..errors import InputError
from ..link import DEFAULT_PRESET
from ..models import registry
from ..presets import preset

# Flags that set a field of RunConfig, and of LiveSettings; the preset and the text have their own, speed is unlimited.
STRUCTURE = tuple(name for name in RunConfig.model_fields if name not in ("preset", "corpus"))
KNOBS = tuple(name for name in LiveSettings.model_fields if name != "speed")
OFF = "off"
"""What a flag says for a setting of nothing."""
SHAPE = ("preset", "model", "tokenizer", "vocab_size", "block_size")  # fixed once a model has been trained


def train(arguments: argparse.Namespace) -> int:
    """Train a new run, or fine-tune a stored one with `--from`."""
    if arguments.before is not None:
        return _fine_tune(arguments)
    config, settings = read_experiment(arguments)
    from ..distributed.processes import together  # torch takes seconds to import
    from .new_run import TrainOptions, train_new

    options = TrainOptions(config, settings, arguments.corpus, arguments.out, arguments.evaluate, arguments.json)
    with together() as processes:
        return train_new(options, processes)


def _fine_tune(arguments: argparse.Namespace) -> int:
    """`train --from RUN`: the run's own settings with the flags over them; none may change the shape of its weights."""
    for name in SHAPE:
        if getattr(arguments, name) is not None:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} does not go with --from {arguments.before}, whose model is made; leave it out")
    from ..distributed.processes import together
    from .new_run import TrainOptions, fine_tune
    from .stored_model import load_snapshot

    before, former, snapshot = load_snapshot(arguments.before)
    assert before.config is not None
    start = snapshot.settings if before.config.epochs is None else changed(snapshot.settings, max_steps=MAX_STEPS)
    config, settings = apply_flags(before.config, start, arguments)
    options = TrainOptions(config, settings, arguments.corpus, arguments.out, arguments.evaluate, arguments.json)
    with together() as processes:
        return fine_tune(before, former, snapshot, options, processes)


def read_experiment(arguments: argparse.Namespace) -> tuple[RunConfig, LiveSettings]:
    """The preset's settings with the flags over them, at unlimited speed; a model alone names its own preset."""
    name, model = arguments.preset, arguments.model
    if name is None:
        name = registry.find(model).preset if model in registry.names() else DEFAULT_PRESET
    start = preset(name)
    if arguments.vocab_size is not None and (arguments.tokenizer or start.config.tokenizer) != "bpe":
        raise InputError(f"--vocab-size {arguments.vocab_size} is for byte-pair encoding; add --tokenizer bpe")
    return apply_flags(start.config, start.settings, arguments)


def apply_flags(
    config: RunConfig, settings: LiveSettings, arguments: argparse.Namespace
) -> tuple[RunConfig, LiveSettings]:
    """These settings with the flags over them, at unlimited speed."""
    flags = {name: None if value == OFF else value for name, value in vars(arguments).items() if value is not None}
    structure = {name: flags[name] for name in STRUCTURE if name in flags}
    knobs = {name: flags[name] for name in KNOBS if name in flags}
    if "epochs" in flags:
        knobs = {"max_steps": MAX_STEPS} | knobs  # the epochs end the run, not the preset's number of steps
    return changed(config, **structure), changed(settings, **knobs, speed="unlimited")
