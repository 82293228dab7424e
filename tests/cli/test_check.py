"""`python -m engine check`: each line says what there is, or what to do about what is missing."""

import os
import re
import socket
import sys
from collections import namedtuple

import pytest

from engine.__main__ import main
from engine.cli import check

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def data_home(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_every_line_begins_with_its_status_and_nothing_is_left_behind(data_home, capsys):
    status = main(["check"])
    lines = capsys.readouterr().out.splitlines()
    assert all(re.match(r"(ok|note|missing) +\S", line) for line in lines)
    assert status == int(any(line.startswith("missing") for line in lines))
    together = "\n".join(lines)
    for word in ("Python", "torch", "streamlit", "plotly.min.js", "8501", "GB free", "data home", "lamplighters"):
        assert word in together
    assert not data_home.exists()


def test_a_missing_thing_is_exit_1(monkeypatch, capsys):
    lines = [check.Finding("ok", "one"), check.Finding("missing", "two"), check.Finding("note", "three")]
    monkeypatch.setattr(check, "findings", lambda: iter(lines))
    assert check.check() == 1
    assert capsys.readouterr().out == "ok       one\nmissing  two\nnote     three\n"
    monkeypatch.setattr(check, "findings", lambda: iter(lines[::2]))
    assert check.check() == 0


def test_python():
    assert check.python((3, 11, 0)).status == "ok"
    assert check.python().status == "ok"
    assert check.python((3, 10, 9)) == ("missing", "Python 3.10.9 is too old; install 3.11 or a later one")


def test_packages_are_compared_with_the_pins(monkeypatch):
    lines = "# why\n-r other.txt\nTorch==2.1 ; python_version > '3'\nuvicorn[standard] == 0.3  # a\nx>=1\n"
    pins = check.pins(lines.splitlines())
    assert pins == {"torch": "2.1", "uvicorn": "0.3"}

    monkeypatch.setattr(check, "version", {"torch": "2.1+cpu", "uvicorn": "0.3"}.__getitem__)
    assert [line.status for line in check.packages(pins)] == ["ok"]
    monkeypatch.setattr(check, "version", {"torch": "2.2", "uvicorn": "0.3"}.__getitem__)
    [line] = check.packages(pins)
    assert line.status == "note"
    assert "torch 2.2 (pinned 2.1)" in line.text

    def absent(name):
        raise check.PackageNotFoundError(name)

    monkeypatch.setattr(check, "version", absent)
    [line] = check.packages(pins)
    assert line.status == "missing"
    assert "torch, uvicorn; run `python -m pip install" in line.text
    assert [line.status for line in check.packages({})] == ["note"]


def test_requirements_are_read_from_the_checkout_or_from_the_installed_package(tmp_path, monkeypatch):
    assert check.pins(check.requirements())["streamlit"]
    monkeypatch.setattr(check, "ROOT", tmp_path)
    assert check.requirements() == []
    monkeypatch.setattr(check, "INSTALLED", True)
    monkeypatch.setattr(check, "requires", {"loopscope": ["torch==2.1", "tqdm==4"]}.__getitem__)
    assert check.requirements() == ["torch==2.1", "tqdm==4"]


def test_advice_names_what_is_missing_where_pip_installed_the_engine(monkeypatch):
    assert check.install("torch") == "run `python -m pip install -r requirements.txt`"
    monkeypatch.setattr(check, "INSTALLED", True)
    monkeypatch.setattr(check, "requires", lambda name: ["torch==2.1", "tqdm==4"])
    assert check.install("torch", "other", None) == "run `python -m pip install torch==2.1 other`"


@pytest.mark.parametrize(
    ("pinned", "status"), [(None, "ok"), ("1.67.0", "ok"), ("1.67.1", "missing"), ("1.9.0", "note"), ("2.0", "missing")]
)
def test_streamlit(pinned, status, monkeypatch):
    monkeypatch.setattr(check, "version", lambda name: "1.67.0")
    monkeypatch.setattr(check, "find_spec", lambda name: name)
    assert check.streamlit(pinned).status == status
    monkeypatch.setattr(check, "find_spec", lambda name: None)
    assert check.streamlit(pinned).status == "missing"


def test_browser_assets(tmp_path, monkeypatch):
    spec = namedtuple("Spec", "submodule_search_locations")([str(tmp_path)])
    monkeypatch.setattr(check, "version", lambda name: "7.1.0")
    for found in (None, spec):
        monkeypatch.setattr(check, "find_spec", lambda name, found=found: found)
        assert check.browser_assets().status == "missing"
    (tmp_path / "package_data").mkdir()
    (tmp_path / "package_data" / "plotly.min.js").write_bytes(bytes(1_500_000))
    assert check.browser_assets() == ("ok", "plotly 7.1.0 with plotly.min.js (1.5 MB), served from here")


def test_a_port_that_is_taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        number = listener.getsockname()[1]
        taken = check.port(number)
    assert taken.status == "note"
    assert f"--server.port {number + 1}" in taken.text
    assert check.port(number).status == "ok"


def test_the_data_home(tmp_path):
    assert check.writable(tmp_path / "not" / "yet").status == "ok"
    assert not (tmp_path / "not").exists()
    (tmp_path / "file").write_text("here")
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        finding = check.writable(home)
        assert finding.status == "missing"
        assert "LOOPSCOPE_HOME" in finding.text


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="nothing is closed to this user")
def test_a_data_home_that_is_closed(tmp_path):
    tmp_path.chmod(0o500)
    assert check.writable(tmp_path).status == "missing"


@pytest.mark.parametrize(("free", "status"), [(50e9, "ok"), (0.5e9, "note"), (1e6, "missing")])
def test_disk(free, status, tmp_path):
    finding = check.disk(tmp_path / "not" / "yet", lambda path: Usage(1e12, 0, free))
    assert finding.status == status


def test_corpora(tmp_path):
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "broken.txt").write_bytes(b"\xff\xff\x80")
    lines = list(check.corpora(tmp_path))
    assert [line.status for line in lines] == ["ok", "note", "note", "note"]
    assert "lamplighters" in lines[0].text
    assert "fetch --all" in lines[1].text
    assert "python -m engine fetch gpt2" in lines[2].text
    assert "broken" in lines[3].text


def test_a_package_that_is_not_there_is_one_line(monkeypatch):
    def gone(home):
        raise ModuleNotFoundError("No module named 'watchdog'", name="watchdog")
        yield

    monkeypatch.setattr(check, "corpora", gone)
    *_, last = check.findings()
    assert last == ("missing", f"the package watchdog; {check.install()}")
