"""The stage: a run's controls at the left, the live board beside them. Holds no training state.

The whole page is one fragment. It never polls: the board hears from the engine and reruns it when the run, its state
or its settings are no longer what was drawn here. What a person has prepared but not started (a preset, another text)
is the only thing a session keeps.
"""

from __future__ import annotations

import streamlit as st

from engine import link
from engine.config import LiveSettings, RunConfig, fields_of
from engine.errors import InputError
from engine.models import registry
from engine.paths import home
from engine.presets import PRESETS
from engine.runs.cost import LARGE, duration
from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.stream.status import State
from engine.text import gpt2
from engine.tracking.external_run import ExternalRun
from pages.board.board import board, shown_of
from pages.server import room
from pages.views.data.add_text import add_texts
from pages.views.shared import scrubbed_moment
from pages.views.shared.try_this import offer
from pages.views.train import external_run, fork, pin_note
from pages.views.train.divergence import lesson
from pages.views.train.fine_tuning import fine_tuning
from pages.widgets import actions, fields
from pages.widgets.style import STYLE, STYLE_PRESENTER

SIZES = ("n_layer", "n_head", "n_embd")
"""Of a model that has them, in one row."""


def transport(run: Run | None) -> None:
    """Play, single steps, stop, reset: first-class verbs with keys."""
    running = run is not None and run.state is State.RUNNING
    paused = run is not None and run.state is State.PAUSED
    asking, presenter = "asking" in st.session_state, st.session_state.get("presenter", False)
    label = "Pause" if running else "Resume" if paused else "Start"
    icon = ":material/pause:" if running else ":material/play_arrow:"
    st.button(
        label,
        key="play",
        type="secondary" if running else "primary",
        icon=icon,
        shortcut="Space",
        disabled=asking,
        width="stretch",
        on_click=actions.play,
        args=(label,),
        help=None if presenter else "Start, pause, resume. Key: space.",  # it would cover the verbs, in large type
    )
    with st.container(horizontal=True, gap="xsmall", wrap=False, key="verbs"):
        st.button(
            "+1",
            key="one",
            shortcut="Right",
            on_click=actions.steps,
            args=(1,),
            disabled=asking,
            help="One step. Key: →",
        )
        st.button("+10", key="ten", on_click=actions.steps, args=(10,), disabled=asking, help="Ten steps.")
        st.button(
            "",
            key="stop",
            icon=":material/stop:",
            on_click=run.stop if run else None,
            disabled=asking or not (run and run.alive),
            help="Stop: end this run.",
        )
        st.button(
            "",
            key="reset",
            icon=":material/replay:",
            shortcut="Backspace",
            on_click=actions.attempt,
            args=("reset",),
            disabled=asking or run is None,
            help="Reset to the same start: same seed, same curve. Key: Backspace.",
        )
        if not presenter:
            st.button(
                "",
                key="fork_now",
                icon=":material/fork_right:",
                on_click=fork.ask,
                disabled=asking or run is None,
                help="Fork: go on from this step, or an earlier one, in a new run that is turned another way.",
            )
        st.button(
            "",
            key="undo",
            icon=":material/undo:",
            on_click=actions.bring_back,
            disabled=asking or run_manager().previous is None,
            help="Bring the previous run back.",
        )
    with st.container():  # as for what is above the verbs
        if run is not None and run.state is State.STOPPED and run.can_resume:
            st.button("Go on with this run", on_click=run.start, width="stretch")


def question() -> None:
    """A new start or a reset would end a run: stop it and go on, or cancel."""
    action, about = st.session_state.asking
    verb = {"start": "start the new run", "reset": "reset"}[action]
    with st.container(border=True):
        st.text(f"{about}. Stop it and {verb}?")
        yes, no = st.columns(2)
        yes.button("Stop it", type="primary", on_click=actions.go_ahead, args=(action,), width="stretch")
        no.button("Cancel", on_click=lambda: st.session_state.pop("asking"), width="stretch")


def notices() -> None:
    """What went wrong, in one sentence each, until closed."""
    said = st.session_state.get("notices") or []
    if said:
        with st.container(border=True, key="notices"):
            for sentence in said:
                st.text(sentence)
            st.button("Close", key="close_notices", on_click=lambda: st.session_state.update(notices=[]))


def live_knobs(settings: LiveSettings) -> None:
    """The learning rate: slider, number and a notch either way."""
    fields.learning_rate(settings.lr, actions.turn, lambda up: actions.turn("lr", fields.notch(actions.knobs().lr, up)))


def more_knobs(settings: LiveSettings) -> None:
    """The rest of what turns while the run runs."""
    fields.speed(settings.speed, actions.turn)
    with st.popover("Batch, decay, clip", width="stretch"):
        fields.whole_number("batch_size", settings.batch_size, actions.turn, label="batch size, windows")
        fields.real_number("weight_decay", settings.weight_decay, actions.turn, label="weight decay, per unit of lr")
        fields.real_number("grad_clip", settings.grad_clip, actions.turn, label="gradient clip, norm", step=0.1)


def new_run(run: Run | None) -> None:
    """What needs a new run: set apart, and it says so."""
    planned = actions.plan().config
    texts = {entry.name: entry.title for entry in run_manager().library.entries() if entry.ready}
    texts.setdefault(planned.corpus, f"{planned.corpus} (not here)")
    with st.popover("New run: model, text, seed", width="stretch", key=f"new_run-{st.session_state.get('panel', 0)}"):
        st.caption("These need a new run. Nothing here touches the one that is running.")
        left, right = st.columns(2)
        fields.choice("preset", planned.preset, lambda _, name: actions.take_preset(name), left, options=list(PRESETS))
        fields.choice("corpus", planned.corpus, actions.restructure, right, "text", list(texts), lambda n: texts[n])
        st.caption(actions.plan().about)
        three = st.columns(3)
        fields.choice("model", planned.model, actions.restructure, three[0], options=list(registry.names()))
        for place, name in zip(three[1:], ("block_size", "seed"), strict=True):
            fields.whole_number(name, getattr(planned, name), actions.restructure, place, name.replace("_", " "))
        if planned.reads_text:
            tokens(planned)
        own = fields_of(planned.model)
        if "points" in own:
            fields.text("points", planned.points, actions.restructure, label="points: x,y x,y …")
        sizes = [name for name in SIZES if name in own]
        for place, name in zip(st.columns(3) if sizes else (), sizes, strict=False):
            fields.whole_number(name, getattr(planned, name), actions.restructure, place)
        three = st.columns(3)
        fields.choice("optimizer", planned.optimizer, actions.restructure, three[0])
        fields.choice("device", planned.device, actions.restructure, three[1])
        if "dropout" in own:
            fields.real_number("dropout", planned.dropout, actions.restructure, three[2])
        add_texts(lambda name: actions.restructure("corpus", name))
        if run is not None:
            st.button(
                "Start a new run with these",
                key="start_these",
                type="primary",
                on_click=actions.attempt,
                args=("start",),
                width="stretch",
            )
            fine_tuning(run)


def tokens(planned: RunConfig) -> None:
    """What a token is, and runs by epochs."""
    three = st.columns(3)
    names = {"char": "characters", "bpe": "bpe, learnt here", "gpt2": "GPT-2's own"}
    fields.choice("tokenizer", planned.tokenizer, actions.restructure, three[0], shown=names.__getitem__)
    if planned.tokenizer == "bpe":
        fields.whole_number("vocab_size", planned.vocab_size, actions.restructure, three[1], "vocabulary, tokens")
    fields.whole_number("epochs", planned.epochs, actions.restructure, three[2])
    if planned.tokenizer == "gpt2" and gpt2.found(home()) is None:
        label = f"Fetch {gpt2.TITLE} ({gpt2.BYTES / 1e6:.1f} MB)"
        st.button(label, key="fetch_gpt2", width="stretch", on_click=fetch_gpt2)


def fetch_gpt2() -> None:
    """Fetch GPT-2's two files; what went wrong is said in the notices."""
    try:
        gpt2.fetch(home())
    except InputError as error:
        actions.say(str(error))
    else:
        actions.restructure("tokenizer", "gpt2")


def sampling() -> None:
    """Prompt, temperature, top-k, length, seed."""
    st.text_input("sample from a prompt", key="prompt", max_chars=200, placeholder="empty: the first token")
    with st.container(horizontal=True, gap="xsmall", wrap=False, key="sampling"):
        st.button(
            "Sample",
            key="sample",
            shortcut="S",
            on_click=actions.sample,
            help="Sample from the model as it is now. Key: s",
        )
        with st.popover("Options"):
            st.slider("temperature", 0.05, 3.0, 1.0, 0.05, key="temperature", help="Below 1: safer. Above 1: wilder.")
            st.number_input("top-k (0: all tokens)", 0, 100_000, 0, key="top_k")
            st.number_input("length, tokens", 1, 400, 120, key="max_new_tokens")
            st.number_input("seed", 0, 2**31, 0, key="sample_seed", help="Same seed, same weights: same text.")


def share() -> None:
    """This experiment as a link, the audience's address, and presenter mode."""
    with st.container(horizontal=True, gap="xsmall", wrap=False, key="share"):
        with st.popover("Link", help="Copy a link that sets this experiment up."):
            st.code(
                f"{st.context.url}?{link.write(actions.plan().config, actions.knobs())}", language=None, wrap_lines=True
            )
        with st.popover("QR", help="The audience's address."):
            audience()
        with st.popover("Try", help="Three short experiments."):
            offer("Train")
        present_button("Present")


def audience() -> None:
    """Where the audience watches, as a QR code; or how to open the room."""
    if not room.asked():
        st.text("The room is closed: only this computer can watch. Start with LOOPSCOPE_ROOM=1 to open it.")
        return
    address = room.audience_address(st.config.get_option("server.port"))
    st.code(address, language=None)
    st.image(room.qr_svg(address), width="stretch")


def present_button(label: str) -> None:
    """Into presenter mode and back."""
    presenter = st.session_state.get("presenter", False)
    st.button(
        label,
        key="present",
        icon=None if presenter else ":material/fullscreen:",
        shortcut="P",
        width="stretch",
        help="Large type, only the stage. Key: p",
        on_click=lambda: st.session_state.update(presenter=not presenter),
    )


def estimate(run: Run | None) -> None:
    """How long the next run would take, measured on this machine."""
    if run is not None and run.alive:
        return
    try:
        with st.spinner("reading the text, timing a few steps"):
            seconds = run_manager().estimate(actions.plan().config, actions.knobs())
            cost = run_manager().cost(actions.plan().config, actions.knobs())
    except InputError as error:
        st.text(str(error))
        return
    if seconds is not None:
        st.caption(f"{actions.knobs().max_steps:,} steps take about {duration(seconds)} here.")
    if cost is not None and cost.parameters >= LARGE:
        st.caption(f"{cost.parameters:,} parameters, about {cost.bytes / 1e9:.1f} GB of memory.")


def watch(run: ExternalRun) -> None:
    """The stage while it shows a run that another process trains."""
    shown = shown_of(run)
    presenter = st.session_state.get("presenter", False)
    st.html(STYLE + (STYLE_PRESENTER if presenter else ""))
    left, right = st.columns([2, 9], gap="small")
    with left.container(key="controls"):
        notices()
        external_run.panel(run, presenter)
        if not presenter:
            external_run.offer()
        present_button("Leave presenter mode" if presenter else "Present")
    with right:
        board("train", run="current", shown=shown, presenter=presenter)


@st.fragment
def stage() -> None:
    """The page."""
    if (watched := run_manager().watched) is not None:
        watch(watched)
        return
    run = run_manager().current
    shown = shown_of(run, moment=True)
    actions.plan()
    settings = actions.knobs()
    presenter = st.session_state.get("presenter", False)
    st.html(STYLE + (STYLE_PRESENTER if presenter else ""))
    left, right = st.columns([2, 9], gap="small")
    with left.container(key="controls"):
        with st.container():  # what comes and goes here builds none of the controls anew: their keys work throughout
            if "asking" in st.session_state:
                question()
            fork.card(run)
            pin_note.card(run)
            notices()
            if not presenter:
                external_run.offer()
        transport(run)
        live_knobs(settings)
        if not presenter:
            fields.iterations(settings.max_steps, actions.turn)
            with st.container(key="more"):
                more_knobs(settings)
                new_run(run)
                sampling()
                share()
                timing = st.empty()
        else:
            present_button("Leave presenter mode")
    with right:
        lesson(run)
        scrubbed_moment.line("Train")
        board(
            "train",
            run="current",
            shown=shown,
            presenter=presenter,
            past=scrubbed_moment.step_shown(),
            verbs=scrubbed_moment.can("open", "fork", "note"),
            on_moment=scrubbed_moment.take,
        )
    if not presenter:
        with timing.container():
            estimate(run)  # last: it takes a moment, and nothing waits for it


stage()
