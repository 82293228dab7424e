"""The large button that starts, pauses and resumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import streamlit as st


def play_button(
    label: str,
    on_click: Callable[[str], None],
    *,
    key: str,
    help: str | None,
    disabled: bool = False,
    primary: bool = True,
    width: Literal["stretch", "content"] = "stretch",
) -> None:
    """A button called `label`; `on_click` gets that label, so that a click that comes late does no harm.

    "Pause" is quiet; any other label stands out, if `primary`.
    """
    running = label == "Pause"
    st.button(
        label,
        key=key,
        type="primary" if primary and not running else "secondary",
        icon=":material/pause:" if running else ":material/play_arrow:",
        shortcut="Space",
        disabled=disabled,
        width=width,
        on_click=on_click,
        args=(label,),
        help=help,
    )
