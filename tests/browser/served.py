"""`streamlit run app.py` as people run it: a process of its own, on a free port, ended with Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS_TO_COME_UP = 120.0
SECONDS_TO_END = 15.0  # a second on a machine with nothing else to do
BAD_WORDS = ("Traceback", "terminate called", "Exception ignored")


class Server:
    """A running Loopscope. `home` is its data home, `project` the folder that holds app.py, `base` its base path."""

    def __init__(
        self,
        folder: Path,
        *,
        project: Path = ROOT,
        flags: tuple[str, ...] = (),
        base: str = "",
        port: int | None = None,
        **environment: str,
    ) -> None:
        self.home, self.project, self.base = folder / "home", project, base
        self.home.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self._log = folder / "output.txt"
        own = {name: value for name, value in os.environ.items() if not name.startswith(("LOOPSCOPE_", "STREAMLIT_"))}
        own |= {"LOOPSCOPE_HOME": str(self.home), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", **environment}
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self.port), *flags]
        command += ["--server.baseUrlPath", base] if base else []
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=project, env=own, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._come_up()
        except BaseException:
            self.kill()
            raise

    @property
    def url(self) -> str:
        """Where it is found on this machine, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        """All that it has printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Status and body of a GET."""
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read()

    def interrupt(self) -> float:
        """Press Ctrl-C; the seconds until the process was gone."""
        pressed = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
        return time.monotonic() - pressed

    @property
    def said(self) -> list[str]:
        """The words of trouble in its output."""
        return [word for word in BAD_WORDS if word in self.output]

    def end(self) -> None:
        """Press Ctrl-C if it still runs, and check that it ended as it should: soon, and without a word of trouble."""
        seconds = self.interrupt() if self.process.poll() is None else 0.0
        assert self.process.returncode in (0, 1), f"exit status {self.process.returncode}:\n{self.output}"
        assert not self.said, self.output
        assert seconds <= SECONDS_TO_END, f"it took {seconds:.1f} s to end:\n{self.output}"

    def kill(self) -> None:
        """End it by force."""
        self.process.kill()
        self.process.wait()

    def _come_up(self) -> None:
        deadline = time.monotonic() + SECONDS_TO_COME_UP
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not come up:\n{self.output}")
            try:
                if self.get(f"{self.base}/watch")[0] == 200:
                    return
            except OSError:
                time.sleep(0.05)


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def copy_project(folder: Path) -> Path:
    """The project's own files in `folder`, to be edited there; returns the copy's root."""
    copy = folder / "project"
    for name in ("engine", "pages", ".streamlit"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        ROOT / "data", copy / "data", ignore=shutil.ignore_patterns("runs", "downloads", "uploads", "corpora")
    )
    for name in ("app.py", "pyproject.toml"):  # without the latter it would pass for an installed copy
        shutil.copy(ROOT / name, copy)
    return copy
