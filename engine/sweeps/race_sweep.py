"""A race as a sweep: lanes that differ in one number, and the loss against that number."""

from __future__ import annotations

import math

from ..config import LiveSettings
from ..models.registry import build_language_model
from ..progress import Report, unheard
from ..runs.races.race import Race
from ..runs.races.results import lane_results
from ..stream.status import State
from ..text.corpus import Corpus
from ..training.evaluation import split_loss
from .sweep import Point

MOST_PARAMETERS = 2_000_000
"""A model up to this size is evaluated over a whole split in a moment."""


def swept_knob(race: Race) -> str | None:
    """The one setting in which the lanes differ, where it is a number and another in each lane; else None."""
    told = [lane.settings.model_dump() for lane in race.lanes]
    differs = [name for name in LiveSettings.model_fields if len({one[name] for one in told}) > 1]
    if len(differs) != 1 or len({lane.config for lane in race.lanes}) != 1:
        return None
    values = {one[differs[0]] for one in told}
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return differs[0] if numbers and len(values) == len(race.lanes) else None


def race_points(race: Race, knob: str) -> list[Point]:
    """Each lane's value of `knob` and the mean loss of its last tenth of steps, so far; by ascending value.

    Lanes that have made too few steps to tell are left out.
    """
    values = {name: getattr(lane.settings, knob) for name, lane in zip(race.names, race.lanes, strict=True)}
    found = [
        Point(float(values[one.name]), math.nan, one.step + 1)
        if one.state is State.DIVERGED
        else Point(float(values[one.name]), one.loss, None)
        for one in lane_results(race)
    ]
    return sorted(found)


def can_validate(race: Race) -> bool:
    """Has the text a validation split, and is the model small enough to be evaluated on all of it at once?"""
    small = all(lane.parameters <= MOST_PARAMETERS for lane in race.lanes)
    return small and isinstance(race.dataset, Corpus) and len(race.dataset.val) > 1


def validated_points(race: Race, knob: str, report: Report = unheard) -> list[Point]:
    """Each lane's value of `knob` and its exact loss on the validation split, with its weights of now.

    `report` is told how far it is; what it raises ends it. InputError where a lane's thread has ended.
    """
    assert isinstance(race.dataset, Corpus)
    found = []
    for lane in race.lanes:
        value = float(getattr(lane.settings, knob))
        if lane.state is State.DIVERGED:
            found.append(Point(value, math.nan, lane.step + 1))
            continue
        _, weights = lane.copy_weights()
        model = build_language_model(lane.config, race.dataset.vocab_size).load_weights(weights)
        found.append(Point(value, split_loss(model, race.dataset.val, lane.config.block_size, report), None))
    return sorted(found)
