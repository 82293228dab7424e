"""Train and Compare offer what is trained elsewhere, and show its knobs as far as its process honours them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

import pytest
from streamlit.testing.v1 import AppTest

from engine import record
from engine.paths import home
from engine.runs.manager import RunManager
from engine.storage import command_inbox, reader
from engine.storage.metrics.json_lines import FILE
from engine.storage.writer import RunWriter
from engine.stream.messages import Event
from tests.pages.test_compare import choose
from tests.tracking.test_external_run_watcher import NAME, START, rows

Wait = Callable[..., None]
Visit = Callable[..., AppTest]


@pytest.fixture
def watching(house: RunManager) -> Iterator[RunManager]:
    """The process's manager, with its watch on the runs elsewhere."""
    house.external_runs.start()
    yield house
    house.external_runs.stop()


@pytest.fixture
def writer(watching: RunManager) -> Iterator[RunWriter]:
    store = RunWriter(home() / "runs" / NAME, START)
    store.put([Event(0, "started", "started"), *rows(1, 100)])
    assert store.flush()
    yield store
    store.close()


def said(app: AppTest) -> str:
    return "\n".join(str(element.value) for element in (*app.text, *app.caption))


def test_train_offers_a_run_elsewhere_and_shows_what_it_honours(
    watching: RunManager, writer: RunWriter, visit: Visit, wait_until: Wait
) -> None:
    wait_until(lambda: watching.external_runs.live())
    app = visit("train.py")
    assert "A run is being trained elsewhere: bigram on tiny." in said(app)
    app.button(key=f"watch-{NAME}").click().run()
    assert not app.exception and watching.watched is not None and watching.watched.id == NAME
    assert "trained elsewhere, running" in said(app) and "that process takes nothing from outside" in said(app)
    assert all(app.button(key=key).disabled for key in ("tell_play", "tell_stop", "lr_up", "lr_down"))
    assert all(knob.disabled for knob in (*app.number_input, *app.select_slider))
    app.button(key="leave").click().run()
    assert not app.exception and watching.watched is None and app.button(key="play")


def test_knobs_of_a_recorded_loop_turn_from_the_page(watching: RunManager, visit: Visit, wait_until: Wait) -> None:
    with record("my loop", lr=0.5, batch_size=8, live=("lr", "pause", "stop")) as log:
        over, steps = threading.Event(), iter(range(1, 1_000_000))

        def loop() -> None:
            while not log.stopped and not over.wait(0.01):
                log(next(steps), loss=1.0)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            wait_until(lambda: watching.external_runs.live())
            app = visit("train.py")
            assert "elsewhere: my loop." in said(app)
            app.button(key=f"watch-{log.id}").click().run()
            watched = watching.watched
            wait_until(lambda: watched.takes)
            app.run()
            assert "honours lr, pause, stop" in said(app)
            assert app.number_input(key="batch_size_elsewhere-0").disabled
            app.button(key="lr_up").click().run()
            assert not app.exception
            wait_until(lambda: log.settings["lr"] == 1.0 and watched.settings["lr"] == 1.0)
            app.button(key="tell_play").click().run()
            wait_until(lambda: watched.state == "paused")
            app.run()
            assert app.button(key="tell_play").label == "Resume"
            app.button(key="tell_play").click().run()
            wait_until(lambda: watched.state == "running")
            app.button(key="tell_stop").click().run()
            thread.join(30)
            assert not thread.is_alive()
        finally:
            over.set()
            thread.join()
    wait_until(lambda: watched.state == "stopped")
    app.run()
    assert "no process is there to turn its knobs" in said(app) and app.button(key="tell_stop").disabled


def test_compare_offers_it_and_opens_what_was_recorded(watching: RunManager, visit: Visit, wait_until: Wait) -> None:
    folder = home() / "runs" / "by-hand"
    folder.mkdir(parents=True)
    told = [{"run": {"name": "<i>mine</i>"}}, *({"step": i, "loss": 1 / i} for i in range(1, 21))]
    (folder / FILE).write_text("\n".join(map(json.dumps, told)) + "\nnot this\n{", encoding="utf-8")
    told_of = watching.external_runs.live  # its first line may be a moment behind its folder
    wait_until(lambda: any(run.recorded is not None and run.recorded.name for run in told_of()))
    app = visit("compare.py")
    choose(app, "<i>mine</i>")
    assert "A run is being trained elsewhere: <i>mine</i>." in said(app)
    assert "<i>mine</i>: 1 lines of records.jsonl cannot be read in full." in said(app)
    assert "Another process is writing this run." in said(app)
    app.button(key="watch").click().run()
    assert watching.watched is not None and watching.watched.warning is not None
    assert not app.exception

    with record("done", lr=1) as log:
        log(1, loss=1)
    app = visit("compare.py")
    choose(app, "done", "<i>mine</i>")
    app.selectbox(key="compare_one").select(log.id).run()
    assert "it can be compared and taken away, not continued here" in said(app)
    app.segmented_control(key="compare_by").select("tokens").run()
    assert not app.exception and "These count no tokens, and are left out here" in said(app)
    assert reader.open_run(log.id).state == "done" and command_inbox.accepted_commands(home() / "runs" / log.id) == ()
