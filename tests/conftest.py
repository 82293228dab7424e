"""Shared by all tests: texts, devices, and runs whose threads are closed at the end of each test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import pytest
import torch
from streamlit.testing.v1 import AppTest

from engine.config import LiveSettings, RunConfig
from engine.errors import InputError
from engine.lessons.classroom import classroom
from engine.lessons.game.together import room_game
from engine.lessons.under_way import lesson_under_way
from engine.progress import Report, unheard
from engine.runs import manager as manager_module
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.text.corpus import Corpus
from pages.widgets import waiting
from tests.shakespeare import MISSING, tiny_shakespeare

ROOT = Path(__file__).resolve().parent.parent
PLAY = ROOT / "data" / "lamplighters.txt"
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])

# One thread: the models here are small, and threads that wait for a busy core make them many times slower.
torch.set_num_threads(1)
hypothesis.settings.register_profile("loopscope", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.load_profile("loopscope")


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and downloads of a test go nowhere near the project's."""
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(autouse=True)
def patient_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the pages of a test nothing counts as long work, however busy the machine is."""
    monkeypatch.setattr(waiting, "PATIENCE", 60.0)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """Each device that this machine has."""
    return str(request.param)


@pytest.fixture(scope="session")
def shakespeare() -> str:
    """Tiny shakespeare, where somebody has brought it; else the test is skipped."""
    return tiny_shakespeare() or pytest.skip(MISSING)


@pytest.fixture(scope="session")
def play() -> str:
    """The text of the shipped play."""
    return PLAY.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def corpus(play: str) -> Corpus:
    """The shipped play, 80/10/10."""
    return Corpus.of(play, "lamplighters", title="the play")


@pytest.fixture(scope="session")
def tiny() -> Corpus:
    """A short text of 5 characters, for tests that need no language."""
    return Corpus.of("abcde edcba bad cab deed ace " * 12, "tiny")


def _wait_until(condition: Callable[[], object], timeout: float = 30.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"waited {timeout:g} s for {getattr(condition, '__name__', condition)}, which never came")
        time.sleep(0.001)


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """`wait_until(condition, timeout=30)`: return as soon as `condition()` is true, fail after `timeout` seconds."""
    return _wait_until


@pytest.fixture
def make_run() -> Iterator[Callable[..., Run]]:
    """`make_run(config, settings, corpus)`: a run at step 0, closed at the end of the test."""
    runs: list[Run] = []

    def make(config: RunConfig, settings: LiveSettings, corpus: Corpus) -> Run:
        runs.append(Run(config, settings, corpus))
        return runs[-1]

    yield make
    for run in runs:
        run.close(30)
        assert not run._thread.is_alive(), f"the thread of run {run.id} did not end"


class OneText:
    """A library that holds one text under the name "tiny"."""

    version = 0
    folder = SimpleNamespace(path="the corpus folder")

    def __init__(self, text: str) -> None:
        self.text = text

    def load_name(self, name: str, report: Report = unheard) -> tuple[str, SimpleNamespace]:
        if name != "tiny":
            raise InputError(f"there is no text {name!r}; choose tiny")
        return self.text, SimpleNamespace(name="tiny", title="tiny", source="", licence="")

    def entries(self) -> list[SimpleNamespace]:
        return []

    def start(self) -> None: ...

    def stop(self) -> None: ...


@pytest.fixture
def manager() -> Iterator[RunManager]:
    """A manager whose only text is called "tiny", pumping; all its threads are ended after the test."""
    manager = RunManager(OneText("abcde edcba bad cab deed ace " * 12))  # type: ignore[arg-type]
    manager.open()
    yield manager
    manager.close(30)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunManager]:
    """The process's manager, with a data home of its own, as pages see it."""
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path))
    ones = (manager_module.run_manager, classroom, lesson_under_way, room_game)  # of this process
    for one in ones:
        one.cache_clear()
    manager = manager_module.run_manager()
    yield manager
    manager.close(30)
    for one in ones:
        one.cache_clear()


@pytest.fixture
def visit(house: RunManager) -> Callable[..., AppTest]:
    """`visit("data.py")`: that page, reached from the first one as a person reaches it."""

    def visit(page: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "pages" / "shell.py"), default_timeout=60)
        app.session_state["engine_room"] = True
        app.run()
        app.switch_page(page).run()
        assert not app.exception
        return app

    return visit
