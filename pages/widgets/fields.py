"""Settings as widgets. Each is built from its field: bounds, help and default are read, never repeated.

The engine is the truth: a widget is drawn with the engine's value, and what a person changes goes through `on_change`
at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import streamlit as st
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from engine.config import SPEEDS, LiveSettings, RunConfig
from pages.widgets.glossary import TERMS, glossary_link
from pages.widgets.icon_button import icon_button

OnChange = Callable[[str, Any], None]
GLOSSARY_NAMES = {
    "batch_size": "batch",
    "epochs": "epoch",
    "grad_clip": "gradient clipping",
    "weight_decay": "weight decay",
}
"""Settings that the Glossary has under another name."""
SPEED_LIST_WIDTH = 136
"""Pixels: room for "1,000/s" in the type of presenter mode."""
RATES = [float(f"{digit}e{power}") for power in range(-6, 1) for digit in (1, 2, 5)] + [10.0]


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
    """The field's own description, the sentence `also`, and a link where the Glossary explains the field."""
    text, term = f"{field_of(name).description or ''} {also}".strip(), GLOSSARY_NAMES.get(name, name)
    return f"{text} {glossary_link(term)}" if term in TERMS else text


def next_rate(lr: float, up: int) -> float:
    """The next of `RATES` above the learning rate (`up` = 1) or below it (-1)."""
    others = [n for n in RATES if (n > lr * 1.001 if up > 0 else n < lr * 0.999)]
    return (min(others) if up > 0 else max(others)) if others else lr


def tracked(name: str, value: Any, options: tuple[Any, ...] = ()) -> tuple[str, Any]:
    """The key of a widget that shows `value`, and what it starts with; a new key when the value came from elsewhere.

    A browser that lags behind sends the number it still shows along with every click. Under one key Streamlit takes
    that for a change by the person, and the knob turns back by itself. The start goes with every drawing, since a
    browser may skip the first one.
    """
    shown = st.session_state.setdefault("fields", {})
    generation, before, start = shown.get(name, (0, (value, options), value))
    forgotten = start != value and f"{name}-{generation}" not in st.session_state  # it was not drawn for a while
    if before != (value, options) or forgotten:
        generation, start = generation + 1, value
    shown[name] = generation, (value, options), start
    return f"{name}-{generation}", start


def change_handler(name: str, key: str, field: str, on_change: OnChange) -> Callable[[], None]:
    """What a `tracked` widget calls when a person changes it; it does nothing once the widget has been replaced."""

    def react() -> None:
        generation, (_, options), start = st.session_state.fields[name]
        if key == f"{name}-{generation}":
            value = st.session_state[key]
            st.session_state.fields[name] = generation, (value, options), start
            on_change(field, value)

    return react


def learning_rate(lr: float, on_change: OnChange, on_step: Callable[[int], None], *, disabled: bool = False) -> None:
    """A log slider over `RATES`; below it the number, to be typed, and buttons for the next rate down or up."""
    slider, start = tracked("lr_slider", lr)
    st.select_slider(
        "learning rate",
        sorted({*RATES, start}),
        start,
        key=slider,
        format_func=_brief,
        help=help_of("lr", "Keys: ↑ and ↓."),
        disabled=disabled,
        on_change=change_handler("lr_slider", slider, "lr", on_change),
    )
    exact_rate(lr, on_change, on_step, disabled=disabled)


def exact_rate(
    lr: float, on_change: OnChange, on_step: Callable[[int], None], *, disabled: bool = False, keys: bool = True
) -> None:
    """The learning rate as a number, to be typed, between buttons for the next rate down and up; these have `keys`,
    except on a page that scrolls by them."""
    low, high = bounds(field_of("lr"))
    number, start = tracked("lr_number", lr)
    with st.container(horizontal=True, gap="xsmall", wrap=False, key="lr_row"):
        icon_button(
            "Lower the learning rate",
            "lr_down",
            ":material/arrow_drop_down:",
            shortcut="Down" if keys else None,
            help="A notch lower. Key: ↓" if keys else "A notch lower.",
            on_click=on_step,
            args=(-1,),
            disabled=disabled,
        )
        st.number_input(
            "learning rate, exactly",
            low,
            high,
            start,
            key=number,
            format=_short_format(lr),
            step=1e-4,
            label_visibility="collapsed",
            disabled=disabled,
            on_change=change_handler("lr_number", number, "lr", on_change),
        )
        icon_button(
            "Raise the learning rate",
            "lr_up",
            ":material/arrow_drop_up:",
            shortcut="Up" if keys else None,
            help="A notch higher. Key: ↑" if keys else "A notch higher.",
            on_click=on_step,
            args=(1,),
            disabled=disabled,
        )


def iterations(max_steps: int, on_change: OnChange) -> None:
    """A log slider of round numbers, and the number beside it."""
    key, start = tracked("max_steps_slider", max_steps)
    options = sorted({digit * 10**power for power in range(1, 7) for digit in (1, 2, 5)} | {start})
    slider, number = st.columns([5, 3], vertical_alignment="bottom")
    slider.select_slider(
        "iterations (steps)",
        options,
        start,
        key=key,
        format_func=lambda n: f"{n:,}",
        help=help_of("max_steps", "May be raised or cut while it runs, and raised when it is done."),
        on_change=change_handler("max_steps_slider", key, "max_steps", on_change),
    )
    whole_number("max_steps", max_steps, on_change, number, "iterations, exactly", hidden=True, key="max_steps_number")


def speed(
    value: int | str,
    on_change: OnChange,
    label: str = "speed limit, steps/s",
    name: str = "speed",
    *,
    explained: bool = True,
) -> None:
    """The speed limit; `name` tells two such widgets of a session apart."""
    key, start = tracked(name, value)
    st.segmented_control(
        label,
        SPEEDS,
        default=start,
        key=key,
        required=True,
        format_func=lambda s: "max" if s == "unlimited" else f"{s:,}",
        help=help_of("speed") if explained else None,
        on_change=change_handler(name, key, "speed", on_change),
        width="stretch",
    )


def speed_list(
    value: int | str, on_change: OnChange, options: Sequence[int | str] = SPEEDS, name: str = "speed"
) -> None:
    """The speed limit, steps/s, in little room: a list without a label, its unit in each line."""
    key, start = tracked(f"{name}_list", value)
    st.selectbox(
        "speed limit, steps/s",
        allowed := sorted({*options, start}, key=lambda s: float("inf") if s == "unlimited" else float(s)),
        allowed.index(start),
        key=key,
        format_func=lambda s: "max" if s == "unlimited" else f"{s:,}/s",
        label_visibility="collapsed",
        width=SPEED_LIST_WIDTH,
        on_change=change_handler(f"{name}_list", key, "speed", on_change),
    )


def whole_number(
    name: str,
    value: int | None,
    on_change: OnChange,
    place: Any = st,
    label: str = "",
    *,
    hidden: bool = False,
    key: str = "",
    disabled: bool = False,
) -> None:
    """A whole number within its field's bounds; a field that may be off shows an empty box."""
    widget = key or name
    key, start = tracked(widget, value)
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
        on_change=change_handler(widget, key, name, on_change),
    )


def real_number(
    name: str, value: float | None, on_change: OnChange, place: Any = st, label: str = "", step: float = 0.01
) -> None:
    """A number within its field's bounds; a field that may be off shows an empty box."""
    low, high = bounds(field_of(name))
    key, start = tracked(name, value)
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
        on_change=change_handler(name, key, name, on_change),
    )


def text_input(name: str, value: str, on_change: OnChange, place: Any = st, label: str = "") -> None:
    """A line of text."""
    key, start = tracked(name, value)
    place.text_input(
        label or name, start, key=key, help=help_of(name), on_change=change_handler(name, key, name, on_change)
    )


def choice(
    name: str,
    value: Any,
    on_change: OnChange,
    place: Any = st,
    label: str = "",
    options: list[Any] | None = None,
    shown: Callable[[Any], str] = str,
) -> None:
    """One of the values that a field allows."""
    allowed = options if options is not None else list(get_args(field_of(name).annotation))
    key, start = tracked(name, value, tuple(allowed))
    place.selectbox(
        label or name,
        allowed,
        allowed.index(start),
        key=key,
        format_func=shown,
        help=help_of(name),
        on_change=change_handler(name, key, name, on_change),
    )


def _short_format(lr: float) -> str:
    """How a rate is written in a field for about eight characters: 10000000 would be cut, 1.00e+7 is not."""
    return "%.3g" if lr == 0 or 1e-4 <= lr < 1e6 else "%.2e"


def _brief(lr: float) -> str:
    """1e-3 rather than 0.001."""
    digits, power = f"{lr:.3e}".split("e")
    return f"{float(digits):g}e{int(power)}" if lr < 0.1 or lr >= 1000 else f"{lr:g}"
