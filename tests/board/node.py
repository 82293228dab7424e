"""Node.js, for tests of the board's modules outside a browser."""

from __future__ import annotations

import os
import shutil

import pytest


def node() -> str:
    """Node's path. Without one the test is skipped, but not where it must run (CI)."""
    found = shutil.which("node")
    if found is None:
        unavailable("no Node.js found; install one to test the board's modules")
    return str(found)


def unavailable(reason: str) -> None:
    """Skip the test; fail it where all tests must run."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)
