"""Text from a model: next-token distributions, `generate`, and the record of what was generated.

Always `eval()`, no gradients, its own generator: sampling never moves a training run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..models.base import LanguageModel
from ..stream.messages import Sample
from ..text.tokenizer import Tokenizer


class GeneratedTokens(NamedTuple):
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
    """Scores (..., C) -> probabilities (..., C) after `temperature` (above 0) and `top_k` (None keeps all).

    InputError where the scores are too large to give any: the guard of a run sees that one step later.
    """
    if top_k is not None and top_k < logits.size(-1):
        smallest = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    probabilities = F.softmax(logits / temperature, dim=-1)
    if not torch.isfinite(probabilities).all():
        raise InputError(
            "the model's scores are no longer finite numbers, so no token can be drawn; reset the run and choose a "
            "lower learning rate"
        )
    return probabilities


class DrawnToken(NamedTuple):
    """One new token, by document 003's lines: what each line of `generate` leaves behind (B rows, T tokens so far).

    logits (B, T, C) of the model; last (B, C) of the last position; probabilities (B, C) that are drawn from;
    token (B, 1); ids (B, T + 1).
    """

    logits: Tensor
    last: Tensor
    probabilities: Tensor
    token: Tensor
    ids: Tensor


def draw_token(
    model: LanguageModel,
    ids: Tensor,
    generator: torch.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
) -> DrawnToken:
    """Grow ids (B, T) by one token a row. The model reads no more than its context, so the T of `logits` may be less.

    Temperature 0 is greedy: the highest score is taken, not drawn; `probabilities` are then those of temperature 1.
    InputError as in `next_token`.

    The draw happens on the generator's device (the CPU as a rule), so a seed gives the same text wherever the model is.
    """
    logits = model.logits(ids[:, -model.context :])  # (B, T, C)
    last = logits[:, -1, :].to(generator.device)  # (B, C)
    probabilities = next_token(last, temperature or 1.0, top_k)  # (B, C)
    if temperature:
        token = torch.multinomial(probabilities, num_samples=1, generator=generator)  # (B, 1)
    else:
        token = last.argmax(dim=-1, keepdim=True)  # (B, 1)
    return DrawnToken(logits, last, probabilities, token, torch.cat((ids, token.to(ids.device)), dim=1))  # (B, T + 1)


def generate(
    model: LanguageModel,
    prompt: list[int],
    max_new_tokens: int,
    generator: torch.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
    halt: Callable[[], bool] = lambda: False,
) -> GeneratedTokens:
    """Grow `prompt` (at least one id) by `max_new_tokens` ids, one drawn at a time; fewer once `halt()` is true.

    InputError as in `next_token`.
    """
    probabilities: list[float] = []
    ids = torch.tensor([prompt], device=model.device)  # (1, T)
    with evaluating(model):
        for _ in range(max_new_tokens):
            if halt():
                break
            drawn = draw_token(model, ids, generator, temperature, top_k)
            ids = drawn.ids
            probabilities.append(float(drawn.probabilities[0, drawn.token]))
    return GeneratedTokens(ids[0].tolist(), probabilities)


def sample_record(tokenizer: Tokenizer, step: int, start: list[int], made: GeneratedTokens) -> Sample:
    """Generated ids, of which `start` were given, as text with a digit of confidence for each character.

    A token of several characters gives its confidence to each of them.
    """
    prompt, pieces = tokenizer.decode(start), tokenizer.pieces(made.ids[len(start) :])
    return Sample(step, prompt + "".join(pieces), len(prompt), confidence(prompt, pieces, made.probabilities))
