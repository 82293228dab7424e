"""Loopscope installed with pip, used from a folder that has an `engine.py` and a `pages/` of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
import venv
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from engine.cli.check import pins
from tests.browser.served import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the data folder is moved here as Linux has it"),
]
RECORDING = """
from loopscope import record

with record("a loop of mine", lr=0.1) as log:
    for step in range(1, 4):
        log(step, loss=1.0 / step)
print(log.id)
"""


@dataclass(frozen=True)
class Copy:
    """An installed copy: its environment, its data home, and the folder that commands are given in."""

    python: Path
    packages: Path
    home: Path
    folder: Path

    def run(self, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """One command in `folder`; it has no LOOPSCOPE_HOME."""
        return subprocess.run(
            [str(word) for word in words],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
        )

    @property
    def command(self) -> Path:
        """The `loopscope` that pip made."""
        return self.python.with_name("loopscope")

    @property
    def environment(self) -> dict[str, str]:
        """The process's own, without what would lead to the checkout; the platform's data folder is `home`'s parent."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("LOOPSCOPE_", "STREAMLIT_"))}
        own.pop("PYTHONPATH", None)
        return own | {"XDG_DATA_HOME": str(self.home.parent), "HOME": str(self.home.parent), "OMP_NUM_THREADS": "1"}


def pip(*words: object, python: Path | str = sys.executable) -> None:
    """Run pip for the environment of `python`, without a network."""
    command = [sys.executable, "-m", "pip", "--python", str(python), *map(str, words)]
    subprocess.run(command, check=True, capture_output=True, timeout=120, env={**os.environ, "PIP_NO_INPUT": "1"})


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `pip install .` builds it, of a tree with runs and downloads in its data/."""
    tree, out = tmp_path_factory.mktemp("tree") / "loopscope", tmp_path_factory.mktemp("wheel")
    names = ("app.py", "data", "engine", "pages", "pyproject.toml", "requirements.txt", "README.md")
    for name in (*names, ".streamlit", ".gitignore"):
        if (ROOT / name).is_dir():
            own = ("runs", "downloads", "uploads", "corpora") if name == "data" else ("__pycache__",)
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns(*own))
        else:
            tree.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    for name in ("runs/20260101-000000-abcdef/metrics.db", "downloads/a.txt", "corpora/mine.txt"):
        (tree / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / "data" / name).write_text("not to be shipped")
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", out, tree)
    [built] = out.glob("*.whl")
    return built


def install(wheel: Path, place: Path, dependencies: bool) -> Copy:
    """That wheel in a fresh environment, with the packages of this one as its dependencies, or with none."""
    venv.create(place / "env", with_pip=False)
    python = next(path for path in (place / "env").glob("*/python*") if path.stem == "python")
    scheme = {"base": str(place / "env"), "platbase": str(place / "env")}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=scheme))
    if dependencies:
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip("install", "--no-deps", "--no-index", wheel, python=python)
    folder = place / "mine"
    (folder / "pages").mkdir(parents=True)
    for name in ("engine.py", "app.py", "pages/__init__.py", "pages/train.py"):
        (folder / name).write_text("raise RuntimeError('the wrong module')\n")
    return Copy(python, packages, place / "data" / "loopscope", folder)


@pytest.fixture(scope="module")
def copy(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Loopscope installed, with all it depends on."""
    return install(wheel, tmp_path_factory.mktemp("installed"), dependencies=True)


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Loopscope installed, and nothing else."""
    return install(wheel, tmp_path_factory.mktemp("bare"), dependencies=False)


def test_the_wheel_holds_one_package_and_the_shipped_texts(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"loopscope"}
    assert {name for name in names if name.startswith("loopscope/data/")} == {
        f"loopscope/data/{name}" for name in ("example.frame", "ferry-notebook.txt", "lamplighters.txt")
    }
    wanted = subprocess.run(["git", "ls-files", "engine", "pages"], cwd=ROOT, capture_output=True, text=True)
    if wanted.returncode == 0:
        tracked = {
            f"loopscope/{name.removeprefix('engine/installed/loopscope/')}"
            for name in wanted.stdout.split()
            if (ROOT / name).exists()
        }
        assert tracked <= set(names)
    for name in ("py.typed", "app.py", ".streamlit/config.toml", "__main__.py"):
        assert f"loopscope/{name}" in names


def test_the_dependencies_are_those_of_requirements_txt(copy: Copy) -> None:
    [info] = copy.packages.glob("loopscope-*.dist-info")
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = pins(lines)
    assert len(pinned) == sum(1 for line in lines if line and not line.startswith("#"))
    assert pins(PathDistribution(info).requires or []) == pinned
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "dependencies" not in project
    recording = pins((ROOT / "engine" / "tracking" / "requirements.txt").read_text(encoding="utf-8").splitlines())
    assert recording.items() < pinned.items()


def test_help_names_the_command_and_the_dashboard(copy: Copy) -> None:
    for words in ([copy.command], [copy.python, "-m", "loopscope"]):
        told = copy.run(*words, "--help")
        assert (told.returncode, told.stderr) == (0, "")
        assert told.stdout.startswith("usage: loopscope ")
        assert "dashboard" in told.stdout
        assert "resume" in told.stdout
    wrong = copy.run(copy.command, "trian")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "'trian'" in wrong.stderr
    wrong = copy.run(copy.command, "train", "--speed", "1")
    assert wrong.stderr == "'--speed' is not an option of train; `loopscope train --help` lists them\n"


def test_a_run_goes_into_the_data_folder_of_the_platform(copy: Copy) -> None:
    words = ("train", "--preset", "gpt-tiny", "--max-steps", "50")
    done = copy.run(copy.command, *words, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["state"], result["step"]) == ("done", 50)
    assert (copy.home / "runs" / result["run"] / "metrics.db").is_file()
    checkout = copy.run(sys.executable, "-m", "engine", *words, "--json", PYTHONPATH=str(ROOT), PYTHONSAFEPATH="1")
    other = json.loads(checkout.stdout.splitlines()[-1])
    assert other["train_loss"] == result["train_loss"]
    assert result["run"] in copy.run(copy.command, "runs").stdout
    elsewhere = copy.run(copy.command, "runs", LOOPSCOPE_HOME=str(copy.folder / "elsewhere"))
    assert elsewhere.stdout == f"no runs yet in {copy.folder / 'elsewhere' / 'runs'}; `loopscope train` makes one\n"


def test_check_speaks_of_an_installed_copy(copy: Copy, bare: Copy) -> None:
    report = copy.run(copy.command, "check").stdout
    assert re.search(r"ok +\d+ packages as pinned|note +other versions than", report)
    assert str(copy.home) in report
    assert "lamplighters" in report
    assert "python -m engine" not in report
    assert "requirements.txt" not in report
    report = bare.run(bare.command, "check")
    assert report.returncode == 1
    for package in ("torch", "streamlit", "platformdirs"):
        assert re.search(rf"python -m pip install .*{package}==\d", report.stdout)
    for words in (["train"], []):
        refused = bare.run(bare.command, *words)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize("blocked", [("streamlit", "plotly"), ("streamlit", "torch", "pandas", "safetensors")])
def test_a_script_records_without_what_it_does_not_need(copy: Copy, blocked: Sequence[str]) -> None:
    (copy.folder / "loop.py").write_text(f"import sys\nsys.modules |= dict.fromkeys({blocked!r})\n{RECORDING}")
    done = copy.run(copy.python, "loop.py")
    assert done.returncode == 0, done.stderr
    assert (copy.home / "runs" / done.stdout.strip()).is_dir()


def test_recording_needs_only_its_own_requirements(copy: Copy, tmp_path: Path) -> None:
    """What is imported besides the standard library comes from the packages named there and theirs."""
    script = RECORDING + (
        "import sys\nprint(*{name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names)\n"
    )
    (copy.folder / "loop.py").write_text(script)
    loaded = set(copy.run(copy.python, "loop.py").stdout.splitlines()[-1].split())
    allowed = {"numpy", "pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
    allowed |= {"tsdownsample", "platformdirs", "loopscope", "__main__", "sitecustomize", "usercustomize"}
    assert {name for name in loaded if not name.startswith("_")} <= allowed


def test_the_public_face_is_typed(bare: Copy) -> None:
    """Where nothing else is installed: to analyse torch takes minutes, and changes nothing here."""
    script = RECORDING.replace("print(log.id)", "reveal_type(log)\nreveal_type(record)\nname: str = log.id\n")
    (bare.folder / "typed.py").write_text(script + "import loopscope\nloopscope.recrod\nlog.tabel\n")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", bare.python]
    told = bare.run(*mypy, "typed.py")
    notes = told.stdout.splitlines()
    assert 'typed.py:7: note: Revealed type is "loopscope.engine.tracking.recorder.Recorder"' in notes, told.stdout
    assert 'Revealed type is "def (Any =, typing.Mapping[str, Any] | None =, *, max_steps: int | None =, ' in notes[1]
    assert [line.split(" error: ")[0] for line in notes if " error: " in line] == ["typed.py:12:", "typed.py:13:"]


def status(port: int, path: str, **headers: str) -> int | None:
    """The status of a GET; None while nobody listens there."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        try:
            connection.request("GET", path, headers=headers)
            with connection.getresponse() as answer:
                return answer.status
        except OSError:
            return None


@pytest.fixture
def dashboard(copy: Copy, tmp_path: Path) -> Iterator[int]:
    """The port of `loopscope --server.port N`, served until the end of the test."""
    port = free_port()
    log = (tmp_path / "output.txt").open("wb+")
    process = subprocess.Popen(
        [copy.command, "--server.port", str(port), "--server.headless", "true"],
        cwd=copy.folder,
        env=copy.environment | {"PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + 60
        while status(port, "/_stcore/health") != 200:
            assert process.poll() is None, (tmp_path / "output.txt").read_text()
            assert time.monotonic() < deadline, (tmp_path / "output.txt").read_text()
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def test_the_dashboard_is_served_from_anywhere(dashboard: int) -> None:
    assert status(dashboard, "/") == 200
    assert status(dashboard, "/watch") == 200
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    assert status(dashboard, "/live?run=current", **upgrade, **{"Sec-WebSocket-Key": "a" * 22 + "=="}) == 101


def test_uninstalling_leaves_the_data_folder_alone(copy: Copy) -> None:
    (copy.home / "runs").mkdir(parents=True, exist_ok=True)
    pip("uninstall", "--yes", "loopscope", python=copy.python)
    assert sorted(path.name for path in copy.packages.iterdir()) == ["dependencies.pth"]
    assert not copy.command.exists()
    assert (copy.home / "runs").is_dir()
