"""`python -m engine`: the entry, and what its exit status says.

0 done or stopped, 1 diverged, failed, not saved or something missing, 2 bad input, or a file or folder that the system
refuses (one line on stderr), 130 interrupted.
Starts with the standard library alone, so that `check` can speak where nothing is installed yet.
"""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Sequence

from .cli.check import check, install
from .console import complain


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (the process's own by default); returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    interrupt_on_signals()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a sample may hold what the terminal cannot show
    try:
        try:
            from .cli.parser import run
        except ModuleNotFoundError as error:
            if words == ["check"]:
                return check()
            complain(f"the package {error.name!r} is not installed; {install(error.name)}")
            return 1
        return run(words)
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        where = "" if error.filename is None else f"{str(error.filename)[:200]}: "
        complain(
            f"{where}{(error.strerror or str(error)).lower()}; see that it is there and may be used, or name another"
        )
        return 2
    except MemoryError:
        complain("out of memory; choose a shorter text, or a smaller batch_size, block_size or model")
        return 1


def interrupt_on_signals() -> None:
    """Have SIGTERM and SIGHUP interrupt as Ctrl-C does; a hang-up that `nohup` ignores stays ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job of a shell script starts with it ignored
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no hang-up
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


if __name__ == "__main__":
    sys.exit(main())
