"""Every setting a run has: what needs a new run, and what can turn while it runs.

Two frozen records hold everything: `RunConfig` (structure and seed, fixed for a run's life) and `LiveSettings` (the
knobs of a running loop). A field's bounds and its description live here and nowhere else: the command line, the links
and the page's widgets read them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticKnownError

from .errors import InputError
from .models import registry

OptimizerName = Literal["adamw", "sgd", "muon"]
FirstWeights = Literal["own", "zeros", "normal", "small", "small-scaled"]
Schedule = Literal["constant", "cosine", "linear"]
TokenizerName = Literal["char", "bpe", "gpt2"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16"]
Speed = Literal[1, 10, 100, 1000, "unlimited"]
SPEEDS: tuple[Speed, ...] = get_args(Speed)

MAX_STEPS = 1_000_000_000
MOST_SHOWN = 40  # characters of a wrong value that an error repeats
DEFAULT_CORPUS = "lamplighters"


class OfSomeModels:
    """Marks a field that a run has only if its model takes it (`Model.settings`)."""


class Frozen(BaseModel):
    """A record that cannot change and takes no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunConfig(Frozen):
    """What a run is made of. A change here needs a new run."""

    preset: str = Field("bigram", max_length=40, description="The preset these settings started from.")
    model: str = Field(
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
    n_layer: Annotated[int, OfSomeModels()] = Field(
        4, ge=1, le=48, description="Transformer blocks, one above the other (GPT only)."
    )
    n_head: Annotated[int, OfSomeModels()] = Field(
        4, ge=1, le=64, description="Attention heads in each block (GPT only)."
    )
    n_embd: Annotated[int, OfSomeModels()] = Field(
        128, ge=1, le=4096, description="Width: numbers per token inside the model (GPT only)."
    )
    dropout: Annotated[float, OfSomeModels()] = Field(
        0.0, ge=0, lt=1, description="Share of activations set to 0 while training (GPT only)."
    )
    tie_weights: Annotated[bool, OfSomeModels()] = Field(
        False, description="Use the token embedding as the output layer too (GPT only)."
    )
    points: Annotated[str, OfSomeModels()] = Field(
        "1,3 2,5 3,7", min_length=3, max_length=4000, description="x,y pairs that the line learns from (line only)."
    )
    attention: Annotated[Literal["written-out", "fused"], OfSomeModels()] = Field(
        "written-out",
        description="How attention is computed while training: step by step, or in one kernel where nothing is "
        "dropped; the same within rounding.",
    )
    first_weights: FirstWeights = Field(
        "own",
        description="The weights before the first step: the model's own, all 0, N(0, 1), N(0, 0.02), or N(0, 0.02) "
        "with what adds to the stream scaled down by depth.",
    )
    optimizer: OptimizerName = Field("adamw", description="The rule that turns gradients into an update.")
    momentum: float = Field(0.0, ge=0, lt=1, description="How much of its last move SGD keeps.")
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW: how much of the mean gradient stays at each step.")
    beta2: float = Field(0.999, ge=0, lt=1, description="AdamW: how much of the mean square stays at each step.")
    epsilon: float = Field(
        1e-8, gt=0, le=1, allow_inf_nan=False, description="AdamW: added to the root of the mean square."
    )
    muon_scale: float = Field(
        6.0, gt=0, le=1000, allow_inf_nan=False, description="Muon's rate for hidden matrices, in units of lr."
    )
    decays: Literal["all", "matrices"] = Field(
        "all", description="What weight decay pulls at: all weights, or matrices alone (no biases, no norms)."
    )
    seed: int = Field(1337, ge=0, le=2**63 - 1, description="Where all random numbers of the run start.")
    device: DeviceName = Field(
        "auto", description="Where the model trains; auto picks CUDA where present. Apple's GPU is mps."
    )
    precision: Precision = Field(
        "auto",
        description="How matrices are multiplied while training: bfloat16 is autocast, its weights stay float32; auto "
        "chooses it on CUDA for models of more than a million parameters.",
    )
    compile: bool = Field(
        False, description="Translate the model by torch.compile: a slow first step, then faster ones on a GPU."
    )
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
    patience: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Validation losses in a row without a new lowest after which the run stops; off trains to the end.",
    )
    observe_every: int = Field(200, ge=1, description="Steps between looks at tables, layers and update ratio.")
    eval_every: int = Field(2000, ge=1, description="Steps between validation losses.")
    eval_batches: int = Field(20, ge=1, le=1000, description="Fixed batches behind one validation loss.")
    snapshot_every: int = Field(10_000, ge=1, description="Steps between snapshots that a run can be continued from.")
    sample_every: int = Field(8000, ge=1, description="Steps between samples of text.")
    sample_tokens: int = Field(120, ge=1, le=400, description="Length of such a sample, tokens.")
    sample_prompt: str = Field("\n", min_length=1, max_length=200, description="What such a sample starts from.")

    @field_validator("model")
    @classmethod
    def _is_registered(cls, name: str) -> str:
        names = [repr(one) for one in registry.names()]
        if repr(name) not in names:
            raise PydanticKnownError("literal_error", {"expected": " or ".join((", ".join(names[:-1]), names[-1]))})
        return name

    @model_validator(mode="after")
    def _fits_together(self) -> RunConfig:
        if self.n_embd % self.n_head and {"n_embd", "n_head"} <= set(fields_of(self.model)):
            raise ValueError(
                f"n_embd {self.n_embd} is not a multiple of n_head {self.n_head}; choose n_embd "
                f"{self.n_embd // self.n_head * self.n_head or self.n_head} or another number of heads"
            )
        if self.compile and self.dropout and "dropout" in fields_of(self.model):
            raise ValueError(
                f"compile does not go with dropout {self.dropout}, whose numbers come from the run's own generator, "
                "which torch.compile cannot translate; set dropout 0, or compile false"
            )
        if self.optimizer == "muon" and "blocks" not in registry.find(self.model).features:
            raise ValueError(f"optimizer 'muon' is for hidden matrices; {self.model} has none, choose 'adamw' or 'sgd'")
        if self.first_weights != "own" and not self.reads_text:
            raise ValueError(
                f"first_weights {self.first_weights!r} is for models of text; leave {self.model} its 'own'"
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
        return registry.find(self.model).learns_from == "text"


def fields_of(model: str) -> tuple[str, ...]:
    """The fields of `RunConfig` that mean something to a run of `model`, in their order."""
    taken = registry.find(model).settings
    return tuple(
        name
        for name, field in RunConfig.model_fields.items()
        if name in taken or not any(isinstance(mark, OfSomeModels) for mark in field.metadata)
    )


class LiveSettings(Frozen):
    """The knobs that turn while a run is running."""

    lr: float = Field(1e-3, gt=0, le=1e7, allow_inf_nan=False, description="Learning rate: how far one update moves.")
    max_steps: int = Field(100_000, ge=1, le=MAX_STEPS, description="Iterations: the run is done after this many.")
    batch_size: int = Field(32, ge=1, le=8192, description="Windows of text in one step.")
    micro_batches: int = Field(
        1, ge=1, le=1024, description="Parts that a batch is worked through in: the same gradient with less memory."
    )
    schedule: Schedule = Field(
        "constant",
        description="How lr goes on after the warm-up: it stays, falls along a cosine, or stays and falls at the end.",
    )
    warmup_steps: int = Field(0, ge=0, le=MAX_STEPS, description="Steps in which the rate climbs from 0 to lr.")
    decay_share: float = Field(0.4, gt=0, le=1, description="Schedule linear: the share of the steps that it falls in.")
    final_share: float = Field(0.1, ge=0, le=1, description="What is left of lr at the end of a schedule, as a share.")
    weight_decay: float = Field(
        0.01, ge=0, le=10, allow_inf_nan=False, description="Pull of all weights towards 0, per unit of lr."
    )
    grad_clip: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Longest gradient allowed (global norm); none is off."
    )
    speed: Speed = Field("unlimited", description="Speed limit, steps per second. It never changes a loss.")

    @model_validator(mode="after")
    def _fits_together(self) -> LiveSettings:
        if self.micro_batches > self.batch_size:
            raise ValueError(
                f"micro_batches {self.micro_batches} is more than the {self.batch_size} windows of a batch; choose at "
                f"most {self.batch_size}"
            )
        return self


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


Record = TypeVar("Record", bound=Frozen)


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
