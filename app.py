"""The launcher: `streamlit run app.py`. It puts together the pages, the live routes, the gate and the engine."""

from __future__ import annotations

import asyncio
import importlib
import os
import pkgutil
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import streamlit as st
from starlette.middleware import Middleware

from engine import link
from engine.errors import InputError
from engine.lessons.course import find_lesson
from engine.lessons.under_way import lesson_under_way
from engine.runs.manager import run_manager
from pages import views
from pages.server import room as rooms
from pages.server.addresses import SETTING, read_hosts
from pages.server.answers.route import Answers
from pages.server.doorkeeper import Doorkeeper
from pages.server.front import front_page
from pages.server.gate import Gate
from pages.server.headers import SecurityHeaders, framing_sites
from pages.server.hub import Hub
from pages.server.limits import descriptors_in_use, limits_for, raise_descriptor_limit
from pages.server.quiet_log import leave_out_visitors_faults
from pages.server.routes import PUBLIC_FILES, PUBLIC_PAGES, PUBLIC_POSTS, PUBLIC_SOCKETS, WATCH, routes, warm_up
from pages.server.seats import Seating, Seats
from pages.widgets.page_change import ignore_the_page_left

address = st.config.get_option("server.address")
base = rooms.base_path()
room = rooms.configured()
rooms.leave_hosts_to_the_gate()
hub = Hub(run_manager())
limits = limits_for(raise_descriptor_limit(), descriptors_in_use())
seating = Seating(limits, room)
doorkeeper = Doorkeeper(limits, seating.answer_at_door)
seats = Middleware(Seats, seating=seating)
try:
    with_scripts = front_page(), WATCH.read_text(encoding="utf-8")
    headers = Middleware(SecurityHeaders, sites=framing_sites(), pages=with_scripts)
except InputError as error:
    sys.exit(str(error))
public = {"pages": PUBLIC_PAGES, "sockets": PUBLIC_SOCKETS, "files": PUBLIC_FILES, "posts": PUBLIC_POSTS}
gate = Middleware(Gate, **public, base=base, room=room)
answers = Middleware(Answers, classroom=hub.classroom, browsers=hub.browsers, base=base)


@asynccontextmanager
async def lifespan(served: st.App) -> AsyncIterator[None]:
    """Open the engine and the hub with the server; at its end close them and join every training thread."""
    rooms.shorten_shutdown()
    leave_out_visitors_faults()
    ignore_the_page_left()
    tasks = [asyncio.create_task(rooms.at_first_listener(doorkeeper)), asyncio.create_task(doorkeeper.keep())]
    run_manager().open()
    hub.open()
    warming = threading.Thread(target=warm_up_all, name="warming up", daemon=True)
    warming.start()
    start_from_environment(os.environ.get("LOOPSCOPE_START"))
    for problem in read_hosts(os.environ.get(SETTING, ""))[1]:
        print(problem, file=sys.stderr, flush=True)
    if room is None:
        print(f"\n  Loopscope: {rooms.own_address()}\n", flush=True)
    try:
        async with rooms.serve_on_network(served, room, bound=address, doorkeeper=doorkeeper):
            yield
    finally:
        for task in tasks:
            task.cancel()
        await hub.close()
        joined = run_manager().close(give_up=rooms.is_pressed_again)
        warming.join(1)
        if not joined or warming.is_alive():
            sys.stderr.flush()
            os._exit(1)  # a thread is inside a long step of torch: left alone, it would end in an abort


def warm_up_all() -> None:
    """Do what the first visitor would otherwise wait for, and then what the first one of each page would."""
    warm_up(run_manager())
    for module in pkgutil.walk_packages(views.__path__, f"{views.__name__}."):
        importlib.import_module(module.name)


def start_from_environment(query: str | None) -> None:
    """Start the run, or open the lesson, that LOOPSCOPE_START describes; a wrong value is one printed line and neither.

    Without it the lesson that was open when the server ended is open again.
    """
    asked = dict(parse_qsl((query or "").lstrip("?"), keep_blank_values=True))
    if not asked:
        lesson_under_way().open_again()
        return
    try:
        if (name := asked.get(link.LESSON)) is not None:
            lesson_under_way().open(find_lesson(name))
            if not link.sets_up(asked):
                return
        plan, notices = link.read(asked)
        if notices:
            raise InputError("; ".join(notices))
        run_manager().start(plan.config, plan.settings)
    except InputError as error:
        print(f"LOOPSCOPE_START: {error}", file=sys.stderr, flush=True)


app = st.App("pages/shell.py", routes=routes(hub, base), middleware=[headers, gate, answers, seats], lifespan=lifespan)
