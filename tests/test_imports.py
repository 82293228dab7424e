"""Imports run one way; the contracts themselves are in pyproject.toml under [tool.importlinter]."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parent.parent
SHOWS = ["streamlit", "plotly", "pandas", "starlette", "matplotlib"]


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
