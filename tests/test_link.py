"""A link says a configuration, and what it says is read back: write and read are inverse."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine import link
from engine.config import MAX_STEPS, SPEEDS, LiveSettings, RunConfig, changed
from engine.errors import InputError
from engine.presets import PRESETS, preset

WORDS = st.text(min_size=1, max_size=30)
FRACTIONS = st.floats(0, 0.49)
STRUCTURE: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(["bigram", "gpt", "line", "logistic"]),
    "corpus": st.one_of(st.sampled_from(["off", "None", "lamplighters"]), WORDS),
    "tokenizer": st.sampled_from(["char", "bpe", "gpt2"]),
    "vocab_size": st.integers(256, 50_000),
    "val_fraction": FRACTIONS,
    "test_fraction": FRACTIONS,
    "block_size": st.integers(1, 4096),
    "n_layer": st.integers(1, 48),
    "n_head": st.integers(1, 8),
    "n_embd": st.integers(1, 512).map(lambda n: 8 * n),
    "dropout": st.floats(0, 0.999),
    "tie_weights": st.booleans(),
    "points": st.sampled_from(["1,3 2,5", "0,0", "-1.5,2e3 1,1"]),
    "optimizer": st.sampled_from(["adamw", "sgd"]),
    "seed": st.integers(0, 2**63 - 1),
    "device": st.sampled_from(["auto", "cpu"]),
    "draws": st.sampled_from(["separate", "lecture", "document-003"]),
    "epochs": st.one_of(st.none(), st.integers(1, 100_000)),
    "observe_every": st.integers(1, 10**6),
    "eval_batches": st.integers(1, 1000),
    "sample_prompt": st.one_of(st.sampled_from(["off", "None", " ", "&=+%"]), WORDS),
}
KNOBS: dict[str, st.SearchStrategy[Any]] = {
    "lr": st.floats(0, 1e7, exclude_min=True),
    "max_steps": st.one_of(st.integers(1, MAX_STEPS), st.sampled_from([100_000, MAX_STEPS])),
    "batch_size": st.integers(1, 8192),
    "weight_decay": st.floats(0, 10),
    "grad_clip": st.one_of(st.none(), st.floats(1e-9, 1e9)),
    "speed": st.sampled_from(SPEEDS),
}


def some(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these fields, with values."""
    return st.fixed_dictionaries({}, optional=fields)


def returned(config: RunConfig, settings: LiveSettings) -> None:
    """What `write` makes is read back as it was, without a notice."""
    planned, notices = link.read(dict(parse_qsl(link.write(config, settings), keep_blank_values=True)))
    assert (planned.config, planned.settings, notices) == (config, settings, [])


@given(st.sampled_from(sorted(PRESETS)), some(STRUCTURE), some(KNOBS))
def test_write_and_read_are_inverse_for_every_valid_configuration(name, structure, knobs) -> None:
    start = preset(name)
    try:
        config = changed(start.config, **structure)
    except InputError:
        assume(False)
    returned(config, changed(start.settings, **knobs))


@pytest.mark.parametrize("epochs", [None, 1, 10, 70])
@pytest.mark.parametrize("max_steps", [1, 2000, 100_000, MAX_STEPS])
@pytest.mark.parametrize("name", ["bigram", "gpt-tiny", "simple"])
def test_max_steps_is_not_lost_where_epochs_are_set(name, max_steps, epochs) -> None:
    start = preset(name)
    returned(changed(start.config, epochs=epochs), changed(start.settings, max_steps=max_steps))


def test_an_unknown_preset_is_not_repeated_in_full() -> None:
    planned, (notice,) = link.read({"preset": "x" * 5000})
    assert planned.config.preset == "bigram"
    assert len(notice) < 400
    with pytest.raises(InputError) as refused:
        preset("<b>" * 2000)
    assert len(str(refused.value)) < 400
