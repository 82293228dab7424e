"""Settings as widgets. Each is built from its field: bounds, help and default are read, never repeated.

The engine is the truth: before a widget is drawn its state is set to the engine's value, and what a person changes
goes through `on_turn` at once. Knows no page and starts no run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import streamlit as st
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from engine.config import SPEEDS, LiveSettings, RunConfig

Turn = Callable[[str, Any], None]
NOTCHES = [float(f"{digit}e{power}") for power in range(-6, 1) for digit in (1, 2, 5)] + [10.0]


def bounds(field: FieldInfo) -> tuple[float | None, float | None]:
    """The least and the most a field allows (an open bound counts as closed: the record itself refuses it)."""
    low = high = None
    for rule in field.metadata:
        if isinstance(rule, Ge | Gt):
            low = float(rule.ge if isinstance(rule, Ge) else rule.gt)  # type: ignore[arg-type]
        if isinstance(rule, Le | Lt):
            high = float(rule.le if isinstance(rule, Le) else rule.lt)  # type: ignore[arg-type]
    return low, high


def field_of(name: str) -> FieldInfo:
    """The field called `name`, of either record."""
    return LiveSettings.model_fields.get(name) or RunConfig.model_fields[name]


def help_of(name: str) -> str:
    """The field's own description."""
    return field_of(name).description or ""


def notch(lr: float, up: int) -> float:
    """The next notch of the learning rate above (`up` = 1) or below (-1)."""
    others = [n for n in NOTCHES if (n > lr * 1.001 if up > 0 else n < lr * 0.999)]
    return (min(others) if up > 0 else max(others)) if others else lr


def learning_rate(lr: float, turn: Turn, move: Callable[[int], None]) -> None:
    """A log slider over the notches; below it the number, to be typed, and a notch down or up."""
    st.session_state.lr_slider, st.session_state.lr_number = lr, lr
    st.select_slider(
        "learning rate",
        sorted({*NOTCHES, lr}),
        key="lr_slider",
        format_func=_brief,
        help=help_of("lr") + " Keys: ↑ and ↓.",
        on_change=lambda: turn("lr", st.session_state.lr_slider),
    )
    low, high = bounds(field_of("lr"))
    with st.container(horizontal=True, gap="xsmall", wrap=False, key="lr_row"):
        st.button("▼", key="lr_down", shortcut="Down", help="A notch lower. Key: ↓", on_click=move, args=(-1,))
        st.number_input(
            "learning rate, exactly",
            low,
            high,
            key="lr_number",
            format="%.3g",
            step=1e-4,
            label_visibility="collapsed",
            on_change=lambda: turn("lr", st.session_state.lr_number),
        )
        st.button("▲", key="lr_up", shortcut="Up", help="A notch higher. Key: ↑", on_click=move, args=(1,))


def iterations(max_steps: int, turn: Turn) -> None:
    """A log slider of round numbers, and the number beside it."""
    options = sorted({digit * 10**power for power in range(1, 7) for digit in (1, 2, 5)} | {max_steps})
    st.session_state.max_steps_slider, st.session_state.max_steps_number = max_steps, max_steps
    slider, number = st.columns([5, 3], vertical_alignment="bottom")
    slider.select_slider(
        "iterations (steps)",
        options,
        key="max_steps_slider",
        format_func=lambda n: f"{n:,}",
        help=help_of("max_steps") + " May be raised or cut while it runs, and raised when it is done.",
        on_change=lambda: turn("max_steps", st.session_state.max_steps_slider),
    )
    whole_number("max_steps", max_steps, turn, number, "iterations, exactly", hidden=True, key="max_steps_number")


def speed(value: int | str, turn: Turn) -> None:
    """The speed limit."""
    st.session_state.speed = value
    st.segmented_control(
        "speed limit, steps/s",
        SPEEDS,
        key="speed",
        required=True,
        format_func=lambda s: "max" if s == "unlimited" else f"{s:,}",
        help=help_of("speed"),
        on_change=lambda: turn("speed", st.session_state.speed),
        width="stretch",
    )


def whole_number(
    name: str, value: int, turn: Turn, place: Any = st, label: str = "", *, hidden: bool = False, key: str = ""
) -> None:
    """A whole number within its field's bounds."""
    key = key or name
    low, high = bounds(field_of(name))
    st.session_state[key] = value
    place.number_input(
        label or name,
        None if low is None else int(low),
        None if high is None else min(int(high), 2**53 - 1),
        key=key,
        help=None if hidden else help_of(name),
        label_visibility="collapsed" if hidden else "visible",
        on_change=lambda: turn(name, st.session_state[key]),
    )


def real_number(
    name: str, value: float | None, turn: Turn, place: Any = st, label: str = "", step: float = 0.01
) -> None:
    """A number within its field's bounds; a field that may be off shows an empty box."""
    low, high = bounds(field_of(name))
    st.session_state[name] = value
    place.number_input(
        label or name,
        low,
        high,
        value=None,
        key=name,
        step=step,
        format="%.4g",
        placeholder="off",
        help=help_of(name),
        on_change=lambda: turn(name, st.session_state[name]),
    )


def choice(
    name: str,
    value: Any,
    turn: Turn,
    place: Any = st,
    label: str = "",
    options: list[Any] | None = None,
    shown: Callable[[Any], str] = str,
) -> None:
    """One of the values that a field allows."""
    st.session_state[name] = value
    place.selectbox(
        label or name,
        options if options is not None else list(get_args(field_of(name).annotation)),
        key=name,
        format_func=shown,
        help=help_of(name),
        on_change=lambda: turn(name, st.session_state[name]),
    )


def _brief(lr: float) -> str:
    """1e-3 rather than 0.001."""
    digits, power = f"{lr:.3e}".split("e")
    return f"{float(digits):g}e{int(power)}" if lr < 0.1 or lr >= 1000 else f"{lr:g}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
