"""What a room predicted of a run, as it is kept with the run: counts and values, and nobody's id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import InputError
from engine.lessons import predictions
from engine.lessons.poll import MOST_BROWSERS, MOST_POINTS, Character, Choice, Drawing, Number, Poll


def polled(kind: Any, answers: list[Any]) -> Poll:
    poll = Poll("lr", "What <b>happens</b>?", kind)
    for number, answer in enumerate(answers):
        poll.answer(f"browser-{number}", answer)
    poll.close()
    return poll


@pytest.mark.parametrize(
    ("kind", "answers", "right"),
    [
        (Choice(("falls", "rises")), [0, 1, 1], 1),
        (Number(0, 10, "nats"), [2.5, 3], 2.47),
        (Drawing(0, 100, 0, 5), [[[0, 4], [100, 2]]], ((0, 4.2), (100, 2.5))),
        (Character(("a", "\n", "é")), ["é", "a"], "é"),
    ],
)
def test_what_was_predicted_is_read_again_without_ids(
    tmp_path: Path, kind: Any, answers: list[Any], right: Any
) -> None:
    poll = polled(kind, answers)
    predictions.store(tmp_path, poll.header(), poll.told(), right)
    predictions.store(tmp_path, poll.header(), poll.told(), right)
    one, other = predictions.read(tmp_path)
    assert one == other
    asked = kind.header() | {"id": "lr", "text": "What <b>happens</b>?"}
    expected = json.loads(json.dumps([asked, poll.told(), right]))
    assert [one.question, one.told, one.right] == [expected[0] | {"count": len(answers)}, *expected[1:]]
    written = (tmp_path / predictions.FILE).read_text()
    assert "browser-" not in written
    assert poll.asking not in written
    assert [path.name for path in tmp_path.iterdir()] == [predictions.FILE]


def test_the_newest_are_kept_and_the_file_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curve = [[step / 63, 4.123456789 / (1 + step)] for step in range(MOST_POINTS)]
    poll = polled(Drawing(0, 1, 0, 5), [curve] * MOST_BROWSERS)
    predictions.store(tmp_path, poll.header(), poll.told(), curve)
    size = (tmp_path / predictions.FILE).stat().st_size
    assert 10 * size < predictions.LONGEST_FILE, "what a thousand have drawn"
    monkeypatch.setattr(predictions, "LONGEST_FILE", 3 * size)
    for right in range(4):
        predictions.store(tmp_path, poll.header(), poll.told(), right)
    assert (tmp_path / predictions.FILE).stat().st_size <= 3 * size
    assert [one.right for one in predictions.read(tmp_path)] == [1, 2, 3]
    for right in range(predictions.MOST + 1):
        predictions.store(tmp_path, {"id": "lr"}, {}, right)
    assert [one.right for one in predictions.read(tmp_path)] == list(range(1, predictions.MOST + 1))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"predictions": 1}', '{"predictions": [{}]}', "\x00\x01", "x" * 100]
)
def test_a_damaged_file_is_none_and_the_next_question_is_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / predictions.FILE).write_text(text)
    assert predictions.read(tmp_path) == ()
    predictions.store(tmp_path, {"id": "lr", "text": "What?"}, {"counts": [1]}, 0)
    assert len(predictions.read(tmp_path)) == 1


def test_odd_files_are_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    predictions.store(tmp_path, {"id": "lr"}, {}, 0)
    (tmp_path / predictions.FILE).rename(elsewhere)
    (tmp_path / predictions.FILE).symlink_to(elsewhere)
    assert predictions.read(tmp_path) == ()
    (tmp_path / predictions.FILE).unlink()
    (tmp_path / predictions.FILE).write_bytes(b" " * (predictions.LONGEST_FILE + 1))
    assert predictions.read(tmp_path) == ()


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="predictions of run gone cannot be written"):
        predictions.store(tmp_path / "gone", {}, {}, 0)
