"""`python -m engine` as people meet it: exit status, one line on stderr, one object on stdout."""

import hashlib
import http.server
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from engine.__main__ import main
from engine.cli.fetch import fetch_texts
from engine.cli.parser import run as run_words
from engine.cli.train import read_experiment
from engine.config import DEFAULT_CORPUS, changed
from engine.console import Progress, complain
from engine.presets import preset
from engine.text.download import PinnedFile
from engine.text.library import Library
from tests.cli.conftest import TEXT

ROOT = Path(__file__).resolve().parent.parent.parent


def started(*words, **options):
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "engine", *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=options.pop("stderr", subprocess.PIPE),
        text=True,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8", **options.pop("env", {})},
        **options,
    )


def called(*words, **options):
    """(status, stdout, stderr) of the command in a process of its own."""
    process = started(*words, **options)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def lines_of(capsys):
    captured = capsys.readouterr()
    return captured.out.splitlines(), captured.err.splitlines()


def until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("", ["no verb", "train, runs, resume, evaluate, sample, export, lessons, fetch or check"]),
        ("trian", ["'trian'", "train"]),
        ("--frob", ["'--frob'", "train, runs, resume, evaluate, sample, export, lessons, fetch or check"]),
        ("train --frob 3", ["'--frob'", "train --help"]),
        ("train --max 3", ["'--max'", "train --help"]),
        ("train stray", ["'stray'", "train --help"]),
        ("train --json=3", ["--json", "'3'", "--help"]),
        ("train --lr", ["--lr", "one argument", "--help"]),
        ("train --preset nope", ["'nope'", "gpt-small"]),
        ("train --model lstm", ["'lstm'", "'bigram', 'gpt', 'line' or 'logistic'"]),
        ("train --optimizer lion", ["'lion'", "'adamw', 'sgd' or 'muon'"]),
        ("train --device tpu", ["'tpu'", "'cpu'"]),
        ("train --lr nan", ["--lr", "'nan'", "above 0 and at most 1e+07"]),
        ("train --lr inf", ["--lr", "'inf'", "at most 1e+07"]),
        ("train --lr -inf", ["--lr", "'-inf'", "above 0"]),
        ("train --lr -1e-3", ["-0.001", "above 0"]),
        ("train --lr 0", ["lr", "above 0"]),
        ("train --epochs 0", ["epochs 0", "at least 1"]),
        ("train --epochs some", ["--epochs", "'some'", "at least 1 and at most 100,000"]),
        ("train --epochs 2 --preset document-002", ["epochs 2", "logistic learns from points"]),
        ("train --epochs 1 --batch-size 8192", ["batch_size 8192", "windows", "choose at most"]),
        ("train --tokenizer words", ["tokenizer 'words'", "'char', 'bpe' or 'gpt2'"]),
        ("train --vocab-size 300", ["--vocab-size 300", "--tokenizer bpe"]),
        ("train --tokenizer bpe --vocab-size 10", ["vocab_size 10", "at least 256"]),
        ("train --lr fast", ["--lr", "'fast'", "above 0"]),
        ("train --weight-decay 1e400", ["'1e400'", "at least 0 and at most 10"]),
        ("train --weight-decay 11", ["11", "at most 10"]),
        ("train --max-steps 0", ["max_steps 0", "at least 1"]),
        ("train --max-steps 1.5", ["'1.5'", "whole number", "1,000,000,000"]),
        (f"train --max-steps {'9' * 5000}", ["'9999", "whole number", "at least 1"]),
        ("train --batch-size 9999999", ["9999999", "at most 8192"]),
        ("train --seed -1", ["seed -1", "at least 0"]),
        ("train --seed 9223372036854775808", ["9223372036854775808", "at most 9223372036854775807"]),
        ("train --block-size 5000", ["5000", "at most 4096"]),
        ("train --corpus nope", ["'nope'", DEFAULT_CORPUS]),
        ("train --corpus tiny-shakespeare", ["tiny shakespeare", "fetch tiny-shakespeare"]),
        ("train --corpus ./nope.txt", ["nope.txt", "no such file", "check"]),
        ("train --corpus .", ["is a folder", "choose a text file"]),
        ("train --block-size 900 --corpus ferry-notebook", ["block_size 900", "longer than the", "choose at most"]),
        ("sample run --seed 99999999999999999999", ["seed 99999999999999999999", "at most 9223372036854775807"]),
        ("sample run --seed some", ["--seed", "'some'", "whole number", "at least 0"]),
        ("sample run --top-k 0", ["top_k 0", "at least 1"]),
        ("sample run --max-new-tokens 0", ["max_new_tokens 0", "at least 1"]),
        ("sample run --max-new-tokens 9999999", ["max_new_tokens 9999999", "at most 1000000"]),
        ("sample run --temperature 0", ["temperature 0", "at least 0.0001"]),
        ("sample run --temperature nan", ["--temperature", "'nan'", "at least 0.0001"]),
        ("resume run --max-steps some", ["--max-steps", "'some'", "whole number"]),
        ("fetch nope", ["'nope'", "tiny-shakespeare"]),
        ("fetch lamplighters", ["Lamplighters", "tiny-shakespeare"]),
        ("check stray", ["'stray'", "check --help"]),
    ],
)
def test_bad_input_is_one_line_and_exit_2(words, parts, data_home, capsys):
    try:
        status = main(words.split())
    except SystemExit as end:
        status = end.code
    out, err = lines_of(capsys)
    assert (status, out, len(err)) == (2, [], 1), err
    assert "usage" not in err[0]
    assert all(part in err[0] for part in parts), err[0]
    assert not data_home.exists()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "0 characters"),
        (b"a", "one character only"),
        (b"aaaaaaaaaaaaaaaaaaaaaaaa", "one character only"),
        (b"abcdefgh", "validation split"),
        (b"abcdefghi", "validation split"),
        (b"ab\xff\xfe\x80cd", "is not UTF-8 text at byte 2"),
        (b"ab\x00cd", "zero bytes"),
    ],
)
def test_a_corpus_that_cannot_be_learnt_from(content, part, data_home, tmp_path, capsys):
    path = tmp_path / "odd.txt"
    path.write_bytes(content)
    assert main(["train", "--corpus", str(path)]) == 2
    out, err = lines_of(capsys)
    assert (out, len(err)) == ([], 1)
    assert part in err[0]


def test_cuda_where_there_is_none(data_home, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["train", "--device", "cuda"]) == 2
    _, err = lines_of(capsys)
    assert len(err) == 1
    assert "choose cpu or auto" in err[0]


@pytest.mark.parametrize("kind", ["full", "file", "below a file"])
def test_an_out_folder_that_is_taken(kind, data_home, text, tmp_path, capsys):
    out = {"full": tmp_path, "file": text, "below a file": text / "run"}[kind]
    assert main(["train", "--corpus", str(text), "--out", str(out)]) == 2
    _, err = lines_of(capsys)
    assert len(err) == 1
    assert str(out) in err[0]
    assert "choose" in err[0]
    assert text.read_text(encoding="utf-8") == TEXT


def test_a_complaint_is_one_line_whatever_is_in_it(capsys):
    complain("a name\nwith \x1b[31m colour\r\n  and\u2028lines")
    assert capsys.readouterr().err == "a name with \\x1b[31m colour and lines\n"


def test_the_process_itself_refuses_without_a_traceback(data_home):
    status, out, err = called("train", "--corpus", "nope\nnope", "--lr", "0.1")
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_help_is_ordinary_help(capsys):
    for words, word in (([], "check"), (["train"], "--batch-size"), (["fetch"], "--all")):
        with pytest.raises(SystemExit) as end:
            run_words([*words, "--help"])
        assert end.value.code == 0
        assert word in capsys.readouterr().out


# ---------------------------------------------------------------- what is made of the words


def order(monkeypatch, words):
    """The settings that `train` would start with."""
    asked = []
    monkeypatch.setattr("engine.cli.train.train", lambda arguments: asked.append(read_experiment(arguments)) or 0)
    assert run_words(["train", *words.split()]) == 0
    return asked[0]


def test_flags_override_the_preset(monkeypatch):
    config, settings = order(
        monkeypatch,
        "--preset document-004 --lr .5 --max-steps 7 --batch-size 3 --weight-decay 0 "
        "--block-size 4 --seed 5 --device cpu --optimizer sgd --model gpt",
    )
    assert settings == changed(
        preset("document-004").settings, lr=0.5, max_steps=7, batch_size=3, weight_decay=0, speed="unlimited"
    )
    assert config == changed(
        preset("document-004").config, block_size=4, seed=5, device="cpu", optimizer="sgd", model="gpt"
    )


@pytest.mark.parametrize(
    ("words", "name"), [("", "bigram"), ("--model bigram", "bigram"), ("--model gpt", "gpt-small")]
)
def test_a_model_alone_names_its_preset(words, name, monkeypatch):
    config, settings = order(monkeypatch, words)
    assert config == preset(name).config
    assert settings == changed(preset(name).settings, speed="unlimited")


# ---------------------------------------------------------------- progress and interruption


def test_progress_without_a_terminal_is_a_few_lines(capsys):
    clock = itertools.count(0, 2)  # two seconds at each look at it
    progress = Progress("bigram", 1000, "steps", clock=lambda: next(clock))
    for step in range(1000):
        progress.show(step, "loss 2.5")
    progress.close("done")
    _, err = lines_of(capsys)
    assert len(err) == 10
    assert err[0] == "bigram: 104 of 1,000 steps, loss 2.5"
    assert err[-1] == "bigram: done"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_on_a_terminal_there_is_a_bar(data_home, text):
    import pty

    master, slave = pty.openpty()
    process = started("train", "--max-steps", 30, "--corpus", text, "--json", stderr=slave)
    os.close(slave)
    written = b""
    try:
        while block := os.read(master, 65536):
            written += block
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(master)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out)["step"] == 30
    assert b"30/30" in written
    assert b"loss " in written


@pytest.mark.skipif(sys.platform == "win32", reason="signals work differently")
def test_ctrl_c_stops_between_two_steps(data_home, text, tmp_path):
    process = started(
        "train", "--max-steps", 10**9, "--corpus", text, "--json", "--evaluate", "--out", tmp_path / "run"
    )
    until((tmp_path / "run" / "config.json").exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "terminate" not in err
    result = json.loads(out.splitlines()[-1])
    assert result["state"] == "stopped"
    assert result["val_split_loss"] is None


@pytest.mark.skipif(sys.platform == "win32", reason="signals work differently")
def test_a_second_ctrl_c_ends_at_once(data_home, tmp_path):
    code = (
        "import os, signal, sys, time\n"
        "from engine.training.trainer import Trainer\n"
        "Trainer.forward = lambda self: (print('stuck', flush=True), time.sleep(600))\n"
        "from engine.__main__ import main\n"
        "sys.exit(main(['train']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "stuck\n"
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None  # it waits for the end of the step
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert err == ""


def test_a_reader_that_goes_away_is_no_error(data_home, text):
    process = started("train", "--preset", "lecture", "--max-steps", 50, "--corpus", text)
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0
    assert err.splitlines() == ["bigram: done at step 50"]


# ---------------------------------------------------------------- fetch


class Shelf(http.server.BaseHTTPRequestHandler):
    content = b""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_):
        pass


@pytest.fixture
def shelf():
    """(the handler's class, its address)"""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shelf)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Shelf, f"http://127.0.0.1:{server.server_port}/names.txt"
    server.shutdown()
    thread.join()
    server.server_close()


def library_of(tmp_path, url):
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    known = PinnedFile("names", "names", url, len(TEXT.encode()), len(TEXT), digest, "a test", "none")
    return Library(tmp_path / "home", known=[known])


def test_fetch_lists_then_fetches_then_has(tmp_path, shelf, capsys):
    handler, url = shelf
    handler.content = TEXT.encode()
    library = library_of(tmp_path, url)
    assert fetch_texts(library, [], False) == 0
    assert "not here; `python -m engine fetch names`" in lines_of(capsys)[0][0]
    assert fetch_texts(library, ["Names"], False) == 0
    assert fetch_texts(library, ["names", "names"], True) == 0
    out, err = lines_of(capsys)
    path = tmp_path / "home" / "downloads" / "names.txt"
    assert path.read_bytes() == TEXT.encode()
    assert [str(path) in line for line in out] == [True, True]
    assert err == []


@pytest.mark.parametrize("content", [b"something else", TEXT.encode() + b"more", TEXT.encode()[:-1] + b"?"])
def test_a_wrong_download_is_one_line_and_leaves_nothing(content, tmp_path, shelf, capsys):
    handler, url = shelf
    handler.content = content
    assert fetch_texts(library_of(tmp_path, url), ["names"], False) == 1
    out, err = lines_of(capsys)
    assert (out, len(err)) == ([], 1)
    assert "could not be fetched" in err[0]
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]


def test_fetch_in_a_process_without_a_network(data_home):
    status, out, err = called("fetch", "names", env={"https_proxy": "http://127.0.0.1:9", "no_proxy": ""})
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "check the connection" in err


# ---------------------------------------------------------------- alone


def test_lessons_are_listed_a_line_each_and_the_sheet_is_a_file(data_home, tmp_path, capsys):
    assert main(["lessons"]) == 0
    out, err = lines_of(capsys)
    assert err == [] and len(out) == 11 and out[3] == "  4  how-large-a-step    12 min  How large a step"
    (data_home / "lessons").mkdir(parents=True)
    (data_home / "lessons" / "mine.toml").write_text("title = 1")
    assert main(["lessons"]) == 0
    out, (problem,) = lines_of(capsys)
    assert len(out) == 11 and problem.startswith("mine.toml: title 1 is not usable")
    assert main(["lessons", "--sheet", str(tmp_path / "sheet.html")]) == 0
    assert (tmp_path / "sheet.html").read_text("utf-8").startswith("<!doctype html>")
    assert main(["lessons", "--sheet", str(tmp_path / "nowhere" / "sheet.html")]) == 2
    assert "cannot be written (no such file or directory); choose another file" in capsys.readouterr().err
    assert main(["lessons", "--rehearse", "nothing"]) == 2
    assert "there is no lesson 'nothing'; choose one of 1 line-learns" in capsys.readouterr().err


def test_a_lesson_is_rehearsed_on_the_command_line(data_home, capsys):
    assert main(["lessons", "--rehearse", "line-learns"]) == 0
    out, _ = lines_of(capsys)
    assert "    right: Nearer to them, still below all three" in out


def test_the_command_line_needs_no_streamlit_and_no_plotly(data_home, text):
    code = (
        "import sys\n"
        "from engine.__main__ import main\n"
        f"assert main(['train', '--max-steps', '2', '--corpus', {str(text)!r}]) == 0\n"
        "main(['check'])\n"
        "print(sorted({'streamlit', 'plotly', 'pandas'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("words", "status", "part"), [(["train"], 1, "pip install"), (["check"], 1, "missing")])
def test_where_nothing_is_installed_it_says_so(words, status, part, data_home):
    code = f"import sys\nsys.modules['pydantic'] = None\nfrom engine.__main__ import main\nsys.exit(main({words!r}))\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == status
    assert part in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
