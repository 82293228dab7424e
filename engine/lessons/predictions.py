"""What a room predicted of a run, and what came: kept as predictions.json in the run's folder, as counts and values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from ..atomic import write_atomic
from ..config import Frozen
from ..errors import InputError

FILE = "predictions.json"
MOST = 100  # questions of a run, the newest
LONGEST_FILE = 2_000_000  # bytes; a thousand curves, thinned as they are told, have about 60,000
OF_THE_MOMENT = frozenset({"asking", "open", "hidden", "distribution", "before", "right", "because", "reasons"})


class Prediction(Frozen):
    """question: its id, text, kind and bounds, and how many answered; told: what they said, as its kind tells it;
    right: what came, an option's place, a number, a character or the points of a curve.
    """

    question: dict[str, Any]
    told: dict[str, Any]
    right: Any


class Predictions(Frozen):
    """All that were made of a run, in the order in which they were revealed."""

    predictions: tuple[Prediction, ...] = Field((), max_length=MOST)


def read(folder: Path) -> tuple[Prediction, ...]:
    """The predictions in `folder`; none where there are none, or where their file is damaged."""
    path = folder / FILE
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LONGEST_FILE:
            return ()
        return Predictions.model_validate_json(path.read_bytes()).predictions
    except (OSError, ValidationError):
        return ()


def store(folder: Path, question: Mapping[str, Any], told: Mapping[str, Any], right: Any) -> None:
    """Add what was predicted of the run in `folder`. InputError where it cannot be written.

    question: as a poll's `header` tells it. Where there are too many, or they are too long, the oldest go.
    """
    lasting = {name: value for name, value in question.items() if name not in OF_THE_MOMENT}
    kept = (*read(folder), Prediction(question=lasting, told=dict(told), right=right))[-MOST:]
    while len(text := Predictions(predictions=kept).model_dump_json() + "\n") > LONGEST_FILE:
        kept = kept[1:]
    try:
        write_atomic(folder / FILE, text)
    except OSError as error:
        raise InputError(
            f"the predictions of run {folder.name} cannot be written ({error.strerror}); free some space, or see "
            "whether its folder is still there"
        ) from None
