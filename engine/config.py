"""Every setting a run has: what needs a new run, what can turn while it runs, and the presets.

Knows nothing of text, models or threads. Two frozen records hold everything: `RunConfig` (structure and
seed, fixed for a run's life) and `LiveSettings` (the knobs of a running loop). A field's bounds and its
description live here and nowhere else: the command line, the links and the page's widgets read them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

ModelName = Literal["bigram", "gpt", "line", "logistic"]
OptimizerName = Literal["adamw", "sgd"]
TokenizerName = Literal["char", "bpe", "gpt2"]
DeviceName = Literal["auto", "cpu", "cuda"]
Speed = Literal[1, 10, 100, 1000, "unlimited"]
SPEEDS: tuple[Speed, ...] = get_args(Speed)

MAX_STEPS = 1_000_000_000
MOST_SHOWN = 40  # characters of a wrong value that an error repeats
DEFAULT_CORPUS = "lamplighters"


class InputError(ValueError):
    """Something a person gave us is wrong; one sentence that names the value, the bound and the remedy."""


class Frozen(BaseModel):
    """A record that cannot change and takes no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunConfig(Frozen):
    """What a run is made of. A change here needs a new run."""

    preset: str = Field("bigram", max_length=40, description="The preset these settings started from.")
    model: ModelName = Field(
        "bigram",
        description="Which model learns: a table of pairs, a small GPT, a line through points, a logistic layer.",
    )
    corpus: str = Field(
        DEFAULT_CORPUS, min_length=1, max_length=200, description="The text the model learns from, by its name."
    )
    tokenizer: TokenizerName = Field(
        "char",
        description="What a token is: a character, bytes joined by pairs learnt from this text (bpe), or GPT-2's own.",
    )
    vocab_size: int = Field(
        512, ge=256, le=50_000, description="Tokens that bpe learns: the 256 bytes, then one for each pair it joins."
    )
    val_fraction: float = Field(0.1, ge=0, lt=1, description="The share of the text kept for validation.")
    test_fraction: float = Field(0.1, ge=0, lt=1, description="The share kept for one last test.")
    block_size: int = Field(8, ge=1, le=4096, description="Context length: how many tokens the model sees at once.")
    n_layer: int = Field(4, ge=1, le=48, description="Transformer blocks, one above the other (GPT only).")
    n_head: int = Field(4, ge=1, le=64, description="Attention heads in each block (GPT only).")
    n_embd: int = Field(128, ge=1, le=4096, description="Width: numbers per token inside the model (GPT only).")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of activations set to 0 while training (GPT only).")
    tie_weights: bool = Field(False, description="Use the token embedding as the output layer too (GPT only).")
    points: str = Field(
        "1,3 2,5 3,7", min_length=3, max_length=4000, description="x,y pairs that the line learns from (line only)."
    )
    optimizer: OptimizerName = Field("adamw", description="The rule that turns gradients into an update.")
    seed: int = Field(1337, ge=0, le=2**63 - 1, description="Where all random numbers of the run start.")
    device: DeviceName = Field("auto", description="Where the model trains; auto picks CUDA where present.")
    draws: Literal["separate", "lecture", "document-003"] = Field(
        "separate",
        description="How random numbers are drawn: a generator for each purpose, or one for all in the "
        "order of the well-known lecture (document-003: with that document's own get_batch).",
    )
    epochs: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Passes over the training windows, shuffled anew for each; off draws random windows instead.",
    )
    observe_every: int = Field(200, ge=1, description="Steps between looks at tables, layers and update ratio.")
    eval_every: int = Field(2000, ge=1, description="Steps between validation losses.")
    eval_batches: int = Field(20, ge=1, le=1000, description="Fixed batches behind one validation loss.")
    snapshot_every: int = Field(10_000, ge=1, description="Steps between snapshots that a run can be continued from.")
    sample_every: int = Field(8000, ge=1, description="Steps between samples of text.")
    sample_tokens: int = Field(120, ge=1, le=400, description="Length of such a sample, tokens.")
    sample_prompt: str = Field("\n", min_length=1, max_length=200, description="What such a sample starts from.")

    @model_validator(mode="after")
    def _fits_together(self) -> RunConfig:
        if self.model == "gpt" and self.n_embd % self.n_head:
            raise ValueError(
                f"n_embd {self.n_embd} is not a multiple of n_head {self.n_head}; choose n_embd "
                f"{self.n_embd // self.n_head * self.n_head or self.n_head} or another number of heads"
            )
        if self.epochs is not None and not self.reads_text:
            raise ValueError(f"epochs {self.epochs} is for models of text; {self.model} learns from points, set it off")
        if self.epochs is not None and self.draws != "separate":
            raise ValueError(
                f"epochs {self.epochs} does not go with draws {self.draws!r}, whose batches are random windows; "
                "set epochs off, or choose draws 'separate'"
            )
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"val_fraction {self.val_fraction} and test_fraction {self.test_fraction} leave no text to "
                "train on; their sum must stay under 1"
            )
        return self

    @property
    def reads_text(self) -> bool:
        """Does it learn from a text? The line and the logistic layer learn from a few numbers."""
        return self.model in ("bigram", "gpt")


class LiveSettings(Frozen):
    """The knobs that turn while a run is running."""

    lr: float = Field(1e-3, gt=0, le=1e7, allow_inf_nan=False, description="Learning rate: how far one update moves.")
    max_steps: int = Field(100_000, ge=1, le=MAX_STEPS, description="Iterations: the run is done after this many.")
    batch_size: int = Field(32, ge=1, le=8192, description="Windows of text in one step.")
    weight_decay: float = Field(
        0.01, ge=0, le=10, allow_inf_nan=False, description="Pull of all weights towards 0, per unit of lr."
    )
    grad_clip: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Longest gradient allowed (global norm); none is off."
    )
    speed: Speed = Field("unlimited", description="Speed limit, steps per second. It never changes a loss.")


class Drawing(Frozen):
    """How the command line draws text from a trained model."""

    max_new_tokens: int = Field(default=200, ge=1, le=1_000_000, description="How many tokens (200).")
    temperature: float = Field(
        default=1.0, ge=1e-4, le=1e4, allow_inf_nan=False, description="Below 1 safer, above 1 wilder."
    )
    top_k: int | None = Field(
        default=None, ge=1, description="Draw from so many of the likeliest tokens alone; none is all."
    )
    seed: int = Field(default=0, ge=0, le=2**63 - 1, description="Same seed, same weights: same text.")


@dataclass(frozen=True)
class Preset:
    """A named start: the settings, and one sentence on what it is for."""

    config: RunConfig
    settings: LiveSettings
    about: str


def _preset(name: str, about: str, live: dict[str, Any] | None = None, **config: Any) -> tuple[str, Preset]:
    return name, Preset(RunConfig(preset=name, **config), LiveSettings(**(live or {})), about)


# Plain gradient descent on a handful of numbers: slow enough to be followed, every step looked at.
_SMALL: dict[str, Any] = {"optimizer": "sgd", "observe_every": 1}

_GPT: dict[str, Any] = {
    "model": "gpt",
    "observe_every": 20,
    "eval_every": 250,
    "snapshot_every": 500,
    "sample_every": 1000,
}

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

PRESETS: Mapping[str, Preset] = dict(
    [
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
            "train_model_simple: a GPT of 162 million parameters, ten epochs on a short story, seconds a step.",
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
            {"lr": 1e-3, "max_steps": 5_000, "batch_size": 12, "weight_decay": 0.1},
            block_size=64,
            eval_batches=4,
            **_GPT,
        ),
        _preset(
            "gpt-tiny",
            "The same GPT made tiny: hundreds of steps in seconds.",
            {"lr": 3e-3, "max_steps": 2_000, "batch_size": 16, "weight_decay": 0.1},
            block_size=32,
            n_layer=2,
            n_head=2,
            n_embd=32,
            eval_batches=8,
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
    ]
)

Record = TypeVar("Record", bound=Frozen)


def preset(name: str) -> Preset:
    """The preset called `name`; InputError lists the names there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise InputError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}") from None


def changed(record: Record, **changes: Any) -> Record:
    """`record` with `changes`, validated anew; InputError names the value, the bound and the remedy."""
    try:
        return type(record)(**{**record.model_dump(), **changes})
    except ValidationError as error:
        raise InputError(sentence(error)) from None


def sentence(error: ValidationError) -> str:
    """The first complaint of pydantic as one sentence a person can act on."""
    problem = error.errors()[0]
    if not problem["loc"]:
        return str(problem.get("ctx", {}).get("error", problem["msg"]))
    field, value, context = str(problem["loc"][0]), problem["input"], problem.get("ctx", {})
    value = value[:MOST_SHOWN] if isinstance(value, str) else value
    if problem["type"] == "extra_forbidden":
        return f"there is no setting {field!r}"
    bounds = {
        "greater_than": "above {gt}",
        "greater_than_equal": "at least {ge}",
        "less_than": "below {lt}",
        "less_than_equal": "at most {le}",
        "literal_error": "{expected}",
        "int_parsing": "a whole number",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_parsing": "a number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "bool_parsing": "true or false",
        "string_too_short": "at least {min_length} characters",
        "string_too_long": "at most {max_length} characters",
    }
    if bound := bounds.get(problem["type"]):
        return f"{field} {value!r} is not possible; choose {bound.format(**context)}"
    return f"{field} {value!r} is not usable: {problem['msg'][:1].lower()}{problem['msg'][1:]}"


def home() -> Path:
    """Where runs and downloads live: LOOPSCOPE_HOME, or the project's own `data/`."""
    return Path(os.environ.get("LOOPSCOPE_HOME") or Path(__file__).resolve().parent.parent / "data").absolute()
