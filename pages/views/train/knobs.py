"""What can be changed while a run trains: learning rate and its schedule, speed, batch size, decay, clipping."""

from __future__ import annotations

import streamlit as st

from engine.config import LiveSettings
from pages.widgets import fields, plan


def live_knobs(settings: LiveSettings) -> None:
    """The learning rate, as slider, number, and buttons up and down; and the speed."""
    fields.learning_rate(settings.lr, plan.change_setting, step_rate)
    fields.speed(settings.speed, plan.change_setting)


def more_knobs(settings: LiveSettings) -> None:
    """The other settings that can be changed while the run trains."""
    fields.iterations(settings.max_steps, plan.change_setting)
    with st.popover("Batch, decay, clip", width="stretch"):
        fields.whole_number("batch_size", settings.batch_size, plan.change_setting, label="batch size, windows")
        fields.real_number(
            "weight_decay", settings.weight_decay, plan.change_setting, label="weight decay, per unit of lr"
        )
        fields.real_number("grad_clip", settings.grad_clip, plan.change_setting, label="gradient clip, norm", step=0.1)
        fields.whole_number("micro_batches", settings.micro_batches, plan.change_setting, label="parts of a batch")
    with st.popover("Schedule of the rate", width="stretch"):
        schedule(settings)


def schedule(settings: LiveSettings) -> None:
    """How the learning rate goes over the steps; what a choice does not use is not shown."""
    names = {"constant": "constant", "cosine": "falls along a cosine", "linear": "falls at the end"}
    fields.choice("schedule", settings.schedule, plan.change_setting, shown=names.__getitem__)
    fields.whole_number("warmup_steps", settings.warmup_steps, plan.change_setting, label="warm-up, steps")
    if settings.schedule == "linear":
        label = "falls over the last share of the steps"
        fields.real_number("decay_share", settings.decay_share, plan.change_setting, label=label, step=0.1)
    if settings.schedule != "constant":
        label = "share of the rate left at the end"
        fields.real_number("final_share", settings.final_share, plan.change_setting, label=label, step=0.1)


def step_rate(up: int) -> None:
    """The learning rate a notch up (1) or down (-1) from where it is now."""
    plan.change_setting("lr", fields.next_rate(plan.settings_shown().lr, up))
