"""The end of the process, however it comes: recordings that are still open are closed with what ended it.

    return, or sys.exit with 0 or nothing     done
    an exception that nobody caught           failed, with its type and words
    sys.exit with anything else               failed, with the status or the words
    Ctrl-C, SIGTERM, SIGHUP                   stopped

`exit`, `quit` and a script's own `raise SystemExit(status)` are as sys.exit. One that is raised within a function, or
whose status is worked out in that line, leaves no trace and counts as a return; a `with` block can tell it. After
SIGKILL the run is interrupted, and has what was reported up to half a second before.

A signal is answered only where nobody else answers it, and ends the process as it would have without this. A process
that was forked leaves its parent's recordings alone.
"""

from __future__ import annotations

import atexit
import builtins
import dis
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, NoReturn, Protocol
from weakref import WeakKeyDictionary, WeakSet

SIGNALS = ("SIGTERM", "SIGHUP", "SIGBREAK")
CLOSING_SECONDS = 30.0


class Open(Protocol):
    """A recording that is open."""

    stopped: bool

    @property
    def step(self) -> int:
        """The step that was reported last."""

    def close(self, state: str | None = None, message: str | None = None) -> None:
        """End it."""

    def leave_to_parent(self) -> None:
        """In a forked process: it is none of this process's."""


class Unfinished(Protocol):
    """What is still being written of a recording that nobody holds any more."""

    @property
    def finished(self) -> bool:
        """Is all of it written?"""

    def finish(self) -> None:
        """Wait until it is, and say what is not."""


_open: WeakSet[Open] = WeakSet()
_exits: WeakKeyDictionary[Open, tuple[int, object]] = WeakKeyDictionary()
_unfinished: list[Unfinished] = []
_arranged_in = 0  # the process that is arranged to end in order
_exit_functions = ((sys, "exit"), (builtins, "exit"), (builtins, "quit"))
_noted: dict[tuple[object, str], tuple[Callable[..., Any], Callable[..., Any]]] = {}
"""Of each of these that is being noted: what stands there instead, and what stood there before."""
_script: FrameType | None = None


def close_at_end(recording: Open) -> None:
    """Have `recording` closed when the process ends, unless it is by then."""
    global _arranged_in, _script
    _open.add(recording)
    _script = _frame_of_script() or _script
    _note_exits()
    _answer_signals()
    if _arranged_in != os.getpid():
        if _arranged_in == 0 and hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_leave_to_parent)
        _arranged_in = os.getpid()
        atexit.register(_close_all)
        _arrange_in_child()


def closed(recording: Open) -> None:
    """Say that `recording` has been closed."""
    _open.discard(recording)
    if not _open:
        _note_exits_no_more()
        _answer_signals_no_more()


def finish_at_end(storage: Unfinished) -> None:
    """Have the process wait at its end for a recording that nobody holds any more."""
    _unfinished[:] = [other for other in _unfinished if not other.finished]
    _unfinished.append(storage)


def ending(error: BaseException | None) -> tuple[str | None, str | None]:
    """The state of a run whose loop ended with `error`, and what there is to say of that; None is as usual."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return None, None
    if isinstance(error, KeyboardInterrupt | GeneratorExit):
        return "stopped", None
    if isinstance(error, SystemExit):
        return "failed", f"sys.exit({error.code!r})"[:2000]
    try:
        words = str(error)
    except Exception:  # its author's own
        words = ""
    return "failed", f"{type(error).__name__}: {words}"[:2000]


def _close_all(signal_name: str | None = None) -> None:
    """Close what is open, with what ends the process."""
    for recording in list(_open):
        state, message = ending(_last_error(recording))
        if signal_name is not None:
            state, message = "stopped", f"stopped by {signal_name} at step {recording.step:,}"
        _insist(partial(recording.close, state, message))
    for storage in _unfinished.copy():
        _insist(storage.finish)


def _insist(finish: Callable[[], None]) -> None:
    """Call `finish`, again where an impatient Ctrl-C interrupted it; the others are finished too if it fails."""
    for _ in range(3):
        try:
            finish()
        except KeyboardInterrupt:
            continue
        except Exception:
            traceback.print_exc()
        return


def _last_error(recording: Open) -> BaseException | None:
    """What ends the process, as far as it can be known."""
    if (error := sys.exc_info()[1]) is not None:  # at the end of a child of multiprocessing
        return error
    last: BaseException | None = getattr(sys, "last_value", None)
    if last is not None and not hasattr(sys, "ps1"):  # at a prompt it may be of any earlier line
        return last
    if (raised := _raised_by(_script)) is not None:
        return raised
    step, code = _exits.get(recording, (-1, None))
    return SystemExit(code) if step == recording.step else None


# ---------------------------------------------------------------- exits


def _note_exits() -> None:
    """Stand before sys.exit and its like, which leave no other trace when atexit's functions are called."""
    for module, name in _exit_functions:
        before = getattr(module, name, None)  # `python -S` has no exit and quit
        if before is None or _noted.get((module, name), (None,))[0] is before:
            continue
        noting = partial(_noting_exit, before)
        _noted[module, name] = noting, before
        setattr(module, name, noting)


def _note_exits_no_more() -> None:
    for (module, name), (noting, before) in _noted.items():
        if getattr(module, name, None) is noting:
            setattr(module, name, before)
    _noted.clear()


def _noting_exit(leave: Callable[[Any], NoReturn], status: Any = None, /) -> NoReturn:
    for recording in list(_open):
        _exits[recording] = recording.step, status
    leave(status)


def _frame_of_script() -> FrameType | None:
    """The outermost frame of the script that this process runs; None where the caller is not below it."""
    found, frame = None, sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__":
            found = frame
        frame = frame.f_back  # type: ignore[assignment]
    return found


def _raised_by(script: FrameType | None) -> SystemExit | None:
    """The SystemExit that the script's own last line raised, read from where its frame stopped.

    The interpreter has dropped the exception itself by now.
    """
    if script is None:
        return None
    code = [one for one in dis.get_instructions(script.f_code) if one.offset <= script.f_lasti]
    made = [one for one in code if one.opname not in ("PUSH_NULL", "PRECALL", "CACHE", "NOP")]
    if not made or made[-1].opname != "RAISE_VARARGS" or made[-1].offset != script.f_lasti:
        return None
    made = made[: -(made[-1].arg or 1)]  # `from …` is one more
    called = made.pop().arg if made[-1].opname == "CALL" else 0
    given = made.pop() if called == 1 else None
    if called not in (0, 1) or made[-1].argval != "SystemExit":
        return None
    if given is None:
        return SystemExit()
    return SystemExit(script.f_globals.get(given.argval) if given.opname == "LOAD_NAME" else given.argval)


# ---------------------------------------------------------------- signals


def _answer_signals() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for name in SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end_by_signal)


def _answer_signals_no_more() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for name in SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is _end_by_signal:
            signal.signal(number, signal.SIG_DFL)


def _end_by_signal(number: int, _frame: FrameType | None) -> None:
    """Close what is open, then end as the signal would have ended it.

    On a thread of its own: what was interrupted may hold a lock that closing needs, and then goes down with it.
    """
    closing = threading.Thread(target=_close_all, args=(signal.Signals(number).name,), daemon=True)
    with suppress(RuntimeError):  # no thread is to be had any more
        closing.start()
        closing.join(CLOSING_SECONDS)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


# ---------------------------------------------------------------- processes


def _leave_to_parent() -> None:
    """In a forked process: what is open belongs to the other one."""
    for recording in list(_open):
        recording.leave_to_parent()
    _open.clear()
    _exits.clear()
    _unfinished.clear()
    _answer_signals_no_more()


def _arrange_in_child() -> None:
    """A child of multiprocessing ends without atexit's functions, where it was forked, but with its own."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _close_all, exitpriority=100)
