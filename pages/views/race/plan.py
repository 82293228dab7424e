"""The next race as this person has set it up; and its start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from engine.config import MAX_STEPS, changed
from engine.errors import InputError
from engine.progress import Cancelled, Job, Report
from engine.runs.manager import RunActive, run_manager
from engine.runs.races.lanes import Change
from engine.runs.races.race import Race
from pages.widgets import notices, plan, waiting

LEARNING_RATES: tuple[Change, ...] = ({"lr": 3e-4}, {"lr": 1e-2}, {"lr": 1.0}, {"lr": 10.0})
OPTIMIZERS: tuple[Change, ...] = (
    {"optimizer": "sgd", "momentum": 0.9, "lr": 0.1},
    {"optimizer": "adamw", "lr": 1e-2},
    {"optimizer": "muon", "lr": 5e-3},
)
"""Each at a rate that suits it, on the small GPT."""
OPTIMIZER_STEPS = 600
DEFAULT_STEPS = 2000  # of each lane, until somebody says otherwise
DEFAULT_SETTINGS: dict[str, Any] = {"max_steps": None, "speed": 100}
STARTS = ("first weights", "this run")


def planned_lanes() -> list[dict[str, Any]]:
    """The changes of the next race, as this person has set them up."""
    planned: list[dict[str, Any]] = st.session_state.setdefault("race_lanes", [dict(one) for one in LEARNING_RATES])
    return planned


def shared_settings() -> dict[str, Any]:
    """Steps and speed of the next race; a number of steps that is already behind its first step is ignored."""
    kept: dict[str, Any] = st.session_state.setdefault("race_shared", dict(DEFAULT_SETTINGS))
    begins, steps = first_step(), kept["max_steps"]
    return kept | {"max_steps": steps if steps and steps > begins else min(begins + DEFAULT_STEPS, MAX_STEPS)}


def first_step() -> int:
    """The step at which the next race begins."""
    run, step = run_manager().current, st.session_state.get("race_at")
    if start_kind() == "start" or run is None:
        return 0
    return run.step if step is None else int(step)


def start_race(kind: str, replace: bool = False, steps: int | None = None, place: str = "verbs") -> None:
    """Start a race; if something trains now, the page asks first, at `place`."""
    state, house, lanes, shared = st.session_state, run_manager(), planned_lanes(), shared_settings()
    state.pop("race_asking", None)
    planned, step = plan.planned(), state.get("race_at")

    def work(report: Report) -> Race:
        if kind == "fork":
            return house.fork_race(lanes, step, replace, steps, **shared)
        return house.start_race(planned.config, changed(planned.settings, **shared), lanes, replace, steps, report)

    def done(job: Job[Race]) -> None:
        try:
            job.result()
        except RunActive as active:
            state.race_asking, state.race_asked_at = (kind, steps, str(active)), place
        except Cancelled:  # this person did it
            pass
        except InputError as error:
            notices.add(str(error))

    waiting.begin(work, done)


def start_learning_rate_race(place: str) -> None:
    """Race four learning rates on the smallest model; what that asks is asked at `place`."""
    replace_lanes([dict(one) for one in LEARNING_RATES])
    st.session_state.race_from = STARTS[0]
    plan.choose_preset("bigram")
    start_race("start", place=place)


def start_optimizer_race(place: str) -> None:
    """Race SGD with momentum, AdamW and Muon on the small GPT; what that asks is asked at `place`."""
    replace_lanes([dict(one) for one in OPTIMIZERS])
    st.session_state.race_from = STARTS[0]
    st.session_state.race_shared = {"max_steps": OPTIMIZER_STEPS, "speed": "unlimited"}
    plan.choose_preset("gpt-tiny")
    start_race("start", place=place)


def start_sweep_race(knob: str, values: Sequence[float], steps: int, place: str) -> None:
    """Race a lane for each of the `values` of `knob`, from first weights and at full speed; asks at `place`."""
    replace_lanes([{knob: value} for value in values])
    st.session_state.race_from = STARTS[0]
    st.session_state.race_shared = {"max_steps": steps, "speed": "unlimited"}
    start_race("start", place=place)


def replace_lanes(changes: list[dict[str, Any]]) -> None:
    """Set other lanes up, with new widgets."""
    st.session_state.race_lanes = changes
    st.session_state.race_set = st.session_state.get("race_set", 0) + 1


def start_kind() -> str:
    """Where the next race begins: "start" at first weights, "fork" at a step of the current run."""
    run = run_manager().current
    return "fork" if st.session_state.get("race_from") == STARTS[1] and run is not None and run.step else "start"
