"""The audience's frame: no traceback and no path, whatever goes wrong; the presenter's says all of it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.sync.client import ClientConnection

from engine.config import changed
from engine.paths import home
from engine.runs import checkpoint_policy, training_loop
from engine.runs.manager import RunManager
from engine.storage.metrics.schema import MetricsError
from engine.storage.writer import RunWriter
from engine.stream.messages import Event, Scalars
from engine.stream.status import State
from engine.training.trainer import Trainer
from pages.server import routes
from pages.server.audience import UNSAVED, audience_header, without_paths
from pages.server.gate import PRESENTER
from tests.server.test_socket import CONFIG, SETTINGS, Received, Served, decode

SECRET = "/home/zoe lee/secret project/notes.txt"
Wait = Callable[..., None]
Patch = pytest.MonkeyPatch


def refusal(number: int) -> OSError:
    return OSError(number, os.strerror(number), SECRET)


def raising(error: BaseException) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise error

    return refuse


def step_fails(error: BaseException) -> Callable[[RunManager, Patch, Wait], None]:
    def fail(manager: RunManager, patch: Patch, wait: Wait) -> None:
        patch.setattr(Trainer, "forward", raising(error))
        run = manager.start(CONFIG, SETTINGS)
        wait(lambda: run.state is State.FAILED)

    return fail


def start_fails(manager: RunManager, patch: Patch, wait: Wait) -> None:
    patch.setattr(training_loop, "Trainer", raising(refusal(errno.ENOENT)))
    run = manager.start(CONFIG, SETTINGS)
    wait(lambda: run.state is State.FAILED)


def store_says(text: str) -> Callable[[RunManager, Patch, Wait], None]:
    def fail(manager: RunManager, patch: Patch, wait: Wait) -> None:
        patch.setattr(RunWriter, "problem", text)
        manager.prepare(CONFIG, SETTINGS).wait(30)

    return fail


def no_snapshot(manager: RunManager, patch: Patch, wait: Wait) -> None:
    patch.setattr(checkpoint_policy, "take_snapshot", raising(refusal(errno.EMFILE)))
    run = manager.prepare(CONFIG, SETTINGS)
    wait(lambda: run.status().unsaved)


def warned(manager: RunManager, patch: Patch, wait: Wait) -> None:
    run = manager.prepare(CONFIG, SETTINGS)
    run.wait(30)
    run.loop.losses.warning = f"cannot read {SECRET}; try again"


def lane_fails(manager: RunManager, patch: Patch, wait: Wait) -> None:
    patch.setattr(Trainer, "forward", raising(refusal(errno.EIO)))
    race = manager.start_race(CONFIG, SETTINGS, [{"lr": 0.1}, {"lr": 0.2}], steps=1)
    wait(lambda: race.status().warning)


def elsewhere(*events: Event, trouble: str | None = None) -> Callable[[RunManager, Patch, Wait], None]:
    """A run of another process that tells events, or cannot be read."""

    def fail(manager: RunManager, patch: Patch, wait: Wait) -> None:
        about = {"config": CONFIG.model_dump(), "settings": SETTINGS.model_dump()}
        writer = RunWriter(home() / "runs" / "elsewhere", about)
        patch.setattr(manager, "foreign", writer, raising=False)
        writer.put([Event(0, "started", "started"), Scalars(1, 1.0, 1.0, 0.5, 0.01), *events])
        assert writer.flush()
        followed = manager.watch("elsewhere")
        manager.external_runs.refresh()
        followed.trouble = trouble

    return fail


FAILURES: dict[str, Callable[[RunManager, Patch, Wait], None]] = {
    "a step without a descriptor": step_fails(refusal(errno.EMFILE)),
    "a step without its file": step_fails(FileNotFoundError(errno.ENOENT, "No such file", SECRET, None, SECRET + "2")),
    "a step with a path in its words": step_fails(RuntimeError(f"cannot map {SECRET} (error 3)")),
    "a step with a Windows path": step_fails(PermissionError(r"C:\Users\zoe lee\secret project\notes.txt is in use")),
    "a step with a path as its key": step_fails(KeyError(SECRET)),
    "a start that fails": start_fails,
    "a store with a path in its words": store_says(f"run x is not being saved ({refusal(errno.ENOSPC)})"),
    "a folder taken away": store_says(f"what was saved in {Path(SECRET).parent} is gone"),
    "no snapshot": no_snapshot,
    "a warning": warned,
    "a lane of a race": lane_fails,
    "an event of a loop elsewhere": elsewhere(Event(1, "note", f"read '{SECRET}' and ~zoe/secret/more.txt")),
    "a loop elsewhere that failed": elsewhere(Event(1, "failed", str(refusal(errno.EACCES)))),
    "a loop elsewhere that cannot be read": elsewhere(trouble=f"run elsewhere cannot be read ({refusal(errno.EIO)})"),
}


@pytest.fixture
def served(manager: RunManager) -> Iterator[Served]:
    manager.pump.stop()
    served = Served(manager)
    yield served
    served.close()


def frame(viewer: ClientConnection) -> tuple[Received, str]:
    message = viewer.recv(timeout=30)
    assert isinstance(message, bytes)
    received = decode(message)
    return received, json.dumps(received.header)


@pytest.mark.parametrize("kind", FAILURES)
def test_a_frame_of_an_audience_socket_holds_no_path(
    served: Served, manager: RunManager, monkeypatch: Patch, wait_until: Wait, kind: str
) -> None:
    FAILURES[kind](manager, monkeypatch, wait_until)
    follows = "race" if "race" in kind else "current"
    with served.viewer(f"{follows}&audience") as phone, served.viewer(follows) as stage:
        served.turn()
        (seen, told), (whole, all_of_it) = frame(phone), frame(stage)
    for word in ("zoe", "secret", "notes.txt", "Traceback", "/home", "Users", str(home())):
        assert word not in told, told
    assert seen.header["error"] is None and seen.header["state"] == whole.header["state"]
    assert seen.arrays.keys() == whole.arrays.keys()
    if whole.header["state"] == "failed" and "elsewhere" not in kind:
        assert "Traceback" in whole.header["error"] and "secret" in all_of_it
        assert seen.header["message"].startswith("failed at step ") and "presenter" in seen.header["message"]
    if whole.header["unsaved"]:
        assert seen.header["unsaved"] == UNSAVED
    if (foreign := getattr(manager, "foreign", None)) is not None:
        foreign.close()


def test_without_trouble_both_get_the_same_frame(served: Served, manager: RunManager) -> None:
    run = manager.prepare(changed(CONFIG, sample_prompt="a"), SETTINGS)
    run.wait(30)
    with served.viewer("current&audience") as phone, served.viewer() as stage:
        served.turn()
        assert phone.recv(timeout=30) == stage.recv(timeout=30)


@pytest.mark.parametrize("path", ["/series?channel=train/loss", "/panels", "/frame", "/frame?step=0", "/notes"])
def test_open_routes_hold_no_path(
    served: Served, manager: RunManager, monkeypatch: Patch, wait_until: Wait, path: str
) -> None:
    """With the room open a visitor without the token is the audience."""
    run = manager.start(CONFIG, changed(SETTINGS, max_steps=20))
    wait_until(lambda: run.state is State.DONE)
    manager.flush(run)
    title = property(lambda _: f"a bigram on {SECRET}")
    monkeypatch.setattr(type(run), "title", title)
    monkeypatch.setattr(routes, "displayed_steps", raising(MetricsError(f"unable to open {SECRET}")))
    monkeypatch.setattr(routes, "displayed_step_before", raising(MetricsError(f"unable to open {SECRET}")))
    monkeypatch.setattr("pages.server.audience.is_presenter", lambda scope: not scope[PRESENTER])
    answer = served.http.get(path)
    assert "zoe" not in answer.text and "secret" not in answer.text and str(home()) not in answer.text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[Errno 2] No such file: '/home/zoe lee/x y.txt'", "[Errno 2] No such file: a file"),
        ("[Errno 2] No such file: '/a b/c' -> '/d/e f'", "[Errno 2] No such file: a file -> a file"),
        ("cannot open /home/zoe lee/runs/x.db (disk)", "cannot open a file (disk)"),
        ("~/texts/x.txt is empty", "a file is empty"),
        ("~zoe/texts/x.txt is empty", "a file is empty"),
        (r"C:\Users\zoe\x.txt is in use", "a file is in use"),
        ("C:/Users/zoe lee/x.txt is in use", "a file is in use"),
        (r"\\server\share\zoe\x.txt", "a file"),
        ("see file:///home/zoe/x.txt now", "see a file now"),
        ("(/tmp/x)", "(a file)"),
        ("/home/zoe/a.txt and /home/zoe/b.txt", "a file"),
        ("1.2 bits/char at 3/4 of 10 tokens/s, lr 0.1 / 2", None),
        ("val/loss above train/loss, n/a, and/or", None),
        ("the loss has been above 10·ln V = 41.7 for 50 steps", None),
    ],
)
def test_paths_are_named_a_file(text: str, told: str | None) -> None:
    assert without_paths(text) == (text if told is None else told)


NAMES = st.text(
    st.characters(exclude_characters="/\\\n\r'\"`", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12
)


@given(
    st.lists(NAMES.filter(str.strip), min_size=2, max_size=5), st.sampled_from(["'", '"', ""]), st.sampled_from("/\\")
)
def test_no_folder_of_a_path_survives(parts: list[str], quote: str, separator: str) -> None:
    folders = [f"folder{part.strip()}" for part in parts]
    root = "/" if separator == "/" else "C:\\"
    text = f"cannot read {quote}{root}{separator.join([*folders, 'x.txt'])}{quote} now"
    assert "folder" not in without_paths(text)


def test_a_sample_is_shown_as_the_model_wrote_it() -> None:
    samples = [{"step": 1, "text": "from /home/zoe to /etc"}]
    assert audience_header({"samples": samples, "events": []})["samples"] == samples
