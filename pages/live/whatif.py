"""What if: choose an experiment, run it on a throwaway copy of the room's run, see both ways side by side.

Holds no training state. What was found stays in the session, one outcome for each experiment and start.
"""

from __future__ import annotations

from typing import Literal, get_args

import streamlit as st

from engine.config import InputError, preset
from engine.corpus import Corpus
from engine.exhibits import Outcome
from engine.runner import Run, State
from engine.studio import studio
from engine.whatif import EXPERIMENTS, Courtesy, Experiment, Start
from pages.live.exhibits import show_all

Begin = Literal["first", "moment"]
BEGINS: dict[Begin, str] = {"first": "first weights", "moment": "where the run stands"}
MOST_PARAMETERS = 2_000_000
"""A larger model is not copied for an experiment: the copy alone would take the memory and the seconds of the run."""


def what_if() -> None:
    """The list of experiments, the one that is chosen, and what it found."""
    titles = {experiment.name: experiment.title for experiment in EXPERIMENTS}
    name = st.selectbox(
        "What if",
        list(titles),
        index=list(titles).index(st.session_state.get("whatif_kept", EXPERIMENTS[0].name)),
        format_func=titles.__getitem__,
        key="whatif_chosen",
        help="Each experiment really runs, on a copy that is thrown away. The room's run never notices.",
    )
    st.session_state.whatif_kept = name
    chosen = next(experiment for experiment in EXPERIMENTS if experiment.name == name)
    run = text_run()
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.markdown(chosen.asks)
        begin = beginning(chosen, run)
        asked = st.button("Run the experiment", key="whatif_run", type="primary", icon=":material/science:")
    with right:
        st.code(chosen.code, language="python", wrap_lines=True)
        st.caption(f"In the documents: {chosen.documents}.")
    below = st.container()
    kept = st.session_state.setdefault("whatif_found", {})
    where = identity(chosen, run, begin)
    with below:
        if asked and kept.get((chosen.name, begin), (None,))[0] != where:
            if (outcome := carried_out(chosen, run, begin)) is None:
                return
            kept[chosen.name, begin] = where, outcome
        if found := kept.get((chosen.name, begin)):
            shown(found[1], chosen.name, begin)


def text_run() -> Run | None:
    """The room's run, if it learns from a text with a model small enough to be copied in passing."""
    run = studio().current
    if run is None or not run.config.reads_text or run.state is State.FAILED or run.parameters > MOST_PARAMETERS:
        return None
    return run


def beginning(chosen: Experiment, run: Run | None) -> Begin:
    """Where the copy begins; without a run there is but one place."""
    if run is None:
        st.caption("Begins with the first weights of a bigram on the project's own text.")
        return "first"
    picked: Begin | None = st.segmented_control(
        "begins with",
        get_args(Begin),
        format_func=BEGINS.__getitem__,
        default=chosen.begins,
        key=f"whatif_begin-{chosen.name}",
        help="Where the copy begins: with the first weights of the room's run, or with its weights as they are now. "
        "The choice that is set at first is the one that shows the effect best.",
    )
    return picked or chosen.begins


def identity(chosen: Experiment, run: Run | None, begin: Begin) -> tuple[object, ...]:
    """What an outcome depends on besides the experiment: the run, and where it stands."""
    if run is None:
        return (None,)
    return (run.id, "first") if begin == "first" else (run.id, run.step, run.stage, run.version)


def start_of(run: Run | None, begin: Begin) -> Start:
    """A place to begin from: the run's moment or first weights, else a fresh bigram on the default text."""
    if run is None:
        fresh = preset("bigram")
        return Start(fresh.config, fresh.settings, studio().corpus(fresh.config))
    assert isinstance(run.dataset, Corpus)
    if begin == "first":
        return Start(run.config, run.first_settings, run.dataset)
    return Start(run.config, run.settings, run.dataset, run.moment())


def carried_out(chosen: Experiment, run: Run | None, begin: Begin) -> Outcome | None:
    """Run it, with progress; leaving the page or turning a control ends it. None where it could not be run."""
    bar = st.progress(0.0, "running on a copy")
    current = studio().current
    courtesy = Courtesy(
        busy=lambda: current is not None and current.state is State.RUNNING,
        tell=lambda share: bar.progress(share, "running on a copy"),
    )
    try:
        outcome = chosen.run(start_of(run, begin), courtesy)
    except InputError as error:
        st.text(str(error))
        return None
    finally:
        bar.empty()
    return outcome


def shown(outcome: Outcome, name: str, begin: Begin) -> None:
    """The sentence that says what is seen, what shows it, and what it was tried on."""
    with st.container(border=True):
        st.markdown(outcome.seen)
    show_all(outcome.exhibits, f"whatif-{name}-{begin}")
    st.text(f"Tried on {outcome.about}.")
