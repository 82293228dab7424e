"""Is everything here that a workshop needs? One line for each thing, and what to do about what is missing.

Looks and changes nothing: packages are found without being imported, but for torch, which alone knows its devices.
Starts with the standard library, so that it can speak where nothing is installed yet.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

from ..console import printable, say
from ..paths import INSTALLED, ROOT, cli_command, dashboard_command, home

OLDEST_PYTHON = (3, 11)
PORT = 8501
TIGHT_BYTES, TOO_FEW_BYTES = 2**30, 100 * 2**20
APPLE = "Apple's GPU is used where a run asks for it (--device mps), unmeasured"


class Finding(NamedTuple):
    """One line of the report. "missing" is needed and not there; "note" is good to know."""

    status: Literal["ok", "note", "missing"]
    text: str


def check(_: argparse.Namespace | None = None) -> int:
    """Print what there is; returns 0 if all that is needed is there, else 1."""
    status = 0
    for finding in findings():
        say(f"{finding.status:<8} {printable(finding.text)}")
        status = status or int(finding.status == "missing")
    return status


def findings() -> Iterator[Finding]:
    """All lines of the report, one by one: torch takes a moment."""
    pinned = pins(requirements())
    checks: tuple[Callable[[], Iterable[Finding]], ...] = (
        lambda: [python()],
        lambda: packages(pinned),
        lambda: [device()],
        lambda: [streamlit(pinned.get("streamlit"))],
        lambda: [browser_assets()],
        lambda: [port()],
        _data_home,
    )
    for one in checks:
        try:
            yield from one()
        except ModuleNotFoundError as error:
            yield Finding("missing", f"the package {error.name}; {install(error.name)}")


def _data_home() -> Iterator[Finding]:
    yield writable(home())
    yield disk(home())
    yield from corpora(home())


def python(running: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    """This Python's version."""
    name = f"Python {'.'.join(map(str, running))}"
    if running < OLDEST_PYTHON:
        return Finding("missing", f"{name} is too old; install {'.'.join(map(str, OLDEST_PYTHON))} or a later one")
    return Finding("ok", name)


def requirements() -> list[str]:
    """What Loopscope runs on, as its requirements.txt says, or the installed package; nothing if neither can be had."""
    try:
        if INSTALLED:
            return requires("loopscope") or []
        return (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, PackageNotFoundError):
        return []


def pins(lines: Iterable[str]) -> dict[str, str]:
    """The versions that these lines of requirements pin, by package."""
    matches = (re.match(r"([\w.-]+)(?:\[[^]]*\])?\s*==\s*([^\s;#]+)", line) for line in lines)
    return {match[1].lower(): match[2] for match in matches if match}


def install(*names: str | None) -> str:
    """What to do about packages that are missing: all pinned ones from a checkout, these where pip put Loopscope."""
    if not INSTALLED:
        return "run `python -m pip install -r requirements.txt`"
    pinned = pins(requirements())
    wanted = (f"{name}=={pinned[name]}" if name in pinned else name for name in names if name)
    return f"run `python -m pip install {' '.join(wanted)}`"


def packages(pinned: dict[str, str]) -> Iterator[Finding]:
    """Whether the pinned packages are installed, and in those versions."""
    installed = {name: _installed(name) for name in pinned}
    absent = [name for name, found in installed.items() if found is None]
    if absent:
        yield Finding("missing", f"the packages {', '.join(absent)}; {install(*absent)}")
    other = {
        name: f"{name} {found} (pinned {pinned[name]})"
        for name, found in installed.items()
        if found is not None and found != pinned[name] and name != "streamlit"
    }
    if other:
        listed = ", ".join(other.values())
        yield Finding("note", f"other versions than the tested ones: {listed}; to have those, {install(*other)}")
    if not pinned:
        yield Finding("note", "versions are not checked: requirements.txt is not beside the engine")
    elif not absent and not other:
        yield Finding("ok", f"{len(pinned)} packages as pinned")


def _installed(package: str) -> str | None:
    """The installed version of `package` without its local part ("+cpu"); None where there is none."""
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None


def device() -> Finding:
    """torch, and where it would train."""
    try:
        import torch
    except ModuleNotFoundError:
        raise
    except (ImportError, OSError) as error:
        return Finding("missing", f"torch cannot be loaded ({' '.join(str(error).split())[:200]}); install it again")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an old driver warns, and then there is no device
        cuda = torch.cuda.is_available()
    if cuda:
        return Finding("ok", f"torch {torch.__version__} on CUDA: {torch.cuda.get_device_name()}")
    apple = f"; {APPLE}" if torch.backends.mps.is_available() else ""
    return Finding("ok", f"torch {torch.__version__} on the CPU with {torch.get_num_threads()} threads{apple}")


def streamlit(pinned: str | None) -> Finding:
    """The dashboard's server: the pinned version, or a later one."""
    found = _installed("streamlit")
    if found is None or find_spec("streamlit") is None:
        return Finding("missing", f"streamlit, which the dashboard runs on; {install('streamlit')}")
    if pinned is None or found == pinned:
        return Finding("ok", f"streamlit {found}")
    if _numbers(found) < _numbers(pinned):
        return Finding("missing", f"streamlit {pinned}, there is only {found}; {install('streamlit')}")
    advice = f"if the dashboard fails, {install('streamlit')}"
    return Finding("note", f"streamlit {found} is later than the tested {pinned}; {advice}")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def browser_assets() -> Finding:
    """plotly.min.js, which the board draws with: out of the installed package, so no page needs the internet."""
    spec = find_spec("plotly")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        script = Path(folder) / "package_data" / "plotly.min.js"
        if script.is_file():
            size = script.stat().st_size / 1e6
            return Finding("ok", f"plotly {_installed('plotly')} with plotly.min.js ({size:.1f} MB), served from here")
    return Finding("missing", f"plotly.min.js, which the charts are drawn with; {install('plotly')}")


def port(number: int = PORT) -> Finding:
    """Whether the dashboard's port on loopback is free."""
    with socket.socket() as listener:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server just ended is no hindrance
        try:
            listener.bind(("127.0.0.1", number))
        except OSError:
            other = dashboard_command(f"--server.port {number + 1}")
            return Finding("note", f"port {number} is taken; end what uses it, or run `{other}`")
    return Finding("ok", f"port {number} is free on 127.0.0.1")


def writable(home: Path) -> Finding:
    """Whether the data home can be written to; it need not be there yet."""
    place = _nearest(home)
    try:
        with tempfile.TemporaryFile(dir=place):
            return Finding("ok", f"data home {home} can be written to")
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        return Finding(
            "missing", f"data home {home} cannot be written to ({why}); set LOOPSCOPE_HOME to another folder"
        )


def disk(home: Path, usage: Callable[[Path], tuple[int, int, int]] = shutil.disk_usage) -> Finding:
    """The space left where runs and downloads go."""
    try:
        free = usage(_nearest(home))[2]
    except OSError as error:
        return Finding("note", f"free disk space is not known ({error.strerror})")
    text = f"{free / 1e9:.1f} GB free in {home}"
    if free < TOO_FEW_BYTES:
        return Finding("missing", f"{text}; free some space, or set LOOPSCOPE_HOME to another disk")
    return Finding("note", f"{text}, which is little; free some space") if free < TIGHT_BYTES else Finding("ok", text)


def _nearest(path: Path) -> Path:
    """`path`, or the closest folder above it that exists."""
    return next((place for place in (path, *path.parents) if os.path.lexists(place)), path)


def corpora(home: Path) -> Iterator[Finding]:
    """The texts: those that are here, those to fetch before the internet is gone, those that cannot be read."""
    from ..config import DEFAULT_CORPUS
    from ..link import DEFAULT_PRESET
    from ..presets import preset
    from ..text import gpt2
    from ..text.corpus import least_characters
    from ..text.library import Library

    entries = Library(home).entries()
    usual = preset(DEFAULT_PRESET).config
    short = [entry for entry in entries if entry.ready and entry.characters < least_characters(usual)]
    here = [entry.name for entry in entries if entry.ready and entry not in short]
    if DEFAULT_CORPUS not in here:
        again = "install Loopscope again" if INSTALLED else "get the project's `data` folder again"
        yield Finding("missing", f"the default text {DEFAULT_CORPUS}.txt; {again}")
    if here:
        yield Finding("ok", f"texts here: {', '.join(here)}")
    if absent := [entry.name for entry in entries if entry.kind == "fetchable"]:
        yield Finding("note", f"texts not here: {', '.join(absent)}; `{cli_command('fetch --all')}` gets them")
    if (files := gpt2.found(home)) is not None:
        yield Finding("ok", f"{gpt2.TITLE}: {', '.join(path.name for path in files)} in {files[0].parent}")
    else:
        yield Finding("note", f"{gpt2.TITLE} is not here; `{cli_command(f'fetch {gpt2.NAME}')}` gets its two files")
    for entry in short:
        yield Finding(
            "note",
            f"{entry.name} cannot be learnt from: it has {entry.characters:,} characters, and a {usual.model} needs "
            f"{least_characters(usual):,}; choose a longer text",
        )
    for entry in entries:
        if entry.problem:
            yield Finding("note", f"{entry.name} cannot be learnt from: {entry.problem}")
