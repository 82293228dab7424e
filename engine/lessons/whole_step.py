"""One whole step made on a copy, and one token (or point) followed through its nine stages.

The numbers on the way: score, probability, surprise, slope, the weight's move, and the new probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..config import RunConfig
from ..models.base import LanguageModel, Model
from ..models.logistic import Logistic
from ..text.corpus import Corpus
from ..text.points import Points
from ..training.checkpoint import PausedState
from ..training.state import replay, take_snapshot
from ..training.trainer import STAGES

LAST_TABLES = ("head.weight", "token_embedding.weight")
"""Where a row holds the weights of one token's score, the nearest to the scores first."""


class Followed(NamedTuple):
    """What a step does with one place of its batch, (row, position), and with one weight that its score rests on.

    A probability is None for a model whose outputs are none. `pull` is the slope of the loss in the score;
    `slope` that in the weight, of the whole batch.
    """

    row: int
    position: int
    score: float
    rank: int
    """1 if the right token has the highest score."""
    probability: float | None
    surprise: float
    """The loss at this place alone."""
    pull: float
    weight: str
    """The weight's parameter, by name."""
    spot: tuple[int, ...]
    before: float
    slope: float
    after: float
    new_score: float
    new_probability: float | None
    new_surprise: float


@dataclass(frozen=True, eq=False)
class WholeStep:
    """A step with all that it makes, as copies. Shapes as the model has them: of a text (B, T) and (B, T, C).

    `outputs` are the scores of the step, `new_outputs` those of the same batch after its update, with the same
    dropout. `gradients` are as backward() left them, before clipping. `following` is where the next step begins.
    """

    model: Model
    inputs: Tensor
    targets: Tensor
    outputs: Tensor
    new_outputs: Tensor
    loss: float
    new_loss: float
    grad_norm: float
    before: dict[str, Tensor]
    after: dict[str, Tensor]
    gradients: dict[str, Tensor]
    withheld: bool
    """Did the guard keep the update from happening, or take it back?"""
    following: PausedState

    def follow(self, row: int, position: int) -> Followed:
        """Follow the place (row, position) of the batch; IndexError where there is none."""
        row, position = range(self.targets.shape[0])[row], range(self.targets.shape[1])[position]
        place = self.targets[row, position]
        spot = (row, position, int(place)) if isinstance(self.model, LanguageModel) else (row, position)
        weight, index = self._weight_behind(row, position)
        outputs = self.outputs.clone().requires_grad_(True)
        (pull,) = torch.autograd.grad(self.model.loss(outputs, self.targets), outputs)
        chances, new_chances = (_probabilities(self.model, one) for one in (self.outputs, self.new_outputs))
        scores = self.outputs[row, position].reshape(-1)
        return Followed(
            row,
            position,
            score=float(self.outputs[spot]),
            rank=int((scores > self.outputs[spot]).sum()) + 1,
            probability=None if chances is None else float(chances[spot]),
            surprise=float(self.model.pointwise_loss(self.outputs, self.targets)[row, position]),
            pull=float(pull[spot]),
            weight=weight,
            spot=index,
            before=float(self.before[weight][index]),
            slope=float(self.gradients[weight][index]),
            after=float(self.after[weight][index]),
            new_score=float(self.new_outputs[spot]),
            new_probability=None if new_chances is None else float(new_chances[spot]),
            new_surprise=float(self.model.pointwise_loss(self.new_outputs, self.targets)[row, position]),
        )

    def _weight_behind(self, row: int, position: int) -> tuple[str, tuple[int, ...]]:
        """A weight that the score at this place is made with: its parameter's name and index."""
        if "pairs" in self.model.features:
            return "token_embedding.weight", (int(self.inputs[row, position]), int(self.targets[row, position]))
        if isinstance(self.model, LanguageModel):
            for name in LAST_TABLES:
                if name in self.gradients and len(self.gradients[name]) == self.outputs.shape[-1]:
                    token = int(self.targets[row, position])
                    return name, (token, int(self.gradients[name][token].abs().argmax()))
        name = max(self.gradients, key=lambda one: float(self.gradients[one].abs().max()))
        found = torch.unravel_index(self.gradients[name].abs().argmax(), self.gradients[name].shape)
        index = tuple(int(i) for i in found)
        if len(index) == 2 and self.gradients[name].shape[1] == self.targets.shape[1]:  # a column for each output
            index = int(self.gradients[name][:, position].abs().argmax()), position
        return name, index


def make_whole_step(config: RunConfig, dataset: Corpus | Points, paused: PausedState) -> WholeStep:
    """The step under way at `paused`, from its first stage to its last, on a copy; knobs turn where they did."""
    trainer = replay(config, dataset, PausedState(paused.snapshot, 0, paused.turns))
    trainer.unwatched = True
    turns = dict(paused.turns)
    gradients: dict[str, Tensor] = {}
    dropout = trainer.dropout_draws.get_state()
    for done, name in enumerate(STAGES):
        if done and done in turns:
            trainer.tune(turns[done])
        trainer.stage()
        if name == "backward":
            gradients = {key: _copy(p.grad, p) for key, p in trainer.model.named_parameters()}
    withheld = trainer.recorder.diverged
    if len(STAGES) in turns:
        trainer.tune(turns[len(STAGES)])
    following = PausedState(take_snapshot(trainer), 0)
    trainer.dropout_draws.set_state(dropout)
    with torch.no_grad():
        new_outputs, new_loss = trainer.model(trainer.inputs, trainer.targets)
    return WholeStep(
        model=trainer.model,
        inputs=trainer.inputs,
        targets=trainer.targets,
        outputs=trainer.logits.detach(),
        new_outputs=new_outputs,
        loss=trainer.loss.item(),
        new_loss=float(new_loss),
        grad_norm=float(trainer.grad_norm),
        before=dict(paused.snapshot.weights),
        after={name: p.detach() for name, p in trainer.model.named_parameters()},
        gradients=gradients,
        withheld=withheld,
        following=following,
    )


def _probabilities(model: Model, outputs: Tensor) -> Tensor | None:
    """What the outputs mean as probabilities; None for a model whose outputs are none."""
    if isinstance(model, LanguageModel):
        return outputs.softmax(-1)
    return outputs.sigmoid() if isinstance(model, Logistic) else None


def _copy(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    """A parameter's gradient; zeros where it has none."""
    return torch.zeros_like(parameter).detach() if gradient is None else gradient.detach().clone()
