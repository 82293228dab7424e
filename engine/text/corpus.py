"""A text ready to train on: its tokens, its three splits, and the batches drawn from them.

Shapes: n tokens in a split, B windows in a batch, T = block_size tokens in a window.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import torch
from torch import Tensor

from ..config import RunConfig
from ..errors import InputError
from ..generators import generator
from ..progress import Report, unheard
from .epochs import EpochBatcher, window_count
from .tokenizer import CharTokenizer, Tokenizer, list_characters

_WIDE = 2**24  # tokens up to which a split is kept as int64 for drawing (128 MiB): no conversion at each step
SPLITS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text as token ids, split in the order of the text: training, validation, test.

    `train`, `val` and `test` are 1-D tensors on the CPU, in the smallest integer type that holds every id
    (uint8 up to 256 tokens); `Batcher` and `windows` hand out int64. A split with fraction 0 is empty.
    """

    name: str
    title: str
    tokenizer: Tokenizer
    train: Tensor
    val: Tensor
    test: Tensor
    val_fraction: float
    test_fraction: float
    characters: int  # length of the text
    distinct: int  # how many different characters it has
    sha256: str  # of the text as UTF-8, with line ends as \n
    source: str
    licence: str
    former: Corpus | None = None
    """The text that a model fine-tuned on this one was trained on before; both use that text's tokenizer."""

    @classmethod
    def of(
        cls,
        text: str,
        name: str = "text",
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        *,
        tokenizer: Tokenizer | None = None,
        title: str = "",
        source: str = "",
        licence: str = "",
        former: Corpus | None = None,
        report: Report = unheard,
    ) -> Corpus:
        """Split and tokenize `text`: with `former`'s tokenizer, else with `tokenizer`, else by characters.

        The training split is the first int((1 - val_fraction - test_fraction) * n) of the text's n characters, the
        validation split ends at int((1 - test_fraction) * n), the test split is the rest. InputError for a text with
        nothing to learn. `report` is told how far it is; what it raises ends it.
        """
        if not text:
            raise InputError("the text has 0 characters; choose one with at least 2 different ones")
        characters = CharTokenizer.of(text, report)
        if characters.vocab_size < 2:
            raise InputError(
                f"the text holds one character only ({list_characters(characters.vocab)}), so there is nothing to "
                "predict; choose a text with at least 2 different ones"
            )
        if former is not None:
            tokenizer = former.tokenizer
            if strange := tokenizer.unknown("".join(characters.vocab)):
                raise InputError(
                    f"{title or name} has characters that the model does not know: {list_characters(strange)}; "
                    "choose a text without them, or learn this one in a new run"
                )
        tokenizer = tokenizer or characters
        train_end, val_end = split_ends(len(text), val_fraction, test_fraction)
        parts = (text[:train_end], text[train_end:val_end], text[val_end:])
        train, val, test = (torch.from_numpy(tokenizer.encode_small(part, report)) for part in parts)
        return cls(
            name=name,
            title=title or name.replace("-", " "),
            tokenizer=tokenizer,
            train=train,
            val=val,
            test=test,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            characters=len(text),
            distinct=characters.vocab_size,
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            source=source,
            licence=licence,
            former=former,
        )

    @property
    def characters_per_token(self) -> float:
        """How many characters a token stands for, on average over the text; 1 where tokens are characters."""
        return self.characters / (len(self.train) + len(self.val) + len(self.test))

    @property
    def vocab_size(self) -> int:
        """How many tokens there are to choose from."""
        return self.tokenizer.vocab_size

    @property
    def highest_loss(self) -> float:
        """10·ln V nats per token: a loss above this is absurd, since guessing costs ln V."""
        return 10 * math.log(self.vocab_size)

    @property
    def splits(self) -> dict[str, Tensor]:
        """The splits by name: "train", and "val" and "test" unless their fraction is 0."""
        parts = {"train": self.train}
        if self.val_fraction > 0:
            parts["val"] = self.val
        if self.test_fraction > 0:
            parts["test"] = self.test
        return parts

    def check(self, config: RunConfig) -> None:
        """InputError unless a run with `config` can train on this text."""
        self.check_block_size(config.block_size, spare_windows(config))

    def batcher(self, config: RunConfig, draws: torch.Generator, device: torch.device) -> Batcher | EpochBatcher:
        """A batcher of random windows, or, for a run by epochs, of every window once an epoch."""
        data = self.train.to(device)
        if config.epochs is not None:
            return EpochBatcher(data, config.block_size, draws)
        return Batcher(data, config.block_size, draws, spare_windows(config))

    def val_batches(self, config: RunConfig, batch_size: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
        """Fixed validation batches, drawn with their own generator; none where the split holds no window."""
        if len(self.val) <= config.block_size:
            return []
        if config.epochs is not None:
            return _loaded(self.val, config, batch_size, device)
        batcher = Batcher(self.val.to(device), config.block_size, generator(config.seed, "evaluation"))
        return [batcher.draw(batch_size) for _ in range(config.eval_batches)]

    def train_batches(self, config: RunConfig, batch_size: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
        """Fixed batches of the training split to evaluate beside validation; none unless the run is by epochs."""
        return [] if config.epochs is None else _loaded(self.train, config, batch_size, device)

    def steps_per_epoch(self, block_size: int, batch_size: int) -> int:
        """Batches in one epoch; InputError where the training split has not even one."""
        there = window_count(len(self.train), block_size)
        if batch_size > there:
            raise InputError(
                f"batch_size {batch_size} is more than the {there} windows of {block_size} tokens in the training "
                f"split; choose at most {there}"
            )
        return there // batch_size

    def check_block_size(self, block_size: int, spare: int = 0) -> None:
        """InputError unless each split has room for one window of `block_size` tokens, its targets and `spare` more."""
        name, data = min(self.splits.items(), key=lambda item: len(item[1]))
        most = len(data) - 1 - spare
        if block_size <= most:
            return
        split = f"{len(data):,}-token {SPLITS[name]} split"
        if most < 1:
            without = "" if name == "train" else f", or set {name}_fraction to 0"
            raise InputError(f"the {split} is too short for any block_size; choose a longer text{without}")
        relation = "longer than" if block_size > len(data) else "too long for"
        raise InputError(f"block_size {block_size} is {relation} the {split}; choose at most {most}")


def _loaded(data: Tensor, config: RunConfig, batch_size: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Up to `eval_batches` batches of different windows of `data` [n], in their own random order; all of one size."""
    loader = EpochBatcher(data.to(device), config.block_size, generator(config.seed, "evaluation"))
    size = min(batch_size, loader.windows)
    return [loader.draw(size) for _ in range(min(config.eval_batches, loader.windows // size))]


def split_ends(characters: int, val_fraction: float, test_fraction: float) -> tuple[int, int]:
    """Where the training split and the validation split end, in characters from the start.

    Exact shares, rounded down: the fractions count as the decimals a person wrote, so that 60/30 leaves
    1 of 10 to train on (in floats, 1 - 0.6 - 0.3 is less than 0.1), and 90/10 cuts where `int(0.9 * n)` does.
    """
    val, test = Decimal(str(val_fraction)), Decimal(str(test_fraction))
    return int((1 - val - test) * characters), int((1 - test) * characters)


def least_characters(config: RunConfig) -> int:
    """The length from which a text of characters can be split and learnt from as `config` says."""
    least = 1
    while min(_lengths(least, config)) <= config.block_size + spare_windows(config):
        least += 1
    return least


def _lengths(characters: int, config: RunConfig) -> list[int]:
    """How long the splits are that there are."""
    train_end, val_end = split_ends(characters, config.val_fraction, config.test_fraction)
    fractions = (1.0, config.val_fraction, config.test_fraction)
    lengths = (train_end, val_end - train_end, characters - val_end)
    return [length for length, fraction in zip(lengths, fractions, strict=True) if fraction]


def spare_windows(config: RunConfig) -> int:
    """Windows at the end of the text that are never drawn: 1 with document 003's own get_batch, else 0."""
    return int(config.draws == "document-003")


class Batcher:
    """Draws random batches from one split; made once for a run, called at every step.

    data: int tensor [n] on any device. The start positions come from `generator`, on the CPU, one
    `torch.randint(n - block_size - spare, (B,))` a batch. `spare` = 1 gives the bound that document-003 uses.
    """

    def __init__(self, data: Tensor, block_size: int, generator: torch.Generator | None, spare: int = 0) -> None:
        self.starts = len(data) - block_size - spare  # how many start positions there are
        if self.starts < 1:
            raise ValueError(f"{len(data)} tokens are too few for windows of {block_size} + 1 + {spare}")
        if len(data) <= _WIDE:
            data = data.long()
        self._data, self._generator, self._device = data, generator, data.device
        window = torch.arange(block_size, device=data.device)
        self._window = torch.stack((window, window + 1)).unsqueeze(1)  # (2, 1, T): inputs, targets

    def draw(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """One batch: (inputs, targets), int64 (B, T) each, on the data's device."""
        starts = torch.randint(self.starts, (batch_size,), generator=self._generator)  # (B,)
        if self._device.type != "cpu":
            starts = starts.to(self._device, non_blocking=True)
        where = self._window + starts.unsqueeze(1)  # (2, B, T)
        # take beats [] by 2 µs, and Apple's GPU has none
        both = (self._data[where] if self._device.type == "mps" else self._data.take(where)).long()
        return both[0], both[1]


def draw(
    data: Tensor, batch_size: int, block_size: int, generator: torch.Generator | None = None, spare: int = 0
) -> tuple[Tensor, Tensor]:
    """One batch from `data` [n]: (inputs, targets), int64 (B, T) each. For many, keep a `Batcher`."""
    return Batcher(data, block_size, generator, spare).draw(batch_size)


def windows(data: Tensor, block_size: int, rows: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
    """The whole of `data` [n] in order: (inputs, targets), int64, `rows` windows at a time.

    The windows do not overlap, and each of the n - 1 targets appears once: batches of (rows, T), then a
    batch of fewer rows, then the last window alone, (1, shorter), where n - 1 is no multiple of T.
    """
    targets_left = len(data) - 1
    whole = targets_left // block_size  # windows of full length
    for first in range(0, whole, rows):
        start, end = first * block_size, min(first + rows, whole) * block_size
        yield data[start:end].long().view(-1, block_size), data[start + 1 : end + 1].long().view(-1, block_size)
    if (end := whole * block_size) < targets_left:
        yield data[end:-1].long().view(1, -1), data[end + 1 :].long().view(1, -1)
