"""A run told in lines by any program: each whole line once, never a part of one, whatever else the file holds."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.cli.parser import run as command
from engine.errors import InputError
from engine.storage import index, reader
from engine.storage.curves import curves
from engine.storage.metrics import json_lines
from engine.storage.metrics.json_lines import FILE, GrowingFile, parse_line
from engine.storage.metrics.loop_parser import LoopParser
from engine.storage.metrics.transcript import transcript_of
from engine.stream.messages import Event, Observation, Sample, Scalars
from engine.tracking.external_run import ExternalRun

SLOW_WRITER = """
import os, random, sys, time
path, seed = sys.argv[1], int(sys.argv[2])
content, draws = open(sys.argv[3], "rb").read(), random.Random(seed)
file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
at = 0
while at < len(content):
    size = draws.choice((1, 1, 1, 2, 3, 7, 40, 90))
    if not draws.randrange(8):
        time.sleep(0.0005)
    os.write(file, content[at : at + size])
    at += size
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path))
    made = tmp_path / "runs" / "by-hand"
    made.mkdir(parents=True)
    return made


def line(**told: object) -> bytes:
    return json.dumps(told).encode() + b"\n"


def append(folder: Path, content: bytes) -> None:
    with (folder / FILE).open("ab") as file:
        file.write(content)


def lowest_free() -> int:
    """The number that the next file to be opened gets."""
    handle = os.open(os.devnull, os.O_RDONLY)
    os.close(handle)
    return handle


def stored_steps(folder: Path) -> list[int]:
    return [row.step for row in reader.scalars(reader.read_run(folder))]


def test_a_file_that_grows_byte_by_byte_is_read_exactly_once(folder: Path, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    told = [
        line(step=i, loss=1 / i, note=i * 0.5, **({"grad_norm": float(i)} if i % 3 else {})) for i in range(1, 1501)
    ]
    (tmp_path / "content").write_bytes(b"".join(told))
    words = [sys.executable, "-c", SLOW_WRITER, str(folder / FILE), str(seed), str(tmp_path / "content")]
    tail, teller, found, looks = None, LoopParser(), [], 0
    with subprocess.Popen(words) as writer:
        while True:
            over = writer.poll() is not None
            if tail is None and (folder / FILE).exists():
                tail = GrowingFile(folder / FILE)
            if tail is not None:
                looks += 1
                for piece in tail.read_lines():
                    found += [parse_line(whole, teller) for whole in piece]
            if over:
                break
    assert writer.returncode == 0 and looks > 20
    assert [records[0].step for records in found] == list(range(1, 1501))
    assert [records[0].loss for records in found] == [1 / i for i in range(1, 1501)]
    assert [records[1].scalars["note"] for records in found] == [i * 0.5 for i in range(1, 1501)]
    assert stored_steps(folder) == list(range(1, 1501))


@pytest.mark.parametrize("seed", range(3))
def test_any_cut_of_the_file_leaves_its_whole_lines(folder: Path, seed: int) -> None:
    content, draws = b"".join(line(step=i, loss=float(i)) for i in range(1, 60)), random.Random(seed)
    cuts = [*sorted(draws.sample(range(len(content)), 40)), len(content)]
    for before, after in zip([0, *cuts], cuts, strict=False):
        append(folder, content[before:after])
        whole = content[:after].count(b"\n")
        assert stored_steps(folder) == list(range(1, whole + 1)), f"cut at byte {after}"


def test_what_cannot_be_read_is_counted_with_the_first_reason(folder: Path) -> None:
    bad = [
        b"\xff\xfe garbage\n",
        b"[1, 2]\n",
        b'{"step": 3, "loss": "4"}\n',
        b'{"step": -1, "loss": 4}\n',
        b'{"step": 1.5, "loss": 4}\n',
        b'{"step": 2, "loss": 4}\n',  # told before
        b'{"loss": 4}\n',
        b'{"step": 3, "table": "w", "rows": [[1, 2], [3]]}\n',
        b'{"step": 3, "state": "paused by me"}\n',
        b"[" * 100_000 + b"\n",
        b"9" * 10_000 + b"\n",
        b'{"step": 3, "x": ' + b"1" * 10_000 + b"}\n",
    ]
    append(
        folder, line(run={"name": "mine", "settings": {"lr": 0.1}}) + line(step=1, loss=1.0) + line(step=2, loss=2.0)
    )
    append(folder, b"".join(bad) + line(step=3, loss=3.0) + b'{"step": 4, "loss"')
    stored = reader.read_run(folder)
    assert stored.reason is None and stored.recorded is not None and stored.recorded.name == "mine"
    assert stored.unread == len(bad)
    assert (
        list(transcript_of(folder).reasons.values())
        == list(stored.unread_because)
        == [
            "line 4: it is not JSON",
            "line 5: it is not an object of JSON; write {…}",
            "line 6: 'loss' '4' is a str, not a number; log one number a name",
            "line 7: step -1 is not possible; give a whole number from 0 to 1,000,000,000",
            "line 9: step 2 has its loss already; log each step once: the first is kept",
        ]
    )
    assert stored_steps(folder) == [1, 2, 3]


def test_a_line_that_is_not_possible_in_full_is_read_as_far_as_it_is_and_runs_says_why(folder: Path, capsys) -> None:
    append(folder, b'{"run": {"name": "half \\ud83d of it", "settings": {"lr": 0.1, "betas": [0.9, 0.99]}}}\n')
    append(folder, b'{"step": 1.0, "train/loss": 2.5, "note": "good", "accuracy": 0.5}\n')
    stored = reader.read_run(folder)
    assert stored.recorded is not None and stored.recorded.name == "half ? of it"
    assert stored.recorded.settings == {"lr": 0.1, "betas": "[0.9, 0.99]"}
    assert [(row.step, row.loss) for row in reader.scalars(stored)] == [(1, 2.5)]
    assert [record.scalars for record in reader.observations(stored)] == [{"accuracy": 0.5}]
    assert command(["runs"]) == 0
    told = capsys.readouterr().out
    assert "    lines of records.jsonl that cannot be read in full: 2\n" in told
    assert "    line 2: 'note' 'good' is a str, not a number; log one number a name\n" in told


def test_a_restarted_script_that_appends_begins_a_new_part_and_the_earlier_is_kept(folder: Path) -> None:
    for part in range(3):
        append(folder, line(run={"name": f"mine {part}", "settings": {"lr": 0.1 * part}}))
        append(folder, b"".join(line(step=i, loss=part + i / 64, accuracy=part) for i in range(1, 51 - 20 * part)))
        stored = reader.read_run(folder)
        assert (stored.step, stored.unread, stored.state) == (50 - 20 * part, 0, "running")
        assert [row.loss for row in reader.scalars(stored)] == [part + i / 64 for i in range(1, 51 - 20 * part)]
        append(folder, line(state="done"))
        assert reader.read_run(folder).state == "done"
    assert stored.recorded is not None and stored.recorded.name == "mine 2"
    series = reader.read_history(stored).series
    assert series["loss (part 1)"].view(99)[1].tolist() == [i / 64 for i in range(1, 51)]
    assert series["loss (part 2)"].view(99)[1].tolist() == [1 + i / 64 for i in range(1, 31)]
    assert series["accuracy (part 2)"].view(99)[1].tolist() == [1.0] * 30
    assert series["accuracy"].view(99)[1].tolist() == [2.0] * 10
    assert ExternalRun(stored, None).step == 10


def test_what_a_run_says_of_itself_late_begins_no_new_part(folder: Path) -> None:
    append(folder, line(step=1, loss=1.0) + line(step=2, loss=0.5))
    append(folder, line(run={"name": "late"}) + line(step=3, loss=0.25) + line(step=1, val_loss=0.5))
    stored = reader.read_run(folder)
    assert stored_steps(folder) == [1, 2, 3] and stored.recorded is not None and stored.recorded.name == "late"
    assert stored.unread_because == ("line 5: step 1 is behind step 3; steps never go back: it is kept there",)


def test_a_line_without_an_end_takes_no_memory_and_counts_once(folder: Path) -> None:
    append(folder, line(step=1, loss=1.0))
    for _ in range(3):
        append(folder, b"x" * json_lines.LONGEST_LINE)
        assert reader.read_run(folder).unread == 0, "it may still end"
    append(folder, b"\n" + line(step=2, loss=2.0))
    assert reader.read_run(folder).unread == 1
    assert stored_steps(folder) == [1, 2]


def test_a_file_that_was_replaced_or_cut_is_read_anew(folder: Path) -> None:
    append(folder, b"".join(line(step=i, loss=1.0) for i in range(1, 9)))
    assert stored_steps(folder) == list(range(1, 9))
    os.truncate(folder / FILE, len(line(step=1, loss=1.0)))
    assert stored_steps(folder) == [1]
    (folder / FILE).unlink()
    append(folder, b"".join(line(step=i, loss=1.0) for i in range(5, 9)))
    assert stored_steps(folder) == [5, 6, 7, 8]


def test_links_pipes_and_folders_are_not_read(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(line(step=1, loss=1.0))
    (folder / FILE).symlink_to(secret)
    assert reader.read_run(folder).reason == "records.jsonl in it is a link, or no plain file"
    (folder / FILE).unlink()
    os.mkfifo(folder / FILE)
    assert reader.read_run(folder).reason is not None
    (folder / FILE).unlink()
    (folder / FILE).mkdir()
    free = lowest_free()
    assert reader.read_run(folder).reason is not None
    assert lowest_free() == free, "what is not read is not kept open"


def test_everything_a_line_can_say() -> None:
    teller = LoopParser()
    said = [
        parse_line(line(step=0, val_loss=3.5), teller),
        parse_line(line(step=1, loss=2, grad_norm=0.5, lr=0.1, seconds=0.25, accuracy=1, missing=None), teller),
        parse_line(line(step=1, table="w", rows=[[1, 2], [3, 4]]), teller),
        parse_line(line(step=1, sample="<b>text</b>"), teller),
        parse_line(line(step=2, event="halved"), teller),
        parse_line(line(step=2, state="done"), teller),
        parse_line(b'{"step": 3, "loss": NaN}\n', teller),
    ]
    flat = [record for records in said for record in records]
    assert flat[0] == Observation(0, {"val/loss": 3.5}, {})
    assert flat[1:3] == [Scalars(1, 2.0, 0.5, 0.1, 0.25), Observation(1, {"accuracy": 1.0}, {})]
    assert flat[3].tables["table/w"].tolist() == [[1, 2], [3, 4]] and flat[3].tables["table/w"].dtype == np.float32
    assert flat[4:7] == [Sample(1, "<b>text</b>", 0, ""), Event(2, "event", "halved"), Event(2, "done", "done")]
    assert flat[8] == Event(3, "not finite", "the loss is nan at step 3")


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ({"step": 1, "loss": "3"}, "'3' is a str, not a number"),
        ({"step": 10**10, "loss": 1}, "not possible"),
        ({"step": 1, "a\nb": 1}, "no name"),
        ({"step": 1, "x" * 61: 1}, "no name"),
        ({"step": 1, "samples": 1}, "has a meaning"),
        ({"step": 1, "accuracy:mean": 1}, "has a meaning"),
        ({"step": 1, "sample": 5}, "not a text"),
        ({"step": 1, "sample": "x" * 20_001}, "too long"),
        ({"step": 1, "table": "w", "rows": [[float("inf")]]}, "not finite"),
        ({"step": 1, "table": "w", "rows": []}, "a cell at least"),
        ({"step": 1, "table": "w"}, "w"),
        ({"run": {"settings": {"lr": [1]}}}, "setting 'lr' is a list, give a number"),
        ({"run": {"nme": "mine"}}, "'nme' is no field of a run"),
        ({"run": 5}, "not an object"),
        ({"step": 1, **{f"x{i}": 1 for i in range(65)}}, "at most 64"),
    ],
)
def test_what_is_not_possible_is_refused_by_name(told: dict, wrong: str) -> None:
    teller = LoopParser()
    with pytest.raises(InputError, match=wrong):
        parse_line(line(**told), teller)
    assert parse_line(line(step=1, loss=1), teller) == [
        Scalars(1, 1.0, pytest.approx(np.nan, nan_ok=True), *[pytest.approx(np.nan, nan_ok=True)] * 2)
    ]


def test_the_archive_opens_a_run_in_lines_with_what_it_has(folder: Path) -> None:
    append(folder, line(run={"name": "mine", "settings": {"lr": 0.1, "depth": 3}, "max_steps": 50}))
    append(folder, b"".join(line(step=i, loss=5 - i / 10, val_loss=6.0 - i / 10, seconds=0.5) for i in range(1, 31)))
    append(folder, line(step=30, state="done"))
    stored = reader.open_run("by-hand")
    assert (stored.state, stored.step, stored.config, stored.status) == ("done", 30, None, "done at step 30")
    (one,) = index.overviews()
    assert one.name == "mine" and one.settings == {"lr": 0.1, "depth": 3}
    assert one.best_val_loss == 3.0 and one.best_val_step == 30 and one.seconds == 15.0
    found = curves(one)
    assert len(found.steps) == 30 and np.isnan(found.along("tokens", found.steps)).all()
    assert found.along("seconds", found.steps)[-1] == 15.0
    with pytest.raises(InputError, match="recorded from another program"):
        reader.configuration(stored)


def test_a_writer_without_a_lock_counts_as_there_while_it_writes(folder: Path) -> None:
    append(folder, line(step=1, loss=1.0))
    assert reader.read_run(folder).live and reader.read_run(folder).state == "running"
    old = (folder / FILE).stat().st_mtime - 2 * reader.QUIET_SECONDS
    os.utime(folder / FILE, (old, old))
    assert reader.read_run(folder).state == "interrupted"
    append(folder, line(step=2, loss=1.0))
    assert reader.read_run(folder).state == "running"
