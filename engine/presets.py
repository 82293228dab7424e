"""Named starts: a configuration, the knobs to begin with, and one sentence on what it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from .config import MAX_STEPS, MOST_SHOWN, LiveSettings, RunConfig
from .errors import InputError


@dataclass(frozen=True)
class Preset:
    """A named start: the settings, and one sentence on what it is for."""

    config: RunConfig
    settings: LiveSettings
    about: str


class Presets(Mapping[str, Preset]):
    """All presets by name. Each is built when asked for: checking its settings may load torch, which takes seconds."""

    def __init__(self, *starts: tuple[str, Callable[[], Preset]]) -> None:
        self._starts = dict(starts)

    def __getitem__(self, name: str) -> Preset:
        return self._starts[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._starts)

    def __len__(self) -> int:
        return len(self._starts)


def _preset(
    name: str, about: str, live: dict[str, Any] | None = None, **config: Any
) -> tuple[str, Callable[[], Preset]]:
    return name, cache(lambda: Preset(RunConfig(preset=name, **config), LiveSettings(**(live or {})), about))


# Plain gradient descent on a handful of numbers: slow enough to be followed, every step looked at.
_SMALL: dict[str, Any] = {"optimizer": "sgd", "observe_every": 1}

_GPT: dict[str, Any] = {
    "model": "gpt",
    "observe_every": 20,
    "eval_every": 250,
    "snapshot_every": 500,
    "sample_every": 1000,
    "attention": "fused",
}

# What makes a small GPT learn in half of AdamW's steps: Muon for its matrices, a warm-up, and a rate that falls at
# the end (`python -m tests.bench --only recipe`).
_MUON: dict[str, Any] = {"optimizer": "muon", "muon_scale": 6.0, "decays": "matrices"}
_FAST: dict[str, Any] = {"weight_decay": 0.1, "schedule": "linear", "warmup_steps": 100, "final_share": 0.0}

# Document 001's loop: losses of 5 batches of either part, and a greedy sample after each epoch.
_BY_EPOCHS: dict[str, Any] = {
    "model": "gpt",
    "dropout": 0.1,
    "epochs": 10,
    "eval_every": 5,
    "eval_batches": 5,
    "sample_tokens": 50,
    "sample_prompt": "Every effort moves you",
}

PRESETS = Presets(
    _preset(
        "bigram",
        "The smallest language model: one table, one row of scores per character.",
        {"speed": 100},
    ),
    _preset(
        "lecture",
        "The well-known lecture recipe, draw for draw; on tiny shakespeare its printed losses come out.",
        {"max_steps": 10_000, "speed": 100},
        corpus="tiny-shakespeare",
        test_fraction=0.0,
        draws="lecture",
        sample_tokens=100,
    ),
    _preset(
        "document-000",
        "Nine steps of training a bigram: 10,000 iterations at learning rate 3e-4.",
        {"lr": 3e-4, "max_steps": 10_000, "speed": 100},
    ),
    _preset(
        "document-001",
        "train_model_simple: a GPT of 162 million parameters, ten epochs on a short story, of which validation gets a "
        "single window of 256 tokens; seconds a step.",
        {"lr": 4e-4, "max_steps": MAX_STEPS, "batch_size": 2, "weight_decay": 0.1},
        corpus="the-verdict",
        tokenizer="gpt2",
        block_size=256,
        n_layer=12,
        n_head=12,
        n_embd=768,
        seed=123,
        observe_every=10,
        snapshot_every=20,  # a step takes seconds: a power cut may cost minutes, not hours
        **_BY_EPOCHS,
    ),
    _preset(
        "document-002",
        "The 5→3 logistic layer: five steps of SGD at learning rate 0.01.",
        {"lr": 0.01, "max_steps": 5, "speed": 1, "weight_decay": 0.0},
        model="logistic",
        **_SMALL,
    ),
    _preset(
        "document-002-line",
        "y = ax + b through (1, 3), (2, 5), (3, 7), found by gradient descent.",
        {"lr": 0.05, "max_steps": 1000, "speed": 10, "weight_decay": 0.0},
        model="line",
        **_SMALL,
    ),
    _preset(
        "document-003",
        "The bigram module in full, with the document's own get_batch: 100,000 steps at 1e-3.",
        {"max_steps": 100_000, "speed": 100},
        corpus="tiny-shakespeare",
        test_fraction=0.0,
        draws="document-003",
        sample_tokens=100,
    ),
    _preset(
        "document-004",
        "The loop as an overview: 100 steps at 1e-3.",
        {"max_steps": 100, "speed": 10},
    ),
    _preset(
        "gpt-small",
        "A GPT of about 0.8 million parameters: real words within minutes on a laptop.",
        {"lr": 5e-3, "max_steps": 700, "batch_size": 12, **_FAST},
        block_size=64,
        eval_batches=4,
        **_GPT,
        **_MUON,
    ),
    _preset(
        "gpt-tiny",
        "The same GPT made tiny: hundreds of steps in seconds.",
        {"lr": 5e-3, "max_steps": 2_000, "batch_size": 16, **_FAST},
        block_size=32,
        n_layer=2,
        n_head=2,
        n_embd=32,
        eval_batches=8,
        **_GPT,
        **_MUON,
    ),
    _preset(
        "nanogpt-cpu",
        "nanoGPT's recipe for a CPU, as its README has it: 2,000 steps of AdamW along a cosine.",
        {
            "lr": 1e-3,
            "max_steps": 2_000,
            "batch_size": 12,
            "weight_decay": 0.1,
            "grad_clip": 1.0,
            "schedule": "cosine",
            "warmup_steps": 100,
            "final_share": 0.1,
        },
        corpus="tiny-shakespeare",
        test_fraction=0.0,
        block_size=64,
        tie_weights=True,
        beta2=0.99,
        decays="matrices",
        **_GPT,
    ),
    _preset(
        "simple",
        "The same as document-001, small: within a minute training falls below 1 and validation turns.",
        {"lr": 2e-3, "max_steps": MAX_STEPS, "batch_size": 8, "weight_decay": 0.1},
        corpus="ferry-notebook",
        block_size=32,
        n_layer=3,
        n_head=4,
        n_embd=96,
        seed=123,
        observe_every=20,
        **(_BY_EPOCHS | {"epochs": 70, "eval_every": 25}),
    ),
)


def preset(name: str) -> Preset:
    """The preset called `name`; InputError lists the names there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise InputError(f"there is no preset {name[:MOST_SHOWN]!r}; choose one of {', '.join(PRESETS)}") from None
