"""The game with a room: one place of the passage is open at a time, and each phone gives one character for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

from ...errors import InputError
from ..classroom import Classroom, classroom
from ..poll import Character, Poll
from .passage import Passage
from .shannon import mean, room_surprises

SECONDS = 20.0  # that a place is open
SHOWN = 90  # characters before the place that a phone shows


class Together:
    """A room's game: `votes` are the characters that were given at each place so far, in no order of people."""

    def __init__(self, room: Classroom, clock: Callable[[], float] = time.monotonic) -> None:
        self.room = room
        self.passage: Passage | None = None
        self.votes: list[list[str]] = []
        self._poll: Poll | None = None
        self._clock, self._asked_at = clock, 0.0
        self._games = 0

    def begin(self, passage: Passage) -> None:
        """A new game on this passage; its first place is open."""
        self.passage, self.votes = passage, []
        self._games += 1
        self._ask()

    def end(self) -> None:
        """Close what is open and take the question away; the votes stay."""
        if self.asks:
            self.room.end()
        self._poll = None

    @property
    def asks(self) -> bool:
        """Is its question the one that stands before the room?"""
        return self._poll is not None and self.room.poll is self._poll

    @property
    def open(self) -> bool:
        """Is a place open?"""
        return self.asks and self._poll is not None and self._poll.open

    @property
    def done(self) -> bool:
        """Has the whole passage been guessed?"""
        return self.passage is not None and len(self.votes) == self.passage.count

    @property
    def late(self) -> bool:
        """Has the place been open for as long as it may be?"""
        return self.open and self._clock() - self._asked_at >= SECONDS

    def close(self) -> None:
        """Close the open place, keep its votes and show the right character. InputError where none is open."""
        if not self.open or self._poll is None or self.passage is None:
            raise InputError("no place is open; go on to the next one")
        self.room.close()
        votes = [str(one) for one in self._poll.answers()]
        right = self.passage.hidden[len(self.votes)]
        self.votes.append(votes)
        hits = votes.count(right)
        self.room.reveal(right, f"{hits:,} of {len(votes):,} had it." if votes else "Nobody has answered.")

    def next(self) -> None:
        """Open the next place. InputError after the last one."""
        if self.passage is None or self.done:
            raise InputError("this passage has been guessed to its end; begin another one")
        if self.open:
            self.close()
        if not self.done:
            self._ask()

    @property
    def losses(self) -> list[float]:
        """The room's surprise at each place so far, nats."""
        if self.passage is None:
            return []
        played = self.passage.hidden[: len(self.votes)]
        return room_surprises(self.votes, played, len(self.passage.alphabet))

    @property
    def loss(self) -> float:
        """The cross-entropy of the room's pooled belief so far, nats per character; InputError before the first."""
        return mean(self.losses)

    @property
    def known(self) -> str:
        """What everybody may read by now."""
        return "" if self.passage is None else self.passage.lead + self.passage.hidden[: len(self.votes)]

    def _ask(self) -> None:
        assert self.passage is not None
        place = len(self.votes)
        text = f"…{self.known[-SHOWN:]}▁\nWhich character comes next? {place + 1} of {self.passage.count}"
        self.room.ask(f"game-{self._games}-{place}", text, Character(self.passage.alphabet))
        self._poll, self._asked_at = self.room.poll, self._clock()


@cache
def room_game() -> Together:
    """This process's one."""
    return Together(classroom())
