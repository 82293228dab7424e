"""A sweep: one knob, many values, and the loss against the knob as it forms.

Rates and decays of a bigram are trained all at once, as many as a room has bets; anything else is a race with a lane
for each value. Holds no training state but that of its own sweep, which touches no run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import streamlit as st

from engine.config import LiveSettings, RunConfig
from engine.errors import InputError
from engine.formatting import format_setting
from engine.presets import Preset, preset
from engine.progress import Cancelled
from engine.runs.manager import run_manager
from engine.runs.races.lanes import Change, lane_settings
from engine.runs.races.race import Race
from engine.sweeps.race_sweep import can_validate, race_points, swept_knob, validated_points
from engine.sweeps.sweep import Point, RunningSweep, best_point
from pages.charts import static
from pages.charts.panel import unit_of
from pages.charts.pictures.sweep import sweep_figure, sweep_image
from pages.charts.race import lane_colours
from pages.views.race.sweep_setup import NAMES, set_up
from pages.widgets import plan, waiting

HELP = (
    "Each point is one training with that value: the same first weights, the same batches in the same order. Its "
    "height is the loss it has come to. Healthy is the bottom of the U: to its left the steps are too short to arrive "
    "in time, to its right each one overshoots and undoes the one before. A cross came out worse than it began."
)
OTHER_HELP = (
    "Each point is one training with that value: the same first weights, and all else the same. Its height is the loss "
    "it has come to; lower is better. A cross came out worse than it began."
)


def sweep_section() -> None:
    """The set-up of a sweep, and its picture as it forms."""
    left, right = st.columns([2, 7], gap="medium")
    with left:
        set_up()
    with right:
        picture()


def picture() -> None:
    """The newest sweep of this person, else the race under way if its lanes are a sweep, else what will come here."""
    sweep: RunningSweep | None = st.session_state.get("sweep")
    race = run_manager().race
    knob = swept_knob(race) if race is not None else None
    if sweep is not None:
        tables(sweep)
    elif race is not None and knob in NAMES:
        lanes(race, knob)
    else:
        introduction()


def introduction() -> None:
    """What a sweep is, and the picture of one that was made earlier."""
    st.markdown(INTRODUCTION)
    static.show(
        sweep_figure(EXAMPLE, NAMES["lr"], "validation loss, nats per token", 4.883, 4.290),
        "sweep_example",
        "Example: sixteen bigrams after 1,000 steps",
        HELP,
        height=340,
    )


def tables(sweep: RunningSweep) -> None:
    """A sweep of tables: forming, or done."""
    assert sweep.job is not None
    if not sweep.job.done:
        forming_tables()
        return
    show_tables(sweep)
    try:
        sweep.job.result()
    except Cancelled:
        st.text(f"Ended early, after {sweep.step:,} of {sweep.sweep.settings.max_steps:,} steps.")
    open_a_point(sweep.sweep.config, sweep.sweep.settings, sweep.sweep.knob, sweep.points())


@st.fragment(run_every=0.5)
def forming_tables() -> None:
    """The picture of a sweep in training, drawn anew twice a second."""
    sweep: RunningSweep | None = st.session_state.get("sweep")
    if sweep is None or sweep.job is None or sweep.job.done:
        st.rerun()
    _, done, total = sweep.job.stage
    bar, end = st.columns([6, 1], vertical_alignment="center")
    bar.progress(sweep.job.stage.share, f"step {done:,} of {total:,}")
    end.button("Stop", key="sweep_cancel", on_click=sweep.job.cancel, width="stretch")
    show_tables(sweep)


def show_tables(sweep: RunningSweep) -> None:
    """The chart of a sweep as far as it is, and its numbers in words."""
    points = sweep.points()
    if not points or sweep.job is None:
        return
    knob, corpus = sweep.sweep.knob, sweep.corpus
    show(
        points,
        knob,
        f"{sweep.where} loss, {unit_of(sweep.sweep.config)}",
        first=max((loss for loss in sweep.moments[0].losses if math.isfinite(loss)), default=None),
        guessing=math.log(corpus.vocab_size),
        forming=not sweep.job.done,
    )
    st.text(f"{summary(points, knob)} After {sweep.step:,} steps on {corpus.title}, over its whole {sweep.where} part.")


def lanes(race: Race, knob: str) -> None:
    """A race whose lanes differ in one number: forming, or done."""
    if race.alive:
        forming_lanes()
        return
    run_manager().pump.drain()  # the last steps may still be on their way
    points, what = race_points(race, knob), "training"
    if can_validate(race) and not race.closed:
        try:
            exact = waiting.result("sweep", race.id, lambda report: validated_points(race, knob, report))
        except InputError as error:
            st.text(str(error))
            exact = None
        if exact is not None:
            points, what = exact, "validation"
    if not points:
        st.text("This race was too short to tell its lanes apart: let it make at least 40 steps.")
        return
    show_lanes(race, knob, points, what)
    open_a_point(race.config, race.lanes[0].first_settings, knob, points)


@st.fragment(run_every=1.0)
def forming_lanes() -> None:
    """The picture of a race in training, drawn anew each second."""
    race = run_manager().race
    knob = swept_knob(race) if race is not None else None
    if race is None or knob is None or not race.alive:
        st.rerun()
    st.progress(min(1.0, race.step / race.settings.max_steps), f"step {race.step:,} of {race.settings.max_steps:,}")
    if points := race_points(race, knob):
        show_lanes(race, knob, points, "training", forming=True)


def show_lanes(race: Race, knob: str, points: Sequence[Point], what: str, forming: bool = False) -> None:
    """The chart of a race as far as it is, and its numbers in words."""
    first = race.lanes[0].history.points_between("train/loss", 0, race.first_step + 1)
    show(
        points,
        knob,
        f"{what} loss, {unit_of(race.config)}",
        first=float(first.values[0]) if first is not None and len(first.values) else None,
        guessing=race.baselines.uniform if race.baselines else None,
        colours=lane_colours(len(race.lanes)),
        forming=forming,
    )
    where = "over the whole validation part" if what == "validation" else "the mean of its last tenth of steps"
    st.text(f"{summary(points, knob)} Each lane's loss is {where}.")


def show(
    points: Sequence[Point],
    knob: str,
    y_title: str,
    first: float | None,
    guessing: float | None,
    colours: Sequence[str] = (),
    forming: bool = False,
) -> None:
    """The chart; a point that is clicked is the one that can be opened, once it is no longer `forming`."""
    title, help = f"Loss against {NAMES[knob]}", HELP if knob == "lr" else OTHER_HELP
    if forming:
        static.heading(title, help)
        st.html(sweep_image(points, NAMES[knob], y_title, first, guessing, colours, static.theme()))
        return
    static.show(
        sweep_figure(points, NAMES[knob], y_title, first, guessing, colours),
        "sweep_chart",
        title,
        help,
        height=430,
        picture=f"sweep-{knob}",
        on_select=choose_clicked,
    )


def summary(points: Sequence[Point], knob: str) -> str:
    """The numbers of the chart in words."""
    best, out = best_point(points), [point for point in points if point.diverged_at is not None]
    told = [f"Lowest: {NAMES[knob]} {format_setting(best.value)}, at {best.loss:.3f}."] if best is not None else []
    if out:
        names = ", ".join(f"{format_setting(point.value)} at step {point.diverged_at:,}" for point in out)
        told.append(f"Diverged: {names}.")
    return " ".join(told)


def choose_clicked() -> None:
    """Take the point that was clicked as the one to open."""
    clicked = st.session_state.sweep_chart.selection.points
    if clicked:
        st.session_state.sweep_clicked = float(clicked[0]["x"])


def open_a_point(config: RunConfig, settings: LiveSettings, knob: str, points: Sequence[Point]) -> None:
    """Choose a point, by a click on it or in a list, and open its run on Train."""
    best, values = best_point(points), [point.value for point in points]
    clicked = st.session_state.pop("sweep_clicked", None)
    key = f"sweep_point-{hash(tuple(values))}"
    if clicked is not None:
        st.session_state[key] = min(values, key=lambda value: abs(value - clicked))
    elif key not in st.session_state:
        st.session_state[key] = best.value if best is not None else values[0]
    chosen, opens = st.columns([1, 2], vertical_alignment="bottom")
    value = chosen.selectbox(
        f"a point: its {NAMES[knob]}", values, key=key, format_func=format_setting, help="Or click it in the chart."
    )
    change: Change = {knob: int(value) if isinstance(getattr(settings, knob), int) else value}
    if opens.button(
        f"Open {NAMES[knob]} {format_setting(value)} on Train",
        key="sweep_open",
        icon=":material/arrow_forward:",
        help="Prepares a run with this value: the same first weights and batches. Nothing starts until you say so.",
    ):
        about = preset(config.preset).about
        plan.prepare_for_train(Preset(config, lane_settings(settings, change), about))
        st.switch_page("train.py")


INTRODUCTION = """
**A sweep** asks one question of many trainings at once: *what does this knob do to the loss?* Write down some learning
rates, your own bets or a range, and train them all. Each value is a point; its height is the loss that it has come to,
and it sinks while you watch. Any point can then be opened as a run of its own.
"""
EXAMPLE = [
    Point(lr, loss, None)
    for lr, loss in (
        (0.0001, 4.757),
        (0.000215, 4.618),
        (0.000464, 4.334),
        (0.001, 3.812),
        (0.00215, 3.072),
        (0.00464, 2.527),
        (0.01, 2.396),
        (0.0215, 2.374),
        (0.0464, 2.379),
        (0.1, 2.393),
        (0.215, 2.414),
        (0.464, 2.476),
        (1.0, 2.618),
        (2.15, 2.906),
        (4.64, 3.383),
        (10.0, 4.006),
    )
]
"""Measured on the shipped play: learning rate, exact validation loss."""
