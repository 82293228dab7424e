"""Long work in a thread of its own: shared, followed, cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from engine.console import Stages
from engine.errors import InputError
from engine.progress import Cancelled, Job, Jobs, Report, Stage


def waits_for(gate: threading.Event) -> Callable[[Report], str]:
    """Work that is done once the gate is open, and can be cancelled before."""

    def work(report: Report) -> str:
        done = 0
        while not gate.wait(0.002):
            done += 1
            report("waiting at the gate", done, 0)
        return "through"

    return work


def test_a_job_tells_how_far_it_is_and_gives_its_result(wait_until) -> None:
    gate, told = threading.Event(), []
    job = Job(waits_for(gate)).start()
    wait_until(lambda: job.stage.what == "waiting at the gate")

    def report(*stage: object) -> None:
        told.append(stage)
        gate.set()

    assert job.follow(report, every=0.001) == "through" and told[0][0] == "waiting at the gate"
    assert job.done and job.result() == "through"


def test_an_error_comes_to_whoever_waits() -> None:
    def fail(_: Report) -> None:
        raise InputError("the text is empty")

    with pytest.raises(InputError, match="the text is empty"):
        Job(fail).start().result()


def test_a_share_is_never_above_one() -> None:
    assert Stage("", 1, 4).share == 0.25 and Stage("", 5, 4).share == 1.0 and Stage("", 5, 0).share == 0.0


def test_who_asks_for_the_same_shares_the_work_and_leaving_alone_cancels_nothing(wait_until) -> None:
    jobs, gate, begun = Jobs(), threading.Event(), []

    def work(report: Report) -> str:
        begun.append(1)
        return waits_for(gate)(report)

    one, other, another = jobs.joined("a", work), jobs.joined("a", work), jobs.joined("b", waits_for(gate))
    assert one is other and one is not another
    one.leave()
    assert not one.cancelled
    gate.set()
    assert other.result() == another.result() == "through" and begun == [1]
    wait_until(lambda: not jobs._jobs)


def test_work_that_nobody_waits_for_ends_and_the_next_one_begins_anew() -> None:
    jobs, gate = Jobs(), threading.Event()
    job = jobs.joined("a", waits_for(gate))
    job.leave()
    with pytest.raises(Cancelled, match="was cancelled"):
        job.result()
    again = jobs.joined("a", waits_for(gate))
    gate.set()
    assert again is not job and again.result() == "through"


def test_a_report_that_raises_gives_up_the_waiting_alone() -> None:
    gate = threading.Event()
    job = Job(waits_for(gate)).start()

    def report(*_: object) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        job.follow(report, every=0.001)
    assert not job.done
    gate.set()
    assert job.result() == "through"


def test_closing_cancels_all() -> None:
    jobs = Jobs()
    under_way = [jobs.joined(name, waits_for(threading.Event())) for name in "abc"]
    assert jobs.close(30)
    assert all(job.done and job.cancelled for job in under_way)


def test_closing_says_what_has_not_ended() -> None:
    jobs, gate = Jobs(), threading.Event()
    job = jobs.joined("deaf", lambda _: gate.wait())
    assert not jobs.close(0.01)
    gate.set()
    assert job.wait(30)


def test_the_command_line_is_quiet_about_short_work_and_tells_of_long_work(capsys) -> None:
    clock = [0.0]
    with Stages(lambda: clock[0]) as report:
        for done in range(0, 101, 10):
            report("reading the text", done, 100)
        assert capsys.readouterr().err == ""
        for done in range(0, 101, 10):
            clock[0] += 6
            report("cutting the text into tokens", done, 100)
        report("learning the tokens", 0, 0)
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "learning the tokens …" and 3 <= len(said) <= 8
    assert all(line.startswith("cutting the text into tokens: ") and " of 100" in line for line in said[:-1])
