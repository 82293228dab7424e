"""`fetch`: download texts and GPT-2's tokenizer into the data home, or list them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..console import Progress, complain, printable, say
from ..errors import InputError
from ..paths import cli_command, home
from ..text import gpt2
from ..text.download import PINNED_TEXTS
from ..text.library import Library, TextEntry


def fetch(arguments: argparse.Namespace) -> int:
    """Download the texts that are named, and GPT-2's tokenizer, whose two files may come from a folder instead."""
    library, names, folder = Library(home()), [name for name in arguments.names if name != gpt2.NAME], arguments.folder
    asked = arguments.all or len(names) < len(arguments.names)
    if folder is not None and (names or arguments.all or not asked):
        raise InputError(f"--from {folder[:80]} is for {gpt2.NAME} alone; put a text into {library.folder.path}")
    if asked and not names and not arguments.all:
        return _fetch_gpt2(folder)
    status = fetch_texts(library, names, arguments.all)
    if not arguments.names and not arguments.all:
        say(_place_of_gpt2())
    return max(status, _fetch_gpt2(folder)) if asked else status


def fetch_texts(library: Library, names: Sequence[str], everything: bool) -> int:
    """Download the texts called `names`, or `everything`; with neither, list them. 1 if a download failed.

    InputError for a name that cannot be fetched, before anything is downloaded.
    """
    if not names and not everything:
        for entry in _fetchable(library):
            say(_place(entry))
        return 0
    wanted = [*_fetchable(library)] if everything else []
    for name in names:
        entry = library.entry(name)
        wanted.append(entry if entry.kind == "fetchable" else library.fetch(name))
    failed = False
    for name in dict.fromkeys(entry.name for entry in wanted):
        try:
            say(_place(_download(library, library.entry(name))))
        except InputError as error:
            complain(str(error))
            failed = True
    return int(failed)


def _download(library: Library, entry: TextEntry) -> TextEntry:
    if entry.kind != "fetchable":
        return entry
    progress = Progress(entry.title, entry.bytes, "bytes", scaled=True)
    try:
        return library.fetch(entry.name, lambda done, total: progress.show(done))
    finally:
        progress.close()


def _fetch_gpt2(folder: str | None) -> int:
    if gpt2.found(home()) is None:
        progress = Progress(gpt2.TITLE, gpt2.BYTES, "bytes", scaled=True)
        try:
            gpt2.fetch(home(), lambda done, total: progress.show(done), None if folder is None else Path(folder))
        except InputError as error:
            complain(str(error))
            return 1
        finally:
            progress.close()
    say(_place_of_gpt2())
    return 0


def _fetchable(library: Library) -> Iterator[TextEntry]:
    """The texts with a known address, here or not."""
    known = {text.name for text in PINNED_TEXTS}
    return (entry for entry in library.entries() if entry.name in known)


def _place(entry: TextEntry) -> str:
    """Where a text is, in one line."""
    where = f"not here; `{cli_command(f'fetch {entry.name}')}` gets it" if entry.path is None else f"here: {entry.path}"
    return printable(f"{entry.name:<18} {entry.bytes:>11,} bytes  {where}")


def _place_of_gpt2() -> str:
    """Where GPT-2's tokenizer is, in one line."""
    paths = gpt2.found(home())
    get = f"not here; `{cli_command(f'fetch {gpt2.NAME}')}` gets it"
    where = get if paths is None else f"here: {paths[0].parent}"
    return printable(f"{gpt2.NAME:<18} {gpt2.BYTES:>11,} bytes  {where}")
