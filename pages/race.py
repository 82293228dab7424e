"""Race: two to four lanes from one start, each with its own change, trained in turn and shown together.

Holds no training state: the engine has the race. What a session keeps is the set-up of its next one.
"""

from __future__ import annotations

from typing import Any, Literal

import streamlit as st

from engine.config import MAX_STEPS, SPEEDS, changed
from engine.errors import InputError
from engine.presets import PRESETS
from engine.runs.manager import RunActive, run_manager
from engine.runs.races.race import MAX_LANES, MIN_LANES, Change, Race
from engine.stream.status import State
from pages.board.board import board, shown_of
from pages.views.race import results
from pages.widgets import actions, fields
from pages.widgets.style import STYLE

READY_MADE: tuple[Change, ...] = ({"lr": 3e-4}, {"lr": 1e-2}, {"lr": 1.0}, {"lr": 10.0})
KNOBS = {
    "lr": "learning rate",
    "batch_size": "batch size",
    "weight_decay": "weight decay",
    "grad_clip": "gradient clip",
    "optimizer": "optimizer",
    "": "nothing",
}
FIRST: dict[str, Any] = {"lr": 1e-3, "batch_size": 32, "weight_decay": 0.01, "grad_clip": 1.0, "optimizer": "sgd"}
"""What a lane has when its knob is chosen."""
STEPS = 2000  # of each lane, until somebody says otherwise
SHARED: dict[str, Any] = {"max_steps": None, "speed": 100}
STARTS = ("first weights", "this run")
ABOUT = """
**A race** trains two to four lanes side by side: the same model, text, seed and batches, and one change in each. All
lanes stand at the same step, so whatever differs between them comes from that change. The losses are equal, bit for
bit, up to the first step that the change can reach.

The ready-made race asks the question that every training begins with: **how large should the learning rate be?** Four
lanes of a bigram under AdamW, at 3e-4, 1e-2, 1 and 10. When they are through, a picture says what each of them did.
"""


# -------------------------------------------------------------------- what a person can do


def lanes() -> list[dict[str, Any]]:
    """The changes of the next race, as this person has set them up."""
    planned: list[dict[str, Any]] = st.session_state.setdefault("race_lanes", [dict(one) for one in READY_MADE])
    return planned


def shared() -> dict[str, Any]:
    """Steps and speed of the next race; steps that end before it begins are as good as none said."""
    kept: dict[str, Any] = st.session_state.setdefault("race_shared", dict(SHARED))
    begins, steps = beginning_at(), kept["max_steps"]
    return kept | {"max_steps": steps if steps and steps > begins else min(begins + STEPS, MAX_STEPS)}


def beginning_at() -> int:
    """The step at which the next race begins."""
    run, step = run_manager().current, st.session_state.get("race_at")
    if kind_of_start() == "start" or run is None:
        return 0
    return run.step if step is None else int(step)


def start(kind: str, replace: bool = False, steps: int | None = None) -> None:
    """A new race; whatever trains now is asked about first."""
    st.session_state.pop("race_asking", None)
    try:
        if kind == "fork":
            house, step = run_manager(), st.session_state.get("race_at")
            house.fork_race(lanes(), step, replace, steps, **shared())
        else:
            planned = actions.plan()
            run_manager().start_race(planned.config, changed(planned.settings, **shared()), lanes(), replace, steps)
    except RunActive as active:
        st.session_state.race_asking = kind, steps, str(active)
    except InputError as error:
        actions.say(str(error))


def ready_made() -> None:
    """The learning rates on the smallest model."""
    set_lanes([dict(one) for one in READY_MADE])
    st.session_state.race_from = STARTS[0]
    actions.take_preset("bigram")
    start("start")


def set_lanes(changes: list[dict[str, Any]]) -> None:
    """Another set-up; its widgets begin anew."""
    st.session_state.race_lanes = changes
    st.session_state.race_set = st.session_state.get("race_set", 0) + 1


def kind_of_start() -> str:
    """Where the next race begins: at first weights, or at a fork of the current run."""
    run = run_manager().current
    return "fork" if st.session_state.get("race_from") == STARTS[1] and run is not None and run.step else "start"


def play(verb: str) -> None:
    """The big button, with the verb it was drawn with: a click that comes too late changes nothing."""
    race = run_manager().race
    if verb == "Start":
        start(kind_of_start())
    elif race is not None and verb == "Pause":
        race.pause()
    elif race is not None and race.state is State.PAUSED:
        race.start()


def step_by_hand(count: int) -> None:
    """A few steps in each lane; the first of a new race if this one is over."""
    race = run_manager().race
    if race is None or not race.alive:
        start(kind_of_start(), steps=count)
    else:
        race.make_steps(count)


def turn(name: str, value: Any) -> None:
    """Steps or speed: of the race under way, and of the next one."""
    race = run_manager().race
    try:
        if race is not None and race.alive:
            race.tune(**{name: value})
        changed(actions.plan().settings, **{name: value})
        if name == "max_steps" and value <= beginning_at() and (race is None or not race.alive):
            raise InputError(f"{value:,} iterations are not possible: the race begins at step {beginning_at():,}")
        st.session_state.race_shared[name] = value
    except InputError as error:
        actions.say(str(error))


# -------------------------------------------------------------------- controls


def transport(race: Race | None) -> None:
    """Start, pause, resume; steps by hand; stop."""
    running = race is not None and race.state is State.RUNNING
    label = "Pause" if running else "Resume" if race is not None and race.state is State.PAUSED else "Start"
    asking = "race_asking" in st.session_state
    st.button(
        label,
        key="race_play",
        type="secondary" if running or race is None else "primary",
        icon=":material/pause:" if running else ":material/play_arrow:",
        shortcut="Space",
        width="stretch",
        disabled=asking,
        on_click=play,
        args=(label,),
        help="Start, pause, resume all lanes. Key: space.",
    )
    with st.container(horizontal=True, gap="xsmall", wrap=False, key="verbs"):
        st.button(
            "+1",
            key="race_one",
            shortcut="Right",
            disabled=asking,
            on_click=step_by_hand,
            args=(1,),
            help="One step in each lane. Key: →",
        )
        st.button(
            "+10", key="race_ten", disabled=asking, on_click=step_by_hand, args=(10,), help="Ten steps in each lane."
        )
        st.button(
            "",
            key="race_stop",
            icon=":material/stop:",
            disabled=asking or race is None or not race.alive,
            on_click=race.stop if race is not None else None,
            help="Stop: end this race.",
        )


def question() -> None:
    """Something trains: hold it and race, or cancel."""
    kind, steps, about = st.session_state.race_asking
    with st.container(border=True):
        st.text(f"{about}. Hold it and race? What it has made is kept.")
        yes, no = st.columns(2)
        yes.button("Hold it", type="primary", on_click=start, args=(kind, True, steps), width="stretch")
        no.button("Cancel", on_click=lambda: st.session_state.pop("race_asking"), width="stretch")


def notices() -> None:
    """What went wrong, in one sentence each, until closed."""
    if said := st.session_state.get("notices") or []:
        with st.container(border=True, key="notices"):
            for sentence in said:
                st.text(sentence)
            st.button("Close", key="close_notices", on_click=lambda: st.session_state.update(notices=[]))


def pace(race: Race | None) -> None:
    """How many steps, how fast: of all lanes."""
    now = race.settings.model_dump() if race is not None and race.alive else shared()
    fields.whole_number("max_steps", now["max_steps"], turn, label="iterations (steps)", key="race_steps")
    key, begin = fields.follow("race_speed", now["speed"])
    st.segmented_control(
        "speed limit, steps/s of each lane",
        SPEEDS,
        default=begin,
        key=key,
        required=True,
        format_func=lambda speed: "max" if speed == "unlimited" else f"{speed:,}",
        on_change=fields.told("race_speed", key, "speed", turn),
        width="stretch",
    )


def set_up(race: Race | None) -> None:
    """The next race: where it begins, and what each lane changes."""
    with st.expander("The next race", expanded=race is None):
        planned, run = actions.plan(), run_manager().current
        if run is not None and run.step:
            st.session_state.setdefault("race_from", STARTS[0])
            st.segmented_control("all lanes begin at", STARTS, key="race_from", required=True)
        if kind_of_start() == "fork":
            st.number_input("its step", 0, None, None, key="race_at", placeholder="now", help=AT)
        else:
            fields.choice(
                "preset", planned.config.preset, lambda _, name: actions.take_preset(name), options=list(PRESETS)
            )
        count = st.segmented_control(
            "lanes",
            range(MIN_LANES, MAX_LANES + 1),
            default=len(lanes()),
            key=f"race_count-{generation()}",
            required=True,
            width="stretch",
        )
        if count != len(lanes()):
            st.session_state.race_lanes = [*lanes(), *({} for _ in range(MAX_LANES))][: count or MIN_LANES]
        with st.container(key="lanes"):
            for place in range(len(lanes())):
                lane(place)


def generation() -> int:
    """Changes with each set-up that did not come from the widgets."""
    return int(st.session_state.get("race_set", 0))


def lane(place: int) -> None:
    """What one lane changes, and to what."""
    change = lanes()[place]
    knob = next(iter(change), "")
    left, right = st.columns([5, 4], vertical_alignment="bottom", gap="small")
    key = f"race_knob-{generation()}-{place}"

    def choose() -> None:
        name = st.session_state[key]
        lanes()[place] = {name: FIRST[name]} if name else {}

    allowed = [name for name in KNOBS if name != "optimizer" or kind_of_start() == "start"]
    if knob not in allowed:
        lanes()[place], knob = {}, ""
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
    value_key = f"race_value-{generation()}-{place}-{knob}"

    def keep() -> None:
        lanes()[place] = {knob: st.session_state[value_key]}

    with right:
        value(knob, change[knob], value_key, keep)


def value(knob: str, now: Any, key: str, keep: Any) -> None:
    """The field for the value of a knob, within its bounds."""
    if knob == "optimizer":
        st.selectbox("to", ("adamw", "sgd"), ("adamw", "sgd").index(now), key=key, on_change=keep)
        return
    low, high = fields.bounds(fields.field_of(knob))
    if knob == "batch_size":
        st.number_input("to", int(low or 1), int(high or 1), int(now), key=key, on_change=keep)
        return
    st.number_input(
        "to", low, high, now, key=key, on_change=keep, format="%.4g", step=now / 10 if now else 0.01, placeholder="off"
    )


AT = "Empty: where it stands. An earlier step is made again from the snapshot before it, the same to the last bit."


# -------------------------------------------------------------------- the page


def beginning() -> None:
    """Before the first race: what it is, and one obvious button."""
    st.markdown(ABOUT)
    ready_button("Race the learning rates 3e-4, 1e-2, 1 and 10", "primary")
    results.example()


def ready_button(label: str, kind: Literal["primary", "secondary"]) -> None:
    """The ready-made race."""
    st.button(
        label,
        key="race_ready",
        type=kind,
        icon=":material/flag:",
        disabled="race_asking" in st.session_state,
        on_click=ready_made,
        help="3e-4, 1e-2, 1 and 10: a bigram, AdamW, from the same first weights. It ends in a picture.",
        width="stretch" if kind == "secondary" else "content",
    )


def compare(race: Race) -> None:
    """The way to the lanes as stored runs."""
    st.session_state.compared = [lane.id for lane in race.lanes]
    st.switch_page("compare.py")


@st.fragment
def page() -> None:
    """The page."""
    race = run_manager().race
    shown = shown_of(race, moment=True)
    actions.plan()
    st.html(STYLE)
    left, right = st.columns([2, 9], gap="small")
    with left.container(key="controls"):
        with st.container():  # what comes and goes here builds none of the controls anew: their keys work throughout
            if "race_asking" in st.session_state:
                question()
            notices()
        transport(race)
        with st.container(key="more"):
            pace(race)
            set_up(race)
            if race is not None:
                ready_button("The learning rates", "secondary")
                on_compare = st.button(
                    "The lanes on Compare", key="race_compare", icon=":material/arrow_forward:", width="stretch"
                )
                if on_compare:
                    compare(race)
    with right:
        if race is None:
            beginning()
        elif not race.alive:
            results.show(race)
        failed = [lane for lane in race.lanes if lane.error] if race is not None else []
        for lane in failed:
            st.code(lane.error, language=None)
        board("race", run="race", shown=shown)


page()
