"""Text from a model: next-token distributions and `generate`. Knows nothing of runs or training.

Always `eval()`, no gradients, its own generator: sampling never moves a training run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.base import LanguageModel


class Generated(NamedTuple):
    """Token ids (T + max_new_tokens,), and for each new one the probability it was drawn with."""

    ids: list[int]
    probabilities: list[float]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Dropout off and no gradients inside; the mode comes back as it was."""
    was_training = model.training
    model.train(False)
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def confidence(prompt: str, pieces: list[str], probabilities: list[float]) -> str:
    """One digit for each character: ten times the probability its token was drawn with; "-" for the prompt's."""
    digits = (str(min(9, int(10 * p))) * len(piece) for piece, p in zip(pieces, probabilities, strict=True))
    return "-" * len(prompt) + "".join(digits)


def next_token(logits: Tensor, temperature: float = 1.0, top_k: int | None = None) -> Tensor:
    """Scores (..., C) -> probabilities (..., C) after `temperature` (above 0) and `top_k` (None keeps all)."""
    if top_k is not None and top_k < logits.size(-1):
        smallest = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    return F.softmax(logits / temperature, dim=-1)


def generate(
    model: LanguageModel,
    prompt: list[int],
    max_new_tokens: int,
    generator: torch.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
    halt: Callable[[], bool] = lambda: False,
) -> Generated:
    """Grow `prompt` (at least one id) by `max_new_tokens` ids, one drawn at a time; fewer once `halt()` is true.

    Draws happen on the generator's device (the CPU as a rule), so a seed gives the same text wherever the model is.
    """
    ids, probabilities = list(prompt), []
    device = model.token_embedding.weight.device
    with evaluating(model):
        for _ in range(max_new_tokens):
            if halt():
                break
            window = torch.tensor([ids[-model.context :]], device=device)  # (1, T)
            logits = model.logits(window)[0, -1].to(generator.device)  # (C,): only the last position is drawn from
            chances = next_token(logits, temperature, top_k)
            drawn = int(torch.multinomial(chances, 1, generator=generator))
            ids.append(drawn)
            probabilities.append(float(chances[drawn]))
    return Generated(ids, probabilities)
