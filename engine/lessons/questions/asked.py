"""What an answer is computed from, and what it is made of. Shape letters: B windows, T tokens, C = vocab_size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from ...config import LiveSettings, RunConfig
from ...generators import generator
from ...models import LanguageModel
from ...text.corpus import Batcher, Corpus
from ...text.tokenizer import Tokenizer
from ...training.sampling import evaluating

MOST_SCORES = 2**21


@dataclass(frozen=True, eq=False)
class Asked:
    """What an answer is computed from: a model on the CPU in eval mode; a batch of ids, inputs and targets (B, T)."""

    model: LanguageModel
    tokenizer: Tokenizer
    inputs: Tensor
    targets: Tensor

    @classmethod
    def of(cls, model: LanguageModel, corpus: Corpus, config: RunConfig, settings: LiveSettings) -> Asked:
        """A batch of the run's own size from the training text (fewer windows where its scores would be many)."""
        rows = max(1, min(settings.batch_size, MOST_SCORES // (config.block_size * corpus.vocab_size)))
        batcher = Batcher(corpus.train, config.block_size, generator(config.seed, "questions"))
        return cls(model, corpus.tokenizer, *batcher.draw(rows))

    def logits(self) -> Tensor:
        """(B, T, C), without a graph."""
        with evaluating(self.model):
            return self.model.logits(self.inputs)


class Answer(NamedTuple):
    """Sentences (Markdown, no text of the corpus in them), and the numbers behind them by name."""

    text: str
    numbers: dict[str, float | int | str]


class Question(NamedTuple):
    """`line` of document 003, and what the document itself has for an answer."""

    line: int
    words: str
    document: Literal["answered", "left open", "begun"]
    answer: Callable[[Asked], Answer]


def flat(asked: Asked) -> tuple[Tensor, Tensor]:
    """Logits (B·T, C) and targets (B·T,)."""
    logits = asked.logits()
    return logits.view(-1, logits.size(-1)), asked.targets.reshape(-1)


def shape(tensor: Tensor) -> str:
    """The shape as Python writes it: "(4, 8)"."""
    return str(tuple(tensor.shape))


def kind(tensor: Tensor) -> str:
    """The type of its numbers: "float32"."""
    return str(tensor.dtype).removeprefix("torch.")
