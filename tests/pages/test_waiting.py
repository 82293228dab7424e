"""Long work on a page: a bar with Cancel, and other sessions go on."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine.config import changed
from engine.presets import preset
from engine.progress import Report
from engine.runs.manager import RunManager
from engine.stream.status import State
from engine.text.bpe import Bounds
from engine.text.description import learnt_part
from engine.text.library import Library
from pages.widgets import waiting

Visit = Callable[[str], AppTest]
DNA = "".join(random.Random(0).choices("ACGT", k=3000))


@pytest.fixture
def gate(house: RunManager, monkeypatch: pytest.MonkeyPatch):
    """The text "dna" is read while this is not set; a page waits a moment only."""
    folder = Path(house.library.folder.path)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dna.txt").write_text(DNA, encoding="utf-8")
    opened, load_name = threading.Event(), Library.load_name

    def load(self, name: str, report: Report = lambda *_: None):
        while name == "dna" and not opened.wait(0.002):
            report("reading the text", 1, 2)
        return load_name(self, name, report)

    monkeypatch.setattr(Library, "load_name", load)
    monkeypatch.setattr(waiting, "PATIENCE", 0.3)
    yield opened
    opened.set()


def bars(page: AppTest) -> list[str]:
    return [str(bar.proto.text) for bar in page.get("progress")]


def texts(page: AppTest) -> str:
    return "\n".join(text.value for text in page.text)


def test_a_long_reading_shows_progress_with_cancel_and_starts_when_done(visit: Visit, house, gate, wait_until) -> None:
    page = visit("train.py")
    page.session_state.plan = replace(preset("bigram"), config=changed(preset("bigram").config, corpus="dna"))
    page.session_state.planned = True
    page.button(key="play").click().run()
    assert not page.exception and house.current is None
    assert any(said.startswith("reading the text: 1 of 2") for said in bars(page))
    assert page.button(key="cancel-action").label == "Cancel"
    gate.set()
    wait_until(lambda: house.current is not None)
    page.run()
    assert "awaited" not in page.session_state and house.current.config.corpus == "dna"


def test_cancel_takes_a_start_back_and_another_session_starts_meanwhile(visit, house, gate, wait_until) -> None:
    page, other = visit("train.py"), visit("train.py")
    page.session_state.plan = replace(preset("bigram"), config=changed(preset("bigram").config, corpus="dna"))
    page.session_state.planned = True
    page.button(key="play").click().run()
    job = page.session_state.awaited.job
    other.button(key="play").click().run()
    wait_until(lambda: house.current is not None and house.current.step > 0)
    assert house.current.config.corpus != "dna" and not job.done
    page.button(key="cancel-action").click().run()
    wait_until(lambda: job.done)
    page.run()
    assert not page.exception and "awaited" not in page.session_state
    gate.set()
    assert house.current.config.corpus != "dna" and house.current.state is not State.FAILED


def test_data_counts_a_long_text_with_progress_and_cancel(visit: Visit, house, gate, wait_until) -> None:
    page = visit("data.py")
    (box,) = [box for box in page.selectbox if box.label == "text"]
    (option,) = [option for option in box.options if option.startswith("dna")]
    box.select_index(box.options.index(option)).run()
    assert bars(page) == ["reading the text: 1 of 2"]
    page.button(key="cancel-census").click().run()
    wait_until(lambda: page.session_state["work-census"].job.done)
    page.run()
    assert "reading the text was cancelled; begin again whenever you like" in texts(page)
    gate.set()
    page.button(key="again-census").click().run()
    wait_until(lambda: page.session_state["work-census"].job.done)
    page.run()
    assert not page.exception and "3,000 characters, 4 different ones" in texts(page)


def test_it_is_said_which_part_of_a_text_tokens_are_learnt_from() -> None:
    assert learnt_part(Bounds(), 2_400_000) == (
        "The tokens are learnt from the first 2,097,152 of its 2,400,000 characters for training."
    )
    assert learnt_part(Bounds(), 2_000_000) == "" == learnt_part(None, 10**9)
