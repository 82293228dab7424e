"""The Embeddings page: what its live charts are fed, whose weights it looks up, and the words of document 003."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from engine.config import changed
from engine.errors import InputError
from engine.generators import generator
from engine.models import registry
from engine.models.registry import build_language_model
from engine.presets import preset
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.stream.status import State
from engine.training.projection import centred, neighbours
from pages.charts.embeddings import KINDS, MOST_WORDS, embedding_panels, kind_of
from pages.charts.panel import Panel, RunInfo

Visit = Callable[[str], AppTest]
HOSTILE = "<img src=x onerror=alert(1)> $x$ :red[a] **b** &amp;"


def info(tokens: tuple[str, ...], model: str = "bigram") -> RunInfo:
    return RunInfo("r", "", registry.find(model), tokens, None, ("token_embedding",))


def panel(tokens: tuple[str, ...], key: str = "plane") -> Panel:
    return next(one for one in embedding_panels(info(tokens)) if one.key == key)


def words(page: AppTest) -> str:
    return "\n".join(text.value for text in page.text)


def begun(house: RunManager, steps: int, wait_until: Callable[..., None], **config: Any) -> Run:
    """A run that rests at `steps`."""
    start = preset("bigram")
    run = house.prepare(changed(start.config, device="cpu", **config), changed(start.settings, speed="unlimited"))
    run.make_steps(steps)
    wait_until(lambda: run.state is State.PAUSED and run.step == steps)
    return run


# ---------------------------------------------------------------- the live charts


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("a", "vowels"), ("é", "vowels"), ("ü", "vowels"), ("ж", "consonants"), ("y", "consonants"),
        ("ß", "consonants"), ("A", "capitals"), ("É", "capitals"), ("7", "digits"), ("字", "other"),
        (" ", "punctuation, blanks"), ("\n", "punctuation, blanks"), ("<", "punctuation, blanks"),
        ("the", "other"), ("", "other"),
    ],
)  # fmt: skip
def test_kinds_of_tokens(token: str, kind: str) -> None:
    assert kind_of(token) == kind


def test_every_token_has_one_place_and_one_colour() -> None:
    tokens = tuple("\n aeXYbc19<")
    data = panel(tokens).as_json()["figure"]["data"]
    rows = [row for trace in data for row in trace["meta"]["rows"]]
    assert sorted(rows) == list(range(len(tokens)))
    for trace in data:
        assert trace["textfont"]["color"] == KINDS[trace["name"]]
        assert {kind_of(tokens[row]) for row in trace["meta"]["rows"]} == {trace["name"]}
        assert trace["meta"]["channel"] == "projection/token_embedding"
    assert len(set(KINDS.values())) == len(KINDS)


def test_the_figure_carries_no_text_of_the_corpus() -> None:
    assert "alert" not in json.dumps(panel((*"ab", HOSTILE)).as_json())


def test_many_tokens_are_dots() -> None:
    few, many = (tuple(chr(0x4E00 + i) for i in range(count)) for count in (MOST_WORDS, MOST_WORDS + 1))
    assert panel(few).as_json()["figure"]["data"][0]["mode"] == "text"
    assert panel(many).as_json()["figure"]["data"][0]["mode"] == "markers"


def test_the_plane_and_the_table_say_what_healthy_looks_like() -> None:
    panels = embedding_panels(info(tuple("ab")))
    assert [(one.key, one.area, one.kind) for one in panels] == [
        ("plane", "main", "scatter"),
        ("table", "side", "plot"),
    ]
    assert all("ealthy" in one.help for one in panels)
    assert embedding_panels(info((), "line")) == []


# ---------------------------------------------------------------- the page


def test_without_a_run_it_shows_the_first_weights_of_the_default_model(visit: Visit, house: RunManager) -> None:
    page = visit("embeddings.py")
    assert "There is no run yet" in words(page)
    assert page.button(key="play").label == "Start"
    config = preset("bigram").config
    corpus = house.datasets.load_corpus(config)
    table = build_language_model(config, corpus.vocab_size, generator(config.seed, "weights")).token_embedding.weight
    assert torch.equal(page.session_state["looked"].table, table)
    run = house.prepare(config, preset("bigram").settings)
    assert torch.equal(run.copy_weights()[1]["token_embedding.weight"], table), "a run begins with these weights"


@pytest.mark.parametrize("model", ["bigram", "gpt"])
def test_it_looks_at_a_resting_run_and_names_the_step(
    model: str, visit: Visit, house: RunManager, wait_until: Callable[..., None]
) -> None:
    run = begun(house, 3, wait_until, model=model, n_layer=1, n_embd=8)
    page = visit("embeddings.py")
    assert "weights of step 3" in words(page)
    table = run.copy_weights()[1]["token_embedding.weight"]
    assert torch.equal(page.session_state["looked"].table, table)
    run.make_steps(2)
    wait_until(lambda: run.state is State.PAUSED and run.step == 5)
    page.run()
    assert "weights of step 5" in words(page), "a run that rests is never shown as it was"


def test_of_a_running_run_it_keeps_what_it_saw_until_asked(
    visit: Visit, house: RunManager, wait_until: Callable[..., None]
) -> None:
    start = preset("bigram")
    run = house.start(changed(start.config, device="cpu"), changed(start.settings, speed=100))
    wait_until(lambda: run.state is State.RUNNING and run.step > 2)
    page = visit("embeddings.py")
    first = page.session_state["looked"].step
    wait_until(lambda: run.step > first + 5)
    page.run()
    assert page.session_state["looked"].step == first
    page.button(key="again").click().run()
    assert page.session_state["looked"].step > first
    page.button(key="play").click().run()
    wait_until(lambda: run.state is State.PAUSED)
    page.run()
    assert page.session_state["looked"].step == run.step


def test_start_on_this_page_starts_the_default_model(
    visit: Visit, house: RunManager, wait_until: Callable[..., None]
) -> None:
    page = visit("embeddings.py")
    page.button(key="play").click().run()
    wait_until(lambda: house.current is not None and house.current.state is State.RUNNING)
    page.run()
    assert page.button(key="play").label == "Pause"
    assert page.session_state["looked"].key[0] == house.current.id  # type: ignore[union-attr]


def test_a_model_without_tokens_is_said(visit: Visit, house: RunManager) -> None:
    start = preset("document-002-line")
    house.prepare(start.config, start.settings)
    page = visit("embeddings.py")
    assert "has no tokens" in words(page)
    assert page.button(key="again").disabled


def test_a_run_that_cannot_answer_is_said(visit: Visit, house: RunManager, monkeypatch: pytest.MonkeyPatch) -> None:
    start = preset("bigram")
    house.prepare(start.config, start.settings)

    def fail(run: Run, timeout: float = 30.0) -> None:
        raise InputError("the model did not answer")

    monkeypatch.setattr(Run, "copy_weights", fail)
    assert "the model did not answer" in words(visit("embeddings.py"))


def test_looking_leaves_the_run_as_it_was(visit: Visit, house: RunManager, wait_until: Callable[..., None]) -> None:
    run = begun(house, 4, wait_until)
    before = run.paused_state().snapshot
    visit("embeddings.py")
    after = run.paused_state().snapshot
    assert all(torch.equal(before.weights[name], after.weights[name]) for name in before.weights)
    assert all(torch.equal(before.generators[name], after.generators[name]) for name in before.generators)


def test_the_text_is_shown_literally(visit: Visit, house: RunManager, wait_until: Callable[..., None]) -> None:
    house.library.add_upload("hostile.txt", (HOSTILE + " xyz\n").encode() * 200)
    name = next(entry.name for entry in house.library.entries() if entry.kind == "uploaded")
    begun(house, 2, wait_until, corpus=name)
    page = visit("embeddings.py")
    assert all("alert" not in markdown.value for markdown in page.markdown)
    told = [json.loads(chart.proto.spec) for chart in page.get("plotly_chart")]
    ticks = [tick for figure in told for tick in figure["layout"]["yaxis"].get("ticktext", ())]
    assert "&lt;" in ticks and "<" not in ticks


# ---------------------------------------------------------------- King and Queen


def test_the_sum_is_computed_and_nearest_to_queen(visit: Visit) -> None:
    page = visit("embeddings.py")
    assert "= (1, 0.7) − (0, 0.5) + (0, −0.5)\n= (1, −0.3)" in words(page)
    assert "nearest to Queen, not equal to it: 0.2 away" in words(page)
    table = page.dataframe[0].value
    assert table["word"].tolist() == ["Queen", "King", "Woman", "Man"]
    assert table["distance"].tolist() == [0.2, 1.0, 1.02, 1.281]


def test_the_other_king_makes_the_equation_true(visit: Visit) -> None:
    page = visit("embeddings.py")
    page.session_state["king"] = "0.5, as in its text"
    page.run()
    assert not page.exception
    assert "the sum is Queen exactly" in words(page)
    assert page.dataframe[0].value["distance"].tolist()[0] == 0


def test_the_models_own_sums_are_ranked_by_brute_force(
    visit: Visit, house: RunManager, wait_until: Callable[..., None]
) -> None:
    run = begun(house, 2, wait_until)
    page = visit("embeddings.py")
    labels = run.corpus.tokenizer.labels
    table = run.copy_weights()[1]["token_embedding.weight"].double()
    a, b, c = (labels.index(letter) for letter in "Aab")
    expected = neighbours(table, table[a] - table[b] + table[c])[:6]
    shown = page.dataframe[1].value
    assert [name.split(" ")[0] for name in shown["nearest token"]] == [labels[one.row] for one in expected]
    assert shown["cosine"].tolist() == [round(one.cosine, 3) for one in expected]
    assert centred(table).shape == table.shape
