"""This experiment as a link, the audience's address as a QR code, and presenter mode."""

from __future__ import annotations

import streamlit as st

from engine import link
from pages.server import room
from pages.views.shared.frame import present_button
from pages.widgets import plan


def share() -> None:
    """This experiment as a link, the audience's address, and presenter mode."""
    with st.container(horizontal=True, gap="xsmall", wrap=False, key="share"):
        with st.popover("Link", help="Copy a link that sets this experiment up."):
            query = link.write(plan.planned().config, plan.settings_shown())
            st.code(f"{st.context.url}?{query}", language=None, wrap_lines=True)
        with st.popover("QR", help="The audience's address."):
            audience()
        present_button()


def audience() -> None:
    """The audience's address as a QR code; or how to open the room."""
    opened = room.configured()
    if opened is None:
        st.text("The room is closed: only this computer can watch. Start with LOOPSCOPE_ROOM=1 to open it.")
        return
    st.code(opened.audience, language=None)
    st.image(room.qr_svg(opened.audience), width="stretch")
