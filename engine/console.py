"""What the command line says: lines on stdout, complaints of one line and progress on stderr.

Knows nothing of runs or texts. A reader that goes away (`| head`) and a terminal that is none are no errors.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable
from typing import Any

PARTS = 10
PART_SECONDS = 10.0
BAR_SECONDS = 1.0  # after which long work has a bar on a terminal


def say(text: str = "") -> None:
    """A line on stdout; after the reader has gone, into nothing."""
    try:
        print(text, flush=True)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):  # a terminal that hung up
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(text: str) -> None:
    """Exactly one line on stderr, whatever `text` holds."""
    if sys.stderr is not None:  # print would take stdout instead
        with contextlib.suppress(OSError, ValueError):  # its reader has gone, or it is closed
            print(printable(" ".join(text.split())), file=sys.stderr, flush=True)


def printable(text: str, kept: str = "") -> str:
    """`text` with everything a terminal would obey, but for the characters in `kept`, written out."""
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


class Progress:
    """How far something is: a bar on a terminal; elsewhere at most a line for each tenth of the way."""

    def __init__(
        self, title: str, total: int, unit: str, scaled: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.title, self.total, self.unit = title, total, unit
        self._clock = clock
        self._written = (0, clock())  # tenths of the way, and when
        self._bar = self._make_bar(scaled) if sys.stderr is not None and sys.stderr.isatty() else None

    def show(self, done: int, note: str = "") -> None:
        """`done` of the total so far; `note` is what else there is to say. Cheap at ten calls a second."""
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._bar.n)
            return
        part, at = self._written
        if done * PARTS // self.total > part and self._clock() - at >= PART_SECONDS:
            self._written = (done * PARTS // self.total, self._clock())
            complain(f"{self.title}: {done:,} of {self.total:,} {self.unit}" + (f", {note}" if note else ""))

    def line(self, text: str, write: Callable[[str], None] = complain) -> None:
        """A line of its own, above the bar where there is one: by `complain` on stderr, by `say` on stdout."""
        if self._bar is not None:
            self._bar.clear()
        write(text)
        if self._bar is not None:
            self._bar.refresh()

    def close(self, last: str = "") -> None:
        """End the bar as it stands; where there is none, write the line `last` if there is one."""
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()
        elif last:
            complain(f"{self.title}: {last}")

    def _make_bar(self, scaled: bool) -> Any:
        from tqdm import tqdm  # type: ignore[import-untyped]

        sized = os.get_terminal_size(sys.stderr.fileno()).columns > 0  # some terminals say 0 columns and rows
        return tqdm(
            desc=printable(self.title),
            total=self.total,
            unit=f" {self.unit}",
            unit_scale=scaled,
            mininterval=0.2,
            miniters=1,
            dynamic_ncols=sized,
            ncols=None if sized else 80,
            nrows=None if sized else 24,
            file=sys.stderr,
        )


class Stages:
    """A report for long work: on a terminal a bar for each stage after a moment, elsewhere what `Progress` says.

    `with Stages() as report` ends the last bar.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self._from = clock() + (BAR_SECONDS if terminal else PART_SECONDS)
        self._what = ""
        self._shown: Progress | None = None

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def __call__(self, what: str, done: int, total: int) -> None:
        """What is done now, how much of it, of how much; a total of 0 is not known."""
        if self._clock() < self._from:
            return
        if what != self._what:
            self._end()
            self._what = what
            self._shown = Progress(what, total, "", scaled=True, clock=self._clock) if total else None
            if self._shown is None:
                complain(f"{what} …")
        if self._shown is not None:
            self._shown.show(done)

    def _end(self) -> None:
        if self._shown is not None:
            self._shown.close()
            self._shown = None
