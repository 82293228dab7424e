"""One optimization step in nine named stages.

A trainer holds a model, its optimizer and the generators, and emits what it measures. `advance` runs the nine stages
in order; `stage` runs only the next one, so that a learner can stop between any two. It departs from the textbook
loop in its last stage: gradients are cleared at the end of a step, not before `backward`, as in document 000; what is
shown of them was copied in `measure`.

What is shown, and how often, is in `observer`; saving, restoring and making steps again in `state`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_

from ..config import LiveSettings, RunConfig
from ..distributed.processes import Processes
from ..generators import generator, seed_for
from ..models.base import Dropout
from ..models.registry import build
from ..stream.messages import Event
from ..text.corpus import Corpus
from ..text.epochs import EpochBatcher
from ..text.points import Points
from . import probes
from .device import in_bfloat16
from .guard import WeightBound, all_finite
from .lecture import Opening, lecture_opening
from .observer import Observer
from .optimizers import make_optimizer, set_rate
from .schedule import is_constant, rate_at
from .step_recorder import DeviceStepRecorder, Emit, HostStepRecorder, StepRecorder

STAGES = ("batch", "forward", "loss", "backward", "measure", "guard", "update", "observe", "reset")


class Trainer:
    """A model in training: `advance()` is one step, `step` counts them."""

    def __init__(
        self,
        config: RunConfig,
        settings: LiveSettings,
        dataset: Corpus | Points,
        emit: Emit,
        device: torch.device | str = "cpu",
        processes: Processes | None = None,
    ) -> None:
        self.config, self.settings, self.dataset, self.emit = config, settings, dataset, emit
        self.device, self.processes = torch.device(device), processes
        self.step = 0
        self.tokens_seen = 0
        self.opening: Opening | None = None
        self.stages_done = 0
        """How many stages of the step under way are done; 0 between two steps."""
        self.unwatched = False
        """Steps that are made again measure and emit nothing."""
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
            self.draws = generator(config.seed, "data")
            self.model = build(config, dataset.vocab_size, generator(config.seed, "weights"))
        else:
            self.draws = torch.Generator().manual_seed(config.seed)
            self.opening = lecture_opening(config, dataset, self.draws)
            self.model = self.opening.model
        self.model.draw_weights(config.first_weights, generator(config.seed, "first weights"))
        self.model.to(self.device).train()
        self.batcher = dataset.batcher(config, self.draws, self.device)
        self.epochs = self.batcher if isinstance(self.batcher, EpochBatcher) else None
        # Apple's GPU has its numbers drawn on the CPU
        self.dropout_draws = generator(config.seed, "dropout", "cpu" if self.device.type == "mps" else self.device)
        for module in self.model.modules():
            if isinstance(module, Dropout):
                module.generator = self.dropout_draws

        self.parameters = list(self.model.parameters())
        self.bfloat16 = in_bfloat16(config.precision, self.model.parameter_count(), self.device)
        """Are matrices multiplied in bfloat16? What is looked at, validation and samples, stays in float32."""
        self._compiled = torch.compile(self.model) if config.compile else self.model
        self.optimizer = make_optimizer(config, self.model)
        self.recorder: StepRecorder = (
            DeviceStepRecorder(emit, self.optimizer, self.device)
            if self.device.type == "cuda"
            else HostStepRecorder(emit)
        )
        self.weight_bound = WeightBound(self.optimizer, config)
        self.observer = Observer(self)
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
        if self.processes is not None:
            self._agree_on_settings(self.processes)
        if self._scheduled:
            self._set_rate()
        self.inputs, self.targets = self.batcher.draw(self.settings.batch_size)
        self.batch_tokens = self.inputs.numel()
        self._earlier: Tensor | None = None  # the loss of the parts before the one that the stages show
        self._share = 1.0  # of the batch, in what the stages show
        if self.processes is not None:
            self.inputs, self.targets, self._share = self.processes.share(self.inputs, self.targets)

    def forward(self) -> None:
        """Score every possible next token: logits (B, T, C); of a batch in parts, those of the last part."""
        if self.settings.micro_batches > 1:
            self._work_through_earlier_parts()
        self.logits = self._score(self.inputs)

    def loss_stage(self) -> None:
        """How surprised the model is by the targets, on average: one number."""
        self.loss = self.model.loss(self.logits, self.targets)
        if self._share != 1:
            self.loss = self._share * self.loss
        if self._earlier is not None:
            self.loss = self._earlier + self.loss

    def backward(self) -> None:
        """The slope of the loss in every weight, into `.grad`."""
        self.loss.backward()  # type: ignore[no-untyped-call]
        if self.processes is not None:
            self.loss = self.processes.add_up(self.loss, self.parameters)

    def measure(self) -> None:
        """The length of the whole gradient; on the cadence, copies of what is shown."""
        self.grads = probes.gradients(self.parameters)
        self.grad_norm = probes.global_norm(self.grads)
        if not self.unwatched:
            self.observer.before_update(self.step)

    def guard(self) -> None:
        """May this update happen? Not with a loss or a gradient that is not finite."""
        self._allowed = self.recorder.check(self.loss, self.grad_norm)
        if not self._allowed:
            self._report_fault("gradient", {name: probes.gradients(part) for name, part in self.model.layers().items()})

    def update(self) -> None:
        """The optimizer moves the weights."""
        if not self._allowed:
            return
        settings = self.settings
        if settings.grad_clip is not None:
            clip_grads_with_norm_(self.parameters, settings.grad_clip, self.grad_norm)
        # SGD's reach depends on the gradient, and a GPU's host does not know it
        reach = float("inf") if self.recorder.late else self.recorder.grad_norm
        if self.weight_bound.grow(self.rate, settings.weight_decay, reach):
            self._careful_update()
        else:
            self.optimizer.step()
        if not self.recorder.diverged:
            self.step += 1
            self.tokens_seen += self.batch_tokens

    def observe(self) -> None:
        """What the update did, validation and a sample: each on its cadence."""
        if self._allowed and not self.recorder.diverged and not self.unwatched:
            self.observer.after_update(self.step)

    def reset(self) -> None:
        """Clear the gradients, so that the next step starts from none, and close the step's record."""
        self.grads = []  # else the gradients would live on, beside those of the next step
        for parameter in self.parameters:
            parameter.grad = None  # what zero_grad() does, without its bookkeeping, which costs 5 % of a bigram step
        diverged_here = self.recorder.diverged and not self.recorder.late
        self.recorder.record(self.step + diverged_here, self.rate, time.perf_counter() - self._started)

    # ---------------------------------------------------------------- around it

    def tune(self, settings: LiveSettings) -> None:
        """Other live settings from the next step on; the cadences follow the speed limit, never the clock."""
        self.settings = settings
        self._scheduled = not is_constant(settings)
        self._set_rate()
        self.observer.follow(settings)

    def _set_rate(self) -> None:
        """Give the optimizer the rate of the step under way, or of the next one."""
        self.rate = rate_at(self.settings, self.step + 1)
        set_rate(self.optimizer, self.rate, self.settings.weight_decay)

    @property
    def epoch(self) -> int:
        """The epoch under way, or the one just ended, counted from 1; 0 for a run that draws random windows."""
        return max(1, self.epochs.epoch) if self.epochs is not None else 0

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Begin with the weights of a model that was trained before, by parameter name, instead of the seed's."""
        self.model.load_weights(weights)
        self.weight_bound.measure()

    def settle(self) -> None:
        """Have every number of the steps so far emitted (a GPU's cross in blocks); withheld steps do not count."""
        self.recorder.flush(wait=True)
        if self.recorder.diverged and self.step >= self.recorder.step:
            self.tokens_seen -= (self.step + 1 - self.recorder.step) * self.batch_tokens
            self.step = self.recorder.step - 1

    def _agree_on_settings(self, processes: Processes) -> None:
        """The step begins in all processes with the settings of the first one.

        That one's dropout goes on from its snapshot; the others draw theirs anew for each step, by its number and their
        own, so that a run that is resumed with as many processes drops the same.
        """
        settings = processes.agree(self.settings)
        if settings is not self.settings:
            self.tune(settings)
        if processes.rank:
            self.dropout_draws.manual_seed(seed_for(self.config.seed, f"dropout {processes.rank}/{self.step + 1}"))

    def _score(self, inputs: Tensor) -> Tensor:
        """What the model says to `inputs`, in float32."""
        if not self.bfloat16:
            return cast(Tensor, self._compiled(inputs)[0])
        with torch.autocast(self.device.type, torch.bfloat16):
            return cast(Tensor, self._compiled(inputs)[0].float())

    def _work_through_earlier_parts(self) -> None:
        """Forward and backward of all micro-batches but the last, each weighed by its share of the windows.

        Their gradients add up in `.grad`. The last part, which the stages show, is left in `inputs` and `targets`.
        """
        parts = min(self.settings.micro_batches, len(self.inputs))
        *earlier, (self.inputs, self.targets) = zip(
            self.inputs.tensor_split(parts), self.targets.tensor_split(parts), strict=True
        )
        windows = sum(len(inputs) for inputs, _ in earlier) + len(self.inputs)
        total = torch.zeros((), device=self.device)
        for inputs, targets in earlier:
            loss = self.model.loss(self._score(inputs), targets) * (self._share * len(inputs) / windows)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self._earlier, self._share = total, self._share * len(self.inputs) / windows

    def _careful_update(self) -> None:
        """An update that could overflow: keep copies, look, and put the last finite weights back if it did."""
        kept = [p.detach().clone() for p in self.parameters]
        self.optimizer.step()
        finite = all_finite(self.parameters)
        if not self.recorder.late and not finite:
            self._report_fault("updated weights", self.model.layers())
        with torch.no_grad():
            for parameter, copy in zip(self.parameters, kept, strict=True):
                parameter.copy_(torch.where(finite, parameter, copy))
        self.recorder.mark_overflow(finite)
        if not self.recorder.late:
            self.weight_bound.measure()

    def _report_fault(self, what: str, layers: Mapping[str, Sequence[Tensor]]) -> None:
        """Say which layers, from input to output, hold something that is not finite (a GPU's host learns it late)."""
        names = [name for name, tensors in layers.items() if tensors and not all_finite(tensors)]
        where = "all layers" if len(names) == len(layers) > 1 else ", ".join(names)
        text = f"{what} not finite in {where}" if names else "loss not finite, though all gradients are"
        self.emit(Event(self.step + 1, "not finite", text))
