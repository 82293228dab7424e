"""What needs a new run: preset, text, model and its sizes, tokenizer, seed, device; and how long it would take."""

from __future__ import annotations

import time
from functools import partial
from typing import get_args

import streamlit as st

from engine import link
from engine.config import DeviceName, RunConfig, fields_of
from engine.errors import InputError
from engine.models import registry
from engine.paths import home
from engine.presets import PRESETS
from engine.progress import Report
from engine.runs.cost import COST_SECONDS, LARGE, Cost, duration
from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.text import gpt2
from engine.training.device import present_devices
from pages.views.shared.add_text import add_texts, fetch_gpt2
from pages.views.train.fine_tuning import fine_tuning
from pages.views.train.transport import confirmation
from pages.widgets import actions, fields, plan, waiting

PLACE = "new_run"
"""Where what is asked for in this panel is answered."""
SIZES = ("n_layer", "n_head", "n_embd")
"""The sizes of a model that has them, shown in one row."""


def new_run(run: Run | None) -> None:
    """The panel of everything that needs a new run."""
    planned = plan.planned().config
    texts = {entry.name: entry.title for entry in run_manager().library.entries() if entry.ready}
    texts.setdefault(planned.corpus, f"{planned.corpus} (not here)")
    with st.popover("New run: model, text, seed", width="stretch", key=f"new_run-{st.session_state.get('panel', 0)}"):
        st.caption("These need a new run. Nothing here touches the one that is running.")
        left, right = st.columns(2)
        fields.choice("preset", planned.preset, lambda _, name: plan.choose_preset(name), left, options=list(PRESETS))
        fields.choice("corpus", planned.corpus, plan.change_config, right, "text", list(texts), lambda n: texts[n])
        st.caption(plan.planned().about)
        three = st.columns(3)
        fields.choice("model", planned.model, plan.change_config, three[0], options=list(registry.names()))
        for place, name in zip(three[1:], ("block_size", "seed"), strict=True):
            fields.whole_number(name, getattr(planned, name), plan.change_config, place, name.replace("_", " "))
        if planned.reads_text:
            token_fields(planned)
        own = fields_of(planned.model)
        if "points" in own:
            fields.text_input("points", planned.points, plan.change_config, label="points: x,y x,y …")
        sizes = [name for name in SIZES if name in own]
        for place, name in zip(st.columns(3) if sizes else (), sizes, strict=False):
            fields.whole_number(name, getattr(planned, name), plan.change_config, place)
        three = st.columns(3)
        fields.choice("optimizer", planned.optimizer, plan.change_config, three[0])
        devices = [name for name in get_args(DeviceName) if name in (*present_devices(), planned.device)]
        fields.choice("device", planned.device, plan.change_config, three[1], options=devices)
        if "dropout" in own:
            fields.real_number("dropout", planned.dropout, plan.change_config, three[2])
        with st.expander("Optimizer, first weights, patience"):
            rule_fields(planned)
        add_texts(lambda name: plan.change_config("corpus", name))
        if run is not None:
            fine_tuning(run)
        with st.container(key="new_run_foot"):
            foot(run)


def foot(run: Run | None) -> None:
    """Start what is set up; or, over a run that is under way, the question whether to stop that one."""
    if (question := actions.asked(PLACE)) is not None:
        confirmation(question)
        return
    made = plan.planned()
    st.caption(f"Set up: {link.describe(made.config, made.settings, plan.text_title(made.config.corpus))}.")
    st.button(
        "Start with these" if run is None else "Start a new run with these",
        key="start_these",
        type="primary",
        icon=":material/play_arrow:",
        on_click=actions.request,
        args=("start", PLACE),
        width="stretch",
    )


def rule_fields(planned: RunConfig) -> None:
    """The numbers of the chosen optimizer, what decay pulls at, the first weights, and when to stop early."""
    left, right = st.columns(2)
    if planned.optimizer == "sgd":
        fields.real_number("momentum", planned.momentum, plan.change_config, left, step=0.1)
    else:
        fields.real_number("beta1", planned.beta1, plan.change_config, left, "β1, of the mean gradient")
        fields.real_number("beta2", planned.beta2, plan.change_config, right, "β2, of the mean square")
        fields.real_number("epsilon", planned.epsilon, plan.change_config, left, "ε", step=1e-8)
    if planned.optimizer == "muon":
        fields.real_number("muon_scale", planned.muon_scale, plan.change_config, right, "Muon's rate ÷ lr", step=1.0)
    shown = {"all": "all weights", "matrices": "matrices alone"}
    fields.choice("decays", planned.decays, plan.change_config, left, "weight decay pulls at", shown=shown.__getitem__)
    if planned.reads_text:
        names = {
            "own": "the model's own",
            "zeros": "all 0",
            "normal": "N(0, 1)",
            "small": "N(0, 0.02)",
            "small-scaled": "N(0, 0.02), by depth",
        }
        weights = planned.first_weights
        fields.choice("first_weights", weights, plan.change_config, right, "first weights", shown=names.__getitem__)
        fields.whole_number("patience", planned.patience, plan.change_config, left, "patience, validation losses")
    if "attention" in fields_of(planned.model):
        fields.choice("attention", planned.attention, plan.change_config, right)
        fields.choice("precision", planned.precision, plan.change_config, left)


def token_fields(planned: RunConfig) -> None:
    """Tokenizer, vocabulary and epochs."""
    three = st.columns(3)
    names = {"char": "characters", "bpe": "bpe, learnt here", "gpt2": "GPT-2's own"}
    fields.choice("tokenizer", planned.tokenizer, plan.change_config, three[0], shown=names.__getitem__)
    if planned.tokenizer == "bpe":
        fields.whole_number("vocab_size", planned.vocab_size, plan.change_config, three[1], "vocabulary, tokens")
    fields.whole_number("epochs", planned.epochs, plan.change_config, three[2])
    if planned.tokenizer == "gpt2" and gpt2.found(home()) is None:
        label = f"Fetch {gpt2.TITLE} ({gpt2.BYTES / 1e6:.1f} MB)"
        chosen = partial(plan.change_config, "tokenizer", "gpt2")
        st.button(label, key="fetch_gpt2", width="stretch", on_click=fetch_gpt2, args=(chosen,))


def estimate(run: Run | None) -> None:
    """How long the next run would take, measured on this machine."""
    if run is not None and run.alive:
        return
    house, config, settings = run_manager(), plan.planned().config, plan.settings_shown()

    def work(report: Report) -> tuple[float | None, Cost | None]:
        return house.estimate(config, settings, report), house.cost(config, settings, report)

    busy = house.race is not None and house.race.alive
    news = (house.library.version, busy, run and (run.id, run.step), time.monotonic() // COST_SECONDS)
    try:
        made = waiting.result("estimate", (config, settings, news), work)
    except InputError as error:
        st.text(str(error))
        return
    if made is None:
        return
    plan.limit_again()
    seconds, cost = made
    if seconds is not None:
        st.caption(f"{settings.max_steps:,} steps take about {duration(seconds)} here.")
    if cost is not None and cost.parameters >= LARGE:
        st.caption(f"{cost.parameters:,} parameters, about {cost.bytes / 1e9:.1f} GB of memory.")
