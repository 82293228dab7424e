"""The board's modules under Node's own test runner, and their types under TypeScript's compiler."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, get_args

import numpy as np

from engine.config import LiveSettings, changed
from engine.stream.history import Frame
from engine.training.schedule import rate_at
from tests.board.node import node, unavailable

JS = Path(__file__).resolve().parents[1] / "js"
COMPILER = JS / "node_modules" / "typescript" / "lib" / "tsc.js"


def passes(command: list[str], **environment: str) -> None:
    """Run a command in the folder of the JavaScript tests; what it prints is shown where it fails."""
    done = subprocess.run(command, cwd=JS, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_board_s_own_tests_pass(tmp_path: Path) -> None:
    """Among them: it decodes a frame as Python encodes it."""
    arrays = {
        "train/loss": np.array([[1, 2, 3], [4.5, 4.25, 4.125]], np.float32),
        "weights/token_embedding": np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3),
        "empty": np.zeros((2, 0), np.float32),
    }
    header = {"kind": "snapshot", "run": "ä", "base_step": 0}
    (tmp_path / "frame").write_bytes(Frame(header, list(arrays.items())).encode())
    expected = json.dumps([[name, list(array.shape), array.ravel().tolist()] for name, array in arrays.items()])
    tests = [path.name for path in sorted(JS.glob("*.test.js"))]
    assert tests
    passes(
        [node(), "--test", *tests],
        LOOPSCOPE_FRAME=str(tmp_path / "frame"),
        LOOPSCOPE_EXPECTED=expected,
        LOOPSCOPE_RATES=json.dumps(planned_rates()),
    )


def planned_rates() -> list[dict[str, Any]]:
    """Schedules of all kinds, with the rate of each step and of some after the end."""
    found = []
    for schedule in get_args(LiveSettings.model_fields["schedule"].annotation):
        for warmup, share, final in ((0, 0.4, 0.0), (7, 0.33, 0.1), (70, 1.0, 1.0)):
            settings = changed(
                LiveSettings(lr=0.3, max_steps=50),
                schedule=schedule,
                warmup_steps=warmup,
                decay_share=share,
                final_share=final,
            )
            rates = [rate_at(settings, step) for step in range(1, 60)]
            found.append({"settings": settings.model_dump(), "rates": rates})
    return found


def test_the_board_s_types_hold() -> None:
    path = node()
    if not COMPILER.exists():
        unavailable("TypeScript is not installed; `npm ci` in tests/js installs it")
    passes([path, str(COMPILER), "--project", "tsconfig.json"])
