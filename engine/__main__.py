"""`python -m engine`: the entry, and what its exit status says.

0 done or stopped, 1 diverged, failed or something missing, 2 bad input (one line on stderr), 130 interrupted.
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
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job of a shell script starts with it ignored
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
    except MemoryError:
        complain("out of memory; choose a shorter text, or a smaller batch_size, block_size or model")
        return 1


if __name__ == "__main__":
    sys.exit(main())
