"""Questions about the loss: its functions, its shapes, where targets come from and where the loss goes."""

from __future__ import annotations

import inspect
import math

import torch
import torch.nn.functional as F
from torch import nn

from ...training.sampling import evaluating
from .question import Answer, QuestionContext, dtype_name, flat, shape


def purpose_of_f(context: QuestionContext) -> Answer:
    """`F.cross_entropy` gives the same as `nn.CrossEntropyLoss`, which holds no parameters."""
    logits, targets = flat(context)
    function, module = F.cross_entropy(logits, targets), nn.CrossEntropyLoss()
    held = sum(p.numel() for p in module.parameters())
    return Answer(
        "`F` is short for `torch.nn.functional`: the same operations as plain functions, which keep nothing between "
        f"two calls. The loss needs no memory, so a function is enough: `F.cross_entropy` gives {function:.6f} here, "
        f"the module `nn.CrossEntropyLoss()` gives {module(logits, targets):.6f} and holds {held} parameters.",
        {"F.cross_entropy": float(function), "nn.CrossEntropyLoss": float(module(logits, targets)), "parameters": held},
    )


def different_dimensions(context: QuestionContext) -> Answer:
    """A class index means the same as a one-hot row."""
    logits, targets = flat(context)
    rows, classes = logits.shape
    by_index = F.cross_entropy(logits, targets)
    one_hot = F.one_hot(targets, classes).to(logits.dtype)
    by_row = F.cross_entropy(logits, one_hot)
    return Answer(
        f"They describe different things. The logits hold a score for each of the {classes} candidates at each of the "
        f"{rows} positions; a target says only which candidate came, and one whole number is enough for that. Written "
        f"out as rows of 0 and a single 1, the targets have the logits' shape and {classes} times as many numbers; the "
        f"loss is {by_row:.6f} that way and {by_index:.6f} with the indices.",
        {
            "logits": shape(logits),
            "targets": shape(targets),
            "targets as rows": shape(one_hot),
            "loss with indices": float(by_index),
            "loss with rows": float(by_row),
        },
    )


def comma_in_a_shape(context: QuestionContext) -> Answer:
    """`(n,)` is a tuple, `(n)` a number in brackets; `view` takes either."""
    batch, steps = context.targets.shape
    as_tuple, as_number = (batch * steps,), (batch * steps)
    same = context.targets.reshape(-1).view(as_tuple).shape == context.targets.reshape(-1).view(as_number).shape
    return Answer(
        f"In Python the comma makes the tuple: `({batch} * {steps},)` is a `{type(as_tuple).__name__}` of one number, "
        f"`({batch} * {steps})` is the `{type(as_number).__name__}` {as_number} in brackets. As a shape on paper both "
        "mean one dimension. `view` takes either and gives "
        f"{'the same tensor' if same else 'two different tensors'}.",
        {"with a comma": str(as_tuple), "without": str(as_number), "same shape from view": str(same)},
    )


def what_is_nll(context: QuestionContext) -> Answer:
    """The mean of -ln p over the positions is the cross-entropy."""
    logits, targets = flat(context)
    costs = -F.log_softmax(logits, dim=-1)[torch.arange(len(targets)), targets]  # (B·T,)
    mean, least, most = float(costs.mean()), float(costs.min()), float(costs.max())
    best, worst = math.exp(-least), math.exp(-most)
    return Answer(
        "The negative log-likelihood of a position is −ln p, with p the probability that the model gave to the token "
        f"that came. Here p runs from {worst:.2g}, which costs {most:.3f} nats, to {best:.2g}, which costs "
        f"{least:.3f}; the mean over all positions is {mean:.6f}, and that is the loss, "
        f"{F.cross_entropy(logits, targets):.6f}. The logarithm does not magnify small differences in general: 0.99 "
        f"costs {-math.log(0.99):.3f} and 0.01 costs {-math.log(0.01):.2f}. What costs much is to be sure and wrong.",
        {
            "smallest p": worst,
            "largest p": best,
            "mean of −ln p": mean,
            "F.nll_loss": float(F.nll_loss(F.log_softmax(logits, dim=-1), targets)),
            "F.cross_entropy": float(F.cross_entropy(logits, targets)),
        },
    )


def input_or_logit(context: QuestionContext) -> Answer:
    """`input` is the name of cross_entropy's first parameter; it takes logits."""
    logits, targets = flat(context)
    first, second = list(inspect.signature(F.cross_entropy).parameters)[:2]
    right = float(F.cross_entropy(logits, targets))
    squashed = float(F.cross_entropy(F.softmax(logits, dim=-1), targets))
    return Answer(
        f"Both: `{first}` is only what `F.cross_entropy` calls its first parameter (the second is `{second}`), and "
        f"what is passed there are the model's logits, {shape(logits)} of {dtype_name(logits)}. The model's own "
        f"inputs, {shape(context.inputs)} of {dtype_name(context.inputs)}, never reach the loss. It wants scores as "
        f"they are: with probabilities in their place it would answer {squashed:.4f} instead of {right:.4f}, since it "
        "takes the softmax itself.",
        {
            "first parameter": first,
            "logits": shape(logits),
            "inputs": shape(context.inputs),
            "loss of the logits": right,
            "loss of their softmax": squashed,
        },
    )


def source_of_targets(context: QuestionContext) -> Answer:
    """Targets are the same window, one token later."""
    inputs, targets = context.inputs, context.targets
    overlap = int((targets[:, :-1] == inputs[:, 1:]).sum())
    batch, steps = targets.shape
    return Answer(
        "From the text itself, in the same draw as the inputs: a batch is cut out of the training text twice, the "
        f"second time one token later. So the target at each position is the input at the next one: {overlap:,} of the "
        f"{batch * (steps - 1):,} pairs that can be compared agree, and only the {batch} last targets are new. Nobody "
        "labels anything by hand.",
        {
            "equal to the next input": overlap,
            "compared": batch * (steps - 1),
            "first inputs": context.tokenizer.decode(inputs[0].tolist()),
            "their targets": context.tokenizer.decode(targets[0].tolist()),
        },
    )


def where_it_returns(context: QuestionContext) -> Answer:
    """The loss goes to the caller, with the graph that `backward` needs."""
    logits, loss = context.model(context.inputs, context.targets)
    assert loss is not None
    gradients = torch.autograd.grad(loss, list(context.model.parameters()), allow_unused=True)
    reached = sum(gradient is not None for gradient in gradients)
    length = float(torch.cat([g.flatten() for g in gradients if g is not None]).norm())
    with evaluating(context.model):
        _, nothing = context.model(context.inputs)
    last = type(loss.grad_fn).__name__
    return Answer(
        "To whoever called the model. The training loop keeps the loss: it is one number, and it remembers how it was "
        f"made (its last operation is `{last}`), so `loss.backward()` can reach every parameter tensor ({reached} of "
        f"them); the gradient is {length:.4g} long here. The logits {shape(logits)} are not used again in training. "
        f"`generate` calls the same model without targets, gets `{nothing}` for the loss, and uses the logits alone.",
        {
            "loss": float(loss.detach()),
            "grad_fn": last,
            "parameter tensors reached": reached,
            "gradient norm": length,
            "loss without targets": str(nothing),
        },
    )
