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
from pages.widgets.glossary import TERMS, more

Turn = Callable[[str, Any], None]
TERM = {"batch_size": "batch", "epochs": "epoch", "grad_clip": "gradient clipping", "weight_decay": "weight decay"}
"""Settings that the Glossary has under another name."""
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


def help_of(name: str, also: str = "") -> str:
    """The field's own description, what there is to say `also`, and the way to the Glossary where that explains it."""
    told, term = f"{field_of(name).description or ''} {also}".strip(), TERM.get(name, name)
    return f"{told} {more(term)}" if term in TERMS else told


def notch(lr: float, up: int) -> float:
    """The next notch of the learning rate above (`up` = 1) or below (-1)."""
    others = [n for n in NOTCHES if (n > lr * 1.001 if up > 0 else n < lr * 0.999)]
    return (min(others) if up > 0 else max(others)) if others else lr


def follow(name: str, value: Any, options: tuple[Any, ...] = ()) -> tuple[str, Any]:
    """The key of a widget that shows `value`, and the value it starts with; a new key when it came from elsewhere.

    A browser that lags behind sends the number it still shows along with every click. Under one key Streamlit takes
    that for a change by the person, and the knob turns back by itself. The start goes with every drawing, since a
    browser may skip the first one.
    """
    shown = st.session_state.setdefault("shown", {})
    generation, before, start = shown.get(name, (0, (value, options), value))
    forgotten = start != value and f"{name}-{generation}" not in st.session_state  # it was not drawn for a while
    if before != (value, options) or forgotten:
        generation, start = generation + 1, value
    shown[name] = generation, (value, options), start
    return f"{name}-{generation}", start


def told(name: str, key: str, field: str, turn: Turn) -> Callable[[], None]:
    """What a widget of `follow` does when a person changes it; nothing if it has been replaced since."""

    def react() -> None:
        generation, (_, options), start = st.session_state.shown[name]
        if key == f"{name}-{generation}":
            value = st.session_state[key]
            st.session_state.shown[name] = generation, (value, options), start
            turn(field, value)

    return react


def learning_rate(lr: float, turn: Turn, move: Callable[[int], None], *, disabled: bool = False) -> None:
    """A log slider over the notches; below it the number, to be typed, and a notch down or up."""
    slider, start = follow("lr_slider", lr)
    st.select_slider(
        "learning rate",
        sorted({*NOTCHES, start}),
        start,
        key=slider,
        format_func=_brief,
        help=help_of("lr", "Keys: ↑ and ↓."),
        disabled=disabled,
        on_change=told("lr_slider", slider, "lr", turn),
    )
    low, high = bounds(field_of("lr"))
    number, start = follow("lr_number", lr)
    with st.container(horizontal=True, gap="xsmall", wrap=False, key="lr_row"):
        st.button(
            "▼",
            key="lr_down",
            shortcut="Down",
            help="A notch lower. Key: ↓",
            on_click=move,
            args=(-1,),
            disabled=disabled,
        )
        st.number_input(
            "learning rate, exactly",
            low,
            high,
            start,
            key=number,
            format="%.3g",
            step=1e-4,
            label_visibility="collapsed",
            disabled=disabled,
            on_change=told("lr_number", number, "lr", turn),
        )
        st.button(
            "▲", key="lr_up", shortcut="Up", help="A notch higher. Key: ↑", on_click=move, args=(1,), disabled=disabled
        )


def iterations(max_steps: int, turn: Turn) -> None:
    """A log slider of round numbers, and the number beside it."""
    key, start = follow("max_steps_slider", max_steps)
    options = sorted({digit * 10**power for power in range(1, 7) for digit in (1, 2, 5)} | {start})
    slider, number = st.columns([5, 3], vertical_alignment="bottom")
    slider.select_slider(
        "iterations (steps)",
        options,
        start,
        key=key,
        format_func=lambda n: f"{n:,}",
        help=help_of("max_steps", "May be raised or cut while it runs, and raised when it is done."),
        on_change=told("max_steps_slider", key, "max_steps", turn),
    )
    whole_number("max_steps", max_steps, turn, number, "iterations, exactly", hidden=True, key="max_steps_number")


def speed(value: int | str, turn: Turn) -> None:
    """The speed limit."""
    key, start = follow("speed", value)
    st.segmented_control(
        "speed limit, steps/s",
        SPEEDS,
        default=start,
        key=key,
        required=True,
        format_func=lambda s: "max" if s == "unlimited" else f"{s:,}",
        help=help_of("speed"),
        on_change=told("speed", key, "speed", turn),
        width="stretch",
    )


def whole_number(
    name: str,
    value: int | None,
    turn: Turn,
    place: Any = st,
    label: str = "",
    *,
    hidden: bool = False,
    key: str = "",
    disabled: bool = False,
) -> None:
    """A whole number within its field's bounds; a field that may be off shows an empty box."""
    widget = key or name
    key, start = follow(widget, value)
    low, high = bounds(field_of(name))
    place.number_input(
        label or name,
        None if low is None else int(low),
        None if high is None else min(int(high), 2**53 - 1),
        start,
        key=key,
        placeholder="off",
        help=None if hidden else help_of(name),
        label_visibility="collapsed" if hidden else "visible",
        disabled=disabled,
        on_change=told(widget, key, name, turn),
    )


def real_number(
    name: str, value: float | None, turn: Turn, place: Any = st, label: str = "", step: float = 0.01
) -> None:
    """A number within its field's bounds; a field that may be off shows an empty box."""
    low, high = bounds(field_of(name))
    key, start = follow(name, value)
    place.number_input(
        label or name,
        low,
        high,
        value=start,
        key=key,
        step=step,
        format="%.4g",
        placeholder="off",
        help=help_of(name),
        on_change=told(name, key, name, turn),
    )


def text(name: str, value: str, turn: Turn, place: Any = st, label: str = "") -> None:
    """A line of text."""
    key, start = follow(name, value)
    place.text_input(label or name, start, key=key, help=help_of(name), on_change=told(name, key, name, turn))


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
    allowed = options if options is not None else list(get_args(field_of(name).annotation))
    key, start = follow(name, value, tuple(allowed))
    place.selectbox(
        label or name,
        allowed,
        allowed.index(start),
        key=key,
        format_func=shown,
        help=help_of(name),
        on_change=told(name, key, name, turn),
    )


def _brief(lr: float) -> str:
    """1e-3 rather than 0.001."""
    digits, power = f"{lr:.3e}".split("e")
    return f"{float(digits):g}e{int(power)}" if lr < 0.1 or lr >= 1000 else f"{lr:g}"
