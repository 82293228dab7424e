"""The rows of metrics.db as records and back: the one place that encodes and decodes them.

SQLite itself does not mind what lies in a column, and a folder may come from anywhere: every value is checked.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...stream.messages import Event, Floats, Observation, Sample, Scalars, Turn
from ...stream.series import narrowed
from .schema import MOST_NAMES

BLOCK = np.dtype([("loss", "<f4"), ("grad_norm", "<f4"), ("lr", "<f8"), ("seconds", "<f4")])
LONGEST_BLOCK = 4096  # steps
LARGEST_HALF = 6e4  # tables are kept in 16 bits a number, unless one is too large for them
LARGEST_SIDE = 4096  # rows or columns of a stored table
LAST_STEP = 2**32 - 1  # what the charts' steps have room for

Parameters = ParamSpec("Parameters")
Decoded = TypeVar("Decoded")


class DamagedRow(ValueError):
    """A row that is not as it was written."""


class PackedBlock(NamedTuple):
    """A row of `steps`: the first of consecutive steps, how many, and their numbers, by column, compressed."""

    first: int
    steps: int
    data: bytes


class StepBlock(NamedTuple):
    """Consecutive steps: the first, and the loss, grad_norm, lr and seconds of each, as float64 (n, 4)."""

    first: int
    numbers: NDArray[np.float64]

    @property
    def last(self) -> int:
        """The last of its steps."""
        return self.first + len(self.numbers) - 1

    @property
    def steps(self) -> NDArray[np.uint32]:
        """Its steps (n,)."""
        return np.arange(self.first, self.first + len(self.numbers), dtype=np.uint32)

    def scalars(self) -> list[Scalars]:
        """Its steps as the records that they were written from, rounded to what a row keeps."""
        return [Scalars(self.first + place, *row) for place, row in enumerate(self.numbers.tolist())]


# ---------------------------------------------------------------- records to rows


def pack_steps(rows: Sequence[Scalars]) -> Iterator[PackedBlock]:
    """Runs of consecutive steps as rows of `steps`."""
    start = 0
    for end in range(1, len(rows) + 1):
        broken = end == len(rows) or rows[end].step != rows[end - 1].step + 1
        if broken or end - start == LONGEST_BLOCK:
            part = rows[start:end]
            columns = zip(*part, strict=True)
            next(columns)
            packed = [  # a finite loss stays finite, as it does on the charts
                np.array(column) if BLOCK[name] == np.float64 else narrowed(np.array(column))
                for name, column in zip(BLOCK.names or (), columns, strict=True)
            ]
            data = b"".join(column.tobytes() for column in packed)
            yield PackedBlock(part[0].step, len(part), zlib.compress(data, 1))
            start = end


def encode_scalars(record: Observation) -> tuple[int, str]:
    """A row of `looks`."""
    return record.step, _json(record.scalars)


def encode_table(step: int, name: str, table: Floats) -> tuple[int, str, int, int, bytes]:
    """A row of `frames`: a table (rows, cols) in 16 bits a number where they do."""
    exact = "<f2" if float(np.abs(table).max(initial=0)) < LARGEST_HALF else "<f4"
    rows, cols = table.shape
    return step, name, rows, cols, zlib.compress(table.astype(exact).tobytes(), 1)


def encode_event(event: Event) -> tuple[int, str, str]:
    """A row of `events`."""
    return event.step, event.name, _whole_characters(event.text)


def encode_sample(sample: Sample) -> tuple[int, str, int, str]:
    """A row of `samples`."""
    return sample.step, _whole_characters(sample.text), sample.prompt, sample.confidence


def encode_turn(turn: Turn) -> tuple[int, int, str]:
    """A row of `turns`."""
    return turn.step, turn.stages, _json(turn.settings)


def _json(content: Any) -> str:
    return json.dumps(dict(content), separators=(",", ":"))


def _whole_characters(text: str) -> str:
    """`text` with "?" for each half of a character: SQLite refuses them, and whatever waits behind them."""
    return text.encode(errors="replace").decode()


# ---------------------------------------------------------------- rows to records


def _checked(decode: Callable[Parameters, Decoded]) -> Callable[Parameters, Decoded]:
    """`decode` with DamagedRow for whatever a row holds that nobody here has written."""

    @wraps(decode)
    def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Decoded:
        try:
            return decode(*args, **kwargs)
        except (zlib.error, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise DamagedRow(str(error)) from None

    return checked


@_checked
def decode_step(step: int) -> int:
    """A step by itself. DamagedRow."""
    return _step(step)


@_checked
def decode_steps(first: int, count: int, data: bytes) -> StepBlock:
    """A row of `steps`. DamagedRow."""
    if not 0 < count <= LONGEST_BLOCK or _step(first) + count - 1 > LAST_STEP:
        raise ValueError(f"a block of {count} steps from {first}")
    raw, offset, columns = _inflated(data, count * BLOCK.itemsize), 0, []
    for name in BLOCK.names or ():
        columns.append(np.frombuffer(raw, BLOCK[name], count, offset))
        offset += count * BLOCK[name].itemsize
    return StepBlock(first, np.stack(columns, axis=1).astype(np.float64))


@_checked
def decode_scalars(step: int, scalars: str) -> Observation:
    """A row of `looks`. DamagedRow."""
    said = json.loads(scalars)
    if len(said) > MOST_NAMES:
        raise ValueError(f"{len(said):,} numbers in one row")
    return Observation(_step(step), {str(name): float(value) for name, value in said.items()}, {})


@_checked
def decode_table(rows: int, cols: int, data: bytes) -> Floats:
    """A stored table (rows, cols) as float32. DamagedRow."""
    if not 0 < rows * cols <= LARGEST_SIDE**2:
        raise ValueError(f"a table of {rows} rows and {cols} columns")
    try:
        raw, kind = _inflated(data, 2 * rows * cols), "<f2"
    except ValueError:
        raw, kind = _inflated(data, 4 * rows * cols), "<f4"
    return np.frombuffer(raw, kind).astype(np.float32).reshape(rows, cols)


@_checked
def decode_named_table(step: int, name: str, rows: int, cols: int, data: bytes) -> Observation:
    """A row of `frames`. DamagedRow."""
    return Observation(_step(step), {}, {_text(name): decode_table(rows, cols, data)})


@_checked
def decode_event(step: int, name: str, text: str) -> Event:
    """A row of `events`. DamagedRow."""
    return Event(_step(step), _text(name), _text(text))


@_checked
def decode_sample(step: int, text: str, prompt: int, confidence: str) -> Sample:
    """A row of `samples`. DamagedRow."""
    return Sample(_step(step), _text(text), _step(prompt), _text(confidence))


@_checked
def decode_turn(step: int, stages: int, settings: str) -> Turn:
    """A row of `turns`. DamagedRow."""
    return Turn(_step(step), _step(stages), dict(json.loads(settings)))


def _step(number: object) -> int:
    if type(number) is not int or not 0 <= number <= LAST_STEP:
        raise ValueError(f"no step: {number!r}")
    return number


def _text(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"no text: {text!r}")
    return text


def _inflated(data: bytes, size: int) -> bytes:
    """What `data` holds compressed, if it is whole and `size` bytes long; zlib.error or ValueError if not."""
    inflating = zlib.decompressobj()
    raw = inflating.decompress(data, size + 1)
    if len(raw) != size or not inflating.eof:
        raise ValueError(f"not {size} bytes")
    return raw
