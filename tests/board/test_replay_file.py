"""The HTML file that replays a run: small enough, whole, and with nothing in it that acts or reaches out."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any

import numpy as np
import pytest

from engine.config import LiveSettings, RunConfig
from engine.paths import home
from engine.storage import notes
from engine.storage.index import Overview, overview
from engine.storage.writer import RunWriter
from engine.stream.messages import Event, Observation, Sample, Scalars
from pages.board.replay.export import MOST_BYTES, PLOTLY, page_of

HOSTILE = "</script><script>alert(1)</script><img src=//evil.example/x onerror=alert(1)>"
RUN = "20260101-000000-aaaaaa"


def stored(*records: Any, steps: int = 1000, model: str = "gpt", corpus: str = "gone") -> Overview:
    """A run with `steps` steps and `records`."""
    about = {
        "config": RunConfig(model=model, corpus=corpus).model_dump(),  # type: ignore[arg-type]
        "settings": LiveSettings().model_dump(),
        "environment": {},
    }
    rng = np.random.default_rng(1)
    store = RunWriter(home() / "runs" / RUN, about)
    noise = rng.normal(2.5, 0.2, (steps, 2)).tolist()
    store.put(Scalars(step, loss, norm, 1e-3, 2e-4) for step, (loss, norm) in enumerate(noise, 1))
    store.put(records)
    assert store.flush(60) and store.close(60)
    return overview(home() / "runs" / RUN)


def pieces(page: bytes) -> dict[str, bytes]:
    """What lies packed in the page, by its id."""
    found = re.findall(rb'<script type="text/plain" id="(\w+)-packed">([A-Za-z0-9+/=]*)</script>', page)
    return {name.decode(): gzip.decompress(base64.b64decode(packed)) for name, packed in found}


def unpacked(page: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    data = pieces(page)["data"]
    length = int.from_bytes(data[:4], "little")
    header, at, arrays = json.loads(data[4 : 4 + length]), 4 + length, {}
    for told in header["arrays"]:
        kind = "<f4" if told["kind"] == "f" else "i1"
        count = int(np.prod(told["shape"]))
        arrays[told["name"]] = np.frombuffer(data, kind, count, at).reshape(told["shape"])
        at += arrays[told["name"]].nbytes
    assert at == len(data)
    return header, arrays


def test_it_holds_what_the_run_showed() -> None:
    table = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
    one = stored(
        Event(0, "started", "started"),
        Observation(0, {"val/loss": 2.75}, {"weights/x": table}),
        Observation(500, {"val/loss": 2.5}, {"weights/x": 2 * table, "projection/x": table}),
        Sample(500, "ab", 1, "-9"),
    )
    notes.add(one.run.folder, "look here", 500)
    page = page_of(overview(one.run.folder))
    assert pieces(page)["plotly"] == PLOTLY.read_bytes()
    header, arrays = unpacked(page)
    assert header["settings"]["speed"] == "max"
    assert (header["id"], header["events"], header["notes"]) == (RUN, [[0, "started"]], [[500, "look here"]])
    assert header["samples"] == [[500, "ab", 1]]
    assert header["levels"] == [], "its text is not here"
    assert arrays["val"].tolist() == [[0, 500], [2.75, 2.5]]
    assert arrays["train"].shape == (3, 1000)
    (view,) = header["views"]
    assert (view["name"], view["steps"], view["tokens"]) == ("weights/x", [0, 500], [])
    shown = arrays["weights/x"] * np.array(view["limits"])[:, None, None] / 127
    np.testing.assert_allclose(shown, np.stack((table, 2 * table)), atol=4 / 127 / 2 + 1e-2)


def test_its_loss_has_the_dashed_lines_of_the_stage() -> None:
    header, _ = unpacked(page_of(stored(corpus="ferry-notebook")))
    assert [words for _, words, _ in header["levels"]] == [
        "guessing: ln 66 = 4.190",
        "knows letter frequencies 3.099",
        "floor for any bigram (training text) 2.273",
    ]
    assert "vocab_size" not in header["settings"], "it is the number of tokens that bpe learns; this run has characters"


@pytest.mark.thorough
def test_a_hundred_thousand_steps_with_large_tables_stay_small() -> None:
    rng = np.random.default_rng(2)

    def noise() -> np.ndarray[Any, Any]:
        return rng.normal(0, 1, (96, 96)).astype(np.float32)

    looks = [
        Observation(step, {"val/loss": 2.5}, {name: noise() for name in ("weights/a", "gradients/a", "weights/b")})
        for step in range(0, 100_000, 200)
    ]
    samples = [
        Sample(step, "".join(chr(int(c)) for c in rng.integers(0x4E00, 0x9000, 400)), 1, "") for step in range(900)
    ]
    page = page_of(stored(*looks, *samples, steps=100_000))
    print(f"{len(page) / 1e6:.2f} MB")
    assert len(page) <= MOST_BYTES
    header, arrays = unpacked(page)
    for view in header["views"]:
        assert len(view["steps"]) > 100, "enough to move through"
        assert view["steps"][0] == 0
        assert len(arrays[view["name"]]) == len(view["steps"]) == len(view["limits"])


def test_nothing_in_it_acts_or_reaches_out() -> None:
    one = stored(
        Event(0, "x", HOSTILE), Sample(1, HOSTILE, 0, ""), Observation(1, {}, {HOSTILE: np.ones((2, 2), np.float32)})
    )
    notes.rename(one.run.folder, HOSTILE[:80])
    notes.add(one.run.folder, HOSTILE, 3)
    page = page_of(overview(one.run.folder))
    assert b"evil" not in page and b"alert" not in page
    assert not re.search(rb"https?:|\bsrc=|\bhref=|//[a-z]+\.[a-z]|@import|url\(", page)
    assert page.count(b"<script") == page.count(b"</script>") == 3
    assert b"default-src 'none'" in page
    script = page[page.rindex(b"<script>") :].decode()
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "fetch(",
        "XMLHttp",
        "import(",
    ):
        assert way not in script, way


@pytest.mark.parametrize("model", ["line", "logistic"])
def test_a_run_without_tables_or_text_has_its_page_too(model: str) -> None:
    header, _ = unpacked(page_of(stored(model=model)))
    assert (header["views"], header["samples"]) == ([], [])
    assert header["unit"] != "nats per token"
