"""Flat scripts that record a loop, neither closed nor in a `with` block, each in a process of its own and its end.

`.venv/bin/python -m tests.tracking.endings 20` ends each of them twenty times, all cores busy meanwhile.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from engine.storage import reader
from engine.storage.reader import StoredRun
from tests.conftest import ROOT

STEPS = 2000
LOOP = f"""
import os, signal, sys, time
from engine import record
log = record("flat", lr=1.0)
print(log.id, flush=True)
for step in range(1, {STEPS + 1}):
    log(step, loss=1 / step)
print("logged", flush=True)
"""
WAIT = "time.sleep(120)\n"
KILLED = """
step = 2000
while True:
    step += 1
    log(step, loss=1 / step)
    os.write(1, b"%d %r\\n" % (step, time.monotonic()))
    time.sleep(0.005)
"""
MOST_LOST = 2.0  # seconds of steps that SIGKILL may take


@dataclass(frozen=True)
class Ending:
    """What follows the loop, the signal that is sent after it, and what has to be there then."""

    tail: str
    sent: int | None
    status: int
    state: str
    words: str


ENDINGS = {
    "return": Ending("", None, 0, "done", "done at step 2,000"),
    "exception": Ending("1 / 0\n", None, 1, "failed", "ZeroDivisionError: division by zero"),
    "sys.exit": Ending("sys.exit()\n", None, 0, "done", "done at step 2,000"),
    "sys.exit(3)": Ending("sys.exit(3)\n", None, 3, "failed", "sys.exit(3)"),
    "raise SystemExit(1)": Ending("raise SystemExit(1)\n", None, 1, "failed", "sys.exit(1)"),
    "SIGTERM": Ending(WAIT, signal.SIGTERM, -signal.SIGTERM, "stopped", "stopped by SIGTERM at step 2,000"),
    "Ctrl-C": Ending(WAIT, signal.SIGINT, -signal.SIGINT, "stopped", "stopped at step 2,000"),
    "SIGKILL": Ending(KILLED, signal.SIGKILL, -signal.SIGKILL, "interrupted", ""),
}


def end(name: str, home: Path) -> tuple[StoredRun, int, float]:
    """Run one script to its end: its run as it lies there, its exit status, and seconds of steps that are missing."""
    ending = ENDINGS[name]
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP + ending.tail],
        cwd=ROOT,
        env=os.environ | {"LOOPSCOPE_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process:
        run = process.stdout.readline().strip()
        process.stdout.readline()
        if ending.sent == signal.SIGKILL:
            time.sleep(3)  # the script goes on logging
        if ending.sent is not None:
            process.send_signal(ending.sent)
        logged = [line.split() for line in process.stdout.read().splitlines()]
    stored = reader.read_run(home / "runs" / run)
    times = {int(step): float(at) for step, at in (words for words in logged if len(words) == 2)}
    lost = max(times.values()) - times.get(stored.step, min(times.values())) if times else 0.0
    return stored, process.returncode, lost


def faults(name: str, home: Path) -> list[str]:
    """What is wrong after that end."""
    ending = ENDINGS[name]
    stored, status, lost = end(name, home)
    found = []
    if (stored.reason, stored.state, status) != (None, ending.state, ending.status):
        found.append(f"{name}: {stored.status}, exit status {status}")
    if stored.reason is not None:
        return found
    steps = [row.step for row in reader.scalars(stored)]
    if steps != list(range(1, len(steps) + 1)) or (ending.words and len(steps) != STEPS) or len(steps) < STEPS:
        found.append(f"{name}: {len(steps):,} steps are there")
    words = [event.text for event in reader.read_history(stored).events][-1]
    if ending.words and words != ending.words:
        found.append(f"{name}: it ended in {words!r}")
    if lost > MOST_LOST:
        found.append(f"{name}: the last {lost:.2f} s are lost")
    return found


def main(times: int) -> int:
    """End each `times` times while all cores are busy; prints what is wrong."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        with tempfile.TemporaryDirectory() as home:
            found = [fault for name in ENDINGS for _ in range(times) for fault in faults(name, Path(home))]
    finally:
        for process in busy:
            process.kill()
            process.wait()
    print("\n".join(found) or f"{times} times each of {', '.join(ENDINGS)}: all steps and the right states")
    return len(found)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
