"""`export`: a run's numbers as a table, or its weights at one of its steps."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..console import say
from ..errors import InputError
from ..storage import reader


def export(arguments: argparse.Namespace) -> int:
    """Write every step's numbers as a CSV table, or weights as safetensors."""
    if (arguments.csv is None) == (arguments.weights is None):
        raise InputError("export needs --csv FILE or --weights FILE, one of the two")
    if arguments.weights is not None:
        return _export_weights(arguments)
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


def _export_weights(arguments: argparse.Namespace) -> int:
    """Write the weights of the moment asked for, by parameter name."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from .stored_model import load_snapshot

    stored, _, snapshot = load_snapshot(arguments.run, arguments.at)
    try:
        save_file(dict(snapshot.weights), arguments.weights, {"run": stored.id, "step": str(snapshot.step)})
    except (OSError, SafetensorError) as error:
        raise InputError(f"--weights {arguments.weights} cannot be written ({error}); choose another file") from None
    say(f"weights of {stored.id} at step {snapshot.step:,} in {Path(arguments.weights).absolute()}")
    return 0
