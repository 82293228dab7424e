"""Loopscope as a package: `from loopscope import record`. What it offers is the engine's public face.

The wheel puts `engine/`, `pages/`, `data/` and `app.py` into this folder. In a checkout, which `pip install -e .`
leaves as it is, they lie three folders up.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if not (Path(__file__).parent / "engine").is_dir():
    __path__.append(str(Path(__file__).resolve().parents[3]))

from . import engine

__all__ = engine.__all__

if TYPE_CHECKING:
    from .engine import *  # noqa: F403
else:

    def __getattr__(name):
        return getattr(engine, name)

    def __dir__():
        return sorted({*globals(), *__all__})
