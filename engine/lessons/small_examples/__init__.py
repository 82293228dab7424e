"""The documents' own small examples as tiny tensors: what a document says, and what is true.

They depend on no run and no text. Numbers that are quoted from a document instead of computed are marked as quoted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..results import Example
from . import scores, shapes, slopes, updates

__all__ = ["EXAMPLES", "Example"]

EXAMPLES: Mapping[str, Callable[[], Example]] = {
    "hello: three predictions and their loss": scores.hello,
    "Logits that look like probabilities": scores.looks_like_probabilities,
    "o in place of e": scores.o_for_e,
    "Cat, dog, bird, fish": scores.animals,
    "Negative log-likelihood of one prediction": scores.negative_log_likelihood,
    "What the logarithm does": scores.what_the_log_does,
    "The printed logits and their softmax": scores.printed_logits,
    "B, T and C of the printed batch": shapes.batch_time_channels,
    "(B*T,) or (B*T)": shapes.one_number_in_brackets,
    "The last step: logits[:, -1, :]": shapes.last_step,
    "idx grows from (1, 1)": shapes.growing,
    "the cat sat on mat": shapes.the_cat_sat,
    "Names of grad_fn": slopes.names_of_nodes,
    "Gradients add up": slopes.adding_up,
    "Three weights: big, small, very small": updates.three_weights,
    "backwards(), a perceptron, a change": updates.what_adamw_is,
}
"""The examples by title."""
