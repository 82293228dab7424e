"""The thirteen questions that document 003 asks itself, each answered by a computation on the run's present model.

An answer's sentences quote numbers of this model and batch. Text of the corpus appears in its `numbers` only, so that a
page can show it literally.
"""

from __future__ import annotations

from . import generation, loss, training
from .question import Answer, Question, QuestionContext

__all__ = ["QUESTIONS", "Answer", "Question", "QuestionContext"]

QUESTIONS = (
    Question(16, "What is the purpose of nn?", "left open", training.purpose_of_nn),
    Question(19, "What is the purpose of F?", "answered", loss.purpose_of_f),
    Question(40, "Logits and targets have different dimensions: a mismatch?", "answered", loss.different_dimensions),
    Question(103, "What is the difference between (B * T,) and (B * T)?", "answered", loss.comma_in_a_shape),
    Question(165, "What is NLL?", "answered", loss.what_is_nll),
    Question(504, "What cross_entropy expects first: input or logit?", "left open", loss.input_or_logit),
    Question(515, "Where are the targets sourced from?", "answered", loss.source_of_targets),
    Question(530, "Where is the loss returned to?", "answered", loss.where_it_returns),
    Question(615, "Why do the probabilities have the shape (B, C)?", "left open", generation.shape_b_c),
    Question(618, "Why does the drawn token have the shape (B, 1)?", "left open", generation.shape_b_1),
    Question(621, "Why does idx become (B, T + 1)?", "left open", generation.shape_b_t_1),
    Question(645, "forward expects idx, and is given xb: why does that work?", "begun", training.idx_or_xb),
    Question(660, "Why AdamW, and why 1e-3?", "left open", training.why_adamw),
)
