"""The question that stands before the room, in the frames: who is told what of it, when, and at what cost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from websockets.sync.client import ClientConnection

from engine.lessons.classroom import Classroom
from engine.lessons.poll import MOST_BROWSERS, MOST_POINTS, Character, Choice, Drawing, Number
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.stream.status import State
from pages.server import hub as hub_module
from tests.server.test_socket import CONFIG, SETTINGS, Received, Served, decode

CHOICE = Choice(("it falls", "it rises"))


@pytest.fixture
def served(manager: RunManager) -> Iterator[Served]:
    manager.pump.stop()
    served = Served(manager)
    yield served
    served.hub.classroom.end()
    served.close()


@pytest.fixture
def room(served: Served) -> Classroom:
    served.hub.classroom.end()
    return served.hub.classroom


def read(viewer: ClientConnection) -> Received:
    return decode(viewer.recv(timeout=30))


def hears_nothing(served: Served, viewer: ClientConnection) -> bool:
    """Is there no frame for it in the next beat? One that is made afterwards is the next that it gets."""
    served.turn()
    with pytest.raises(TimeoutError):
        viewer.recv(timeout=0.2)
    return True


def question(served: Served, viewer: ClientConnection) -> Any:
    served.turn()
    return read(viewer).header["question"]


def test_without_a_run_a_question_reaches_every_viewer_with_the_next_beat(served: Served, room: Classroom) -> None:
    with served.viewer() as stage, served.viewer("current&audience") as phone:
        assert question(served, stage) is None
        assert read(phone).header["question"] is None
        assert hears_nothing(served, phone)
        room.ask("lr", "What does the loss do?", CHOICE)
        told = question(served, phone)
        assert told.items() >= {"id": "lr", "kind": "choice", "options": ["it falls", "it rises"], "open": True}.items()
        assert read(stage).header["question"] == told | {"count": 0}
        assert hears_nothing(served, phone)
        room.end()
        assert question(served, phone) is None


def test_beside_a_run_that_waits_and_in_the_frames_of_one_that_trains(
    served: Served, room: Classroom, wait_until: Callable[..., None]
) -> None:
    run: Run = served.manager.prepare(CONFIG, SETTINGS, replace=True)
    run.make_steps(3)
    wait_until(lambda: run.step == 3 and run.state is State.PAUSED)
    with served.viewer("current&audience") as phone:
        served.turn()
        read(phone)
        room.ask("lr", "What does the loss do?", CHOICE)
        served.hub.publish([])
        frame = read(phone)
        assert (frame.header["question"]["id"], frame.header["run"], frame.header["step"]) == ("lr", run.id, 3)
        assert frame.header["kind"] == "delta"
        assert not frame.arrays
        run.make_steps(2)
        wait_until(lambda: run.step == 5 and run.state is State.PAUSED)
        served.turn()
        frame = read(phone)
        assert frame.steps("train/loss") == [4, 5]
        assert "question" not in frame.header, "each viewer is told once"


def test_a_late_phone_and_a_reload_see_the_open_question(served: Served, room: Classroom) -> None:
    room.ask("lr", "What does the loss do?", CHOICE)
    for _ in range(2):
        with served.viewer("current&audience") as phone:
            assert question(served, phone)["id"] == "lr"


def test_the_audience_sees_no_count_while_it_is_open_and_the_distribution_afterwards(
    served: Served, room: Classroom
) -> None:
    room.ask("lr", "What does the loss do?", CHOICE)
    with served.viewer() as stage, served.viewer("current&audience") as phone:
        served.turn()
        assert "count" in read(stage).header["question"]
        assert "count" not in read(phone).header["question"]
        room.answer("lr", "a", 1)
        served.hub._question = None  # as half a second later
        assert question(served, stage)["count"] == 1
        assert hears_nothing(served, phone), "not even a frame, from which it could be guessed"
        room.close()
        for viewer in (phone, stage):
            told = question(served, viewer) if viewer is phone else read(viewer).header["question"]
            assert told.items() >= {"open": False, "count": 1, "distribution": {"counts": [0, 1]}}.items()
        room.hide(True)
        assert "distribution" not in question(served, phone)
        room.hide(False)
        room.reveal(0, "The steps are small.")
        told = question(served, phone)
        assert (told["right"], told["because"]) == (0, "The steps are small.")
        assert told["distribution"] == {"counts": [0, 1]}


def test_counts_come_at_most_twice_a_second(served: Served, room: Classroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "COUNT_SECONDS", 3600)
    room.ask("lr", "What does the loss do?", CHOICE)
    with served.viewer() as stage:
        assert question(served, stage)["count"] == 0
        for number in range(20):
            room.answer("lr", str(number), 0)
        assert hears_nothing(served, stage)
        room.close()
        assert question(served, stage)["count"] == 20, "a close waits for nothing"
    monkeypatch.setattr(hub_module, "COUNT_SECONDS", 0)
    room.ask("lr", "What does the loss do?", CHOICE)
    with served.viewer() as stage:
        served.turn()
        read(stage)
        room.answer("lr", "a", 0)
        assert question(served, stage)["count"] == 1


def full(kind: Any, value: Callable[[int], Any]) -> Classroom:
    room = Classroom()
    room.ask("lr", "What?", kind)
    for number in range(MOST_BROWSERS):
        room.answer("lr", str(number), value(number))
    room.close()
    return room


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Number(0, 1000), lambda number: number / 7),
        (
            Drawing(0, 1000, 0, 5),
            lambda number: [[i * 1000 / (MOST_POINTS - 1), number / 777 + i / 97] for i in range(MOST_POINTS)],
        ),
        (Character(tuple(map(chr, range(32, 127)))), lambda number: chr(32 + number % 95)),
    ],
)
def test_a_snapshot_stays_within_its_bound_whatever_a_thousand_have_said(
    served: Served, room: Classroom, kind: Any, value: Callable[[int], Any]
) -> None:
    run = served.manager.prepare(CONFIG, SETTINGS, replace=True)
    run.wait(30)
    served.hub.classroom = full(kind, value)
    with served.viewer("current&audience") as phone:
        for _ in range(3):
            served.turn()
        messages = [phone.recv(timeout=30)]
        while b'"distribution"' not in messages[-1]:  # type: ignore[operator]
            messages.append(phone.recv(timeout=30))
    assert max(map(len, messages)) <= 256_000
    assert decode(messages[0]).header["kind"] == "snapshot"


def test_answers_come_to_others_as_numbers_alone() -> None:
    """What is told of a thousand answers of each kind has no text but the question's own and the vocabulary's."""
    for kind, value in (
        (CHOICE, lambda number: number % 2),
        (Number(0, 1000), lambda number: number / 7),
        (Drawing(0, 100, 0, 5), lambda number: [[0, 1], [100, number / 1000]]),
        (Character(("a", "b")), lambda number: "ab"[number % 2]),
    ):
        told = full(kind, value).header()
        assert told
        assert not texts(told["distribution"])
        ids = {str(number) for number in range(MOST_BROWSERS)}
        assert not ids & set(texts(told))


def texts(told: Any) -> list[str]:
    if isinstance(told, dict):
        return [text for inner in told.values() for text in texts(inner)]
    if isinstance(told, list | tuple):
        return [text for inner in told for text in texts(inner)]
    return [told] if isinstance(told, str) else []


def test_characters_of_the_vocabulary_reach_phones_as_they_are(served: Served, room: Classroom) -> None:
    room.ask("next", "Which comes next?", Character(("/", "~/x", "<", "\n", "C:\\", "é")))
    with served.viewer("current&audience") as phone:
        assert question(served, phone)["tokens"] == ["/", "~/x", "<", "\n", "C:\\", "é"]


def test_losses_are_the_same_bit_for_bit_with_a_poll_that_is_answered(
    manager: RunManager, served: Served, room: Classroom, wait_until: Callable[..., None]
) -> None:
    def losses(asked: bool) -> list[float]:
        run = manager.prepare(CONFIG, SETTINGS, replace=True)
        run.wait(30)
        for part in range(20):
            if asked and part % 5 == 0:
                room.ask(f"q{part}", "What?", Number(0, 1))
            run.make_steps(10)
            for number in range(8 * asked):
                address = f"http://127.0.0.1:{served.port}"
                body = json.dumps({"question": f"q{part - part % 5}", "value": number / 8})
                headers = {"Origin": address, "Content-Type": "application/json"}
                served.http.cookies.clear()
                assert served.http.post("/answer", content=body, headers=headers).status_code == 204
            wait_until(lambda part=part: run.step == 10 * (part + 1) and run.state is State.PAUSED)
            served.turn()
            if asked and part % 5 == 4:
                room.close()
                room.reveal(0.5, "because")
        found = manager.pump.drain() or run.history.points_between("train/loss", 0, None)
        assert found
        assert np.array_equal(found.steps, np.arange(1, 201))
        return list(found.values.tolist())

    with served.viewer():
        with_poll = losses(True)
    assert with_poll == losses(False)


def test_who_stands_hears_of_questions_alone_and_seldom_of_nothing(
    served: Served, room: Classroom, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = served.manager.prepare(CONFIG, SETTINGS, replace=True)
    run.make_steps(50)
    wait_until(lambda: run.step == 50 and run.state is State.PAUSED)
    with served.viewer("current&audience") as phone:
        (viewer,) = served.hub.viewers
        viewer.standing = "All seats are taken"
        monkeypatch.setattr(hub_module, "STANDING_SECONDS", 3600)
        viewer.told = time.monotonic()
        served.turn()
        frame = read(phone)
        assert (frame.header["question"], frame.header["standing"]) == (None, "All seats are taken")
        run.make_steps(10)
        wait_until(lambda: run.step == 60 and run.state is State.PAUSED)
        assert hears_nothing(served, phone)
        room.ask("lr", "What does the loss do?", CHOICE)
        run.make_steps(10)
        wait_until(lambda: run.step == 70 and run.state is State.PAUSED)
        served.turn()
        frame = read(phone)
        assert frame.header["question"]["id"] == "lr"
        assert not (frame.arrays or frame.header["events"] or frame.header["samples"])
        monkeypatch.setattr(hub_module, "STANDING_SECONDS", 0)
        served.turn()
        assert "question" not in read(phone).header
