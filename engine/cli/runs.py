"""`runs`: the runs there are, newest first."""

from __future__ import annotations

import argparse

from ..console import printable, say
from ..paths import cli_command, home
from ..storage import reader


def runs(_: argparse.Namespace) -> int:
    """List the runs there are."""
    found = reader.list_runs()
    for stored in found:
        model = f"{stored.config.model} on {stored.config.corpus}" if stored.config else ""
        model = stored.recorded.name if stored.recorded else model
        say(printable(f"{stored.id}  {stored.status:<32} {model}".rstrip()))
        if stored.unread:
            say(printable(f"    lines of records.jsonl that cannot be read in full: {stored.unread:,}"))
            for reason in stored.unread_because:
                say(printable(f"    {reason}"))
    if not found:
        say(f"no runs yet in {home() / 'runs'}; `{cli_command('train')}` makes one")
    return 0
