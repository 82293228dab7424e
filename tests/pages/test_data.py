"""The Data page: what it says of a text, how a text gets into the list, and the way from there to training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine.analysis.text_statistics import TextStatistics, unseen_token_loss
from engine.config import changed
from engine.link import DEFAULT_PRESET
from engine.models.registry import build_language_model
from engine.presets import preset
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.stream.status import State
from engine.text.baselines import Baselines

Visit = Callable[[str], AppTest]
HOSTILE = "<img src=x onerror=alert(1)> $x$ :red[a] **b** &amp;\n"


def words(page: AppTest) -> str:
    return "\n".join(text.value for text in page.text)


def figure(page: AppTest, title: str) -> dict:  # type: ignore[type-arg]
    """The chart under that title, as Plotly gets it."""
    (found,) = [chart.proto for chart in page.get("plotly_chart") if chart.proto.alt == title]
    return dict(json.loads(found.spec))


def choose(page: AppTest, title: str) -> None:
    (box,) = [box for box in page.selectbox if box.label == "text"]
    (option,) = [option for option in box.options if option.startswith(title)]
    box.select_index(box.options.index(option)).run()
    assert not page.exception


def uploaded(house: RunManager, text: str, name: str = "mine") -> str:
    return house.library.add_upload(f"{name}.txt", text.encode()).name


def test_it_shows_the_numbers_of_the_default_text(visit: Visit, house: RunManager) -> None:
    page = visit("data.py")
    corpus = house.datasets.load_corpus(preset(DEFAULT_PRESET).config)
    assert f"{corpus.characters:,} characters, {corpus.distinct} different ones" in words(page)
    assert "written for this project" in words(page) and "licence" in words(page)
    bars = figure(page, "How the text is split")["data"]
    assert [bar["x"] for bar in bars] == [[len(corpus.train)], [len(corpus.val)], [len(corpus.test)]]
    base = Baselines.of(corpus)
    assert figure(page, "The entropy ladder")["data"][0]["x"] == [base.uniform, base.unigram, base.bigram]
    told = TextStatistics.of(corpus)
    shares = figure(page, "Most frequent characters")["data"][0]["y"]
    assert shares == [one.times / len(corpus.train) for one in told.singles[:20]]
    assert "Every character of the validation part occurs" in words(page)


def test_another_text_is_looked_at_without_touching_the_run(visit: Visit, house: RunManager) -> None:
    start = preset("bigram")
    run = house.prepare(start.config, start.settings)
    page = visit("data.py")
    choose(page, "The Ferry Notebook")
    assert "8,066 characters, 66 different ones" in words(page)
    assert "Only in the validation part: q (1 ×)." in words(page)
    assert house.current is run


def test_what_unseen_characters_cost_the_model_of_this_moment(
    visit: Visit, house: RunManager, wait_until: Callable[..., None]
) -> None:
    start = preset("bigram")
    config = changed(start.config, corpus="ferry-notebook", device="cpu")
    run: Run = house.prepare(config, changed(start.settings, speed="unlimited"))
    run.make_steps(400)
    wait_until(lambda: run.state is State.PAUSED and run.step == 400)
    page = visit("data.py")
    model = build_language_model(config, run.corpus.vocab_size)
    model.load_state_dict(run.copy_weights()[1])
    q = run.corpus.tokenizer.encode("q").tolist()
    paid = unseen_token_loss(model, run.corpus.val, q, config.block_size)
    assert paid.itself is not None and paid.others is not None
    table = page.dataframe[0].value
    assert table["loss, nats"].tolist() == [f"{loss:.3f}" for loss in (paid.itself, paid.after, paid.others)]
    assert paid.itself > paid.others
    assert any("weights of step 400" in caption.value for caption in page.caption)


def test_train_on_this_plans_it_and_opens_train(visit: Visit, house: RunManager) -> None:
    page = visit("data.py")
    choose(page, "The Ferry Notebook")
    page.button(key="train_on").click().run()
    assert not page.exception
    assert page.button(key="play").label == "Start", "the Train page is open"
    assert page.session_state["plan"].config.corpus == "ferry-notebook"
    assert house.current is None, "nothing is started"
    page.button(key="play").click().run()
    assert house.current is not None and house.current.config.corpus == "ferry-notebook"  # type: ignore[unreachable]


def test_train_on_this_from_a_model_that_reads_no_text(visit: Visit, house: RunManager) -> None:
    start = preset("document-002-line")
    house.prepare(start.config, start.settings)
    page = visit("data.py")
    page.button(key="train_on").click().run()
    assert page.session_state["plan"].config.model == "bigram"


def test_an_upload_and_a_dropped_file_are_in_the_list(visit: Visit, house: RunManager) -> None:
    page = visit("data.py")
    folder = Path(house.library.folder.path)
    assert str(folder) in [code.value for code in page.code]
    uploaded(house, "abc abd " * 50)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dropped here.txt").write_text("xyz xyw " * 50)
    page.run()
    (box,) = [box for box in page.selectbox if box.label == "text"]
    assert {"mine, 400 characters", "dropped here, 400 characters"} <= set(box.options)


def test_a_file_that_cannot_be_read_is_said(visit: Visit, house: RunManager) -> None:
    folder = Path(house.library.folder.path)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "broken.txt").write_bytes(b"\xff\xfe\xfa" * 31)
    assert "broken" in words(visit("data.py"))


def test_hostile_text_is_shown_literally(visit: Visit, house: RunManager) -> None:
    uploaded(house, HOSTILE * 60, "b-script-b")
    page = visit("data.py")
    choose(page, "b script b")
    ticks = figure(page, "Most frequent characters")["layout"]["xaxis"]["ticktext"]
    assert not any("<" in tick for tick in ticks)
    page.text_area(key="pasted").set_value(HOSTILE).run()
    assert not page.exception
    shown = [block.proto.body for block in page.get("html")]
    assert not any("<img" in body for body in shown)
    assert not any("alert" in markdown.value for markdown in [*page.markdown, *page.caption])


@pytest.mark.parametrize(("kind", "fewer"), [("characters", False), ("byte pairs of this text", True)])
def test_tokens_of_a_pasted_text(kind: str, fewer: bool, visit: Visit) -> None:
    page = visit("data.py")
    page.session_state["cut"] = kind
    page.run()
    assert not page.exception
    text = page.text_area(key="pasted").value
    (count,) = [line for line in words(page).splitlines() if "tokens of" in line]
    tokens = int(count.split(", ")[1].split(" ")[0])
    assert (tokens < len(text)) == fewer
    assert len(page.code[-1].value.split()) == tokens


def test_until_a_text_is_pasted_it_is_the_chosen_ones_own(visit: Visit, house: RunManager) -> None:
    uploaded(house, "zig zag " * 100, "zigzag")
    page = visit("data.py")
    assert page.text_area(key="pasted").value.startswith("THE LAMPLIGHTERS OF QUAY STREET\nA play")
    choose(page, "zigzag")
    assert page.text_area(key="pasted").value == ("zig zag " * 7 + "zig").strip()
    assert "does not know" not in words(page)
    page.text_area(key="pasted").set_value("zag zig").run()
    choose(page, "The Lamplighters of Quay Street")
    assert page.text_area(key="pasted").value == "zag zig", "what somebody pasted stays"


def test_characters_that_have_no_token_are_named(visit: Visit) -> None:
    page = visit("data.py")
    page.text_area(key="pasted").set_value("a日").run()
    assert "日" in words(page) and "does not know" in words(page)


def test_gpt2_is_offered_where_it_is_not_here(visit: Visit) -> None:
    page = visit("data.py")
    page.session_state["cut"] = "GPT-2's own"
    page.run()
    assert "is not on this machine" in words(page)
    assert page.button(key="fetch_gpt2").label == "Fetch it"
