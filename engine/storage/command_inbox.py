"""How another process turns the knobs of a run whose writer accepts that: commands as files in its folder.

`<run>/mailbox/`: takes.json, there for as long as a writer listens, lists what it accepts; each other file is one
command, put there whole by a rename and read once, in the order of the names:

    {"settings": {"lr": 0.01}}        {"verb": "pause"}        {"verb": "resume"}        {"verb": "stop"}

A command is data with bounds: nothing of it is executed, and no path is taken from it.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..atomic import write_atomic
from ..config import LiveSettings, changed
from ..errors import InputError
from .metrics.json_lines import open_regular_file

FOLDER = "mailbox"
TAKES = "takes.json"
KNOBS = tuple(LiveSettings.model_fields)
ALL = (*KNOBS, "pause", "stop")
"""What can be accepted; a run that can be paused can be resumed."""
VERBS = ("pause", "resume", "stop")
LARGEST = 4096  # bytes of a command
MOST_AT_ONCE = 50
_NO_FIELDS: dict[str, Any] = {}
_DEFAULTS = LiveSettings(**_NO_FIELDS)


class Command(NamedTuple):
    """What was asked for: knobs to turn, checked one by one, or a verb."""

    settings: dict[str, Any]
    verb: str | None


class CommandInbox:
    """The writer's side: announces what it accepts, and receives commands."""

    def __init__(self, run: Path, takes: Sequence[str] = ALL) -> None:
        self.folder, self.takes = run / FOLDER, tuple(takes)
        self._stuck: set[str] = set()
        self._open = False
        with suppress(OSError):  # a disk that refuses now is asked again
            self._begin()

    def _begin(self) -> None:
        if self.folder.is_symlink():  # into a folder that is not ours
            self.folder.unlink()
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self._waiting():  # sent to a writer that is gone
            try:
                left.unlink()
            except OSError:  # a folder, say
                self._stuck.add(left.name)
        write_atomic(self.folder / TAKES, json.dumps(list(self.takes)))
        self._open = True

    def receive(self) -> Iterator[Command | InputError]:
        """What has come since the last call, in order; an InputError for what is no command."""
        try:
            if not self._open:
                self._begin()
            waiting = self._waiting()[:MOST_AT_ONCE]
        except OSError:
            return
        for path in waiting:
            try:
                content = _read(path)
                path.unlink()
            except OSError as error:
                self._stuck.add(path.name)
                with suppress(OSError):
                    path.unlink()
                yield InputError(f"a command was ignored: its file cannot be taken ({error.strerror or error})")
                continue
            try:
                yield self._command(content)
            except InputError as error:
                yield InputError(f"a command was ignored: {error}")

    def close(self) -> None:
        """Accept no more commands."""
        with suppress(OSError):
            (self.folder / TAKES).unlink(missing_ok=True)
            self.folder.rmdir()

    def _waiting(self) -> list[Path]:
        """The commands there are: by name, those that could not be taken left out."""
        names = sorted(path.name for path in self.folder.glob("[!.]*.json"))
        return [self.folder / name for name in names if name != TAKES and name not in self._stuck]

    def _command(self, content: bytes) -> Command:
        if len(content) > LARGEST:
            raise InputError(f"it is longer than {LARGEST:,} bytes")
        try:
            said = json.loads(content)
        except (ValueError, RecursionError):
            raise InputError("it is not JSON") from None
        if not isinstance(said, dict) or len(said) != 1:
            raise InputError('it is neither {"settings": {…}} nor {"verb": "…"}')
        if "verb" in said:
            return Command({}, check_verb(said["verb"], self.takes))
        settings = said.get("settings")
        if not isinstance(settings, dict) or not settings:
            raise InputError('it is neither {"settings": {…}} nor {"verb": "…"}')
        return Command(check_settings(settings, self.takes), None)


def accepted_commands(run: Path) -> tuple[str, ...]:
    """What the writer of a run says that it accepts; nothing where it does not listen."""
    try:
        takes = json.loads(_read(run / FOLDER / TAKES))
    except (OSError, ValueError, RecursionError):
        return ()
    return tuple(name for name in ALL if isinstance(takes, list) and name in takes)


def close_inbox(run: Path) -> None:
    """Take back what a writer that was killed announced: nobody listens any more. OSError."""
    if not (run / FOLDER).is_symlink():
        (run / FOLDER / TAKES).unlink(missing_ok=True)


def send_settings(run: Path, **settings: Any) -> None:
    """Ask the writer of a run to turn these knobs. InputError where it does not, or they are not possible."""
    _drop(run, {"settings": check_settings(settings, accepted_commands(run))})


def send_verb(run: Path, verb: str) -> None:
    """Ask the writer of a run to pause, resume or stop. InputError where it does not."""
    _drop(run, {"verb": check_verb(verb, accepted_commands(run))})


def check_settings(settings: dict[str, Any], accepted: Sequence[str]) -> dict[str, Any]:
    """These knobs with values that are possible; InputError names the first that is not, or is not accepted."""
    for name in settings:
        if name not in accepted or name not in KNOBS:
            knobs = ", ".join(knob for knob in accepted if knob in KNOBS) or "none"
            raise InputError(f"{name[:40]!r} is not a knob that this run honours; it honours {knobs}")
    whole = changed(_DEFAULTS, **settings)
    return {name: getattr(whole, name) for name in settings}


def check_verb(verb: object, accepted: Sequence[str]) -> str:
    """`verb`, if it is one that is accepted; InputError else."""
    if not isinstance(verb, str) or verb not in VERBS:
        raise InputError(f"{str(verb)[:40]!r} is not a verb; choose {', '.join(VERBS)}")
    if ("pause" if verb == "resume" else verb) not in accepted:
        raise InputError(f"this run does not honour {verb}")
    return verb


def _drop(run: Path, command: dict[str, Any]) -> None:
    if (run / FOLDER).is_symlink():
        raise InputError(f"run {run.name} cannot be told: its mailbox is a link")
    name = f"{time.time_ns():020}-{secrets.token_hex(4)}.json"
    try:
        write_atomic(run / FOLDER / name, json.dumps(command))
    except OSError as error:
        raise InputError(f"run {run.name} cannot be told ({error.strerror}); it may have ended") from None


def _read(path: Path) -> bytes:
    with open_regular_file(path) as file:
        return file.read(LARGEST + 1)
