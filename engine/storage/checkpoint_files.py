"""Snapshots on disk: whole or not there at all, and read back only if every byte is as it was written.

One folder a snapshot, `step-000000100/`: weights.safetensors (by parameter name), state.safetensors (what the
optimizer keeps, the generators, the place in the epoch) and manifest.json, which ends with its own sha256. It is
written under a temporary name, synced to the disk and renamed. Nothing is ever unpickled, and no name inside a
manifest is used as a path.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import sync
from ..config import MAX_STEPS, LiveSettings
from ..training.checkpoint import Snapshot

if TYPE_CHECKING:  # a loop that is only recorded has no snapshots, and may run where torch is not installed
    from torch import Tensor

    from .state_shape import Header, StateShape

FORMAT = 1
FILES = ("weights.safetensors", "state.safetensors")
MANIFEST = "manifest.json"
NAME = re.compile(r"step-(\d{9,})")
PARTIAL = ".partial-"
MOST_MANIFEST = 1 << 20  # bytes
MOST_HEADER = 1 << 24  # bytes
MOST_TOKENS = 2**62
_CHUNK = 1 << 20


class SnapshotError(ValueError):
    """A snapshot that cannot be used: one sentence with its name and the reason."""


def write(folder: Path, snapshot: Snapshot) -> Path:
    """Leave `snapshot` in `folder` under its step's name, which it returns; OSError where the disk refuses.

    A whole one of that step stays as it is: it holds the same state, and a kill must find one of the two.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    target = at(folder, snapshot.step)
    if target.exists():
        with suppress(SnapshotError):
            read(target)
            return target
        remove(target)
    clear_partial(folder)  # of an attempt that could not even clear up after itself
    partial = folder / f"{PARTIAL}{snapshot.step}-{secrets.token_hex(4)}"
    partial.mkdir(parents=True)
    try:
        if (size := _bytes_of(snapshot)) > shutil.disk_usage(folder).free:  # not first filled, for others to run dry
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {size / 1e6:,.1f} MB are needed")
        for name, tensors in zip(FILES, (snapshot.weights, _flat(snapshot)), strict=True):
            save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, partial / name)
        body = {
            "format": FORMAT,
            "step": snapshot.step,
            "tokens_seen": snapshot.tokens_seen,
            "settings": snapshot.settings.model_dump(),
            "axes": None if snapshot.axes is None else snapshot.axes.tolist(),
            "files": {name: _sha256(partial / name) for name in FILES},
        }
        (partial / MANIFEST).write_bytes(_signed(body))
        for path in (*partial.iterdir(), partial):
            sync(path)
        partial.rename(target)
        sync(folder)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, SafetensorError):
            raise OSError(errno.EIO, str(error).removeprefix("Error while serializing: ")) from None
        raise
    return target


def read(path: Path, shape: StateShape | None = None) -> Snapshot:
    """The snapshot in `path`; SnapshotError if a byte of it is missing, changed, or from a newer version.

    With a `shape` also if it does not fit the run's model and text.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        for name in (MANIFEST, *FILES):
            if (path / name).is_symlink() or not (path / name).is_file():
                raise SnapshotError(f"{name} is missing, or is no file")
        if (path / MANIFEST).stat().st_size > MOST_MANIFEST:
            raise SnapshotError("its manifest is not what was written")
        body = _verified((path / MANIFEST).read_bytes())
        if body["format"] != FORMAT:
            raise SnapshotError(f"it has format {body['format']}, this version reads {FORMAT}")
        if path.name != at(path.parent, body["step"]).name:
            raise SnapshotError(f"its manifest is of step {body['step']}")
        if set(body["files"]) != set(FILES):
            raise SnapshotError("its manifest names other files than it should")
        if not 0 <= body["step"] <= MAX_STEPS or not 0 <= body["tokens_seen"] <= MOST_TOKENS:
            raise SnapshotError("its manifest counts what cannot be")
        headers = [_header(path / name) for name in FILES]
        if shape is not None and (why := shape.misfit(*headers)) is not None:
            raise SnapshotError(why)
        for name in FILES:
            if _sha256(path / name) != body["files"][name]:
                raise SnapshotError(f"{name} is not what was written")
        weights, state = (load_file(path / name) for name in FILES)
        snapshot = Snapshot(
            body["step"],
            body["tokens_seen"],
            LiveSettings(**body["settings"]),
            weights=weights,
            optimizer=_optimizer(state),
            generators=_branch(state, "generators"),
            batches=_branch(state, "batches"),
            axes=_axes(body.get("axes")),
        )
        if shape is not None and (why := shape.misplaced(snapshot)) is not None:
            raise SnapshotError(why)
        return snapshot
    except SnapshotError as error:
        raise SnapshotError(f"snapshot {path.name} cannot be used: {error}") from None
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SnapshotError(f"snapshot {path.name} cannot be used: it is damaged ({reason})") from None


def weights_of(folder: Path, step: int) -> dict[str, Tensor]:
    """The weights in the snapshot of `step`, by parameter name; none where that cannot be used."""
    try:
        return dict(read(at(folder, step)).weights)
    except SnapshotError:
        return {}


def steps(folder: Path) -> list[int]:
    """The steps that there is a snapshot of, in order; a half-written one has no name of that kind."""
    if not folder.is_dir():
        return []
    found = (NAME.fullmatch(path.name) for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    return sorted(int(match[1]) for match in found if match)


def at(folder: Path, step: int) -> Path:
    """Where the snapshot of `step` is."""
    return folder / f"step-{step:09d}"


def newest(folder: Path, upto: int | None = None, shape: StateShape | None = None) -> tuple[Snapshot | None, list[str]]:
    """The newest snapshot that is whole (not after step `upto`) and fits, and why each newer one was passed over."""
    refused: list[str] = []
    for step in reversed(steps(folder)):
        if upto is not None and step > upto:
            continue
        try:
            return read(at(folder, step), shape), refused
        except SnapshotError as error:
            refused.append(str(error))
    return None, refused


def clear_partial(folder: Path) -> None:
    """Take away what a process left half-written when it was killed."""
    for path in folder.glob(f"{PARTIAL}*"):
        shutil.rmtree(path, ignore_errors=True)


def remove(path: Path) -> None:
    """Take a snapshot away: first its name, so that a kill does not leave half of it to be read."""
    gone = path.with_name(f"{PARTIAL}{path.name}-{secrets.token_hex(4)}")
    path.rename(gone)
    shutil.rmtree(gone)


def thin_out(folder: Path, keep: set[int], most: int, most_bytes: int) -> None:
    """Delete snapshots, the closest neighbours first, until at most `most` and `most_bytes` are left.

    Those in `keep`, the first and the newest always stay.
    """
    sizes = {step: sum(p.stat().st_size for p in at(folder, step).iterdir()) for step in steps(folder)}
    while len(sizes) > most or sum(sizes.values()) > most_bytes:
        there = list(sizes)
        inner = [
            (after - before, step)
            for before, step, after in zip(there, there[1:], there[2:], strict=False)
            if step not in keep
        ]
        if not inner:
            return
        # relative to where it stands: early steps lie close together and are worth keeping apart
        _, gone = min(inner, key=lambda found: found[0] / (found[1] + 1))
        remove(at(folder, gone))
        del sizes[gone]


def _bytes_of(snapshot: Snapshot) -> int:
    """About what a snapshot takes on the disk."""
    return sum(tensor.nbytes for tensors in (snapshot.weights, _flat(snapshot)) for tensor in tensors.values())


def _flat(snapshot: Snapshot) -> dict[str, Tensor]:
    flat = {f"optimizer/{name}/{key}": t for name, state in snapshot.optimizer.items() for key, t in state.items()}
    flat |= {f"generators/{name}": t for name, t in snapshot.generators.items()}
    return flat | {f"batches/{name}": t for name, t in snapshot.batches.items()}


def _branch(state: Mapping[str, Tensor], branch: str) -> dict[str, Tensor]:
    return {key.split("/", 1)[1]: tensor for key, tensor in state.items() if key.startswith(f"{branch}/")}


def _optimizer(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    kept: dict[str, dict[str, Tensor]] = {}
    for path, tensor in _branch(state, "optimizer").items():
        name, key = path.rsplit("/", 1)
        kept.setdefault(name, {})[key] = tensor
    return kept


def _axes(said: Any) -> Tensor | None:
    """The axes (2, D) as the manifest lists them, every bit of their numbers; earlier versions kept none."""
    import torch

    return None if said is None else torch.tensor(said, dtype=torch.float64)


def _signed(body: Mapping[str, Any]) -> bytes:
    text = json.dumps(body, indent=1).encode()
    return text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n"


def _verified(signed: bytes) -> dict[str, Any]:
    text = signed[:-66]
    if len(signed) < 66 or signed[-66:] != b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n":
        raise SnapshotError("its manifest is not what was written")
    body: dict[str, Any] = json.loads(text)
    return body


def _header(path: Path) -> Header:
    """What a file of safetensors says that it holds. SnapshotError if it is not as long as that says."""
    from .state_shape import Stored

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MOST_HEADER:
            raise SnapshotError(f"{path.name} is not what was written")
        described = json.loads(file.read(length))
    described.pop("__metadata__", None)
    end = max((int(one["data_offsets"][1]) for one in described.values()), default=0)
    if path.stat().st_size != 8 + length + end:
        raise SnapshotError(f"{path.name} is not what was written")
    return {name: Stored(one["dtype"], tuple(one["shape"])) for name, one in described.items()}


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(path):
        digest.update(chunk)
    return digest.hexdigest()
