"""A frame's header says the same of every run, whoever makes it: a run, one elsewhere, a race, none, the example."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from engine import record
from engine.config import changed
from engine.presets import preset
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.storage import reader
from engine.stream.status import CatchUp, RunStatus, State, StepRate, status_of_no_run
from engine.text.corpus import Corpus
from engine.tracking.external_run import ExternalRun
from pages.server.hub import no_run
from pages.server.record_example import header_of
from pages.server.run_info import EXAMPLE

Wait = Callable[..., None]
BIGRAM = changed(preset("bigram").config, corpus="tiny")
SETTINGS = preset("bigram").settings
KEYS = {field.name for field in fields(RunStatus)} - {"version"}
"""What the header has; the version is inside the settings."""
KINDS: dict[str, tuple[type, ...]] = {
    "run": (str, type(None)),
    "title": (str,),
    "elsewhere": (bool,),
    "interrupted": (bool,),
    "state": (str,),
    "message": (str,),
    "error": (str, type(None)),
    "warning": (str, type(None)),
    "trouble": (bool,),
    "unsaved": (str, type(None)),
    "made_again": (dict, type(None)),
    "settings": (dict,),
    "takes": (list,),
    "step": (int,),
    "stage": (int,),
    "max_steps": (int,),
    "steps_per_second": (float,),
    "eta_s": (float, type(None)),
    "train_loss": (float, type(None)),
    "tokens_seen": (int,),
    "epoch": (int,),
    "epochs": (int, type(None)),
    "passes": (float, type(None)),
    "characters_per_token": (float,),
    "reads_text": (bool,),
    "device": (str,),
    "parameters": (int,),
    "charts": (int,),
}


def check(header: dict[str, Any]) -> None:
    """Is all of it there, as the kinds that the board reads?"""
    header = json.loads(json.dumps(header))
    assert header.keys() >= KEYS
    assert KINDS.keys() == KEYS
    for name, kinds in KINDS.items():
        assert isinstance(header[name], kinds) and (bool in kinds or not isinstance(header[name], bool)), name
    assert header["state"] in list(State) and isinstance(header["settings"]["version"], int)


def test_a_run_fills_the_header(make_run: Callable[..., Run], tiny: Corpus) -> None:
    run = make_run(BIGRAM, SETTINGS, tiny)
    assert run.wait(30)
    header = run.status().header()
    check(header)
    assert header.keys() == KEYS


def test_a_run_elsewhere_fills_the_header(manager: RunManager, wait_until: Wait) -> None:
    run = manager.prepare(BIGRAM, SETTINGS)
    run.make_steps(1)
    wait_until(lambda: reader.read_run(run.folder).step == 1)
    check(ExternalRun(reader.open_run(run.id), run.dataset).status().header())
    with record("a loop", lr=0.1) as log:
        log(1, loss=1.0)
        assert log._store.flush()
        check(ExternalRun(reader.open_run(log.id), None).status().header())


def test_a_race_fills_the_header(manager: RunManager) -> None:
    race = manager.start_race(BIGRAM, SETTINGS, [{}, {"lr": 0.1}], replace=True)
    check(race.status().header())


def test_without_a_run_the_header_is_filled() -> None:
    check(no_run().header)


def test_the_recorded_example_fills_the_header(make_run: Callable[..., Run], tiny: Corpus) -> None:
    frame = EXAMPLE.read_bytes()
    header = json.loads(frame[4 : 4 + int.from_bytes(frame[:4], "little")])
    check(header)
    run = make_run(BIGRAM, SETTINGS, tiny)
    assert run.wait(30)
    assert header_of(run).keys() | {"kind", "base_step", "events", "samples", "arrays"} == header.keys()


def test_the_header_is_plain_data() -> None:
    status = status_of_no_run(SETTINGS)
    header = replace(status, state=State.PAUSED, version=3, made_again=CatchUp(100, 150, True)).header()
    assert header["state"] == "paused" and type(header["state"]) is str
    assert header["settings"] == {**SETTINGS.model_dump(), "version": 3}
    assert header["made_again"] == {"from": 100, "at": 150, "trains_on": True}
    assert status.header()["made_again"] is None


def test_the_rate_is_that_of_the_last_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr("engine.stream.status.time.monotonic", lambda: now[0])
    rate = StepRate(3)
    assert rate.steps_per_second == 0
    rate.mark(5)
    assert rate.steps_per_second == 0
    rate.mark(5)
    assert rate.steps_per_second == 0, "no time has passed"
    for step in (105, 305, 505):
        now[0] += 1
        rate.mark(step)
    assert rate.steps_per_second == 200
    rate.clear()
    assert rate.steps_per_second == 0
