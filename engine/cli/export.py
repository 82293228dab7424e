"""`export`: a run's numbers as a table."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..console import say
from ..errors import InputError
from ..storage import reader


def export(arguments: argparse.Namespace) -> int:
    """Write every step's numbers as a CSV table."""
    from ..storage.export import metrics_table  # pandas, which nothing needs while training

    stored = reader.open_run(arguments.run)
    table = metrics_table(stored)
    try:
        table.to_csv(arguments.csv, index=False)
    except OSError as error:
        why = error.strerror.lower() if error.strerror else str(error)
        raise InputError(f"--csv {arguments.csv} cannot be written ({why}); choose another file") from None
    say(f"{len(table):,} steps of {stored.id} in {Path(arguments.csv).absolute()}")
    return 0
