"""The requirements files, their lock, and what the README says of them, agree."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def pinned() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(one.name): one for one in found}


def locked() -> dict[str, list[tuple[Requirement, list[str]]]]:
    """What the lock says of each package: a version for each environment, with the hashes of its files."""
    found: dict[str, list[tuple[Requirement, list[str]]]] = {}
    for entry in re.split(r"\n(?=[a-z])", re.sub(r"^#.*\n", "", LOCK, flags=re.M).strip()):
        first, *hashes = [line.strip().removesuffix("\\").strip() for line in entry.splitlines()]
        found.setdefault(canonicalize_name(Requirement(first).name), []).append((Requirement(first), hashes))
    return found


def test_the_lock_has_every_pin_of_the_requirements() -> None:
    for name, pin in pinned().items():
        assert [str(one.specifier) for one, _ in locked()[name]] == [str(pin.specifier)], f"renew the lock: {name}"


def test_the_lock_has_hashes_for_the_whole_tree_and_names_no_place() -> None:
    for name, entries in locked().items():
        for one, hashes in entries:
            assert re.fullmatch(r"==[^*,]+", str(one.specifier)), name
            assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in hashes), name
            assert one.url is None
    assert not re.search(r"://|file:|--index|--find-links|--extra", LOCK)


@pytest.mark.parametrize("name", sorted(pinned()))
def test_the_lock_has_what_each_package_needs_here(name: str) -> None:
    there = locked()
    for line in requires(name) or []:
        needed = Requirement(line)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            assert canonicalize_name(needed.name) in there, f"{name} needs {needed.name}: renew the lock"


def test_the_readmes_line_for_the_cpu_build_keeps_that_build() -> None:
    """`pip install -r requirements.txt` replaces any other version by the build with CUDA."""
    section = README.split("<!-- CPU build on Linux -->")[1].split("```")[1]
    asked = Requirement(next(word for word in section.split() if word.startswith("torch==")))
    assert str(asked.specifier) == str(pinned()["torch"].specifier)
    (installed,) = asked.specifier
    assert pinned()["torch"].specifier.contains(f"{installed.version}+cpu")
    assert "-r requirements.txt" in section.split("download.pytorch.org/whl/cpu")[1]
    assert "5.2 GB" in README and "1.5 GB" in README


def test_this_environment_has_the_torch_that_is_pinned() -> None:
    assert pinned()["torch"].specifier.contains(version("torch"))


def test_uv_sync_takes_nothing_away() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"] == {"managed": False}
    assert "`uv sync`" in README


def test_the_readme_warns_that_deleting_a_checkout_deletes_the_runs() -> None:
    assert "Deleting a checkout deletes its runs" in README


def test_the_lock_is_renewed_by_one_command() -> None:
    command = re.search(r"uv pip compile .*", LOCK)
    assert command is not None and command[0] in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
