"""`gpt-small` raced against nanoGPT's recipe for a CPU, which is written here anew, on tiny shakespeare.

The recipe (https://github.com/karpathy/nanoGPT, README, "i only have a macbook"): 4 layers, 4 heads, width 128, context
64, 12 windows a step, 2,000 steps, no dropout; AdamW with betas 0.9 and 0.99, decay 0.1 on matrices, gradients clipped
at norm 1, a warm-up of 100 steps to 1e-3, and a cosine down to 1e-4. Nothing of the engine trains it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import changed
from engine.models.base import LanguageModel
from engine.presets import preset
from engine.text.corpus import Corpus
from engine.training.trainer import Trainer
from tests.bench.figures import Figure
from tests.shakespeare import MISSING, tiny_shakespeare

WIDTH, BLOCK, HEADS, LAYERS, BATCH, STEPS = 128, 64, 4, 4, 12, 2000
GOAL = 1.89
LOOKS = 25  # steps between two looks at the validation loss
QUICK = 60  # steps

Windows = tuple[Tensor, Tensor]


class Layer(nn.Module):
    """Attention and MLP before norms, without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = (nn.LayerNorm(WIDTH, bias=False) for _ in range(2))
        self.attend = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.mix = nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, steps, _ = x.shape
        three = self.attend(self.norm_1(x)).split(WIDTH, dim=2)
        q, k, v = (one.view(batch, steps, HEADS, WIDTH // HEADS).transpose(1, 2) for one in three)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(seen.transpose(1, 2).reshape(batch, steps, WIDTH))
        down: Tensor = self.down(F.gelu(self.up(self.norm_2(x))))
        return x + down


class Recipe(nn.Module):
    """The model of that recipe, its head tied to the embedding."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocab_size, WIDTH), nn.Embedding(BLOCK, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                narrow = math.sqrt(2 * LAYERS) if name.endswith(("mix.weight", "down.weight")) else 1.0
                nn.init.normal_(parameter, std=0.02 / narrow)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        x = self.tokens(inputs) + self.places(torch.arange(inputs.shape[1]))
        for layer in self.layers:
            x = layer(x)
        logits = self.norm(x) @ self.tokens.weight.T
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def rate(iteration: int) -> float:
    """Of an iteration counted from 0."""
    if iteration < 100:
        return 1e-3 * (iteration + 1) / 101
    done = (iteration - 100) / (STEPS - 100)
    return 1e-4 + 0.5 * (1 + math.cos(math.pi * done)) * (1e-3 - 1e-4)


def train_recipe(
    corpus: Corpus, steps: int, evaluate: Callable[[Callable[[Tensor, Tensor], Tensor]], float]
) -> tuple[float, float]:
    """The validation loss after so many steps, and the processor time that they took."""
    torch.manual_seed(1337)
    model, data = Recipe(corpus.vocab_size), corpus.train.long()
    matrices = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
    began = time.process_time()
    for iteration in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(iteration)
        inputs, targets = windows(data, BATCH, None)
        loss = model(inputs, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    spent = time.process_time() - began
    return evaluate(model), spent


def train_preset(
    corpus: Corpus, steps: int, evaluate: Callable[[Callable[[Tensor, Tensor], Tensor]], float]
) -> tuple[int | None, float, float, float]:
    """Step and processor time at which `gpt-small` has the goal, its time for a step, and its last validation loss."""
    start = preset("gpt-small")
    rare = {"observe_every": 10**9, "eval_every": 10**9, "sample_every": 10**9}
    trainer = Trainer(
        changed(start.config, device="cpu", test_fraction=0.0, **rare),
        changed(start.settings, speed="unlimited"),
        corpus,
        lambda _: None,
    )
    model = trainer.model
    assert isinstance(model, LanguageModel)
    spent, found, at = 0.0, math.inf, None
    while trainer.step < min(steps, start.settings.max_steps):
        began = time.process_time()
        trainer.advance()
        spent += time.process_time() - began
        if trainer.step % LOOKS == 0 or trainer.step == steps:
            model.eval()
            found = evaluate(lambda inputs, targets: model(inputs, targets)[1])  # type: ignore[return-value,arg-type]
            model.train()
            if found <= GOAL:
                at = trainer.step
                break
    return at, spent, spent / trainer.step, found


def windows(data: Tensor, count: int, draws: torch.Generator | None) -> Windows:
    """`count` random windows of `data` and the tokens that follow: (count, BLOCK) each."""
    starts = torch.randint(len(data) - BLOCK, (count,), generator=draws)
    rows = starts[:, None] + torch.arange(BLOCK)
    return data[rows], data[rows + 1]


def recipe(device: str, quick: bool) -> list[Figure]:
    """gpt-small against nanoGPT's recipe for a CPU: steps and processor time to a validation loss of 1.89."""
    text = tiny_shakespeare()
    if text is None:
        raise FileNotFoundError(MISSING)
    corpus = Corpus.of(text, "tiny-shakespeare", 0.1, 0.0)
    draws = torch.Generator().manual_seed(1)
    fixed = [windows(corpus.val.long(), 64, draws) for _ in range(20)]

    def evaluate(loss: Callable[[Tensor, Tensor], Tensor]) -> float:
        with torch.no_grad():
            return sum(float(loss(inputs, targets)) for inputs, targets in fixed) / len(fixed)

    steps = QUICK if quick else STEPS
    theirs, their_time = train_recipe(corpus, steps, evaluate)
    at, spent, pace, last = train_preset(corpus, steps, evaluate)
    note = f" theirs {theirs:.3f} after {steps:,} steps, {their_time:.0f} s; "
    note += f"ours {last:.3f} after {at or 'all'} steps, {spent:.0f} s"
    return [
        Figure(
            "recipe",
            "steps to a validation loss of 1.89 / theirs",
            None if at is None else at / steps,
            target=0.5,
            at_most=True,
            note=note,
        ),
        Figure(
            "recipe",
            "processor time to it / theirs",
            None if at is None else spent / their_time,
            target=0.5,
            at_most=True,
        ),
        Figure("recipe", "processor time of a step / theirs", pace / (their_time / steps)),
    ]
