"""Run folders that are broken in one way each; they are made of copies of one that an earlier version left."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from engine.storage import checkpoint_files, manifest

FIXTURE = Path(__file__).resolve().parent.parent / "fixtures" / "runs" / "bigram"
GOOD = "20260102-000000-aaaaaa"
BROKEN = "20260101-000000-bbbbbb"
SPARSE_BYTES = 50_000_000_000
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT {columns} FROM c"
COLUMNS = {
    "steps": "x AS first, 1 AS count, x'00' AS data",
    "looks": "x AS step, '{}' AS scalars",
    "frames": "x AS step, 'weights/w' AS name, 1 AS rows, 1 AS cols, x'00' AS data",
    "events": "x AS step, 'warning' AS name, 'text' AS text",
    "samples": "x AS step, 'text' AS text, 0 AS prompt, '' AS confidence",
    "turns": "x AS step, 0 AS stages, '{}' AS settings",
}
Break = Callable[[Path], Any]


@contextmanager
def metrics_of(folder: Path) -> Iterator[sqlite3.Connection]:
    """The database of a run, to be broken."""
    with closing(sqlite3.connect(folder / "metrics.db")) as database, database:
        yield database


def sparse(name: str) -> Break:
    """A file of 50 GB that takes no room on the disk."""

    def make(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            os.truncate(file.fileno(), SPARSE_BYTES)

    return make


def lines_alone(make: Break) -> Break:
    """A folder with records.jsonl in the place of all else."""

    def made(folder: Path) -> None:
        shutil.rmtree(folder)
        folder.mkdir()
        make(folder)

    return made


def view(table: str) -> Break:
    """A table that is a view without an end."""

    def make(folder: Path) -> None:
        with metrics_of(folder) as database:
            database.execute(f"DROP TABLE {table}")
            database.execute(f"CREATE VIEW {table} AS {ENDLESS.format(columns=COLUMNS[table])}")

    return make


def rows(query: str, many: Iterator[tuple[Any, ...]] | Callable[[], Iterator[tuple[Any, ...]]]) -> Break:
    """Rows that are added."""

    def make(folder: Path) -> None:
        with metrics_of(folder) as database:
            database.executemany(query, many() if callable(many) else many)

    return make


def sql(script: str) -> Break:
    """What a script of SQL leaves."""

    def make(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "metrics.db")) as database:
            database.executescript(script)

    return make


def config(**changes: Any) -> Break:
    """Another config.json, sealed: `config__corpus="x"` changes config's corpus."""

    def make(folder: Path) -> None:
        content = manifest.read(folder)
        for path, value in changes.items():
            *above, last = path.split("__")
            at = content
            for name in above:
                at = at[name]
            at[last] = value
        manifest.write(folder, content)

    return make


def snapshots(change: Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], None]) -> Break:
    """All snapshots changed and sealed anew: `change` gets the manifest, the weights and the state."""

    def make(folder: Path) -> None:
        for path in (folder / "snapshots").iterdir():
            signed = (path / checkpoint_files.MANIFEST).read_bytes()
            body = json.loads(signed[:-66])
            weights, state = (load_file(path / name) for name in checkpoint_files.FILES)
            change(body, weights, state)
            for name, tensors in zip(checkpoint_files.FILES, (weights, state), strict=True):
                save_file(tensors, path / name)
                body["files"][name] = checkpoint_files._sha256(path / name)
            (path / checkpoint_files.MANIFEST).write_bytes(checkpoint_files._signed(body))

    return make


def renamed(old: str, new: str) -> Callable[..., None]:
    def change(_: Any, weights: dict[str, Any], state: dict[str, Any]) -> None:
        weights[new] = weights.pop(old)

    return change


def resized(_: Any, weights: dict[str, Any], state: dict[str, Any]) -> None:
    for tensors in (weights, state):
        for name, tensor in tensors.items():
            if tensor.dim() == 2:
                tensors[name] = torch.zeros(2, 3)


def halved(body: dict[str, Any], _: Any, state: dict[str, Any]) -> None:
    del state[f"optimizer/{WEIGHT}/exp_avg" if body["step"] else "generators/data"]


def renamed_folder(folder: Path) -> Path:
    target = os.fsencode(folder) + b"\xff\xfe"
    os.rename(os.fsencode(folder), target)  # noqa: PTH104 - bytes
    return Path(os.fsdecode(target))


def linked(folder: Path) -> None:
    elsewhere = folder.parent.parent / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)


WEIGHT = "token_embedding.weight"
MANY_CHANNELS = json.dumps({f"c{n}": 1.0 for n in range(100_000)})

TOKENS = "snapshot step-000000050 cannot be used: its manifest counts what cannot be"
FOREIGN = "it is of another model"

BREAKS: dict[str, tuple[Break, str]] = {
    "a name that is not UTF-8": (renamed_folder, "its name is not UTF-8"),
    **{f"{table} is an endless view": (view(table), f"{table} in metrics.db is no table") for table in COLUMNS},
    "steps is computed": (
        sql("DROP TABLE steps; CREATE TABLE steps (first, count, data AS (zeroblob(1000000000)))"),
        "steps in metrics.db has computed columns",
    ),
    "a sparse config.json": (sparse("config.json"), "config.json is missing or damaged"),
    "sparse lines": (lines_alone(sparse("records.jsonl")), "records.jsonl has 50,000,000,000 bytes"),
    "lines of nothing": (
        lines_alone(lambda folder: (folder / "records.jsonl").write_bytes(b"\n" * 2000)),
        "more than 1,000 lines of records.jsonl cannot be read",
    ),
    "environment is a list": (config(environment=[1]), "config.json is missing or damaged"),
    "parent is a list": (config(parent=[1]), "config.json is missing or damaged"),
    "the parent's step is out of bounds": (config(parent={"run": "x", "step": 10**400}), "config.json"),
    "max_steps is out of bounds": (config(settings__max_steps=10**400), "config.json is missing or damaged"),
    "a last step of 2^63": (
        sql("UPDATE steps SET first = 9223372036854775807 WHERE first = (SELECT MAX(first) FROM steps)"),
        "metrics.db is missing or damaged",
    ),
    "a block of 2^63 steps": (sql("UPDATE steps SET count = 9223372036854775807"), "metrics.db is missing or damaged"),
}
"""What cannot be opened, and why."""

MISFITS: dict[str, tuple[Break, str]] = {
    "tokens_seen of 10**400": (snapshots(lambda body, *_: body.update(tokens_seen=10**400)), "counts what cannot be"),
    "tokens_seen is a word": (snapshots(lambda body, *_: body.update(tokens_seen="many")), "cannot be used"),
    "foreign weight names": (snapshots(renamed(WEIGHT, "foreign")), FOREIGN),
    "other sizes": (snapshots(resized), "is 2 × 3 of F32, not 73 × 73"),
    "weights in another type": (
        snapshots(lambda _, weights, __: weights.update({WEIGHT: weights[WEIGHT].double()})),
        "of F64, not 73 × 73",
    ),
    "no generators": (
        snapshots(lambda *files: [files[2].pop(key) for key in [*files[2]] if key.startswith("generators")]),
        "it has not the two generators' states",
    ),
    "a generator's state of nonsense": (
        snapshots(lambda *files: files[2].update({"generators/data": torch.full((5056,), 255, dtype=torch.uint8)})),
        "a generator's state is none",
    ),
    "half of the optimizer's state": (
        snapshots(halved),
        "is not whole",
    ),
    "a foreign optimizer's state": (
        snapshots(lambda *files: files[2].update({"optimizer/foreign/exp_avg": torch.zeros(2)})),
        "is no state of this run",
    ),
    "axes of nothing": (snapshots(lambda body, *_: body.update(axes=[[1.0], [0.0]])), "axes are none"),
    "axes of words": (snapshots(lambda body, *_: body.update(axes=[["a"]])), "cannot be used"),
    "another text's vocabulary": (
        config(
            config__corpus="ferry-notebook",
            environment__corpus={
                "name": "ferry-notebook",
                "sha256": "27e7c4407a848932851c841a350fbc693a4273a71b511c469a538e03f492e75b",
                "characters": 8066,
            },
        ),
        "is 73 × 73 of F32, not 66 × 66",
    ),
    "sparse weights": (
        lambda folder: [
            sparse(f"snapshots/{path.name}/weights.safetensors")(folder) for path in (folder / "snapshots").iterdir()
        ],
        "weights.safetensors is not what was written",
    ),
    "a turned knob that cannot be": (
        sql("""UPDATE turns SET settings = '{"lr": -1}', step = 50; INSERT INTO turns VALUES (50, 0, '{"lr": -1}')"""),
        "lr -1 is not possible",
    ),
    "1,001 tables": (
        rows("INSERT INTO frames VALUES (60, ?, 1, 1, x'00')", lambda: ((f"weights/t{n}",) for n in range(1001))),
        "it has more than 1,000 tables",
    ),
    "1,001 channels": (
        rows("INSERT INTO looks VALUES (50, ?)", lambda: ((f'{{"c{n}": 1}}',) for n in range(1001))),
        "it has more than 1,000 channels",
    ),
}
"""What can be listed but not gone on with, and why."""

ONLY_MUCH: dict[str, Break] = {
    "many events": rows(
        "INSERT INTO events VALUES (60, ?, 'so')", lambda: (("forked",) if n % 2 else ("x",) for n in range(50_000))
    ),
    "a row of many channels": rows("INSERT INTO looks VALUES (1, ?)", lambda: ((MANY_CHANNELS,) for _ in range(3))),
    "a sparse database": sparse("metrics.db"),
    "sparse notes": sparse("notes.json"),
    "a sparse result": sparse("result.json"),
    "events at 2^63": sql("UPDATE events SET step = 9223372036854775807"),
}
"""What is opened all the same: what is too much of it, or damaged, is left out."""
