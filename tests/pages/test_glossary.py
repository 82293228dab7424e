"""The Glossary page and what it shares: the words, the map of the app, and the experiments of every page."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from engine.analysis.least_squares import fit_polynomial
from engine.config import LiveSettings, RunConfig
from engine.lessons.experiments import EXPERIMENTS
from engine.lessons.small_examples import EXAMPLES
from engine.runs.manager import RunManager
from engine.text.points import read_points
from pages.views.glossary.corrections import CORRECTIONS
from pages.widgets.fields import GLOSSARY_NAMES, help_of
from pages.widgets.glossary import GROUPS, TERMS, anchor, glossary_link, search

Visit = Callable[[str], AppTest]
PAGES = Path(__file__).resolve().parent.parent.parent / "pages"
ON_THE_MAP = ["Train", "Step", "Inside", "Embeddings", "First steps", "Data"]
VOCABULARY = (
    "run step epoch tokens_seen snapshot max_steps vocab_size block_size n_layer n_head n_embd inputs targets logits "
    "loss bits_per_char lr grad_norm update_ratio temperature top_k prompt max_new_tokens"
)


def words(page: AppTest) -> str:
    return "\n".join(text.value for text in page.text)


def shown_terms(page: AppTest) -> list[str]:
    bodies = "".join(block.proto.body for block in page.get("html"))
    return re.findall(r'<div id="(term-[^"]+)">', bodies)


# ---------------------------------------------------------------- words


@pytest.mark.parametrize("name", TERMS)
def test_every_term_has_exactly_two_sentences(name: str) -> None:
    sentences = re.split(r"(?<=[.!?]) (?=[^a-z])", TERMS[name])
    assert len(sentences) == 2, sentences
    assert TERMS[name].endswith(".")
    assert 60 < len(TERMS[name]) < 260


def test_the_vocabulary_of_the_project_is_explained() -> None:
    assert not set(VOCABULARY.split()) - set(TERMS)
    assert len(TERMS) == sum(len(terms) for terms in GROUPS.values()), "no term stands in two groups"
    assert len({anchor(name) for name in TERMS}) == len(TERMS)


def test_settings_that_are_terms_agree_on_their_name() -> None:
    fields = set(RunConfig.model_fields) | set(LiveSettings.model_fields)
    assert {"block_size", "n_layer", "n_head", "n_embd", "dropout", "lr", "max_steps", "seed"} <= fields & set(TERMS)


def test_a_label_s_help_links_to_its_term(visit: Visit) -> None:
    assert glossary_link("weight decay") == "[Glossary](glossary?search=weight%20decay)"
    explained = {name for name in (*RunConfig.model_fields, *LiveSettings.model_fields) if "Glossary" in help_of(name)}
    assert {"lr", "max_steps", "batch_size", "grad_clip", "weight_decay", "block_size", "seed", "epochs"} <= explained
    assert set(GLOSSARY_NAMES) <= explained and set(GLOSSARY_NAMES.values()) <= set(TERMS)
    (label,) = [box for box in visit("train.py").number_input if box.label == "batch size, windows"]
    assert label.help and label.help.endswith("[Glossary](glossary?search=batch)")


def test_search_finds_names_first_and_sentences_too() -> None:
    hits = search("soft")
    assert next(iter(hits["Model"])) == "softmax"
    assert "temperature" in hits["Looking"]
    assert search("") == GROUPS
    assert search("no such word") == {}


def test_the_page_searches_and_says_when_nothing_is_found(visit: Visit) -> None:
    page = visit("glossary.py")
    assert set(shown_terms(page)) == {anchor(name) for name in TERMS}
    page.text_input(key="search").set_value("perplexity").run()
    assert shown_terms(page) == [anchor("perplexity")]
    page.text_input(key="search").set_value("<img src=x onerror=alert(1)>").run()
    assert "'<img src=x onerror=alert(1)>'" in words(page)
    assert not shown_terms(page)
    assert not any("alert(1)" in block.proto.body for block in page.get("html"))


def test_a_link_to_a_word_opens_at_the_words(visit: Visit) -> None:
    page = visit("glossary.py")
    heads = ["From a text to a model, in ten steps", "What the documents say, and what is right", "Words"]
    assert [title.value for title in page.subheader] == heads
    page = AppTest.from_file(str(PAGES / "shell.py"), default_timeout=60)
    page.query_params["search"] = "weight decay"
    page.switch_page("glossary.py").run()
    assert page.subheader[0].value == "Words"
    assert shown_terms(page)[0] == anchor("weight decay")


def test_what_is_said_of_adamw_and_of_softmax_is_so() -> None:
    """AdamW: about lr while slopes agree, far less where they do not, and two numbers kept for each weight."""
    agree, flip = (torch.zeros(1, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.AdamW([agree, flip], lr=0.1, weight_decay=0)
    before = agree.detach().clone(), flip.detach().clone()
    for step in range(200):
        before = agree.detach().clone(), flip.detach().clone()
        agree.grad, flip.grad = torch.ones(1), torch.tensor([(-1.0) ** step])
        optimizer.step()
    moved = [float((one.detach() - was).abs()) / 0.1 for one, was in zip((agree, flip), before, strict=True)]
    assert moved[0] == pytest.approx(1, abs=1e-3) and moved[1] < 0.1
    assert "about the learning rate where the slopes of all batches agree" in TERMS["AdamW"]
    assert "by far less where they do not" in TERMS["AdamW"] and "twice the weights' memory" in TERMS["moment"]
    assert sum(t.numel() for t in optimizer.state[agree].values() if t.dim()) == 2 * agree.numel()
    scores = torch.tensor([1.0, 1.0 + math.log(2), 3.0])
    first, second, _ = torch.softmax(scores, 0).tolist()
    assert second / first == pytest.approx(2)
    assert "larger than another's by ln 2 is twice as likely as that other one" in TERMS["softmax"]
    assert "÷ ln 2 ÷ the characters in a token" in TERMS["bits_per_char"]


# ---------------------------------------------------------------- the map


def test_the_map_has_ten_steps_and_leads_to_every_page_but_itself(visit: Visit) -> None:
    page = visit("glossary.py")
    titles = [found.value for found in page.markdown if re.match(r"\*\*\d+ · ", found.value)]
    assert [int(re.findall(r"\d+", title)[0]) for title in titles] == list(range(1, 11))
    links = {link.proto.label for link in page.get("page_link")}
    assert links == set(ON_THE_MAP)
    prose = " ".join(block.value for block in page.markdown)
    assert "Fine-tuning begins a new run with its weights" in prose


def test_the_navigation_has_the_pages_in_reading_order() -> None:
    shell = (PAGES / "shell.py").read_text(encoding="utf-8")
    titles = re.findall(r'st\.Page\(.*?title="(.*?)"', shell)
    assert [title for title in titles if title in ON_THE_MAP or title == "Glossary"] == [*ON_THE_MAP, "Glossary"]


# ---------------------------------------------------------------- corrections


@pytest.mark.parametrize("number", range(len(CORRECTIONS)), ids=[one.shown for one in CORRECTIONS])
def test_every_correction_is_two_clicks_away(number: int, visit: Visit, house: RunManager) -> None:
    one = CORRECTIONS[number]
    page = visit("glossary.py")  # the first click
    page.button(key=f"correction-{number}").click().run()  # and the second
    assert not page.exception
    assert house.current is None, "nothing is started by itself"
    state = page.session_state
    if one.page == "Train":
        (planned,) = one.open.args  # type: ignore[attr-defined]
        assert page.button(key="play").label == "Start" and state["plan"].config == planned.config
    elif one.page == "Inside":
        assert "token_embedding" in " ".join(str(table.value) for table in page.dataframe)
    elif one.page == "Embeddings":
        assert "nearest to Queen, not equal" in words(page)
    elif one.page == "First steps":
        if "part" in one.open.keywords:  # type: ignore[attr-defined]
            assert state["part"] == one.open.keywords["part"]  # type: ignore[attr-defined]
        else:  # the new point is there: four points that no line goes through
            assert state["part"] == "The line"
            pairs = read_points(house.demos["line"].config.points)
            assert len(pairs) == 4 and fit_polynomial(pairs, 1).mean_squared_error > 0
    else:
        wanted = one.open.keywords or {"stage": one.open.args[0]}  # type: ignore[attr-defined]
        shown = {box.key: box.value for box in page.selectbox}
        if "stage" in wanted:
            assert any(title.value.endswith(wanted["stage"]) for title in page.subheader)
        elif "whatif_open" in wanted:
            (asked,) = [known.question for known in EXPERIMENTS if known.name == wanted["whatif_open"]]
            assert asked in [title.value for title in page.subheader]
        else:
            assert shown["example_chosen"] == wanted["example_chosen"] in EXAMPLES


def test_the_documents_and_their_corrections_agree_with_the_map_of_coverage() -> None:
    told = (PAGES.parent / "docs" / "coverage.md").read_text(encoding="utf-8")
    rows = [line for line in told.split("## What the documents say")[1].splitlines() if line.startswith("| 00")]
    by_document = {
        name: sum(row.startswith(f"| {name}") for row in rows) for name in ("000", "001", "002", "003", "004")
    }
    for name, count in by_document.items():
        assert sum(one.document == name for one in CORRECTIONS) >= count > 0
