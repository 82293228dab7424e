"""The game with a room: its figure is the cross-entropy of what was voted, and a place takes what a question takes."""

from __future__ import annotations

import math

import pytest

from engine.errors import InputError
from engine.lessons.classroom import Classroom
from engine.lessons.game.passage import Passage, choose_passage
from engine.lessons.game.together import SECONDS, Together
from engine.lessons.poll import Choice, Closed, Refused
from engine.text.corpus import Corpus

VOTES = (["e", "e", "a"], [], ["x"])  # at three places
SMOOTHED = 0.1


@pytest.fixture
def passage(corpus: Corpus) -> Passage:
    return choose_passage(corpus, 3, 3)


def give(game: Together, votes: list[str]) -> None:
    asked = game.room.header()
    assert asked is not None and asked["kind"] == "character" and asked["open"]
    for phone, vote in enumerate(votes):
        game.room.answer(asked["id"], f"phone {phone}", vote)


def test_the_room_s_figure_is_that_of_its_recorded_votes(passage: Passage) -> None:
    game = Together(Classroom())
    game.begin(passage)
    by_hand = []
    for place, votes in enumerate(VOTES):
        right = passage.hidden[place]
        asked = game.room.header()
        assert asked is not None and "right" not in asked and f"{place + 1} of 3" in asked["text"]
        assert asked["text"].split("▁")[0].endswith((passage.lead + passage.hidden[:place])[-20:]), "up to the place"
        give(game, votes)
        game.close()
        told = game.room.header()
        assert told is not None and told["right"] == right and not told["open"]
        by_hand.append(-math.log((votes.count(right) + SMOOTHED) / (len(votes) + SMOOTHED * len(passage.alphabet))))
        assert game.losses == pytest.approx(by_hand) and game.loss == pytest.approx(sum(by_hand) / len(by_hand))
        if place < 2:
            game.next()
    assert by_hand[1] == pytest.approx(math.log(len(passage.alphabet))), "no votes know as little as guessing"
    assert game.done and game.votes == [sorted(votes) for votes in VOTES]
    with pytest.raises(InputError, match="begin another one"):
        game.next()


def test_a_place_takes_one_character_of_the_text_until_it_closes(passage: Passage) -> None:
    now = 0.0
    game = Together(Classroom(), clock=lambda: now)
    game.begin(passage)
    asked = game.room.header()
    assert asked is not None and not game.late
    for wrong in ("ab", "", "é", 3, None):
        with pytest.raises(Refused):
            game.room.answer(asked["id"], "phone", wrong)
    give(game, ["a"])
    give(game, ["b"])  # the same phone changes its mind
    now = SECONDS
    assert game.late
    game.close()
    assert game.votes == [["b"]] and not game.late
    with pytest.raises(Closed):
        game.room.answer(asked["id"], "phone 0", "c")
    with pytest.raises(InputError, match="no place is open"):
        game.close()


def test_another_question_before_the_room_is_left_alone(passage: Passage) -> None:
    room = Classroom()
    game = Together(room)
    game.begin(passage)
    room.ask("other", "Which?", Choice(("a", "b")))
    assert not game.asks and not game.open
    game.end()
    assert room.header() is not None
    game.begin(passage)
    game.end()
    assert room.header() is None
