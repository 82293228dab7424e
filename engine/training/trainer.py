"""One optimization step in nine named stages. Knows no threads, no queues' readers and no screen.

A trainer holds a model, its optimizer and the generators, and emits what it measures. `advance` runs the nine stages
in order; `stage` runs only the next one, so that a learner can stop between any two. It departs from the textbook
loop in its last stage: gradients are cleared at the end of a step, not before `backward`, as in document 000; what is
shown of them was copied in `measure`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_

from ..config import LiveSettings, OptimizerName, RunConfig
from ..errors import InputError
from ..generators import generator
from ..models.base import Dropout, LanguageModel, Model
from ..models.bigram import Bigram
from ..models.registry import build, build_language_model
from ..stream.messages import Event, Observation, Record, Sample
from ..text.bigram_counts import BigramCounts
from ..text.corpus import Batcher, Corpus, spare_windows
from ..text.epochs import EpochBatcher
from ..text.points import Points
from ..text.tokenizer import Tokenizer
from . import probes
from .checkpoint import PausedState, Snapshot, copied
from .evaluation import mean_loss, split_loss
from .guard import Headroom, all_finite
from .projection import Projector
from .sampling import Generated, confidence, generate
from .step_recorder import DeviceStepRecorder, Emit, HostStepRecorder, StepRecorder

STAGES = ("batch", "forward", "loss", "backward", "measure", "guard", "update", "observe", "reset")
OPENING_ROWS = 4
EARLY = frozenset(digit * 10**power for digit in (1, 2, 5) for power in range(6))


def make_optimizer(name: OptimizerName, model: Model, settings: LiveSettings) -> torch.optim.Optimizer:
    """AdamW or plain SGD over all parameters, one group, fused into one kernel."""
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    return kinds[name](model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True)


class Trainer:
    """A model in training: `advance()` is one step, `step` counts them."""

    def __init__(
        self,
        config: RunConfig,
        settings: LiveSettings,
        dataset: Corpus | Points,
        emit: Emit,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config, self.settings, self.dataset, self.emit = config, settings, dataset, emit
        self.device = torch.device(device)
        self.step = 0
        self.tokens_seen = 0
        self.look_closely = False
        """Look at tables and layers in the next step whatever the cadence says (single steps by hand)."""
        self.alarmed = 0
        """Look at tables and layers in this many steps more: something is going wrong."""
        self.opening: Opening | None = None
        self.halt: Callable[[], bool] = lambda: False
        """Asked between two sampled tokens: is there something more urgent?"""
        self.stages_done = 0
        """How many stages of the step under way are done; 0 between two steps."""
        self._unwatched = False
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

        if config.draws == "separate" or isinstance(dataset, Points):
            self._draws = generator(config.seed, "data")
            self.model = build(config, dataset.vocab_size, generator(config.seed, "weights"))
        else:
            self._draws = torch.Generator().manual_seed(config.seed)
            self.opening = open_like_the_lecture(config, dataset, self._draws)
            self.model = self.opening.model
        self.model.to(self.device).train()
        self._batcher = dataset.batcher(config, self._draws, self.device)
        self._epochs = self._batcher if isinstance(self._batcher, EpochBatcher) else None
        self._dropout = generator(config.seed, "dropout", self.device)
        for module in self.model.modules():
            if isinstance(module, Dropout):
                module.generator = self._dropout

        self.parameters = list(self.model.parameters())
        self._projector, self._looks_apart = Projector(), probes.looks_between_projections(self.model)
        self.optimizer = make_optimizer(config.optimizer, self.model, settings)
        self.recorder: StepRecorder = (
            DeviceStepRecorder(emit, self.optimizer, self.device)
            if self.device.type == "cuda"
            else HostStepRecorder(emit)
        )
        self._headroom = Headroom(self.parameters, config.optimizer)
        self._val_batches = dataset.val_batches(config, settings.batch_size, self.device)
        self._train_batches = dataset.train_batches(config, settings.batch_size, self.device)
        former = dataset.former if isinstance(dataset, Corpus) else None
        self._former_batches = former.val_batches(config, settings.batch_size, self.device) if former else []
        self._frequencies = BigramCounts.of(dataset) if isinstance(dataset, Corpus) else None
        self.tune(settings)

    # ---------------------------------------------------------------- one step

    def advance(self) -> None:
        """One optimization step; from between two stages, the rest of the step begun."""
        if self.stages_done:
            for _ in range(len(STAGES) - self.stages_done):
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
        name, run = STAGES[self.stages_done], self._stages[self.stages_done]
        run()
        self.stages_done = (self.stages_done + 1) % len(STAGES)
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
        due = self._due(self.step + 1, self._look_every) or self.look_closely or self.alarmed or self.step == 0
        self._looking = due and not self._unwatched
        if self._looking:
            self._layer_norms = probes.layer_norms(self.model.layers())
            self._gradients = probes.gradient_tables(self.model)
            self._slopes = probes.slopes(self.model)
            self._before = probes.copies(self.model.layers())

    def guard(self) -> None:
        """May this update happen? Not with a loss or a gradient that is not finite."""
        self._allowed = self.recorder.judge(self.loss, self.grad_norm)
        if not self._allowed:
            self._tell_fault("gradient", {name: probes.gradients(part) for name, part in self.model.layers().items()})

    def update(self) -> None:
        """The optimizer moves the weights."""
        if not self._allowed:
            return
        settings = self.settings
        if settings.grad_clip is not None:
            clip_grads_with_norm_(self.parameters, settings.grad_clip, self.grad_norm)
        # SGD's reach depends on the gradient, and a GPU's host does not know it
        reach = self.recorder.grad_norm if self.device.type == "cpu" else float("inf")
        if self._headroom.grow(settings.lr, settings.weight_decay, reach):
            self._careful_update()
        else:
            self.optimizer.step()
        if not self.recorder.diverged:
            self.step += 1
            self.tokens_seen += self.inputs.numel()

    def observe(self) -> None:
        """What the update did, validation and a sample: each on its cadence."""
        if not self._allowed or self.recorder.diverged or self._unwatched:
            return
        if self._looking:
            self.alarmed = max(0, self.alarmed - 1)
            scalars = {f"grad_norm/{layer}": norm for layer, norm in self._layer_norms.items()}
            scalars |= probes.update_ratios(self._before, self.model.layers())
            self._before = {}  # a copy of all weights: it must not stay until the next look
            scalars |= self._slopes | probes.numbers(self.model) | self._divergence()
            tables = self._gradients | probes.weight_tables(self.model)
            if self._due(self.step, self._project_every) or self.look_closely:
                shares, points = probes.projection(self.model, self._projector)
                scalars, tables = scalars | shares, tables | points
            self.emit(Observation(self.step, scalars, tables))
        if self._epochs is not None:
            self._observe_epoch(self._epochs)
        else:
            if self._due(self.step, self._eval_every) or self.look_closely:
                self.validate()
            if self._due(self.step, self._sample_every):
                self.sample()
        self.look_closely = False

    def reset(self) -> None:
        """Clear the gradients, so that the next step starts from none, and close the step's record."""
        self.grads = []  # else the gradients would live on, beside those of the next step
        for parameter in self.parameters:
            parameter.grad = None  # what zero_grad() does, without its bookkeeping, which costs 5 % of a bigram step
        diverged_here = self.recorder.diverged and self.device.type == "cpu"
        self.recorder.write(self.step + diverged_here, self.settings.lr, time.perf_counter() - self._started)

    # ---------------------------------------------------------------- around it

    def tune(self, settings: LiveSettings) -> None:
        """Other live settings from the next step on; the cadences follow the speed limit, never the clock."""
        self.settings = settings
        for group in self.optimizer.param_groups:
            group["lr"], group["weight_decay"] = settings.lr, settings.weight_decay
        config, speed = self.config, settings.speed
        pace = float("inf") if speed == "unlimited" else float(speed)
        self._look_every = max(1, int(min(config.observe_every, 0.5 * pace)))
        self._project_every = self._look_every * (1 if pace <= 100 else self._looks_apart)
        self._eval_every = max(1, int(min(config.eval_every, 2 * pace)))
        self._sample_every = max(1, int(min(config.sample_every, 4 * pace)))

    def show_start(self) -> None:
        """Emit what there is before the first update: tables, validation loss, a sample, all of step 0."""
        shares, points = probes.projection(self.model, self._projector)
        scalars = probes.numbers(self.model) | shares | self._divergence()
        self.emit(Observation(0, scalars, probes.weight_tables(self.model) | points))
        self.validate()
        if self.opening is None:
            self.sample()
        else:
            self.emit(Event(0, "opening", f"opening batch: loss {self.opening.loss:.6f}"))
            self.emit(self.opening.sample)

    def validate(self) -> None:
        """Emit the mean losses on the fixed batches there are: of validation, by epochs of training too.

        Of a fine-tuned model also the validation loss on the text that it learnt before: what it forgets.
        """
        if not isinstance(self.model, LanguageModel):
            return
        scalars = {"tokens_seen": float(self.tokens_seen), "epoch": float(self.epoch)} if self._epochs else {}
        if self._train_batches:
            scalars["eval/train_loss"] = mean_loss(self.model, self._train_batches)
        if self._val_batches:
            self.val_loss = scalars["val/loss"] = mean_loss(self.model, self._val_batches)
        if self._former_batches:
            scalars["val/former_loss"] = mean_loss(self.model, self._former_batches)
        if scalars:
            self.emit(Observation(self.step, scalars, {}))

    val_loss: float | None = None
    test_loss: float | None = None

    def test(self) -> None:
        """At the end of a run by epochs, once: the exact loss on the test split, which nothing else has touched."""
        if not isinstance(self.dataset, Corpus) or not isinstance(self.model, LanguageModel):
            return
        if self._epochs is None or self.test_loss is not None or "test" not in self.dataset.splits:
            return
        self.test_loss = split_loss(self.model, self.dataset.test, self.config.block_size)
        self.emit(Observation(self.step, {"test/loss": self.test_loss}, {}))
        self.emit(Event(self.step, "test", f"test loss {self.test_loss:.4f}"))

    @property
    def epoch(self) -> int:
        """The epoch under way, or the one just ended, counted from 1; 0 for a run that draws random windows."""
        return max(1, self._epochs.epoch) if self._epochs is not None else 0

    def sample(self) -> None:
        """Emit a sample from the fixed prompt and seed; it moves no generator of the training."""
        if not isinstance(self.model, LanguageModel) or not isinstance(self.dataset, Corpus):
            return
        tokenizer, config = self.dataset.tokenizer, self.config
        prompt = config.sample_prompt if not tokenizer.unknown(config.sample_prompt) else tokenizer.vocab[0]
        start = tokenizer.encode(prompt).tolist()
        temperature = 1.0 if self._epochs is None else 0.0  # the document's samples are greedy
        draws = generator(config.seed, "sample")
        try:
            made = generate(self.model, start, config.sample_tokens, draws, temperature, halt=self.halt)
        except InputError:  # whether training goes on is for the guard to say
            self.emit(Event(self.step, "sample", "no sample: the scores are not finite"))
            return
        self.emit(told(tokenizer, self.step, start, made))

    def begin_with(self, weights: Mapping[str, Tensor]) -> None:
        """Take other first weights than the seed's, by parameter name: those of a model that was trained before."""
        self.model.load_weights(weights)
        self._headroom.measure()

    def snapshot(self) -> Snapshot:
        """All that the next step depends on, as CPU copies; taken between two steps."""
        kept = self.optimizer.state
        return Snapshot(
            self.step,
            self.tokens_seen,
            self.settings,
            weights=copied(dict(self.model.named_parameters())),
            optimizer={name: copied(kept[p]) for name, p in self.model.named_parameters() if p in kept},
            generators={"data": self._draws.get_state(), "dropout": self._dropout.get_state()},
            batches={} if self._epochs is None else self._epochs.state(),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from `snapshot`, which a trainer of the same configuration took: what follows is bit-identical."""
        self.step, self.tokens_seen, self.stages_done = snapshot.step, snapshot.tokens_seen, 0
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.grad = None
                parameter.copy_(snapshot.weights[name])
                self.optimizer.state.pop(parameter, None)
                if name in snapshot.optimizer:
                    kept = snapshot.optimizer[name].items()
                    self.optimizer.state[parameter] = {key: value.to(self.device, copy=True) for key, value in kept}
        self._draws.set_state(snapshot.generators["data"])
        dropout = snapshot.generators["dropout"]
        if dropout.numel() == self._dropout.get_state().numel():  # a GPU's generator does not go on on a CPU
            self._dropout.set_state(dropout)
        if self._epochs is not None:
            self._epochs.restore(snapshot.batches)
        self._headroom.measure()
        self.tune(snapshot.settings)

    def repeat(self, goal: int, turns: Iterable[tuple[int, int, LiveSettings]], halt: Callable[[], bool]) -> None:
        """Make the steps up to `goal` again, unwatched, each knob turned where it was, unless told to `halt`.

        A turn is the number of updates made before it, of stages done of the next step, and the settings from then on.
        """
        said, self.emit = self.emit, _unheard
        self.recorder.emit, self._unwatched = _unheard, True
        try:
            for step, stages, settings in (*turns, (goal, 0, None)):
                while self.step < step and not self.recorder.diverged and not halt():
                    self.advance()
                if settings is not None and self.step == step:
                    for _ in range(stages - self.stages_done):
                        self.stage()
                    self.tune(settings)
            self.settle()
        finally:
            self.emit = self.recorder.emit = said
            self._unwatched = False
        if self.step != goal and not halt():
            raise RuntimeError(f"step {goal:,} was not reached again: this attempt diverged at step {self.step + 1:,}")

    def settle(self) -> None:
        """Have every number of the steps so far emitted (a GPU's cross in blocks); withheld steps do not count."""
        self.recorder.cross(wait=True)
        if self.recorder.diverged and self.step >= self.recorder.step:
            self.tokens_seen -= (self.step + 1 - self.recorder.step) * self.inputs.numel()
            self.step = self.recorder.step - 1

    def _observe_epoch(self, epochs: EpochBatcher) -> None:
        """The cadence of a run by epochs: losses every `eval_every` steps whatever the speed, a sample at its end."""
        if self.step % self.config.eval_every == 0 or self.step == self.settings.max_steps or self.look_closely:
            self.validate()
        if not epochs.windows_left:
            self.emit(Event(self.step, "epoch", f"epoch {epochs.epoch}"))
            self.sample()

    def _due(self, step: int, every: int) -> bool:
        """Does the cadence name `step`: each `every` steps, some before the first of these, and the last step."""
        if step % every == 0 or step == self.settings.max_steps:
            return True
        return every // 20 <= step < every and step in EARLY

    def _divergence(self) -> dict[str, float]:
        """Channel `kl`: how far a bigram's table is from the frequencies of its training text; others have none."""
        if not isinstance(self.model, Bigram) or self._frequencies is None:
            return {}
        return {"kl": self._frequencies.divergence(self.model.token_embedding.weight)}

    def _careful_update(self) -> None:
        """An update that could overflow: keep copies, look, and put the last finite weights back if it did."""
        kept = [p.detach().clone() for p in self.parameters]
        self.optimizer.step()
        finite = all_finite(self.parameters)
        if self.device.type == "cpu" and not finite:
            self._tell_fault("updated weights", self.model.layers())
        with torch.no_grad():
            for parameter, copy in zip(self.parameters, kept, strict=True):
                parameter.copy_(torch.where(finite, parameter, copy))
        self.recorder.overflowed(finite)
        if self.device.type == "cpu":
            self._headroom.measure()

    def _tell_fault(self, what: str, layers: Mapping[str, Sequence[Tensor]]) -> None:
        """Say which layers, from input to output, hold something that is not finite (a GPU's host learns it late)."""
        names = [name for name, tensors in layers.items() if tensors and not all_finite(tensors)]
        where = "all layers" if len(names) == len(layers) > 1 else ", ".join(names)
        text = f"{what} not finite in {where}" if names else "loss not finite, though all gradients are"
        self.emit(Event(self.step + 1, "not finite", text))


def replay(config: RunConfig, dataset: Corpus | Points, moment: PausedState) -> Trainer:
    """A throwaway trainer that stands at `moment`, on the CPU, live graph included; nothing it does reaches the run."""
    trainer = Trainer(config, moment.snapshot.settings, dataset, lambda _: None)
    trainer.restore(moment.snapshot)
    turns = dict(moment.turns)
    for done in range(moment.stages + 1):
        if done in turns:
            trainer.tune(turns[done])
        if done < moment.stages:
            trainer.stage()
    return trainer


def _unheard(_: Record) -> None:
    """Nobody is told."""


def told(tokenizer: Tokenizer, step: int, start: list[int], made: Generated) -> Sample:
    """Generated ids, of which `start` were given, as text with a digit of confidence for each character.

    A token of several characters gives its confidence to each of them.
    """
    prompt, pieces = tokenizer.decode(start), tokenizer.pieces(made.ids[len(start) :])
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
    model = build_language_model(config, corpus.vocab_size, draws)
    loss = mean_loss(model, [(inputs, targets)])
    made = generate(model, [0], config.sample_tokens, draws)
    return Opening(model, inputs, loss, told(corpus.tokenizer, 0, [0], made))
