"""What can be changed while a run trains: learning rate, speed, batch size, decay, clipping."""

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


def step_rate(up: int) -> None:
    """The learning rate a notch up (1) or down (-1) from where it is now."""
    plan.change_setting("lr", fields.next_rate(plan.settings_shown().lr, up))
