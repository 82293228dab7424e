"""The process of a recorded loop ends without a word to the recorder: what was logged is there, and how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import FrameType

import pytest

from engine import record
from engine.paths import home
from engine.storage import reader
from engine.storage.reader import StoredRun
from engine.tracking import process_end
from tests.conftest import ROOT
from tests.tracking.endings import ENDINGS, faults

if not hasattr(os, "fork"):
    pytest.skip("ends processes as POSIX does", allow_module_level=True)


def test_a_flat_script_without_close_leaves_all_its_steps_however_it_ends() -> None:
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda name: faults(name, home()), ENDINGS))
    assert found == [[]] * len(ENDINGS)


def ended(script: str, status: int = 0) -> list[StoredRun]:
    """The runs, oldest first, of a script that ends with `status`."""
    begin = "import os, signal, sys, threading\nfrom engine import record\n"
    done = subprocess.run([sys.executable, "-c", begin + script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stderr
    return sorted(reader.list_runs(), key=lambda run: run.recorded.name if run.recorded else "")


def words(run: StoredRun) -> str:
    """Of how it ended."""
    return list(reader.read_history(run).events)[-1].text


def test_several_recordings_in_one_process_end_each_by_itself() -> None:
    script = """
def trial(number):
    log = record(f"{number}")
    for step in range(1, 301):
        log(step, loss=1 / step)
    if number == 1:
        log.close("diverged")
for number in range(4):
    trial(number)  # nobody holds it any more
assert threading.active_count() <= 5
log = record("4")
log(7, loss=1.0)
raise KeyError("gone")
"""
    runs = ended(script, 1)
    assert [(run.state, run.step) for run in runs[:4]] == [
        ("done", 300),
        ("diverged", 300),
        ("done", 300),
        ("done", 300),
    ]
    assert (runs[4].state, runs[4].step, words(runs[4])) == ("failed", 7, "KeyError: 'gone'")


def test_a_forked_child_leaves_the_recording_to_its_parent() -> None:
    script = """
log = record("a", live=("stop",))
log(1, loss=1.0)
if (child := os.fork()) == 0:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    log(99, loss=1.0)
    log.close("failed")
    own = record("b")
    own(5, loss=1.0)
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
log(2, loss=1.0)
"""
    first, second = ended(script)
    assert (first.state, first.step) == ("done", 2)
    assert (second.state, second.step) == ("done", 5)


def test_children_of_multiprocessing_end_in_order_too() -> None:
    script = """
import multiprocessing
def train(number):
    log = record(f"{number}")
    log(number, loss=1.0)
    if number == 2:
        raise ValueError("odd")
children = [multiprocessing.get_context("fork").Process(target=train, args=(number,)) for number in (1, 2)]
for child in children: child.start()
for child in children: child.join()
"""
    first, second = ended(script)
    assert (first.state, first.step) == ("done", 1)
    assert (second.state, second.step, words(second)) == ("failed", 2, "ValueError: odd")


def test_an_exit_that_was_caught_is_no_end() -> None:
    script = """
log = record("a")
log(1, loss=1.0)
try:
    sys.exit(5)
except SystemExit:
    log(2, loss=1.0)
"""
    (run,) = ended(script)
    assert (run.state, run.step) == ("done", 2)


RAISED = {
    "raise SystemExit(1)": 1,
    "raise SystemExit('no data')": "no data",
    "status = 4; raise SystemExit(status)": 4,
    "try: 1 / 0\nexcept ZeroDivisionError: raise SystemExit(2) from None": 2,
    "try: 1 / 0\nexcept ZeroDivisionError as e: raise SystemExit(2) from e": 2,
    "with open(os.devnull): raise SystemExit(-1)": -1,
    "if os: raise SystemExit(True)": True,
    "try: raise SystemExit(6)\nexcept SystemExit: pass\nraise SystemExit(5)": 5,
    "raise SystemExit": None,
    "raise SystemExit()": None,
    "raise SystemExit(0)": 0,
    "raise SystemExit(None)": None,
}
NOT_KNOWN = (
    "",
    "try: raise SystemExit(7)\nexcept SystemExit: pass",
    "raise SystemExit(int(8))",
    "raise SystemExit(os.EX_OK)",
    "def leave(): raise SystemExit(9)\nleave()",
    "sys.exit(3)",
    "raise KeyError('SystemExit')",
    "while True: raise SystemExit(*[1, 2])",
)


def raised(line: str) -> SystemExit | None:
    """What is found in the frame of a script that ended with that line."""
    frames: list[FrameType] = []
    code = compile(f"import os, sys\nkeep(sys._getframe())\n{line}\n", "script", "exec")
    with suppress(SystemExit, KeyError):
        exec(code, {"__name__": "__main__", "keep": frames.append})
    return process_end._raised_by(frames[0])


@pytest.mark.parametrize("line", RAISED)
def test_a_flat_script_that_raises_system_exit_ends_as_its_status_says(line: str) -> None:
    found = raised(line)
    assert found is not None and found.code == RAISED[line]
    assert process_end.ending(found)[0] == ("failed" if RAISED[line] not in (None, 0) else None)


@pytest.mark.parametrize("line", NOT_KNOWN)
def test_where_no_status_can_be_read_none_is_made_up(line: str) -> None:
    assert raised(line) is None


@pytest.mark.parametrize("line", ["exit(3)", "try: sys.exit(0)\nexcept SystemExit: pass\nraise SystemExit(3)"])
def test_exit_is_noted_and_one_that_was_caught_is_forgotten(line: str) -> None:
    (run,) = ended(f"log = record('a')\nlog(1, loss=1.0)\n{line}\n", 3)
    assert (run.state, words(run)) == ("failed", "sys.exit(3)")


def test_handlers_that_a_script_has_stay_its_own_and_what_was_changed_is_put_back() -> None:
    script = """
def handle(number, frame):
    print("handled", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, handle)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
log = record("a")
log(1, loss=1.0)
assert signal.getsignal(signal.SIGTERM) is handle
os.kill(os.getpid(), signal.SIGHUP)
os.kill(os.getpid(), signal.SIGTERM)
"""
    (run,) = ended(script)
    assert (run.state, run.step) == ("done", 1)
    before = sys.exit, exit, quit, signal.getsignal(signal.SIGTERM), sys.excepthook
    with record("b"):
        pass
    assert (sys.exit, exit, quit, signal.getsignal(signal.SIGTERM), sys.excepthook) == before


@pytest.mark.parametrize(
    ("code", "state"), [(None, "done"), (0, "done"), (3, "failed"), ("no data", "failed"), (True, "failed")]
)
def test_a_with_block_that_exits_says_as_what(code: object, state: str) -> None:
    with pytest.raises(SystemExit), record("a") as log:
        sys.exit(code)  # type: ignore[arg-type]
    assert reader.open_run(log.id).state == state


@pytest.mark.parametrize("at", ["manifest.write", "schema.connect", "command_inbox.close_inbox"])
def test_a_kill_while_it_begins_leaves_no_folder_that_cannot_be_opened(at: str, tmp_path: Path) -> None:
    script = f"""
from engine.storage import writer
from engine.storage.writer import command_inbox, manifest, schema
before = {at}
def killed(*words):
    if {at.startswith("command")}:
        before(*words)
    os.kill(os.getpid(), signal.SIGKILL)
{at} = killed
record("a")
"""
    runs = ended(script, -signal.SIGKILL)
    assert [run.reason for run in runs] == [None] * len(runs)


def test_record_imports_no_torch() -> None:
    script = """
log = record("a", lr=1.0, live=("lr", "stop"))
log(1, loss=1.0)
log.table("t", [[1.0]])
log.close()
assert not {"torch", "pandas", "safetensors", "streamlit"} & set(sys.modules)
"""
    assert len(ended(script)) == 1
