"""One optimization step in nine named stages. Knows no threads, no queues' readers and no screen.

A trainer holds a model, its optimizer and the generators, and emits what it measures. `advance` runs the nine stages
in order; `stage` runs only the next one, so that a learner can stop between any two. It departs from the textbook
loop in its last stage: gradients are cleared at the end of a step, not before `backward`, as in document 000; what is
shown of them was copied in `measure`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_

from engine import probes
from engine.config import LiveSettings, OptimizerName, RunConfig
from engine.corpus import Batcher, Corpus
from engine.draws import generator
from engine.evaluation import mean_loss
from engine.guard import Headroom, all_finite
from engine.ledger import DeviceLedger, Emit, HostLedger, Ledger
from engine.models import LanguageModel, build
from engine.models.base import Dropout
from engine.sampling import Generated, confidence, generate
from engine.stream import Event, Observation, Sample
from engine.tokenizer import CharTokenizer

STAGES = ("batch", "forward", "loss", "backward", "measure", "guard", "update", "observe", "reset")
OPENING_ROWS = 4
EARLY = frozenset(digit * 10**power for digit in (1, 2, 5) for power in range(6))


def make_optimizer(name: OptimizerName, model: LanguageModel, settings: LiveSettings) -> torch.optim.Optimizer:
    """AdamW or plain SGD over all parameters, one group, fused into one kernel."""
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    return kinds[name](model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True)


class Trainer:
    """A model in training: `advance()` is one step, `step` counts them."""

    def __init__(
        self, config: RunConfig, settings: LiveSettings, corpus: Corpus, emit: Emit, device: torch.device | str = "cpu"
    ) -> None:
        self.config, self.settings, self.corpus, self.emit = config, settings, corpus, emit
        self.device = torch.device(device)
        self.step = 0
        self.tokens_seen = 0
        self.look_closely = False
        """Look at tables and layers in the next step whatever the cadence says (single steps by hand)."""
        self.opening: Opening | None = None
        self.halt: Callable[[], bool] = lambda: False
        """Asked between two sampled tokens: is there something more urgent?"""
        self._next_stage = 0
        self._stages: tuple[Callable[[], None], ...] = (
            self.batch,
            self.forward,
            self.loss_stage,
            self.backward,
            self.measure,
            self.guard,
            self.update,
            self.observe,
            self.reset,
        )

        data = corpus.train.to(self.device)
        if config.draws == "separate":
            self._draws = generator(config.seed, "data")
            self.model = build(config, corpus.tokenizer.vocab_size, generator(config.seed, "weights"))
        else:
            self._draws = torch.Generator().manual_seed(config.seed)
            self.opening = open_like_the_lecture(config, corpus, self._draws)
            self.model = self.opening.model
        self.model.to(self.device).train()
        self._batcher = Batcher(data, config.block_size, self._draws, spare_windows(config))
        dropout = generator(config.seed, "dropout", self.device)
        for module in self.model.modules():
            if isinstance(module, Dropout):
                module.generator = dropout

        self.parameters = list(self.model.parameters())
        self.optimizer = make_optimizer(config.optimizer, self.model, settings)
        self.ledger: Ledger = (
            DeviceLedger(emit, self.optimizer, self.device) if self.device.type == "cuda" else HostLedger(emit)
        )
        self._headroom = Headroom(self.parameters, config.optimizer)
        self._val_batches = self._fixed_batches(settings.batch_size)
        self.tune(settings)

    # ---------------------------------------------------------------- one step

    def advance(self) -> None:
        """One optimization step; from between two stages, the rest of the step begun."""
        if self._next_stage:
            for _ in range(len(STAGES) - self._next_stage):
                self.stage()
            return
        self.batch()
        self.forward()
        self.loss_stage()
        self.backward()
        self.measure()
        self.guard()
        self.update()
        self.observe()
        self.reset()

    def stage(self) -> str:
        """Run the next stage alone; returns its name."""
        name, run = STAGES[self._next_stage], self._stages[self._next_stage]
        run()
        self._next_stage = (self._next_stage + 1) % len(STAGES)
        return name

    def batch(self) -> None:
        """Draw windows of text: inputs (B, T), and targets (B, T), the same windows one token later."""
        self._started = time.perf_counter()
        self.inputs, self.targets = self._batcher.draw(self.settings.batch_size)

    def forward(self) -> None:
        """Score every possible next token: logits (B, T, C)."""
        self.logits, _ = self.model(self.inputs)

    def loss_stage(self) -> None:
        """How surprised the model is by the targets, on average: one number."""
        self.loss = self.model.loss(self.logits, self.targets)

    def backward(self) -> None:
        """The slope of the loss in every weight, into `.grad`."""
        self.loss.backward()  # type: ignore[no-untyped-call]

    def measure(self) -> None:
        """The length of the whole gradient; on the cadence, copies of what is shown."""
        self.grads = probes.gradients(self.parameters)
        self.grad_norm = probes.global_norm(self.grads)
        self._looking = self._due(self.step + 1, self._look_every) or self.look_closely or self.step == 0
        if self._looking:
            self._layer_norms = probes.layer_norms(self.model.parts())
            self._gradients = probes.gradient_tables(self.model)
            self._before = probes.copies(self.model.parts())

    def guard(self) -> None:
        """May this update happen? Not with a loss or a gradient that is not finite."""
        self._allowed = self.ledger.judge(self.loss, self.grad_norm)

    def update(self) -> None:
        """The optimizer moves the weights."""
        if not self._allowed:
            return
        settings = self.settings
        if settings.grad_clip is not None:
            clip_grads_with_norm_(self.parameters, settings.grad_clip, self.grad_norm)
        # SGD's reach depends on the gradient, and a GPU's host does not know it
        reach = self.ledger.grad_norm if self.device.type == "cpu" else float("inf")
        if self._headroom.grow(settings.lr, settings.weight_decay, reach):
            self._careful_update()
        else:
            self.optimizer.step()
        if not self.ledger.diverged:
            self.step += 1
            self.tokens_seen += self.inputs.numel()

    def observe(self) -> None:
        """What the update did, validation and a sample: each on its cadence."""
        if not self._allowed or self.ledger.diverged:
            return
        if self._looking:
            scalars = {f"grad_norm/{layer}": norm for layer, norm in self._layer_norms.items()}
            scalars |= probes.update_ratios(self._before, self.model.parts())
            self.emit(Observation(self.step, scalars, self._gradients | probes.weight_tables(self.model)))
        if self._due(self.step, self._eval_every) or self.look_closely:
            self.validate()
        if self._due(self.step, self._sample_every):
            self.sample()
        self.look_closely = False

    def reset(self) -> None:
        """Clear the gradients, so that the next step starts from none, and close the step's record."""
        for parameter in self.parameters:
            parameter.grad = None  # what zero_grad() does, without its bookkeeping, which costs 5 % of a bigram step
        diverged_here = self.ledger.diverged and self.device.type == "cpu"
        self.ledger.write(self.step + diverged_here, self.settings.lr, time.perf_counter() - self._started)

    # ---------------------------------------------------------------- around it

    def tune(self, settings: LiveSettings) -> None:
        """Other live settings from the next step on; the cadences follow the speed limit, never the clock."""
        self.settings = settings
        for group in self.optimizer.param_groups:
            group["lr"], group["weight_decay"] = settings.lr, settings.weight_decay
        config, speed = self.config, settings.speed
        pace = float("inf") if speed == "unlimited" else float(speed)
        self._look_every = max(1, int(min(config.observe_every, 0.5 * pace)))
        self._eval_every = max(1, int(min(config.eval_every, 2 * pace)))
        self._sample_every = max(1, int(min(config.sample_every, 4 * pace)))

    def show_start(self) -> None:
        """Emit what there is before the first update: tables, validation loss, a sample, all of step 0."""
        self.emit(Observation(0, {}, probes.weight_tables(self.model)))
        self.validate()
        if self.opening is None:
            self.sample()
        else:
            self.emit(Event(0, "opening", f"opening batch: loss {self.opening.loss:.6f}"))
            self.emit(self.opening.sample)

    def validate(self) -> None:
        """Emit the mean loss on the fixed validation batches."""
        if self._val_batches:
            self.val_loss = mean_loss(self.model, self._val_batches)
            self.emit(Observation(self.step, {"val/loss": self.val_loss}, {}))

    val_loss: float | None = None

    def sample(self) -> None:
        """Emit a sample from the fixed prompt and seed; it moves no generator of the training."""
        tokenizer, config = self.corpus.tokenizer, self.config
        prompt = config.sample_prompt if not tokenizer.unknown(config.sample_prompt) else tokenizer.vocab[0]
        start = tokenizer.encode(prompt).tolist()
        made = generate(self.model, start, config.sample_tokens, generator(config.seed, "sample"), halt=self.halt)
        self.emit(told(tokenizer, self.step, start, made))

    def settle(self) -> None:
        """Have every number of the steps so far emitted (a GPU's cross in blocks); withheld steps do not count."""
        self.ledger.cross(wait=True)
        if self.ledger.diverged and self.step >= self.ledger.step:
            self.tokens_seen -= (self.step + 1 - self.ledger.step) * self.inputs.numel()
            self.step = self.ledger.step - 1

    def _due(self, step: int, every: int) -> bool:
        """Does the cadence name `step`: each `every` steps, some before the first of these, and the last step."""
        early = every // 20 <= step < every and step in EARLY
        return early or step % every == 0 or step == self.settings.max_steps

    def _careful_update(self) -> None:
        """An update that could overflow: keep copies, look, and put the last finite weights back if it did."""
        kept = [p.detach().clone() for p in self.parameters]
        self.optimizer.step()
        finite = all_finite(self.parameters)
        with torch.no_grad():
            for parameter, copy in zip(self.parameters, kept, strict=True):
                parameter.copy_(torch.where(finite, parameter, copy))
        self.ledger.overflowed(finite)
        if self.device.type == "cpu":
            self._headroom.measure()

    def _fixed_batches(self, batch_size: int) -> list[tuple[Tensor, Tensor]]:
        config = self.config
        if len(self.corpus.val) <= config.block_size:
            return []
        draws = Batcher(self.corpus.val.to(self.device), config.block_size, generator(config.seed, "evaluation"))
        return [draws.draw(batch_size) for _ in range(config.eval_batches)]


def spare_windows(config: RunConfig) -> int:
    """Windows at the end of the text that the batcher leaves out: one with document 003's own get_batch."""
    return int(config.draws == "document-003")


def told(tokenizer: CharTokenizer, step: int, start: list[int], made: Generated) -> Sample:
    """Generated ids, of which `start` were given, as text with a digit of confidence for each character."""
    prompt, pieces = tokenizer.decode(start), [tokenizer.decode([i]) for i in made.ids[len(start) :]]
    return Sample(step, prompt + "".join(pieces), len(prompt), confidence(prompt, pieces, made.probabilities))


class Opening:
    """How the lecture begins: a batch (4, T), a model, its loss on that batch, and 100 sampled characters."""

    def __init__(self, model: LanguageModel, inputs: Tensor, loss: float, sample: Sample) -> None:
        self.model, self.inputs, self.loss, self.sample = model, inputs, loss, sample


def open_like_the_lecture(config: RunConfig, corpus: Corpus, draws: torch.Generator) -> Opening:
    """Follow the lecture's draws from one generator, seeded twice; training goes on with `draws` where this ends."""
    batcher = Batcher(corpus.train, config.block_size, draws, spare_windows(config))
    inputs, targets = batcher.draw(OPENING_ROWS)
    draws.manual_seed(config.seed)
    model = build(config, corpus.tokenizer.vocab_size, draws)
    loss = mean_loss(model, [(inputs, targets)])
    made = generate(model, [0], config.sample_tokens, draws)
    return Opening(model, inputs, loss, told(corpus.tokenizer, 0, [0], made))
