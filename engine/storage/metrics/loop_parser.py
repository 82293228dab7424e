"""Turns what a loop reports, a step at a time, into records: names it may use, and what becomes of odd values.

Names. `loss`, `grad_norm`, `lr` and `seconds` belong to a step; every other name is a channel of its own. ALIASES are
other words for the loss, the validation loss and the seconds. A name that the app itself uses (RESERVED) is kept with
"own/" before it.

What is not possible is reported, in a sentence, and the rest is kept. A reporter that raises refuses the whole report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...config import MAX_STEPS
from ...errors import InputError
from ...stream.downsampling import pool_table
from ...stream.messages import Event, Floats, Observation, Record, Sample, Scalars
from ...stream.series import GAPS, LARGEST, MEAN
from .recorded import Report, as_number, kind_of, printable_name, shown, text_of

MOST_CHANNELS = 64
MOST_TABLES = 4  # each is sent whole to every new viewer
LONGEST_NAME = 60
LONGEST_TEXT = 20_000
STEP_NUMBERS = ("loss", "grad_norm", "lr", "seconds")  # one row a step; every other number is a channel by itself
LOSS_NAMES = ("train/loss", "train_loss", "training/loss", "training_loss", "loss/train")
VAL_LOSS_NAMES = (
    *("val_loss", "valid_loss", "validation_loss", "eval_loss"),
    *("val/loss", "valid/loss", "validation/loss", "eval/loss"),
    *("loss/val", "loss/valid", "loss/validation", "loss/eval"),
)
ALIASES = {
    **dict.fromkeys(LOSS_NAMES, "loss"),
    **dict.fromkeys(VAL_LOSS_NAMES, "val/loss"),
    "step_time": "seconds",
}
RESERVED = ("step", "samples", "update_ratio")
TABLE_PREFIX = "table/"
OWN_PREFIX = "own/"
PART = " (part "  # in the names of what an earlier part of a run told
_NOTHING: dict[str, float] = {}


def refuse(_kind: str, sentence: str) -> None:
    """The reporter that raises: InputError with the sentence."""
    raise InputError(sentence)


class Restarted(Exception):
    """The loop has said anew what it is, and counts its steps anew: nothing of the report is kept yet."""


class LoopParser:
    """Turns what a loop reports into records; `report` is told what is not possible."""

    def __init__(self, report: Report = refuse) -> None:
        self.step = 0
        """The step that was reported last."""
        self.may_restart = False
        """Is a step that goes back the first of another start? Until one goes on."""
        self.report = report
        self._ahead = 0  # what is added to a step, since the loop began to count anew
        self._first = MAX_STEPS
        self._last_loss = -1
        self._names: dict[Any, str] = {name: name for name in STEP_NUMBERS}
        self._channels: set[str] = set()
        self._tables: dict[str, str] = {}
        self._not_finite_seen = False
        self._told_large: set[str] = set()

    def numbers(self, step: Any, numbers: Mapping[Any, Any], otherwise: Mapping[str, float] = _NOTHING) -> list[Record]:
        """What was measured at a step, by name; None is left out.

        otherwise: what else belongs to a step that has a loss, for names that `numbers` does not say. A step that is
        behind the last one and no later than the first begins a new count: it and those after it are counted on.
        """
        if (whole := self._whole_step(step)) is None:
            return []
        row: dict[str, float] = {}
        others: dict[str, float] = {}
        large: list[tuple[str, float]] = []
        for name, value in numbers.items():
            if type(value) is not float:
                if value is None:
                    continue
                number = as_number(value)
                if number is None:
                    what = f"{shown(value)} is {kind_of(value)}, not a number"
                    self.report(f"value of {shown(name)}", f"{shown(name)} {what}; log one number a name")
                    continue
                value = number
            key = self._names.get(name) or self._key(name)
            if not key:
                continue
            part = row if key in STEP_NUMBERS else others
            if key in part and key != name:
                self.report("two names", f"{shown(name)} is another name of {key}, which is there too; log one of them")
                continue
            part[key] = value
            if not -LARGEST <= value <= LARGEST and math.isfinite(value) and key not in self._told_large:
                self._told_large.add(key)
                large.append((key, value))
        if (at := self._place(whole, "loss" in row)) is None:
            row.clear()
            at = self.step
        records: list[Record] = []
        if "loss" in row:
            row = {**otherwise, **row}
            get = row.get
            loss = row["loss"]
            records.append(Scalars(at, loss, get("grad_norm", math.nan), get("lr", math.nan), get("seconds", math.nan)))
            if not math.isfinite(loss) and not self._not_finite_seen:
                self._not_finite_seen = True
                records.append(Event(at, "not finite", f"the loss is {loss} at step {at:,}"))
            self._last_loss = at
        else:
            others |= row
        if others:
            records.append(Observation(at, others, {}))
        if records:
            self._first = min(self._first, at)
            self.step = at
        for key, value in large:
            told = f"{key} {value:g} at step {at:,} is beyond what a chart can draw, and drawn as {LARGEST:.2g}"
            records.append(Event(at, "too large", told))
        return records

    def table(self, step: Any, name: Any, cells: Any) -> list[Record]:
        """A table of numbers; a larger one is kept with its neighbours averaged.

        A row of numbers is a table of one row; of more than two dimensions all but the first become columns. A cell
        that is not finite stays blank.
        """
        if (at := self._later_step(step)) is None:
            return []
        try:
            table = _cells(cells)
        except Exception:  # whatever its author's own conversion raises
            self.report(f"table {shown(name)}", f"table {shown(name)} is not one of numbers; give rows of equal length")
            return []
        if not table.size:
            self.report(f"table {shown(name)}", f"table {shown(name)} has shape {table.shape}; give a cell at least")
            return []
        if table.ndim > 2:
            self.report(
                f"table {shown(name)}",
                f"table {shown(name)} has shape {table.shape}; give two dimensions, those after the first become one",
            )
            table = table.reshape(len(table), -1)
        finite = np.isfinite(table)
        if not finite.all():
            count = f"{table.size - int(finite.sum()):,} of {table.size:,} cells that are not finite"
            self.report(f"table {shown(name)}", f"table {shown(name)} has {count}; they stay blank")
            table = np.where(finite, table, np.float32(np.nan))
        key = self._tables.get(name) if isinstance(name, str) else None
        if key is None:
            key = self._printable(name)
            if len(self._tables) == MOST_TABLES and key not in self._tables.values():
                self.report("tables", f"table {shown(key)} is one too many; a run has at most {MOST_TABLES}")
                return []
            self._tables[key] = key
        self.step = at
        return [Observation(at, {}, {TABLE_PREFIX + key: pool_table(table)})]

    def sample(self, step: Any, text: Any) -> list[Record]:
        """A text that the model wrote."""
        if (at := self._later_step(step)) is None:
            return []
        self.step = at
        return [Sample(at, self._text("a sample", text), 0, "")]

    def event(self, step: Any, text: Any, name: str = "event") -> list[Record]:
        """Something that happened."""
        if (at := self._later_step(step)) is None:
            return []
        self.step = at
        return [Event(at, name, self._text("an event", text))]

    # ---------------------------------------------------------------- steps

    def _whole_step(self, step: Any) -> int | None:
        """The step as it was counted, a whole number; None where it is none."""
        if type(step) is not int:
            number = as_number(step)
            step = int(number) if number is not None and number.is_integer() else step
        if type(step) is int and 0 <= step <= MAX_STEPS - max(self._ahead, 0):
            return step
        self.report("step", f"step {shown(step)} is not possible; give a whole number from 0 to {MAX_STEPS:,}")
        return None

    def _place(self, step: int, with_loss: bool) -> int | None:
        """Where a step's numbers go; None where its loss cannot be taken, and the rest belongs to the last step."""
        at = step + self._ahead
        if self.may_restart and (at < self.step or (with_loss and at <= self._last_loss)):
            raise Restarted
        self.may_restart = False
        if at > self.step or (at == self.step and not (with_loss and at == self._last_loss)):
            return at
        if at == self.step:
            self.report("twice", f"step {step:,} has its loss already; log each step once: the first is kept")
        elif with_loss and step <= self._first < self.step:
            self.report("counts anew", f"step {step:,} is behind step {self.step:,}; steps are counted on from there")
            self._ahead = self.step + 1 - step
            return step + self._ahead
        else:
            what = "its loss is left out" if with_loss else "it is kept there"
            last = self.step - self._ahead
            self.report("behind", f"step {step:,} is behind step {last:,}; steps never go back: {what}")
        return None

    def _later_step(self, step: Any) -> int | None:
        if step is None:
            return self.step
        whole = self._whole_step(step)
        if whole is None:
            return None
        placed = self._place(whole, False)
        return self.step if placed is None else placed

    # ---------------------------------------------------------------- names and texts

    def _key(self, name: Any) -> str:
        """The channel that a name stands for, "" where there is room for no more; remembered."""
        key = ALIASES.get(name) if isinstance(name, str) else None
        if key is None:
            key = self._printable(name)
            if key in RESERVED or key.startswith(TABLE_PREFIX) or key.endswith((MEAN, GAPS)):
                own = OWN_PREFIX + key.removesuffix(MEAN).removesuffix(GAPS)
                self.report(f"name {key}", f"{shown(name)} has a meaning here; it is kept as {own!r}")
                key = own
        if key not in STEP_NUMBERS and key not in self._channels:
            if len(self._channels) == MOST_CHANNELS:
                self.report(
                    "channels", f"{shown(name)} is one name too many; a run has at most {MOST_CHANNELS}, the first"
                )
                key = ""
            else:
                self._channels.add(key)
        if key or len(self._names) < 10 * MOST_CHANNELS:
            self._names[name] = key
        return key

    def _printable(self, name: Any) -> str:
        text = text_of(name)
        key = printable_name(text, LONGEST_NAME) or "?"
        if not isinstance(name, str) or key != name:
            bound = f"choose 1 to {LONGEST_NAME} printable characters"
            self.report(f"name {key}", f"{shown(name)} is no name; {bound}: it is kept as {key!r}")
        return key

    def _text(self, what: str, given: Any) -> str:
        text = text_of(given)
        if not isinstance(given, str):
            self.report(f"text of {what}", f"{what} {shown(given)} is {kind_of(given)}, not a text; give a string")
        if len(text) > LONGEST_TEXT:
            self.report(
                f"length of {what}",
                f"{what} of {len(text):,} characters is too long; at most {LONGEST_TEXT:,} are kept",
            )
            text = text[: LONGEST_TEXT - 1] + "…"
        return text


def _cells(cells: Any) -> Floats:
    """Numbers as float32 of two dimensions or more; whatever numpy or their own conversion raises."""
    if hasattr(cells, "detach"):
        cells = cells.detach().cpu().float().numpy()
    table = np.asarray(cells)
    if table.dtype.kind == "c":
        raise TypeError("complex numbers")
    if table.dtype.kind not in "biuf":
        table = np.asarray(cells, np.float64)
    with np.errstate(over="ignore"):
        return np.atleast_2d(table.astype(np.float32))
