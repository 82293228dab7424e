"""Runs that version 0.1.0 left behind are listed, read, replayed and continued as they were then, bit for bit.

The folders lie in tests/fixtures/runs, and expected.json beside them says what the old code made of copies of them.
Nearly all of it is asked of the command line, in one process, and of the files: so it holds whatever the modules are
called. Only `pages_show` knows names inside.

Another kind of processor may round otherwise. So the recorded steps of each run are first made again here: where they
come out bit for bit, whatever follows must too. Where they do not, a test is skipped to say so, and losses are compared
within 1e-5.
"""

import csv
import hashlib
import json
import math
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import zlib
from contextlib import closing
from pathlib import Path

import pytest
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
NAMES = sorted(path.name for path in (FIXTURES / "runs").iterdir())
GOES_ON_TO = {
    "bigram": 100, "epochs": 81, "fine-tuned": 60, "fork": 90, "gpt-dropout": 80, "lane-lr": 70, "lane-sgd": 70,
    "lecture": 70, "line": 70,
}  # fmt: skip
GOES_ON = sorted(GOES_ON_TO)
ENDED = sorted({*NAMES} - {*GOES_ON})
WITHOUT_TEXT = {"line"}
"""What these learn from has no tokens; earlier versions counted the numbers of their points as such."""
OF_A_STEP = ("loss", "grad_norm", "lr")
LOSSES = ("loss", "val/loss", "test/loss", "eval/train_loss", "val/former_loss")
OF_THE_CLOCK = ("run", "steps_per_second")

COMMAND_LINE = """
import contextlib, io, json, runpy, sys

said = []
for words in json.load(sys.stdin):
    sys.argv, out = ["engine", *words], io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            runpy.run_module("engine", run_name="__main__")
        except SystemExit as end:
            status = end.code
    said.append((status, out.getvalue()))
print(json.dumps(said))
"""


def says(home, commands):
    """The exit status and the output of each of these commands of `python -m engine`."""
    environment = os.environ | {"LOOPSCOPE_HOME": str(home), "OMP_NUM_THREADS": "1"}  # threads may change a rounding
    asked = json.dumps([[*map(str, words)] for words in commands])
    done = subprocess.run(
        [sys.executable, "-c", COMMAND_LINE],
        input=asked, capture_output=True, text=True, encoding="utf-8", cwd=ROOT, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def object_in(out):
    """The object that `--json` put on the last line; an empty one where nothing was said."""
    return json.loads((out.splitlines() or ["{}"])[-1])


def numbers_in(table):
    """What was measured, by column and step. The seconds are the machine's."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {name: {row["step"]: float(row[name]) for row in rows if row[name]} for name in rows[0]}
    return {name: column for name, column in columns.items() if name not in ("step", "seconds")}


KNOBS = ("lr", "max_steps", "batch_size", "weight_decay", "grad_clip", "speed")
"""The live settings that there were."""


def kept_in(folder):
    """What lies in a run's folder: events, samples, turned knobs, tables over time, and the newest snapshot."""
    if not (folder / "metrics.db").exists():
        return None
    with closing(sqlite3.connect(folder / "metrics.db")) as database:
        tables = database.execute("SELECT step, name, rows, cols, data FROM frames ORDER BY step, name").fetchall()
        kept = {
            "events": [  # the test at the end is of the best weights now, and says so
                event
                for event in database.execute("SELECT step, name, text FROM events ORDER BY rowid")
                if event[1] != "test"
            ],
            "samples": database.execute("SELECT * FROM samples ORDER BY rowid").fetchall(),
            "turns": [
                (*at, json.dumps(those_of(json.loads(settings), KNOBS), separators=(",", ":")))
                for *at, settings in database.execute("SELECT * FROM turns ORDER BY rowid")
            ],
            "last": database.execute("SELECT MAX(first + count - 1) FROM steps").fetchone()[0],
            "frames": sorted({step for step, *_ in tables}),
            "tables": digest_of(
                f"{step} {name} {rows} {cols}".encode() + zlib.decompress(data)
                for step, name, rows, cols, data in tables
            ),
        }
    if found := sorted((folder / "snapshots").glob("step-*")):
        kept["snapshot"] = [found[-1].name, tensors_in(found[-1])]
    return json.loads(json.dumps(kept))


def tensors_in(snapshot):
    """One number for all weights, and all that the optimizer, the generators and the place in the text are."""
    tensors = {
        (file, name): tensor
        for file in ("weights.safetensors", "state.safetensors")
        for name, tensor in load_file(snapshot / file).items()
    }
    return digest_of(
        f"{name} {tensor.dtype} {[*tensor.shape]}".encode() + tensor.numpy().tobytes()
        for name, tensor in sorted(tensors.items())
    )


def digest_of(pieces):
    """One number for all of these bytes."""
    return hashlib.sha256(b"".join(pieces)).hexdigest()


def copied(home):
    """A data home with all the folders in it."""
    return shutil.copytree(FIXTURES / "runs", home / "runs").parent


def as_if_killed_early(folder):
    """Leave a run its first snapshot alone, and no word of its end: whoever continues it makes all its steps again."""
    for later in sorted((folder / "snapshots").iterdir())[1:]:
        shutil.rmtree(later)
    with closing(sqlite3.connect(folder / "metrics.db")) as database, database:
        database.execute("DELETE FROM events WHERE name = 'stopped'")


def told_by(place):
    """All that the command line says of the runs, and all that it leaves."""
    home, again = copied(place / "home"), copied(place / "again")
    commands, tables = {"runs": ["runs"]}, place / "tables"
    tables.mkdir()
    for name in NAMES:
        commands[name, "numbers"] = ["export", name, "--csv", tables / f"{name}.csv"]
        commands[name, "evaluate"] = ["evaluate", name, "--json"]
        commands[name, "sample"] = ["sample", name, "--max-new-tokens", 80, "--seed", 3]
        to = GOES_ON_TO.get(name)
        commands[name, "resume"] = ["resume", name, "--json", *(["--max-steps", to] if to else [])]
        commands[name, "resumed"] = ["export", name, "--csv", tables / f"{name}-resumed.csv"]
    before = {name: kept_in(folder_before(place, name)) for name in NAMES}
    for name in GOES_ON:
        repeated = again / "runs" / name
        as_if_killed_early(repeated)
        commands[name, "repeat"] = ["resume", repeated, "--json", "--max-steps", before[name]["last"]]
        commands[name, "repeated"] = ["export", repeated, "--csv", tables / f"{name}-repeated.csv"]
    said = dict(zip(commands, says(home, commands.values()), strict=True))
    told = {"runs": said["runs"]}
    for name in NAMES:
        status, out = said[name, "resume"]
        result = {key: value for key, value in object_in(out).items() if key not in OF_THE_CLOCK}
        told[name] = {
            "numbers": numbers_in(tables / f"{name}.csv"),
            "kept": before[name],
            "evaluate": [said[name, "evaluate"][0], object_in(said[name, "evaluate"][1])],
            "sample": said[name, "sample"],
            "resume": [status, result],
            "resumed": numbers_in(tables / f"{name}-resumed.csv"),
            "left": kept_in(home / "runs" / name),
        }
        if name in GOES_ON:
            assert said[name, "repeat"][0] == 0
            told[name]["repeated"] = numbers_in(tables / f"{name}-repeated.csv")
    return told


def folder_before(place, name):
    """A copy of a run's folder that nobody else opens."""
    return shutil.copytree(FIXTURES / "runs" / name, place / "before" / name)


def pages_show(folder):
    """What the pages make of a run's folder: its line in the list, its curves, its past moments, its file to replay."""
    from engine.storage.curves import curves
    from engine.storage.displayed_state import displayed_state, displayed_steps
    from engine.storage.index import overview
    from pages.board.replay.export import page_of

    one = overview(folder)
    found = curves(one)
    tables = [
        (step, *table)
        for step in displayed_steps(folder)
        for table in sorted(displayed_state(folder, step).tables.items())
    ]
    page = page_of(one)
    assert page.rstrip().endswith(b"</html>")
    return {
        "name": one.name,
        "standing": one.run.status,
        "parent": one.parent,
        "updates": one.updates,
        "best": [one.best_val_loss, one.best_val_step],
        "seconds": one.seconds,
        "turned": one.turned,
        "settings": one.settings,
        "notes": one.notes.model_dump(mode="json"),
        "loss": found.loss.tolist(),
        "tokens": [None if math.isnan(at) else at for at in found.along("tokens", found.steps).tolist()],
        "time": found.along("seconds", found.steps).tolist(),
        "val": [found.val_steps.tolist(), found.val_loss.tolist()],
        "frames": displayed_steps(folder),
        "tables": digest_of(f"{at} {name} {table.shape}".encode() + table.tobytes() for at, name, table in tables),
    }


# ---------------------------------------------------------------- the tests


@pytest.fixture(scope="module")
def expected():
    return json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return told_by(tmp_path_factory.mktemp("earlier"))


def comes_out_again(told, name):
    """Does this machine make the recorded steps as the one did that recorded them, bit for bit?"""
    return all(told[name]["repeated"][column] == told[name]["numbers"][column] for column in OF_A_STEP)


def without_tests(kept):
    """What was kept, but for the events of the test at the end."""
    return kept and kept | {"events": [event for event in kept["events"] if event[1] != "test"]}


def those_of(found, wanted):
    """What is in `found` under the names of `wanted`: a later version may measure and tell more."""
    return {name: found[name] for name in wanted}


def assert_near(found, wanted):
    for column in {*LOSSES} & wanted.keys():
        assert found[column] == pytest.approx(wanted[column], rel=1e-5)


def test_there_are_runs_of_every_kind(expected):
    assert len(NAMES) >= 8
    assert {*NAMES, "runs"} == expected.keys()


def test_no_file_names_a_place_of_the_machine_that_wrote_it():
    """The programs that wrote them ran in /tmp/loopscope."""
    texts = [path for path in (FIXTURES / "runs").rglob("*.json*") if path.is_file()]
    assert len(texts) >= len(NAMES)
    for path in texts:
        places = re.findall(r'"(?:/|[A-Za-z]:)[^"]*"', path.read_text(encoding="utf-8"))
        assert all(place.startswith('"/tmp/loopscope/') for place in places), (path, places)


def test_all_of_them_are_listed(told, expected):
    status, out = told["runs"]
    assert status == 0
    assert out.splitlines() == expected["runs"][1].splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_its_numbers_and_its_files_are_read(name, told, expected):
    assert told[name]["numbers"] == expected[name]["numbers"]
    assert told[name]["kept"] == without_tests(expected[name]["kept"])


@pytest.mark.parametrize("name", NAMES)
def test_the_pages_show_it_as_they_did(name, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path))
    shown = pages_show(copied(tmp_path) / "runs" / name)
    wanted = expected[name]["pages"]
    if name in WITHOUT_TEXT:
        wanted = wanted | {"tokens": [None] * len(wanted["tokens"])}
    shown["settings"] = those_of(shown["settings"], wanted["settings"])
    assert shown == wanted


@pytest.mark.parametrize("name", GOES_ON)
def test_its_recorded_steps_come_out_again(name, told):
    recorded, repeated = told[name]["numbers"], told[name]["repeated"]
    assert repeated["loss"] == pytest.approx(recorded["loss"], rel=1e-5)
    if not comes_out_again(told, name):
        pytest.skip("this machine rounds otherwise than the one that wrote the runs; losses are compared within 1e-5")


@pytest.mark.parametrize("name", GOES_ON)
def test_it_goes_on_as_it_did(name, told, expected):
    found, wanted = told[name], expected[name]
    assert len(wanted["resumed"]["loss"]) >= len(wanted["numbers"]["loss"]) + 30
    assert found["resume"][0] == wanted["resume"][0] == 0
    if comes_out_again(told, name):
        assert those_of(found["resumed"], wanted["resumed"]) == wanted["resumed"]
        at_the_end = wanted["resume"][1] | ({"tokens_seen": None} if name in WITHOUT_TEXT else {})
        assert those_of(found["resume"][1], at_the_end) == at_the_end
        assert found["left"] == without_tests(wanted["left"])
    else:
        assert found["resume"][1]["step"] == wanted["resume"][1]["step"]
        assert_near(found["resumed"], wanted["resumed"])


@pytest.mark.parametrize("name", GOES_ON)
def test_it_is_evaluated_and_writes_as_it_did(name, told, expected):
    found, wanted = told[name], expected[name]
    if comes_out_again(told, name):
        assert found["evaluate"] == wanted["evaluate"]
        assert found["sample"] == wanted["sample"]
    elif wanted["evaluate"][0] == 0:
        assert found["evaluate"][1]["loss"] == pytest.approx(wanted["evaluate"][1]["loss"], rel=1e-5)


@pytest.mark.parametrize("name", ENDED)
def test_one_that_cannot_go_on_says_so_and_stays_as_it_is(name, told, expected):
    found, wanted = told[name], expected[name]
    assert found["resume"] == wanted["resume"]
    assert found["resume"][0] != 0
    assert found["resumed"] == found["numbers"]
    assert found["left"] == found["kept"]
