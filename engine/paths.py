"""Where things are, and what the command is called: in a checkout of the project, or installed with pip.

Uses the standard library alone until an installed copy asks for its data home.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The folder that `engine/`, `pages/`, `data/` and `app.py` lie in."""
INSTALLED = not (ROOT / "pyproject.toml").is_file()
"""Is this a copy that pip installed, rather than a checkout?"""
SHIPPED_FOLDER = ROOT / "data"
"""The texts that come with the project; in an installed copy nothing else is in there."""


def home() -> Path:
    """Where runs and downloads live: LOOPSCOPE_HOME, else a checkout's `data/` or the platform's data folder."""
    if chosen := os.environ.get("LOOPSCOPE_HOME"):
        return Path(chosen).absolute()
    if not INSTALLED:
        return SHIPPED_FOLDER
    import platformdirs

    return platformdirs.user_data_path("loopscope", appauthor=False).absolute()


def cli_command(words: str = "") -> str:
    """What a person types here for this verb: "python -m engine fetch --all", or "loopscope fetch --all"."""
    name = "loopscope" if INSTALLED else "python -m engine"
    return f"{name} {words}".rstrip()


def dashboard_command(flags: str = "") -> str:
    """What a person types here to start the dashboard with these flags of Streamlit's."""
    return f"{'loopscope' if INSTALLED else 'streamlit run app.py'} {flags}".rstrip()
