"""What if: experiments with the training loop, really run, on throwaway copies that never touch a run.

An experiment is a function of a `Start` and a `Pacer` that returns an `ExperimentResult`. Its loop is the trainer's own
stages with one left out, moved or replaced, so there is no second loop or model to maintain. Settings are those at
which the effect was measured; its summary is computed from what happened and says so when the effect does not show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..results import ExperimentResult
from . import batches, clearing, knobs, mistakes, rates, recipes
from .start import MOST_PARAMETERS, Pacer, Start

__all__ = ["EXPERIMENTS", "MOST_PARAMETERS", "TOPICS", "Experiment", "Pacer", "Start"]


@dataclass(frozen=True)
class Experiment:
    """One what-if: `question` asks it in plain words, under a heading of `TOPICS`; `title` is its name among people who
    know the loop; `asks` says what is changed and what to look for, `code` is the changed loop in PyTorch.

    `documents` names the lines of the documents about it. `begins` is the default start: "first" (initial weights) or
    "moment" (the run as it is now). `model` is what it works on: a bigram, a fresh tiny GPT, a model of at most
    MOST_PARAMETERS, any model of text, or none at all.
    """

    name: str
    topic: str
    question: str
    title: str
    asks: str
    code: str
    documents: str
    begins: Literal["first", "moment"]
    model: Literal["bigram", "tiny gpt", "small", "any", "none"]
    run: Callable[[Start, Pacer], ExperimentResult]


CLEARING, STEPPING = "Throwing the old slopes away", "How far to step, and how often"
READING, SLIPS = "What it learns from", "Slips in the code"
TOPICS = (CLEARING, STEPPING, READING, SLIPS)
"""In the order in which they are offered."""

EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(
        "no-zero-grad-sgd",
        CLEARING,
        "What if the slopes of the last step are never thrown away?",
        "No zero_grad, under SGD",
        "Gradients are never cleared: each backward() adds to all before it. Plain SGD, learning rate 1, 1,000 steps.",
        "loss.backward()\noptimizer.step()\n# optimizer.zero_grad()   left out",
        "000 line 399, 004 lines 31–36",
        "first",
        "bigram",
        clearing.never_cleared_sgd,
    ),
    Experiment(
        "no-zero-grad-adamw",
        CLEARING,
        "Does AdamW forgive that mistake?",
        "No zero_grad, under AdamW",
        "The same mistake with AdamW at 3e-3 first looks like a gain. Watch where the curves cross. 3,000 steps.",
        "loss.backward()\noptimizer.step()\n# optimizer.zero_grad()   left out",
        "000 line 399, 004 lines 31–36",
        "first",
        "bigram",
        clearing.never_cleared_adamw,
    ),
    Experiment(
        "zero-grad-too-late",
        CLEARING,
        "What if the slopes are thrown away just before they are used?",
        "zero_grad between backward and step",
        "The gradients are computed and thrown away before the optimizer can read them. AdamW at 0.01, 200 steps.",
        "loss.backward()\noptimizer.zero_grad()   # too early by one line\noptimizer.step()",
        "000 lines 383–422, 004 lines 70–76",
        "first",
        "bigram",
        clearing.cleared_too_late,
    ),
    Experiment(
        "zero-grad-places",
        CLEARING,
        "Does it matter where in the loop they are thrown away?",
        "zero_grad at its three places, and a wrong one",
        "The documents clear at the end of a step, before the forward pass, and before backward(). Three loops, "
        "compared bit for bit over 100 steps; and a fourth that clears between backward() and step(), where none does.",
        "optimizer.zero_grad()\n# 000: at the end of the step\n# 001, 002: before the forward pass\n"
        "# 003, 004: before backward()\n# wrong: between backward() and step()",
        "000 line 409, 001 line 56, 002 line 51, 003 line 670, 004 line 10",
        "moment",
        "small",
        clearing.cleared_at_three_places,
    ),
    Experiment(
        "zeros-or-none",
        CLEARING,
        "Is a slope of zero the same as no slope?",
        "Zeros instead of None",
        "A further weight takes part in the loss for 20 steps and is then skipped. AdamW with gradients set to zeros, "
        "and with gradients set to None, which is PyTorch's default; and what either costs in memory and time.",
        "optimizer.zero_grad(set_to_none=False)   # or True",
        "000 line 409, 004 lines 31–38",
        "moment",
        "small",
        clearing.zeros_or_none,
    ),
    Experiment(
        "sgd",
        STEPPING,
        "What if every weight simply followed its own slope?",
        "SGD instead of AdamW",
        "The same learning rate under another rule; and the rate that this rule needs. 2,000 steps each.",
        "torch.optim.AdamW(model.parameters(), lr=1e-3)\ntorch.optim.SGD(model.parameters(), lr=1e-3)\n"
        "torch.optim.SGD(model.parameters(), lr=30)",
        "000 lines 355–375, 003 line 660, 004 lines 53–66",
        "first",
        "bigram",
        rates.sgd_for_adamw,
    ),
    Experiment(
        "learning-rates",
        STEPPING,
        "What if the steps are far too large?",
        "A learning rate far too high",
        "Five learning rates under AdamW, from far too small to far too large. 1,000 steps each.",
        "for lr in (3e-4, 1e-2, 0.1, 1, 10):\n    torch.optim.AdamW(model.parameters(), lr=lr)",
        "000 lines 18–25",
        "first",
        "bigram",
        rates.learning_rates,
    ),
    Experiment(
        "decay-at-the-end",
        STEPPING,
        "What if the steps became smaller at the end?",
        "A learning rate that falls",
        "The same bigram twice at 0.03, 3,000 steps of AdamW. In one loop the rate falls to 0 over the last 40 %.",
        "for step in range(1, max_steps + 1):\n    for group in optimizer.param_groups:\n"
        "        group['lr'] = lr * min(1, (max_steps - step) / (0.4 * max_steps))",
        "000 lines 18–25",
        "first",
        "bigram",
        recipes.decay_at_the_end,
    ),
    Experiment(
        "warm-up",
        STEPPING,
        "Why do the first steps begin so small?",
        "Warm-up left out",
        "A tiny GPT under AdamW, 200 steps, with a rate that climbs over the first 50 of them and without: once at "
        "3e-3, once at 0.02.",
        "for step in range(1, max_steps + 1):\n    for group in optimizer.param_groups:\n"
        "        group['lr'] = lr * min(1, step / 51)   # or lr from the first step on",
        "000 lines 18–25",
        "first",
        "tiny gpt",
        knobs.warm_up_left_out,
    ),
    Experiment(
        "averages",
        STEPPING,
        "What does AdamW remember of the steps before?",
        "AdamW's two averages, switched off one at a time",
        "A tiny GPT, 200 steps: AdamW, then without its mean of the gradients, without the mean of their squares, and "
        "without both.",
        "torch.optim.AdamW(model.parameters(), lr=3e-3)\n"
        "torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0, 0.999))\n"
        "torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)\ntorch.optim.SGD(model.parameters(), lr=0.3)",
        "000 lines 355–375, 004 lines 53–66",
        "first",
        "tiny gpt",
        knobs.averages_left_out,
    ),
    Experiment(
        "clipping",
        STEPPING,
        "What if the slopes grow far too steep?",
        "Gradient clipping left out",
        "A tiny GPT under SGD at a rate of 2, 200 steps: once with gradients shortened to a length of 0.5, once as "
        "they are.",
        "loss.backward()\ntorch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)   # or left out\noptimizer.step()",
        "000 lines 18–25",
        "first",
        "tiny gpt",
        knobs.clipping_left_out,
    ),
    Experiment(
        "batch-against-rate",
        STEPPING,
        "Is one large batch as good as many small ones?",
        "Batch size against learning rate",
        "A bigram under SGD reads the same amount of text in batches of 8, 32, 128 and 512 windows: at one rate, and "
        "at a rate that grows with the batch.",
        "for batch_size, lr in ((8, 5), (32, 20), (128, 5), (128, 80), (512, 320)):\n"
        "    torch.optim.SGD(model.parameters(), lr=lr)",
        "000 lines 18–25 and 130–135",
        "first",
        "bigram",
        knobs.batch_against_rate,
    ),
    Experiment(
        "largest-step",
        STEPPING,
        "How far may a step go before it does harm?",
        "2 / λ, measured",
        "First steps shows it on a line: above 2 / λ a step leaves the valley. Here λ, the sharpest curvature, is "
        "measured on this model at this moment, and one batch is descended at rates around that limit, 100 steps each.",
        "gradients = torch.autograd.grad(loss, weights, create_graph=True)\nfor _ in range(100):   # power iteration\n"
        "    way = torch.autograd.grad(gradients, weights, grad_outputs=way / way.norm(), retain_graph=True)",
        "002 line 51",
        "moment",
        "small",
        recipes.how_far_a_step_may_go,
    ),
    Experiment(
        "first-weights",
        STEPPING,
        "What if the weights began as zeros, or as large numbers?",
        "Other first weights",
        "A bigram from zeros, from N(0, 0.02) and from N(0, 1): the loss before the first step, and 500 steps at 0.01.",
        "nn.init.zeros_(table.weight)\nnn.init.normal_(table.weight, std=0.02)\nnn.init.normal_(table.weight)",
        "003 lines 449–460",
        "first",
        "bigram",
        recipes.other_first_weights,
    ),
    Experiment(
        "parts-of-a-batch",
        CLEARING,
        "What if a batch is too large for the memory?",
        "Gradient accumulation",
        "The slopes of 32 windows at once, and of four parts of eight whose slopes add up before they are used.",
        "for part, targets in parts:\n    (model.loss(model(part), targets) * len(part) / 32).backward()   # adds up\n"
        "optimizer.step()\noptimizer.zero_grad()",
        "004 lines 31–36",
        "moment",
        "small",
        recipes.a_batch_in_parts,
    ),
    Experiment(
        "every-step-better",
        STEPPING,
        "Does every step make the model better?",
        "Does every step make the model better?",
        "The loss of each step's batch beside the loss on the whole text, at every step: once from the start, once "
        "near the floor.",
        "print(loss.item())   # this batch's, before this update",
        "000 lines 99 and 365, 004 line 13",
        "first",
        "bigram",
        rates.every_step_better,
    ),
    Experiment(
        "memorizing",
        STEPPING,
        "Can it learn a short text by heart?",
        "Too many iterations on a short text",
        "A bigram trains on 800 tokens: the first 1,000 of the text, less a tenth for validation and one for the test. "
        "2,000 steps. When does validation turn?",
        "data = text[:1000]\ntrain, val, test = data[:800], data[800:900], data[900:]",
        "000 line 12",
        "first",
        "bigram",
        rates.memorizing,
    ),
    Experiment(
        "weight-decay",
        STEPPING,
        "What if every weight were pulled back a little?",
        "Weight decay",
        "A bigram trains on 800 tokens with a weight decay of 0, 0.1 and 1. 1,500 steps each. Which of them knows best "
        "what it has not seen?",
        "for decay in (0, 0.1, 1):\n    torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=decay)",
        "000 lines 12 and 355–375",
        "first",
        "bigram",
        knobs.pulled_to_zero,
    ),
    Experiment(
        "until-80-percent",
        STEPPING,
        "Why not repeat one batch until it is right?",
        "Recalculate until within 80 %",
        "A note in document 001 lets backpropagation repeat until the output is close enough. Here that is done, on "
        "one batch, beside the ordinary loop; calls of backward() are counted.",
        "while probability_of_the_right_character < 0.8:\n    # forward, backward and step, on the same batch",
        "001 lines 21–24",
        "first",
        "bigram",
        rates.until_80_percent,
    ),
    Experiment(
        "batch-sizes",
        READING,
        "How much does one batch know of the whole text?",
        "A batch of 1, 8, 32, 256",
        "Gradients of many batches of each size, all at the same weights: how far do they point from the gradient of "
        "the text?",
        "for batch_size in (1, 8, 32, 256):\n    xb, yb = get_batch('train')",
        "000 lines 130–135",
        "first",
        "small",
        batches.batch_sizes,
    ),
    Experiment(
        "batch-losses",
        READING,
        "Why does the loss jump about?",
        "The losses of batches of 1 to 256",
        "Four bigrams that differ in their batch size alone, 250 steps each. The loss of every batch, as training "
        "plots it: how far does it jump from one step to the next?",
        "for batch_size in (1, 8, 32, 256):\n    xb, yb = get_batch('train')",
        "000 lines 130–135",
        "first",
        "bigram",
        batches.batch_losses,
    ),
    Experiment(
        "passes",
        READING,
        "Does it ever read all of the text?",
        "Through the data multiple times",
        "Windows are drawn at random. Which places of the text have been a target, after how many passes' worth?",
        "ix = torch.randint(len(data) - block_size, (batch_size,))",
        "000 line 88",
        "first",
        "none",
        batches.passes,
    ),
    Experiment(
        "last-window",
        READING,
        "Is the end of the text ever read?",
        "len(data) - block_size - 1",
        "Document 003's get_batch on 12 characters, drawn 20,000 times, and on one window exactly.",
        "ix = torch.randint(len(data) - block_size - 1, (batch_size,))",
        "003 line 221",
        "first",
        "none",
        batches.last_window,
    ),
    Experiment(
        "evaluation-draws",
        READING,
        "Can looking at the model change what it learns?",
        "Evaluate on the shuffled train loader",
        "Drawing batches for an evaluation moves the generator that training draws from. Three ways to evaluate, "
        "60 steps each.",
        "evaluate_model(model, train_loader, val_loader, device, eval_iter)",
        "001 lines 64–66 and 81–87",
        "moment",
        "small",
        batches.evaluation_moves_training,
    ),
    Experiment(
        "softmax-dimension",
        SLIPS,
        "What if the probabilities are added up along the wrong side?",
        "softmax over the wrong dimension",
        "dim=1 is right where the scores are (B, C), as in generate, and wrong where they are (B, T, C).",
        "F.softmax(logits, dim=1)\nF.softmax(logits, dim=-1)",
        "003 lines 408 and 558",
        "moment",
        "any",
        mistakes.softmax_dimension,
    ),
    Experiment(
        "second-backward",
        SLIPS,
        "Can one go back through the same calculation twice?",
        "backward() twice",
        "Walk the graph of one loss a second time.",
        "loss.backward()\nloss.backward()",
        "004 lines 42–49",
        "moment",
        "any",
        mistakes.second_backward,
    ),
    Experiment(
        "item-backward",
        SLIPS,
        "Does a plain number still know how it was calculated?",
        "loss.item().backward()",
        "Turn the loss into a number first.",
        "loss.item().backward()",
        "004 lines 80–96",
        "moment",
        "any",
        mistakes.item_backward,
    ),
    Experiment(
        "one-generator",
        SLIPS,
        "Can two optimizers share one list of weights?",
        "One parameters() for two optimizers",
        "model.parameters() is a generator: it can be read once.",
        "p = model.parameters()\nfirst = torch.optim.AdamW(p)\nsecond = torch.optim.SGD(p)",
        "004 lines 18–23",
        "moment",
        "any",
        mistakes.one_generator,
    ),
)
