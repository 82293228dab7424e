"""You against the model, alone: tap until right, Shannon's bounds, the model at its stored moments, who is ahead."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from engine.config import changed
from engine.lessons.game.alone import Alone
from engine.lessons.game.passage import StoredFigure, choose_passage
from engine.lessons.game.shannon import Bounds
from engine.presets import preset
from engine.stream.status import State
from pages.charts.pictures.game import game_figure
from pages.views.lessons.game import _label, told


def script() -> None:
    from pages.views.lessons.game import game
    from pages.widgets import notices

    notices.show()
    game()


@pytest.fixture
def page(house):
    house.pump.start()
    app = AppTest.from_function(script, default_timeout=60)
    app.run()
    assert not app.exception
    return app


def tap(page, character: str) -> None:
    (keys,) = [one for one in page.get("button_group") if one.label.startswith("character ")]
    keys.set_value(character).run()
    assert not page.exception


def words(page) -> str:
    return "\n".join(one.value for one in page.text)


def test_without_a_run_it_is_played_against_counting(page) -> None:
    game: Alone = page.session_state.game
    right = game.passage.hidden
    wrong = next(one for one in game.passage.alphabet if one != right[0])
    tap(page, wrong)
    assert game.tried == [wrong] and "Not: " in words(page)
    for character in right[:10]:
        tap(page, character)
    assert game.ranks == [2, *[1] * 9]
    page.button(key="game_end").click().run()
    assert "You guessed 9 of 10 characters at the first tap" in words(page) and "no model to compare with" in words(
        page
    )
    (chart,) = [one.proto for one in page.get("plotly_chart")]
    notes = [note["text"].split()[0] for note in json.loads(chart.spec)["layout"]["annotations"]]
    assert notes == ["you", "guessing", "letters", "pairs"]
    page.button(key="game_again").click().run()
    assert page.session_state.game.passage.first != game.passage.first and not page.session_state.game.ranks


def test_the_model_is_asked_at_each_stored_moment(page, house, wait_until) -> None:
    start = preset("bigram")
    config, settings = changed(start.config, snapshot_every=200), changed(start.settings, lr=0.1, max_steps=400)
    run = house.start(config, changed(settings, speed="unlimited"))
    wait_until(lambda: run.state is State.DONE, 120)
    page.run()
    for _ in range(20):
        page.button(key="game_show").click().run()
    assert page.session_state.game.done and "20 that you had shown count as guessed last" in words(page)
    (chart,) = [one.proto for one in page.get("plotly_chart")]
    (model,) = [trace for trace in json.loads(chart.spec)["data"] if trace["name"] == "the model"]
    assert model["customdata"][0] == 0 and {200, 400} <= set(model["customdata"])
    assert "after 400 steps" in words(page)


def test_keys_are_shown_literally() -> None:
    assert [_label(one) for one in (" ", "\n", "a", "*", "`", "[", "$", ":", "<")] == [
        "␣ blank", "↵ new line", "a", "\\*", "\\`", "\\[", "\\$", "\\:", "\\<",
    ]  # fmt: skip


def test_the_words_say_when_the_model_falls_below_whom(corpus) -> None:
    game = Alone(choose_passage(corpus, 1, count=6))
    game.ranks = [1, 1, 1, 2, 2, 3]
    figures = [StoredFigure(0, 4.8), StoredFigure(100, 0.9), StoredFigure(1000, 0.7)]
    assert 0.9 < game.loss < 4.8
    assert "It overtakes you at step 100," in told(game, figures)
    assert "You are ahead of it at each of its stored moments." in told(game, figures[:1])
    drawn = game_figure(game.loss, Bounds(0.5, 1.0), {"guessing": 4.3}, figures)
    assert drawn.data[0].y == (4.8, 0.9, 0.7) and len(drawn.layout.shapes) == 3
