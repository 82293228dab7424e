"""What if: choose a question, run its experiment on a throwaway copy of the room's run, compare both side by side.

Holds no training state. What was found stays in the session, one result for each experiment and start.
"""

from __future__ import annotations

from typing import Literal, get_args

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from engine.errors import InputError
from engine.lessons.experiments import EXPERIMENTS, MOST_PARAMETERS, TOPICS, Experiment, Pacer, Start
from engine.lessons.results import ExperimentResult
from engine.models import registry
from engine.presets import preset
from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.stream.status import State
from engine.text.bigram_counts import MOST_TOKENS
from engine.text.corpus import Corpus
from pages.views.shared import scrubber
from pages.views.shared.results import show_displays

Begin = Literal["first", "moment"]
START_NAMES: dict[Begin, str] = {"first": "its first weights", "moment": "where the run stands"}
MOST_COPIED = 2_000_000
"""A model of more parameters is not copied: that alone would take the run's memory and seconds."""


GALLERY_STYLE = """<style>
[class*="st-key-questions_"] { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 10px; }
[class*="st-key-questions_"] > div { width: 100%; }
[class*="st-key-questions_"] button { width: 100%; height: 100%; min-height: 4.9rem; padding: 0.6rem 0.9rem;
  justify-content: flex-start; text-align: left; }
[class*="st-key-questions_"] button p { line-height: 1.35; }
[class*="st-key-questions_"] button > div { width: 100%; justify-content: flex-start; }
[class*="st-key-questions_"] button p strong { display: block; }
</style>"""


def what_if() -> None:
    """The gallery of questions; or the one that was chosen, and what its experiment found."""
    chosen = next((one for one in EXPERIMENTS if one.name == st.session_state.get("whatif_open")), None)
    if chosen is None:
        gallery()
    else:
        experiment_view(chosen)


def gallery() -> None:
    """All questions as cards, by topic."""
    st.markdown("Each question is answered by really doing it, on a copy that is thrown away. The run never notices.")
    st.html(GALLERY_STYLE)
    for place, topic in enumerate(TOPICS):
        st.subheader(topic)
        with st.container(key=f"questions_{place}"):
            for one in EXPERIMENTS:
                if one.topic == topic:
                    name = "" if one.title == one.question else f" :small[{one.title}]"
                    st.button(
                        f"**{one.question}**{name}",
                        key=f"ask_{one.name}",
                        on_click=open_question,
                        args=(one.name,),
                    )


def open_question(name: str | None) -> None:
    """Open the experiment with that name; None: the gallery."""
    st.session_state.whatif_open = name


def experiment_view(chosen: Experiment) -> None:
    """One question: what is changed, the button that tries it, and what came out."""
    st.button(
        "All questions",
        key="whatif_all",
        type="tertiary",
        icon=":material/arrow_back:",
        on_click=open_question,
        args=(None,),
    )
    st.subheader(chosen.question)
    name, run = chosen.name, text_run()
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.caption(chosen.title)
        st.markdown(chosen.asks)
        begin = start_picker(chosen, run)
        asked = st.button("Run the experiment", key="whatif_run", type="primary", icon=":material/science:")
    with right:
        st.code(chosen.code, language="python", wrap_lines=True)
        st.caption(f"In the documents: {chosen.documents}.")
    found = st.session_state.setdefault("whatif_found", {})
    where = cache_key(chosen, run, begin)
    if asked and found.get((name, begin), (None,))[0] != where:
        below = st.empty()  # what is there of another experiment goes at once
        with below.container():
            result = run_experiment(chosen, run, begin)
        if result is None:
            return
        found[name, begin] = where, result
        place = below.container()
    else:
        place = st.container()
    if st.session_state.get("whatif_unfinished") == name:
        place.caption("It was interrupted before its end. Run it again to see what comes of it.")
    elif (name, begin) in found:
        with place:
            show_result(found[name, begin][1], name, begin)


def text_run() -> Run | None:
    """The room's run, if it learns from a text."""
    run = run_manager().current
    return run if run is not None and run.config.reads_text and run.state is not State.FAILED else None


def is_bigram(run: Run) -> bool:
    """Is its model one table of pairs, as the experiments that were measured on a bigram need it?"""
    return "pairs" in registry.find(run.config.model).features


def fits(chosen: Experiment, run: Run) -> bool:
    """Can the experiment use the run's own model, or a tiny GPT on its text?"""
    if chosen.model == "tiny gpt":
        return run.dataset.vocab_size <= MOST_TOKENS
    if chosen.model == "bigram" and (not is_bigram(run) or run.dataset.vocab_size > MOST_TOKENS):
        return False
    return run.parameters <= (MOST_PARAMETERS if chosen.model == "small" else MOST_COPIED)


def start_picker(chosen: Experiment, run: Run | None) -> Begin:
    """Choose where the copy begins, if there is a choice."""
    if chosen.model == "none":
        return "first"
    if chosen.model == "tiny gpt":
        st.caption("Tried on a fresh tiny GPT, for which these settings were measured.")
        return "first"
    if run is None:
        st.caption("Tried on a fresh bigram on the project's own text.")
        return "first"
    if not fits(chosen, run):
        st.caption(
            f"Tried on a fresh bigram: the room's model, of {run.parameters:,} parameters, is too large to be trained "
            "so many times in a moment."
            if is_bigram(run) or chosen.model != "bigram"
            else "Tried on a fresh bigram, for which these settings were measured."
        )
        return "first"
    past = scrubber.displayed_step()
    names = START_NAMES if past is None else START_NAMES | {"moment": f"step {past:,}, past"}
    picked: Begin | None = st.segmented_control(
        "Start from",
        get_args(Begin),
        format_func=names.__getitem__,
        default=chosen.begins,
        key=f"whatif_begin-{chosen.name}",
        help="Where the copy begins: with the random weights of the run's seed, or with its weights as they are now. "
        "The choice that is set at first is the one that shows the effect best.",
    )
    return picked or chosen.begins


def cache_key(chosen: Experiment, run: Run | None, begin: Begin) -> tuple[object, ...]:
    """What a result depends on besides the experiment: the run, and where it stands."""
    if run is None:
        return (None,)
    past = scrubber.displayed_step()
    stands = (run.step, run.stage, run.version) if past is None else (past, "past")
    return (run.id, "first") if begin == "first" else (run.id, *stands)


def start_of(chosen: Experiment, run: Run | None, begin: Begin) -> Start:
    """Where to begin: at the run's state or first weights; else a fresh bigram, on the run's text if possible."""
    if run is not None and isinstance(run.dataset, Corpus):
        first = Start(run.config, run.first_settings, run.dataset)
        if fits(chosen, run) or chosen.model == "none":
            if begin == "first":
                return first
            made = scrubber.restored()
            if made is not None and made.paused_state is not None:
                return Start(run.config, made.paused_state.snapshot.settings, run.dataset, made.paused_state)
            return Start(run.config, run.settings, run.dataset, run.paused_state())
        if run.dataset.vocab_size <= MOST_TOKENS:
            return first.bigram()
    fresh = preset("bigram")
    return Start(fresh.config, fresh.settings, run_manager().datasets.load_corpus(fresh.config))


def run_experiment(chosen: Experiment, run: Run | None, begin: Begin) -> ExperimentResult | None:
    """Run it, with progress; anything else that the person does on the page ends it. None if it could not run."""
    bar = st.progress(0.0, "running on a copy")
    current = run_manager().current

    def report(share: float) -> None:
        bar.progress(share, "running on a copy")
        if interrupted():
            st.rerun(scope="fragment")

    pacer = Pacer(lambda: current is not None and current.state is State.RUNNING, report)
    st.session_state.whatif_unfinished = chosen.name
    result: ExperimentResult | None
    try:
        result = chosen.run(start_of(chosen, run, begin), pacer)
    except InputError as error:
        st.text(str(error))
        result = None
    st.session_state.pop("whatif_unfinished")
    bar.empty()
    return result


def interrupted() -> bool:
    """Has this person used another widget? Streamlit would let that wait until the fragment ends."""
    context = get_script_run_ctx()
    if context is None or not context.fragment_ids_this_run:
        return False
    return getattr(getattr(context.script_requests, "_state", None), "name", None) == "RERUN"


def show_result(result: ExperimentResult, name: str, begin: Begin) -> None:
    """The summary, its charts and tables, and what it was tried on."""
    with st.container(border=True):
        st.markdown(result.summary)
    show_displays(result.displays, f"whatif-{name}-{begin}")
    st.text(f"Tried on {result.setup}.")
