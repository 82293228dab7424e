"""The set-up of a sweep: which knob, which values, how many steps; and its start."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from engine.config import LiveSettings, RunConfig, changed
from engine.errors import InputError
from engine.presets import PRESETS
from engine.progress import Cancelled, Job, Report
from engine.runs.manager import run_manager
from engine.runs.races.lanes import MAX_LANES, MIN_LANES, lane_settings
from engine.stream.status import State
from engine.sweeps.bigram_lanes import MOST_LANES, trains_together
from engine.sweeps.sweep import KNOBS, RunningSweep, Sweep, read_values, spaced_values
from pages.views.race.plan import start_sweep_race
from pages.views.race.setup import KNOBS as KNOB_NAMES
from pages.views.race.transport import answers
from pages.widgets import fields, notices, plan, waiting

NAMES = {name: KNOB_NAMES[name] for name in ("lr", "weight_decay", "batch_size", "grad_clip")}
RANGES = {
    "lr": (1e-4, 10.0, 16),
    "weight_decay": (1e-3, 10.0, 9),
    "batch_size": (1.0, 128.0, 8),
    "grad_clip": (0.01, 1.0, 5),
}
"""From, to, how many: what is tried of a knob before somebody says otherwise."""
STEPS, MOST_STEPS = 1000, 100_000


def set_up() -> None:
    """Which knob of which model, which values, how many steps; and the button."""
    planned = plan.planned()
    texts = [name for name in PRESETS if PRESETS[name].config.reads_text]
    fields.choice(
        "preset",
        planned.config.preset if planned.config.preset in texts else "bigram",
        lambda _, name: plan.choose_preset(name),
        options=texts,
    )
    knob = st.selectbox("what changes", list(NAMES), key="sweep_knob", format_func=NAMES.__getitem__)
    most = MOST_LANES if is_together(planned.config, knob) else MAX_LANES
    place = f"sweep_values-{knob}-{most}"
    if place not in st.session_state:
        st.session_state[place] = written(first_values(knob, most))
    values = st.text_area(
        "its values",
        key=place,
        height=100,
        help=f"Numbers with commas between them: bets, one for each who makes one, up to {most} different ones.",
    )
    with st.popover("Fill in a range", width="stretch"):
        range_form(knob, most, place)
    steps = st.number_input("iterations (steps)", 1, MOST_STEPS, STEPS, key="sweep_steps")
    with st.container(key="asks_at_sweep"):
        st.button(
            "Train them all",
            key="sweep_start",
            type="primary",
            icon=":material/stacked_line_chart:",
            on_click=begin,
            args=(knob, place),
            width="stretch",
            help="All at once, beside whatever runs: no run is touched."
            if most == MOST_LANES
            else "As the lanes of a race, which take turns. A run under way is asked about first.",
        )
        answers("sweep")
    st.caption(counted(values, most, steps))


def is_together(config: RunConfig, knob: str) -> bool:
    """Are many values trained at once, in one tensor? Else they are lanes of a race."""
    return knob in KNOBS and trains_together(config)


def first_values(knob: str, most: int) -> list[float]:
    """What is tried of a knob at first, at most `most` values."""
    low, high, count = RANGES[knob]
    values = spaced_values(low, high, min(count, most))
    return [float(round(value)) for value in values] if knob == "batch_size" else values


def written(values: Sequence[float]) -> str:
    """Values as a person writes them."""
    return ", ".join(f"{value:g}" for value in values)


def range_form(knob: str, most: int, place: str) -> None:
    """From, to and how many; a button writes these values into the box."""
    low, high, count = RANGES[knob]
    bottom = st.number_input("from", 0.0, None, low, key=f"{place}-from", format="%.4g")
    top = st.number_input("to", 0.0, None, high, key=f"{place}-to", format="%.4g")
    number = st.number_input("how many", 2, most, min(count, most), key=f"{place}-count")

    def fill() -> None:
        try:
            values = spaced_values(bottom, top, number)
        except InputError as error:
            notices.add(str(error))
            return
        st.session_state[place] = written(sorted({round(one) for one in values}) if knob == "batch_size" else values)

    st.button(
        "Fill in", key=f"{place}-fill", on_click=fill, width="stretch", help="Each the same multiple of the last."
    )


def counted(text: str, most: int, steps: int) -> str:
    """How many values are in the box, or what is wrong with them."""
    try:
        values = set(read_values(text))
    except InputError as error:
        return str(error)
    if len(values) > most:
        return f"{len(values)} different values are too many; choose at most {most}"
    return f"{len(values)} different values, {steps:,} steps each"


def begin(knob: str, place: str) -> None:
    """Train all of the values in the box."""
    state, house, planned = st.session_state, run_manager(), plan.planned()
    try:
        values = read_values(state[place])
        settings = changed(planned.settings, max_steps=state.sweep_steps)
        if not is_together(planned.config, knob):
            begin_race(knob, values, settings)
            return
        sweep = Sweep.of(planned.config, settings, next(one for one in KNOBS if one == knob), values)
    except InputError as error:
        notices.add(str(error))
        return
    stop()

    def work(report: Report) -> RunningSweep:
        return RunningSweep(sweep, house.datasets.load_corpus(sweep.config, report=report), is_busy).begin(house.jobs)

    def done(job: Job[RunningSweep]) -> None:
        try:
            state.sweep = job.result()
        except Cancelled:  # this person did it
            pass
        except InputError as error:
            notices.add(str(error))

    waiting.begin(work, done)


def begin_race(knob: str, values: Sequence[float], settings: LiveSettings) -> None:
    """Race a lane for each of the values; InputError for one that is not possible."""
    whole = [int(value) if knob == "batch_size" and value.is_integer() else value for value in sorted(set(values))]
    if not MIN_LANES <= len(whole) <= MAX_LANES:
        raise InputError(
            f"{len(whole)} different values are not possible here: they are lanes of a race; choose {MIN_LANES} to "
            f"{MAX_LANES}"
        )
    for value in whole:
        lane_settings(settings, {knob: value})
    stop()
    start_sweep_race(knob, whole, settings.max_steps, "sweep")


def is_busy() -> bool:
    """Does a run train, which a sweep would slow down?"""
    house = run_manager()
    return any(one is not None and one.state is State.RUNNING for one in (house.current, house.race))


def stop() -> None:
    """End this person's sweep, if one is under way, and take it off the page."""
    sweep: RunningSweep | None = st.session_state.pop("sweep", None)
    if sweep is not None and sweep.job is not None:
        sweep.job.cancel()
