"""The live board as a Streamlit element: a place for it, and the way back when the run changes.

The board itself is JavaScript that the server hands out as files (`ASSETS`) and that reads the stream by itself. What
goes through Streamlit is small: where those files are, and what the page was rendered with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic_ns
from typing import Any, NotRequired, TypedDict

import streamlit as st

from engine.lessons.classroom import classroom
from engine.runs.manager import run_manager
from engine.runs.races.race import Race
from engine.runs.run import Run
from engine.stream.status import State
from engine.tracking.external_run import ExternalRun
from pages.charts.panel import Panel
from pages.charts.static import presenting

__all__ = ["ASSETS", "Panel", "Shown", "board", "shown_of"]

HERE = Path(__file__).resolve().parent

# Served under their paths beside this file; the board also asks for vendor/plotly.min.js beside them.
ASSETS: dict[str, Path] = {
    path.relative_to(HERE).as_posix(): path
    for folder in (".", "charts", "client", "panels")
    for path in sorted((HERE / folder).iterdir())
    if path.suffix in (".js", ".css")
}

# Streamlit runs this from a blob, where a relative import leads nowhere; hence the full address. It is built from the
# page's own: whatever path a proxy puts before it, the board's files lie beside the pages.
SCRIPT = """
export default async function ({ parentElement, data, setTriggerValue }) {
  const base = new URL(".", location.href).href;
  const { mount } = await import(new URL("board.js", base).href);
  const onChange = (change) => setTriggerValue("change", change);
  const onMoment = (request) => setTriggerValue("moment", request);
  return mount(parentElement, { ...data, base, onChange, onMoment });
}
"""

_element = st.components.v2.component("loopscope_board", js=SCRIPT, isolate_styles=False)


class Shown(TypedDict):
    """What a page was rendered with: the run (None without one), its state, its settings' and the library's version.

    `trouble` says whether its loss is absurd. `at` is for a page that shows one moment of a run: "step/stage" where
    it stands, "" while it runs. `lesson` is for one that shows where a lesson is: the classroom's version.
    """

    run: str | None
    state: str
    version: int
    library: int
    trouble: bool
    at: NotRequired[str]
    lesson: NotRequired[int]


def board(
    page: str = "train",
    *,
    shown: Shown,
    run: str = "here",
    past: int | None = None,
    verbs: Sequence[str] = (),
    on_moment: Callable[[Any], None] | None = None,
    engine_room: bool | None = None,
    hint: str | None = None,
    told: bool = False,
) -> Any:
    """Show the live board with the panels of `page` for `run`: "here" is this process's own current run, "current"
    whatever is on the stage, which may be a run of another process; or the name of a side lane.

    The script reruns by itself when the stream differs from `shown`; `result.change` is then a dict like `shown`, and
    None in every other rerun. `past` is the step of an earlier moment to show. `verbs` are what a person can do with a
    moment at the scrubber; `on_moment` is called with what the browser then sends: {"verb", "step", "run"}, if it is
    our own script. `engine_room` says whether all panels are shown, or a beginner's; the browser keeps that. `hint` is
    the line over the recorded example while there is no run. With `told` the page itself says what is the matter with a
    run that diverges, and the board does not.
    """
    key = f"board-{page}-{run}"

    def answer() -> None:
        if on_moment is not None:
            on_moment(st.session_state[key].get("moment"))

    return _element(
        key=key,
        data={
            "page": page,
            "run": run,
            "presenter": presenting(),
            "shown": shown,
            "past": past,
            "verbs": list(verbs),
            **({} if engine_room is None else {"engineRoom": engine_room}),
            "hint": hint,
            "told": told,
            "drawn": monotonic_ns(),  # a page drawn again with the same old state has to be told again that it is old
        },
        on_change_change=_nothing,
        on_moment_change=answer,
    )


def shown_of(run: Run | Race | ExternalRun | None, *, moment: bool = False, lesson: bool = False) -> Shown:
    """What a page that is being drawn now shows of `run`: asked before anything else of the run is read.

    What is read later may be newer; the page then hears of the difference from the stream. With `moment` it hears of
    each step made by hand too; a page that has a button for steps needs that, since it is paused before and after.
    With `lesson` it hears of each scene.
    """
    shown: Shown = {
        "run": run.id if run else None,
        "state": str(run.state) if run else "ready",
        "version": run.version if run else 0,
        "library": run_manager().lists_version,
        "trouble": isinstance(run, Run) and run.trouble,
    }
    if moment:
        stands = f"{run.step}/{run.stage}" if isinstance(run, Run | Race) else "0/0"
        shown["at"] = "" if run and run.state is State.RUNNING else stands
    if lesson:
        shown["lesson"] = classroom().version[0]
    return shown


def _nothing() -> None:
    """A trigger needs a callback; the rerun itself is all that is wanted."""
