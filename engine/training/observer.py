"""What is seen of a run while it trains: tables and ratios of a step, validation, samples, and how often each is due.

An observer reads its trainer and emits records through it; nothing here moves a weight or a generator of the training.
Cadences are counted in steps. They follow the speed limit, so that a slow run is observed more often.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from ..config import LiveSettings
from ..errors import InputError, machine_trouble
from ..generators import generator
from ..models.base import LanguageModel
from ..models.registry import build_language_model
from ..progress import Cancelled, Report, unheard
from ..stream.messages import Event, Observation
from ..text.bigram_counts import BigramCounts
from ..text.corpus import Corpus
from . import probes
from .checkpoint import copied
from .evaluation import Lowest, mean_loss, split_loss
from .projection import Projector
from .sampling import generate, sample_record

if TYPE_CHECKING:
    from .trainer import Trainer

EARLY_STEPS = frozenset(digit * 10**power for digit in (1, 2, 5) for power in range(6))
"""Steps that are observed before the first one of a long cadence."""


FEW = 4
"""Up to so many validation windows a run by epochs says how few they are."""


class Observer:
    """Observes the steps of one trainer."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.observe_next = False
        """Observe and validate the next step whatever the cadences say (single steps by hand)."""
        self.extra_observations = 0
        """So many steps more are observed, since something is going wrong."""
        self.halt: Callable[[], bool] = lambda: False
        """Asked between two sampled tokens: is there something more urgent?"""
        self.val_loss: float | None = None
        self.test_loss: float | None = None
        self.lowest = Lowest()
        self.out_of_patience = False
        """Has validation not fallen for as many looks as the configuration allows?"""
        self.observing = False
        """Is the step under way one that is observed?"""
        self._before: dict[str, list[Tensor]] = {}
        self._told: set[str] = set()
        config, dataset, device = trainer.config, trainer.dataset, trainer.device
        batch_size = trainer.settings.batch_size
        self.projector, self._projection_interval = Projector(), probes.projection_interval(trainer.model)
        self.val_batches = dataset.val_batches(config, batch_size, device)
        self._train_batches = dataset.train_batches(config, batch_size, device)
        former = dataset.former if isinstance(dataset, Corpus) else None
        self._former_batches = former.val_batches(config, batch_size, device) if former else []
        counted = isinstance(dataset, Corpus) and "pairs" in trainer.model.features
        self._counts = BigramCounts.of(dataset) if counted and isinstance(dataset, Corpus) else None

    def follow(self, settings: LiveSettings) -> None:
        """Take the cadences for these settings."""
        config, speed = self._trainer.config, settings.speed
        pace = float("inf") if speed == "unlimited" else float(speed)
        self._last = settings.max_steps
        self.observe_every = max(1, int(min(config.observe_every, 0.5 * pace)))
        self._project_every = self.observe_every * (1 if pace <= 100 else self._projection_interval)
        self.eval_every = max(1, int(min(config.eval_every, 2 * pace)))
        self.sample_every = max(1, int(min(config.sample_every, 4 * pace)))

    # ---------------------------------------------------------------- around an update

    def before_update(self, step: int) -> None:
        """Where step `step` + 1 is due, copy what the update will change: gradients, and the weights themselves."""
        self._attempt(self._copy_before, step)

    def _copy_before(self, step: int) -> None:
        self.observing = (
            self._due(step + 1, self.observe_every) or self.observe_next or self.extra_observations > 0 or step == 0
        )
        if self.observing:
            model = self._trainer.model
            self._layer_norms = probes.layer_norms(model.layers())
            self._gradients = probes.gradient_tables(model)
            self._slopes = probes.scalar_gradients(model)
            self._before = probes.weight_copies(model.layers())

    def after_update(self, step: int) -> None:
        """Emit what is due of step `step`, which was just made."""
        self._attempt(self._observe, step)

    def _attempt(self, look: Callable[..., None], *step: int) -> None:
        """Look, and go without where the machine refuses: it runs short, or a file cannot be opened.

        What is told of it is one event for each kind of trouble.
        """
        try:
            look(*step)
        except Exception as error:
            why = machine_trouble(error)
            if why is None:
                raise
            self.observing, self._before = False, {}
            if why not in self._told:
                self._told.add(why)
                at = self._trainer.step
                self._trainer.emit(Event(at, "not observed", f"not all of step {at:,} could be observed: {why}"))

    def _observe(self, step: int) -> None:
        if self.observing:
            self._emit_observation(step)
        if self._trainer.epochs is not None:
            self._observe_epoch(step)
        else:
            if self._due(step, self.eval_every) or self.observe_next:
                self.validate(step % self.eval_every == 0)
            if self._due(step, self.sample_every):
                self.sample()
        self.observe_next = False

    def _emit_observation(self, step: int) -> None:
        model = self._trainer.model
        self.extra_observations = max(0, self.extra_observations - 1)
        scalars = {f"grad_norm/{layer}": norm for layer, norm in self._layer_norms.items()}
        scalars |= probes.update_ratios(self._before, model.layers())
        scalars |= probes.update_agreement(self._before, model.layers(), self._trainer.rate)
        self._before = {}  # a copy of all weights: it must not stay until the next observation
        scalars |= self._slopes | probes.scalar_values(model) | probes.measured(model) | self._divergence()
        tables = self._gradients | probes.weight_tables(model)
        if self._due(step, self._project_every) or self.observe_next:
            shares, points = probes.projection(model, self.projector)
            scalars, tables = scalars | shares, tables | points
        self._trainer.emit(Observation(step, scalars, tables))

    def _observe_epoch(self, step: int) -> None:
        """The cadence of a run by epochs: losses every `eval_every` steps whatever the speed, a sample at its end."""
        trainer = self._trainer
        if step % trainer.config.eval_every == 0 or step == self._last or self.observe_next:
            self.validate(step % trainer.config.eval_every == 0)
        if trainer.epochs is not None and not trainer.epochs.windows_left:
            trainer.emit(Event(step, "epoch", f"epoch {trainer.epochs.epoch}"))
            self.sample()

    def _due(self, step: int, every: int) -> bool:
        """Does the cadence name `step`: each `every` steps, some before the first of these, and the last step."""
        if step % every == 0 or step == self._last:
            return True
        return every // 20 <= step < every and step in EARLY_STEPS

    def _divergence(self) -> dict[str, float]:
        """Channel `kl`: how far a table of pairs is from the frequencies of its training text; others have none."""
        if self._counts is None or not isinstance(self._trainer.model, LanguageModel):
            return {}
        return {"kl": self._counts.divergence(self._trainer.model.token_embedding.weight)}

    # ---------------------------------------------------------------- between two steps

    def show_start(self) -> None:
        """Emit what there is before the first update: tables, validation loss, a sample, all of step 0."""
        self._attempt(self._show_start)

    def _show_start(self) -> None:
        trainer, model = self._trainer, self._trainer.model
        shares, points = probes.projection(model, self.projector)
        scalars = probes.scalar_values(model) | probes.measured(model) | shares | self._divergence()
        trainer.emit(Observation(0, scalars, probes.weight_tables(model) | points))
        if trainer.bfloat16:
            trainer.emit(Event(0, "precision", f"matrices are multiplied in bfloat16 on {trainer.device.type}"))
        if trainer.epochs is not None and 0 < (windows := sum(len(inputs) for inputs, _ in self.val_batches)) <= FEW:
            text = f"validation is {'a single window' if windows == 1 else f'only {windows} windows'} of "
            trainer.emit(Event(0, "validation", f"{text}{trainer.config.block_size:,} tokens: its loss says little"))
        self.validate()
        if trainer.opening is None:
            self.sample()
        else:
            trainer.emit(Event(0, "opening", f"opening batch: loss {trainer.opening.loss:.6f}"))
            trainer.emit(trainer.opening.sample)

    def look_unseen(self) -> None:
        """After a step that was made again unseen: the projection that was due, so that the next has the same side."""
        if self._due(self._trainer.step, self._project_every):
            probes.projection(self._trainer.model, self.projector)

    def be_patient_again(self) -> None:
        """Count the looks since the lowest validation loss from here on."""
        self.lowest.looks, self.out_of_patience = 0, False

    def validate(self, counts: bool = False) -> None:
        """Emit the mean losses on the fixed batches there are: of validation, by epochs of training too.

        One that `counts` is a look for `patience`. Of a fine-tuned model also the validation loss on the text that it
        learnt before: what it forgets.
        """
        trainer, model = self._trainer, self._trainer.model
        if not isinstance(model, LanguageModel):
            return
        by_epochs = trainer.epochs is not None
        scalars = {"tokens_seen": float(trainer.tokens_seen), "epoch": float(trainer.epoch)} if by_epochs else {}
        if self._train_batches:
            scalars["eval/train_loss"] = mean_loss(model, self._train_batches)
        if self.val_batches:
            self.val_loss = scalars["val/loss"] = mean_loss(model, self.val_batches)
            self._note_lowest(self.val_loss, counts)
        if self._former_batches:
            scalars["val/former_loss"] = mean_loss(model, self._former_batches)
        if scalars:
            trainer.emit(Observation(trainer.step, scalars, {}))

    def _note_lowest(self, loss: float, counts: bool) -> None:
        trainer, patience = self._trainer, self._trainer.config.patience
        if self.lowest.note(loss, trainer.step, counts) and self.will_test:
            self.lowest.weights = copied(dict(trainer.model.named_parameters()))
        self.out_of_patience = patience is not None and self.lowest.looks >= patience

    @property
    def will_test(self) -> bool:
        """Is the run one by epochs, with a test split that nothing has touched yet?"""
        dataset = self._trainer.dataset
        by_epochs = self._trainer.epochs is not None and isinstance(dataset, Corpus)
        return by_epochs and self.test_loss is None and "test" in dataset.splits  # type: ignore[union-attr]

    def sample(self) -> None:
        """Emit a sample from the fixed prompt and seed."""
        trainer, model, dataset = self._trainer, self._trainer.model, self._trainer.dataset
        if not isinstance(model, LanguageModel) or not isinstance(dataset, Corpus):
            return
        tokenizer, config = dataset.tokenizer, trainer.config
        prompt = config.sample_prompt if not tokenizer.unknown(config.sample_prompt) else tokenizer.vocab[0]
        start = tokenizer.encode(prompt).tolist()
        temperature = 1.0 if trainer.epochs is None else 0.0  # the document's samples are greedy
        draws = generator(config.seed, "sample")
        try:
            made = generate(model, start, config.sample_tokens, draws, temperature, halt=self.halt)
        except InputError:  # whether training goes on is for the guard to say
            trainer.emit(Event(trainer.step, "sample", "no sample: the scores are not finite"))
            return
        trainer.emit(sample_record(tokenizer, trainer.step, start, made))

    def test(self, report: Report = unheard) -> None:
        """At the end of a run by epochs, once: the exact loss on the test split, which nothing else has touched.

        The weights that are tested are those with the lowest validation loss; the last ones where these are not there.
        Where `report` ends it early, the run is not tested.
        """
        with suppress(Cancelled):
            self._attempt(partial(self._test, report))

    def _test(self, report: Report) -> None:
        trainer, model, dataset = self._trainer, self._trainer.model, self._trainer.dataset
        if not isinstance(dataset, Corpus) or not isinstance(model, LanguageModel):
            return
        if not self.will_test:
            return
        tested, which, weights = trainer.step, "the last weights", self.lowest.weights
        if weights:
            tested, which = self.lowest.step, f"the weights of step {self.lowest.step:,}, the best by validation"
            model = build_language_model(trainer.config, dataset.vocab_size).to(trainer.device)
            model.load_weights(weights)
        self.test_loss = split_loss(model, dataset.test, trainer.config.block_size, report)
        self.lowest.weights = {}
        trainer.emit(Observation(trainer.step, {"test/loss": self.test_loss, "test/step": float(tested)}, {}))
        trainer.emit(Event(trainer.step, "test", f"test loss {self.test_loss:.4f} with {which}"))
