"""The house keeps its rules: imports run one way (contracts in pyproject.toml), folders and classes are small."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parent.parent
SHOWS = ["streamlit", "plotly", "pandas", "starlette", "matplotlib"]
MODULES = sorted(path for room in ("engine", "pages") for path in (ROOT / room).rglob("*.py"))
MOST_MODULES = 15  # in a folder, besides __init__.py
MOST_LINES = 320  # of a class; a model and the trainer's step stay whole
SQL = ("SELECT ", "INSERT INTO ", "DELETE FROM ", "CREATE TABLE ", "PRAGMA ")
SCHEMA = "engine/storage/metrics/"
PARSERS = ("match", "fullmatch", "search", "findall", "finditer", "split", "partition", "rpartition")


def test_imports_run_one_way(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0, capsys.readouterr().out


def test_every_module_of_the_engine_has_its_place() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract for contract in contracts if contract.get("containers") == ["engine"])
    assert layers["exhaustive"] is True, "without it a new module would be under no rule"


def test_the_engine_runs_without_what_shows_it() -> None:
    """The whole engine in a fresh interpreter, training included."""
    script = f"""
import pkgutil, sys
import engine
for module in pkgutil.walk_packages(engine.__path__, "engine."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
from engine.presets import PRESETS
from engine.text.corpus import Corpus
from engine.training.trainer import Trainer
start = PRESETS["bigram"]
trainer = Trainer(start.config, start.settings, Corpus.of("abcd efgh " * 40), lambda record: None)
trainer.advance()
print([name for name in {SHOWS} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_pandas_is_whole_before_a_chart_is_built() -> None:
    """Plotly looks for pandas among the loaded modules, and fails on one that another session has half imported."""
    script = "import sys, pages.charts.static; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("True", 0), done.stderr


# ------------------------------------------------------------------ the rules of the house


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def is_whole(path: Path) -> bool:
    return path.is_relative_to(ROOT / "engine" / "models") or name(path) == "engine/training/trainer.py"


def test_the_engine_imports_itself_relatively() -> None:
    """It is installed under another name, where `engine` may be a file of somebody else's."""
    absolute = [
        f"{name(path)}:{node.lineno}"
        for path in MODULES
        if name(path).startswith("engine/")
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "engine")
        or (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "engine" for alias in node.names))
    ]
    assert absolute == []


def test_folders_are_small() -> None:
    counts: dict[str, int] = {}
    for path in MODULES:
        counts[name(path.parent)] = counts.get(name(path.parent), 0) + (path.name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_classes_are_small() -> None:
    lines = {
        f"{name(path)}: {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in MODULES
        if not is_whole(path)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
    }
    assert {where: count for where, count in lines.items() if count > MOST_LINES} == {}


def test_one_package_speaks_sql() -> None:
    speaking = {
        name(path)
        for path in MODULES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.lstrip().startswith(SQL)
    }
    assert {where for where in speaking if not where.startswith(SCHEMA)} == set()


def test_nothing_parses_a_sentence_of_an_event_or_a_description() -> None:
    """What code reads is data; sentences are made last, for people."""
    parsing = [
        f"{name(path)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in PARSERS
        and any(
            isinstance(part, ast.Attribute) and part.attr in ("text", "description")
            for value in (node.func.value, *node.args)
            for part in ast.walk(value)
        )
    ]
    assert parsing == []
