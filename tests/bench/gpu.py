"""The 124M model on a GPU: the engine against a bare loop with the same settings, and against nanoGPT's own recipe.

The recipe (https://github.com/karpathy/nanoGPT, model.py and train.py) is written here anew: GPT-2's sizes with a tied
head and a vocabulary padded to 50,304, 12 windows of 1,024 tokens, autocast to bfloat16, TF32 for what is left, fused
AdamW with betas 0.9 and 0.95, decay 0.1 on matrices, gradients clipped at norm 1. Its torch.compile is a figure of its
own. Without a CUDA device all of it is "not measured".
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import LiveSettings, RunConfig, changed
from engine.models.registry import build_language_model
from engine.presets import preset
from engine.text.corpus import Corpus
from engine.training.device import in_bfloat16, wait_for
from tests.bench.figures import Figure, interleave, ratio
from tests.bench.loops import ENDLESS, Recorded

FIRST_LETTER = 0x4E00  # of the largest block of letters in Unicode: one for each token
NAMES = {
    "same": "124M, engine / bare loop with the same settings",
    "compiled": "124M compiled, engine / bare loop with the same settings",
    "tokens": "124M, engine, tokens a second",
    "theirs": "124M, engine / nanoGPT's recipe",
    "theirs compiled": "124M, both compiled, engine / nanoGPT's recipe",
    "float32": "124M, engine in bfloat16 / in float32",
}


@dataclass(frozen=True)
class Sizes:
    """Of the model, of a batch, and of a measurement."""

    layers: int = 12
    heads: int = 12
    width: int = 768
    block: int = 1024
    batch: int = 12
    tokens: int = 50_257
    padded: int = 50_304
    steps: int = 40
    rounds: int = 5
    compiled: bool = True


def gpu(device: str, quick: bool) -> list[Figure]:
    """The 124M model on CUDA, in tokens a second, against a bare loop and against nanoGPT's recipe."""
    if not torch.cuda.is_available():
        return [Figure("gpu", name, None, note="not measured: there is no CUDA device here") for name in NAMES.values()]
    return measured(Sizes(steps=10, rounds=2) if quick else Sizes(), "cuda")


def measured(sizes: Sizes, device: str) -> list[Figure]:
    """All figures, on `device`; each ratio from loops that took turns."""
    corpus = letters(sizes.tokens, 4 * sizes.tokens + 2 * sizes.block)
    tokens = sizes.batch * sizes.block
    found: list[Figure] = []
    for compiled in (False, True) if sizes.compiled else (False,):
        with engine(sizes, device, corpus, compile=compiled) as ours:
            loops: dict[str, Callable[[], float]] = {"engine": lambda ours=ours: ours.rate(sizes.steps)}
            loops["bare"] = timed(bare_loop(ours.run.config, ours.run.settings, corpus, device), sizes, device)
            loops["recipe"] = timed(recipe_loop(sizes, corpus, device, compiled), sizes, device)
            rates = interleave(loops, sizes.rounds)
        note = " ".join(f" {name} {tokens * statistics.median(pace):,.0f} tokens/s" for name, pace in rates.items())
        same, theirs = ("compiled", "theirs compiled") if compiled else ("same", "theirs")
        found.append(Figure("gpu", NAMES[same], ratio(rates, "engine", "bare"), target=0.98, note=note))
        found.append(Figure("gpu", NAMES[theirs], ratio(rates, "engine", "recipe")))
        if not compiled:
            pace = tokens * statistics.median(rates["engine"])
            found.append(Figure("gpu", NAMES["tokens"], pace, unit="tokens/s"))
    with (
        engine(sizes, device, corpus, precision="bfloat16") as fast,
        engine(sizes, device, corpus, precision="float32") as exact,
    ):
        both = {"fast": lambda: fast.rate(sizes.steps), "exact": lambda: exact.rate(max(2, sizes.steps // 4))}
        found.append(Figure("gpu", NAMES["float32"], ratio(interleave(both, sizes.rounds), "fast", "exact")))
    return found


def letters(tokens: int, length: int) -> Corpus:
    """A text of so many different characters, in no order."""
    draws = torch.randint(tokens, (length,), generator=torch.Generator().manual_seed(1)).tolist()
    text = "".join(
        chr(FIRST_LETTER + token if token < 20_000 else 0x10000 + token) for token in (*range(tokens), *draws)
    )
    return Corpus.of(text, "bench", val_fraction=0.0, test_fraction=0.0)


@contextlib.contextmanager
def engine(sizes: Sizes, device: str, corpus: Corpus, **own: object) -> Iterator[Recorded]:
    """A run of these sizes on its thread, every step recorded; looked at as `gpt-small` is, but not validated."""
    config = changed(
        preset("gpt-small").config,
        device=device,
        corpus="bench",
        optimizer="adamw",
        beta2=0.95,
        decays="matrices",
        tie_weights=True,
        n_layer=sizes.layers,
        n_head=sizes.heads,
        n_embd=sizes.width,
        block_size=sizes.block,
        val_fraction=0.0,
        test_fraction=0.0,
        sample_every=ENDLESS,
        **own,
    )
    settings = LiveSettings(
        lr=6e-4, batch_size=sizes.batch, weight_decay=0.1, grad_clip=1.0, max_steps=ENDLESS, speed="unlimited"
    )
    made = Recorded((config, settings, corpus), device, warm=min(10, sizes.steps))
    try:
        yield made
    finally:
        made.close()


def timed(loop: Callable[[int], None], sizes: Sizes, device: str) -> Callable[[], float]:
    """What measures the steps a second of `loop`, warmed up."""
    loop(3)

    def rate() -> float:
        wait_for(torch.device(device))
        began = time.perf_counter()
        loop(sizes.steps)
        wait_for(torch.device(device))
        return sizes.steps / (time.perf_counter() - began)

    return rate


def bare_loop(config: RunConfig, settings: LiveSettings, corpus: Corpus, device: str) -> Callable[[int], None]:
    """The engine's own model, with the same settings, in a loop that measures nothing."""
    model = build_language_model(config, corpus.vocab_size).to(device)
    bfloat16 = in_bfloat16(config.precision, model.parameter_count(), torch.device(device))
    scores: Callable[[Tensor], tuple[Tensor, None]] = torch.compile(model) if config.compile else model
    return training(
        model,
        lambda x, y: model.loss(scores(x)[0], y),
        settings.batch_size,
        config.block_size,
        corpus,
        device,
        bfloat16,
    )


class Layer(nn.Module):
    """GPT-2's block, with biases."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, steps, width = x.shape
        three = self.attend(self.norm_1(x)).split(width, dim=2)
        q, k, v = (one.view(batch, steps, self.heads, width // self.heads).transpose(1, 2) for one in three)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(seen.transpose(1, 2).reshape(batch, steps, width))
        down: Tensor = self.down(F.gelu(self.up(self.norm_2(x))))
        return x + down


class GPT2(nn.Module):
    """That recipe's model."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.tokens = nn.Embedding(sizes.padded, sizes.width)
        self.places = nn.Embedding(sizes.block, sizes.width)
        self.layers = nn.ModuleList(Layer(sizes.width, sizes.heads) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.width)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                narrow = math.sqrt(2 * sizes.layers) if name.endswith(("mix.weight", "down.weight")) else 1.0
                nn.init.normal_(parameter, std=0.02 / narrow)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        x = self.tokens(inputs) + self.places(torch.arange(inputs.shape[1], device=inputs.device))
        for layer in self.layers:
            x = layer(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def recipe_loop(sizes: Sizes, corpus: Corpus, device: str, compiled: bool) -> Callable[[int], None]:
    """nanoGPT's loop."""
    model = GPT2(sizes).to(device)
    loss = torch.compile(model) if compiled else model
    return training(model, loss, sizes.batch, sizes.block, corpus, device, bfloat16=True, tf32=True)


def training(
    model: nn.Module,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    batch: int,
    block: int,
    corpus: Corpus,
    device: str,
    bfloat16: bool,
    tf32: bool = False,
) -> Callable[[int], None]:
    """A loop of so many steps: windows at random, autocast to `bfloat16`, clipping, fused AdamW."""
    data, offsets = corpus.train.long().to(device), torch.arange(block, device=device)
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=6e-4, betas=(0.9, 0.95), fused=True)

    def loop(steps: int) -> None:
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = tf32
        for _ in range(steps):
            where = torch.randint(len(data) - block, (batch, 1), device=device) + offsets
            inputs, targets = data[where], data[where + 1]
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bfloat16):
                loss = loss_of(inputs, targets)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        torch.backends.cuda.matmul.allow_tf32 = before

    return loop
