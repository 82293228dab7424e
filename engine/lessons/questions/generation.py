"""Questions about `generate`: the shape that each of its lines produces."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ...training.sampling import draw_token, evaluating, next_token
from .question import Answer, QuestionContext, shape

DRAWS = 10_000


def shape_b_c(context: QuestionContext) -> Answer:
    """Why (B, C): only the last position's scores predict a new token."""
    logits = context.logits()
    last = logits[:, -1, :]
    sums = F.softmax(last, dim=1).sum(dim=1)
    wrong = F.softmax(logits, dim=1).sum(dim=2)  # over time instead of candidates
    return Answer(
        f"The model scores every position, {shape(logits)}, but only the last one predicts a token that is not "
        f"there yet: `logits[:, -1, :]` keeps it and leaves {shape(last)}, one row of {last.size(1)} scores for each "
        f"of the {last.size(0)} texts. Softmax over dimension 1, the candidates, makes each row sum to "
        f"{sums.mean():.6f}. Before the slice dimension 1 would be time: the candidates' sums at a position would run "
        f"from {wrong.min():.3f} to {wrong.max():.3f}, and would be no probabilities.",
        {
            "logits": shape(logits),
            "last": shape(last),
            "smallest row sum": float(sums.min()),
            "largest row sum": float(sums.max()),
            "smallest sum over the wrong dimension": float(wrong.min()),
            "largest sum over the wrong dimension": float(wrong.max()),
        },
    )


def shape_b_1(context: QuestionContext) -> Answer:
    """Why (B, 1): one id is drawn for each text."""
    probs = next_token(context.logits()[:, -1, :])
    draws = torch.Generator().manual_seed(0)
    once = torch.multinomial(probs, num_samples=1, generator=draws)
    many = torch.multinomial(probs[0], DRAWS, replacement=True, generator=draws)
    likeliest = int(probs[0].argmax())
    share, chance = float((many == likeliest).float().mean()), float(probs[0, likeliest])
    return Answer(
        f"`num_samples=1` draws one token from each row of {shape(probs)}, so {shape(once)} comes back: one column "
        "of ids, kept as a column so that it can be put beside the text. It is a draw, not a choice of the best: in "
        f"{DRAWS:,} draws from the first row the likeliest token, with probability {chance:.4f}, came in a share of "
        f"{share:.4f}.",
        {
            "probabilities": shape(probs),
            "drawn": shape(once),
            "likeliest token": context.tokenizer.labels[likeliest],
            "its probability": chance,
            f"its share of {DRAWS:,} draws": share,
        },
    )


def shape_b_t_1(context: QuestionContext) -> Answer:
    """Why (B, T + 1): the drawn column is appended; the model's context length does not grow."""
    with evaluating(context.model):
        drawn = draw_token(context.model, context.inputs, torch.Generator().manual_seed(0))
        alone = context.model.logits(context.inputs[:, -1:])[:, -1]
    apart = float((alone - drawn.last).abs().max())
    context_length = context.model.context
    return Answer(
        f"`torch.cat(..., dim=1)` puts the drawn column {shape(drawn.token)} after the last token, along time: "
        f"{shape(context.inputs)} becomes {shape(drawn.ids)}, and the loop goes round with a text one token longer. "
        f"Its T has no limit, but the model's view has: this one reads the last {context_length} "
        f"{'token' if context_length == 1 else 'tokens'}. Given nothing but the last token, its scores change by up to "
        f"{apart:.4g}{', not at all: a bigram makes no use of the rest of the text' if apart == 0 else ''}.",
        {
            "before": shape(context.inputs),
            "drawn": shape(drawn.token),
            "after": shape(drawn.ids),
            "context": context_length,
            "change with the last token alone": apart,
        },
    )
