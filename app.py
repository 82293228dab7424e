"""The launcher: `streamlit run app.py`. It joins the pages, the live routes, the gate and the engine's life."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st

from engine.runner import studio
from pages.live.socket import Hub, routes

hub = Hub(studio())


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """The pump and the folder watch live as long as the server; every training thread is joined at its end."""
    studio().open()
    hub.open()
    try:
        yield
    finally:
        await hub.close()
        studio().close()


app = st.App("pages/shell.py", routes=routes(hub), lifespan=lifespan)
