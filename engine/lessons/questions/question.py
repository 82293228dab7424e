"""Questions, answers, and what answers are computed from.

Shape letters: B windows, T tokens, C = vocab_size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from ...config import LiveSettings, RunConfig
from ...generators import generator
from ...models.base import LanguageModel
from ...progress import Report, unheard
from ...text.corpus import Batcher, Corpus
from ...text.tokenizer import Tokenizer
from ...training.sampling import evaluating

MOST_SCORES = 2**21


@dataclass(frozen=True, eq=False)
class QuestionContext:
    """What answers are computed from: a model on the CPU in eval mode and a batch, inputs and targets (B, T).

    The batch is drawn from `text` (n,), token ids.
    """

    model: LanguageModel
    tokenizer: Tokenizer
    inputs: Tensor
    targets: Tensor
    text: Tensor
    report: Report = unheard
    """Told how far a long answer is; may end it."""

    @classmethod
    def of(
        cls,
        model: LanguageModel,
        corpus: Corpus,
        config: RunConfig,
        settings: LiveSettings,
        report: Report = unheard,
    ) -> QuestionContext:
        """With a batch of the run's own size from the training text; smaller where logits would exceed MOST_SCORES."""
        rows = max(1, min(settings.batch_size, MOST_SCORES // (config.block_size * corpus.vocab_size)))
        batcher = Batcher(corpus.train, config.block_size, generator(config.seed, "questions"))
        return cls(model, corpus.tokenizer, *batcher.draw(rows), corpus.train, report)

    def other_windows(self, rows: int, count: int = 1) -> list[tuple[Tensor, Tensor]]:
        """`count` other batches of the same text, each of at most `rows` windows; the same at each call."""
        steps = self.inputs.size(1)
        rows = max(1, min(rows, MOST_SCORES // (steps * self.tokenizer.vocab_size)))
        batcher = Batcher(self.text, steps, generator(rows, "other windows"))
        return [batcher.draw(rows) for _ in range(count)]

    def logits(self) -> Tensor:
        """(B, T, C), without a graph."""
        with evaluating(self.model):
            return self.model.logits(self.inputs)


class Answer(NamedTuple):
    """Sentences (Markdown, without text of the corpus) and the numbers behind them, by name."""

    text: str
    numbers: dict[str, float | int | str]


class Question(NamedTuple):
    """A question at `line` of document 003; `document` says whether the document itself answers it."""

    line: int
    words: str
    document: Literal["answered", "left open", "begun"]
    answer: Callable[[QuestionContext], Answer]


def flat(context: QuestionContext) -> tuple[Tensor, Tensor]:
    """Logits (B·T, C) and targets (B·T,)."""
    logits = context.logits()
    return logits.view(-1, logits.size(-1)), context.targets.reshape(-1)


def shape(tensor: Tensor) -> str:
    """The shape as text: "(4, 8)"."""
    return str(tuple(tensor.shape))


def dtype_name(tensor: Tensor) -> str:
    """The dtype as text: "float32"."""
    return str(tensor.dtype).removeprefix("torch.")
