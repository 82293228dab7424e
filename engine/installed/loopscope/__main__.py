"""`loopscope`: without a verb the dashboard, its flags passed on to Streamlit; with one, the engine's command line."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence

from .engine.__main__ import main as run_verb
from .engine.console import complain
from .engine.paths import ROOT, cli_command

HELP = ("-h", "--help")


def main(argv: Sequence[str] | None = None) -> int:
    """Do what `argv` (the process's own by default) asks for; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and (words[0] in HELP or not words[0].startswith("-")):
        return run_verb(words)
    return serve(words)


def serve(flags: Sequence[str]) -> int:
    """Run the dashboard until it is stopped; `flags` are those of `streamlit run`. Returns the exit status.

    Streamlit reads the configuration beside `app.py`, whatever the current folder holds, and puts that folder before
    all others on the path, so that the pages find this engine and no other.
    """
    sys.argv = ["streamlit", "run", str(ROOT / "app.py"), *flags]
    try:
        runpy.run_module("streamlit", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except ImportError as error:
        complain(f"the dashboard cannot begin ({error}); run `{cli_command('check')}`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
