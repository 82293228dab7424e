"""The page Inside as a session sees it, without a browser: which weights it shows, and what its views do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from engine.config import changed
from engine.generators import generator
from engine.models.base import LanguageModel
from engine.models.registry import build_language_model
from engine.presets import PRESETS
from engine.runs.manager import RunManager
from engine.runs.run import Run
from engine.stream.status import State
from engine.text.corpus import Corpus
from engine.training.evaluation import split_loss
from engine.training.sampling import generate
from engine.training.trainer import Trainer
from pages.views.inside.inspected_model import first_model

PAGES = Path(__file__).resolve().parent.parent.parent / "pages"
VIEWS = ("Shapes", "Table", "Attention", "Generation", "Parameters", "Questions")


@pytest.fixture
def manager(house: RunManager) -> RunManager:
    """The process's manager, as pages see it."""
    return house


@pytest.fixture
def opened(manager: RunManager) -> Callable[..., AppTest]:
    """`opened(view)`: the page, with that view on show."""

    def open_page(view: str = "Shapes") -> AppTest:
        page = AppTest.from_file(str(PAGES / "shell.py"), default_timeout=60).run()
        page.switch_page("inside.py").run()
        assert not page.exception
        if view != "Shapes":
            choose(page, view)
        return page

    return open_page


@pytest.fixture
def run_of(manager: RunManager, wait_until: Callable[..., None]) -> Callable[..., Run]:
    """`run_of(preset, steps)`: the room's run, paused after so many steps, or running with None."""

    def start(name: str, steps: int | None = 3) -> Run:
        begin = PRESETS[name]
        run = manager.prepare(
            begin.config, changed(begin.settings, max_steps=1_000_000, speed="unlimited"), replace=True
        )
        run.wait(30)
        if steps is None:
            run.start()
            wait_until(lambda: run.step > 3)
        elif steps:
            run.make_steps(steps)
            wait_until(lambda: run.state is State.PAUSED)
        return run

    return start


def choose(page: AppTest, view: str) -> None:
    (control,) = [one for one in page.get("button_group") if one.key == "look"]
    control.set_value(view).run()
    assert not page.exception


def words(page: AppTest) -> str:
    return "\n".join(text.value for text in page.text)


def code(page: AppTest) -> str:
    return "\n".join(block.value for block in page.code)


def metrics(page: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.metric}


def charts(page: AppTest) -> int:
    return len(page.get("plotly_chart"))


def model_of(run: Run) -> LanguageModel:
    _, weights = run.copy_weights()
    model = build_language_model(run.config, run.corpus.vocab_size)
    model.load_state_dict(weights)
    return model.eval()


def test_without_a_run_it_says_so_and_starts_one(opened: Callable[..., AppTest], manager: RunManager) -> None:
    page = opened()
    assert "untrained bigram" in words(page)
    assert metrics(page)["C, candidates"] == "73"
    (button,) = [one for one in page.button if one.label == "Start a run"]
    button.click().run()
    assert not page.exception
    assert manager.current is not None and manager.current.alive
    assert "untrained" not in words(page)


@pytest.mark.parametrize("preset", ["bigram", "gpt-tiny"])
@pytest.mark.parametrize("steps", [0, 3, None])
def test_every_view_opens(
    opened: Callable[..., AppTest], run_of: Callable[..., Run], preset: str, steps: int | None
) -> None:
    run_of(preset, steps)
    page = opened()
    lacking = {"bigram": "Attention", "gpt-tiny": "Table"}[preset]
    for view in VIEWS:
        choose(page, view)
        assert "The weights after step" in words(page)
        assert ("the model here is a" in words(page)) == (view == lacking)


@pytest.mark.parametrize("preset", ["document-002", "document-002-line"])
def test_a_model_of_numbers_has_its_tree_and_says_what_the_rest_needs(
    opened: Callable[..., AppTest], run_of: Callable[..., Run], preset: str
) -> None:
    run = run_of(preset, 2)
    page = opened()
    for view in VIEWS:
        choose(page, view)
        if view != "Parameters":
            assert f"the model here is a {run.config.model}" in words(page)
            assert not charts(page)
    choose(page, "Parameters")
    (table,) = page.dataframe
    assert list(table.value["name"].str.strip()) == ["model", *(name for name, _ in model_names(run))]
    assert "list(model._parameters)" in code(page)


def model_names(run: Run) -> list[tuple[str, torch.Tensor]]:
    return list(run.copy_weights()[1].items())


def test_while_it_stands_the_look_follows_and_while_it_runs_it_stays(
    opened: Callable[..., AppTest], run_of: Callable[..., Run], wait_until: Callable[..., None]
) -> None:
    run = run_of("bigram", 3)
    page = opened()
    assert "The weights after step 3." in words(page)
    (again,) = [one for one in page.button if one.label == "Refresh"]
    assert again.disabled
    run.make_steps(2)
    wait_until(lambda: run.step == 5 and run.state is State.PAUSED)
    page.run()
    assert "The weights after step 5." in words(page)
    run.start()
    wait_until(lambda: run.step > 20)
    page.run()
    assert "The weights after step 5." in words(page)
    (again,) = [one for one in page.button if one.label == "Refresh"]
    again.click().run()
    assert not page.exception
    assert "The weights after step 5." not in words(page)


def test_the_shapes_follow_the_knobs(opened: Callable[..., AppTest], run_of: Callable[..., Run]) -> None:
    run = run_of("bigram", 1)
    run.tune(changed(run.settings, batch_size=7))
    page = opened()
    assert metrics(page) == {"B, windows in a batch": "7", "T, tokens in a window": "8", "C, candidates": "73"}
    (picture,) = [one.proto.body for one in page.get("html") if "ls-path" in one.proto.body]
    for shape in ("(7, 8)", "(7, 8, 73)", "(56, 73)", "(56,)", "()"):
        assert f"<b>{shape}</b>" in picture


def test_a_gpt_s_x_keeps_its_shape_from_the_first_look_up_to_the_head(
    opened: Callable[..., AppTest], run_of: Callable[..., Run]
) -> None:
    run_of("gpt-tiny", 1)
    (picture,) = [one.proto.body for one in opened().get("html") if "ls-path" in one.proto.body]
    assert "<b>(32, 32)</b>" not in picture and "add a row for each place, (32, 32)," in picture
    assert picture.count("<b>(16, 32, 32)</b><span>x ") == 4, "looked up, positions added, blocks, last norm"


def test_what_parameters_gives_is_told_in_lines_of_python(
    opened: Callable[..., AppTest], run_of: Callable[..., Run]
) -> None:
    run_of("gpt-tiny", 1)
    (told,) = [block.value for block in opened("Parameters").code if "_parameters" in block.value]
    assert "list(model.blocks[0].norm_1._parameters)" in told
    compile(told, "told", "exec")


def test_the_table_is_held_against_the_text(opened: Callable[..., AppTest], run_of: Callable[..., Run]) -> None:
    run = run_of("bigram", 50)
    page = opened("Table")
    assert run.baselines is not None
    loss = split_loss(model_of(run), run.corpus.train, 8)
    told = {name: float(value) for name, value in metrics(page).items()}
    assert told["floor, nats per token"] == pytest.approx(run.baselines.bigram, abs=1e-4)
    assert told["loss on the training text"] == pytest.approx(loss, abs=1e-4)
    assert told["KL divergence, nats"] == pytest.approx(loss - run.baselines.bigram, abs=2e-4)
    assert charts(page) == 3
    page.selectbox(key="inside_character").set_value(5).run()
    assert not page.exception
    assert metrics(page)["KL divergence, nats"] == f"{told['KL divergence, nats']:.4f}"


@pytest.mark.parametrize("preset", ["bigram", "gpt-tiny"])
def test_token_by_token_it_writes_what_generate_writes(
    opened: Callable[..., AppTest], run_of: Callable[..., Run], preset: str
) -> None:
    run = run_of(preset, 2)
    page = opened("Generation")
    page.text_input(key="inside_prompt").set_value("The lamp").run()
    page.slider(key="inside_temperature").set_value(0.8).run()
    page.number_input(key="inside_seed").set_value(7).run()
    for key in ("inside_draw_10", "inside_draw_1"):
        page.button(key=key).click().run()
        assert not page.exception
    tokenizer = run.corpus.tokenizer
    start = tokenizer.encode("The lamp").tolist()
    made = generate(model_of(run), start, 11, torch.Generator().manual_seed(7), 0.8)
    assert tokenizer.decode(made.ids).replace(" ", "␣").replace("\n", "↵") in code(page)
    assert f"# (1, {len(made.ids) - 1})" in code(page) and f"# (1, {len(made.ids)})" in code(page)
    assert f"had {made.probabilities[-1]:.4f}" in code(page)
    (told,) = [block.value for block in page.code if "multinomial" in block.value]
    assert max(map(len, told.splitlines())) <= 39, "a phone has room for so many characters"
    page.slider(key="inside_temperature").set_value(2.0).run()
    assert "logits / 0.8" in code(page), "the lines are those of the draw that was made"
    page.button(key="inside_begin").click().run()
    assert "the draw is still open" in code(page)


def test_the_untrained_sample_is_the_runs_own_first_model(
    opened: Callable[..., AppTest], run_of: Callable[..., Run]
) -> None:
    run = run_of("gpt-tiny", 30)
    page = opened("Generation")
    vocab = run.corpus.vocab_size
    first = build_language_model(run.config, vocab, generator(run.config.seed, "weights")).eval()
    for model in (first, model_of(run)):
        made = generate(model, [0], 120, torch.Generator().manual_seed(0))
        assert run.corpus.tokenizer.decode(made.ids).strip() in [block.value.strip() for block in page.code]


@pytest.mark.parametrize(("view", "key"), [("Generation", "inside_prompt"), ("Attention", "inside_text")])
def test_characters_outside_the_vocabulary_are_named(
    opened: Callable[..., AppTest], run_of: Callable[..., Run], view: str, key: str
) -> None:
    run_of("gpt-tiny", 1)
    page = opened(view)
    (field,) = [one for one in page.text_input if one.key.startswith(key)]
    field.set_value("a ж ☃").run()
    assert not page.exception
    assert "ж, ☃" in words(page)
    (field,) = [one for one in page.text_input if one.key.startswith(key)]
    field.set_value("The lamp").run()
    assert "ж" not in words(page)


def test_a_text_longer_than_the_context_is_cropped_and_it_is_said(
    opened: Callable[..., AppTest], run_of: Callable[..., Run]
) -> None:
    run_of("gpt-tiny", 1)
    page = opened("Attention")
    (field,) = [one for one in page.text_input if one.key.startswith("inside_text")]
    field.set_value("a lamp is lit " * 4).run()
    assert any("last 32 tokens" in caption.value for caption in page.caption)
    field.set_value("").run()
    assert "0 tokens" in words(page)


def test_each_question_has_its_answer(opened: Callable[..., AppTest], run_of: Callable[..., Run]) -> None:
    run_of("bigram", 1)
    page = opened("Questions")
    (choices,) = [one for one in page.radio if one.key == "inside_question"]
    assert len(choices.options) == 13
    shown = set()
    for i in range(13):
        choices.set_value(i).run()
        assert not page.exception
        shown.add("\n".join(text.value for text in page.markdown))
    assert len(shown) == 13


def test_a_look_leaves_the_losses_as_they_are(
    opened: Callable[..., AppTest], run_of: Callable[..., Run], wait_until: Callable[..., None], manager: RunManager
) -> None:
    def losses(looked: bool) -> list[float]:
        run = run_of("bigram", 5)
        if looked:
            page = opened()
            for view in VIEWS:
                choose(page, view)
        run.make_steps(20)
        wait_until(lambda: run.step == 25 and run.state is State.PAUSED)
        manager.pump.drain()
        found = run.history.points_between("train/loss", 0, None)
        assert found is not None
        return [float(value) for value in found[1]]

    assert losses(True) == losses(False)


def test_a_failed_start_is_said(
    opened: Callable[..., AppTest],
    manager: RunManager,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., None],
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no memory for this")

    monkeypatch.setattr("engine.runs.training_loop.Trainer", fail)
    begin = PRESETS["bigram"]
    run = manager.start(begin.config, begin.settings)
    wait_until(lambda: run.state is State.FAILED)
    page = opened()
    assert "this run has no model" in words(page)


def test_document_003_looks_at_the_lectures_own_first_model(play: str) -> None:
    config = PRESETS["document-003"].config
    corpus = Corpus.of(play, test_fraction=0.0)
    trainer = Trainer(config, PRESETS["document-003"].settings, corpus, lambda _: None)
    weights = first_model(config, corpus).state_dict()
    assert torch.equal(weights["token_embedding.weight"], trainer.model.state_dict()["token_embedding.weight"])
