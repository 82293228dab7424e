"""The set-up of the next race: where it begins, and what each lane changes."""

from __future__ import annotations

from typing import Any, get_args

import streamlit as st

from engine.config import OptimizerName
from engine.presets import PRESETS
from engine.runs.manager import run_manager
from engine.runs.races.lanes import FEW_LANES, MIN_LANES
from engine.runs.races.race import Race
from pages.views.race.plan import STARTS, planned_lanes, start_kind
from pages.widgets import fields, plan

KNOBS = {
    "lr": "learning rate",
    "batch_size": "batch size",
    "weight_decay": "weight decay",
    "grad_clip": "gradient clip",
    "optimizer": "optimizer",
    "": "nothing",
}
FIRST_VALUES: dict[str, Any] = {
    "lr": 1e-3,
    "batch_size": 32,
    "weight_decay": 0.01,
    "grad_clip": 1.0,
    "optimizer": "sgd",
}
"""What a lane has when its knob is chosen."""


def race_setup(race: Race | None) -> None:
    """The next race: where it begins, and what each lane changes."""
    with st.expander("The next race", expanded=race is None):
        planned, run = plan.planned(), run_manager().current
        if run is not None and run.step:
            st.session_state.setdefault("race_from", STARTS[0])
            names = dict(zip(STARTS, (STARTS[0], f"a step of {run.title}"), strict=True))
            st.segmented_control(
                "all lanes begin at", STARTS, key="race_from", required=True, format_func=names.__getitem__
            )
        if start_kind() == "fork":
            st.number_input("its step", 0, None, None, key="race_at", placeholder="now", help=STEP_HELP)
        else:
            fields.choice(
                "preset", planned.config.preset, lambda _, name: plan.choose_preset(name), options=list(PRESETS)
            )
        count = st.segmented_control(
            "lanes",
            range(MIN_LANES, max(FEW_LANES, len(planned_lanes())) + 1),
            default=len(planned_lanes()),
            key=f"race_count-{setup_generation()}",
            required=True,
            width="stretch",
        )
        if count != len(planned_lanes()):
            st.session_state.race_lanes = [*planned_lanes(), *({} for _ in range(FEW_LANES))][: count or MIN_LANES]
        with st.container(key="lanes"):
            for place in range(len(planned_lanes())):
                lane_fields(place)


def setup_generation() -> int:
    """A number that changes with every set-up that did not come from the widgets."""
    return int(st.session_state.get("race_set", 0))


def lane_fields(place: int) -> None:
    """What one lane changes, and to what."""
    change = planned_lanes()[place]
    knob = next(iter(change), "")
    left, right = st.columns([5, 4], vertical_alignment="bottom", gap="small")
    key = f"race_knob-{setup_generation()}-{place}"

    def choose() -> None:
        name = st.session_state[key]
        planned_lanes()[place] = {name: FIRST_VALUES[name]} if name else {}

    allowed = [name for name in KNOBS if name != "optimizer" or start_kind() == "start"]
    if knob not in allowed:
        planned_lanes()[place], knob = {}, ""
    left.selectbox(
        f"lane {place + 1} changes",
        allowed,
        allowed.index(knob),
        key=key,
        format_func=KNOBS.__getitem__,
        on_change=choose,
    )
    if not knob:
        return
    value_key = f"race_value-{setup_generation()}-{place}-{knob}"

    def keep() -> None:
        planned_lanes()[place] = {knob: st.session_state[value_key]}

    with right:
        value_field(knob, change[knob], value_key, keep)


def value_field(knob: str, now: Any, key: str, keep: Any) -> None:
    """The field for the value of a knob, within its bounds."""
    if knob == "optimizer":
        names = get_args(OptimizerName)
        st.selectbox("to", names, names.index(now), key=key, on_change=keep)
        return
    low, high = fields.bounds(fields.field_of(knob))
    if knob == "batch_size":
        st.number_input("to", int(low or 1), int(high or 1), int(now), key=key, on_change=keep)
        return
    st.number_input(
        "to", low, high, now, key=key, on_change=keep, format="%.4g", step=now / 10 if now else 0.01, placeholder="off"
    )


STEP_HELP = (
    "Empty: where it stands. An earlier step is made again from the snapshot before it, the same to the last bit."
)
