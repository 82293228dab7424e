"""A data home and a short text for the command line."""

from __future__ import annotations

import pytest

TEXT = "".join(f"{a} met {b} by the quay, and {b} said: {a * n}!\n" for n in range(1, 9) for a, b in ("am", "no", "it"))


@pytest.fixture
def data_home(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "quay.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path
