"""The sheet to print: two workshops out of the lessons' own scenes, in one file that needs nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from engine.lessons import sheet
from engine.lessons.course import find_lesson


class Text(HTMLParser):
    """The text of a page, and the names of its tags and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags, self.attributes = "", set(), set()
        self.feed(page)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data) -> None:
        self.text += data


def test_the_minutes_add_up_and_each_part_is_a_scene_of_a_lesson() -> None:
    assert list(sheet.WORKSHOPS) == [60, 20]
    page = Text(sheet.page())
    for minutes, parts in sheet.WORKSHOPS.items():
        assert sum(part.minutes for part in parts) == minutes
        for part in parts:
            if part.lesson:
                lesson = find_lesson(part.lesson)
                (scene,) = (scene for scene in lesson.scenes if scene.title == part.scene)
                asked = lesson.asked(scene)
                assert (asked.text if asked else scene.text) in page.text
                assert f"Lesson {lesson.number}, scene {lesson.scenes.index(scene) + 1}: " in page.text


def test_it_needs_nothing_from_elsewhere_and_escapes_its_text(monkeypatch) -> None:
    page = Text(sheet.page())
    assert not page.tags & {"script", "img", "link", "iframe", "a", "object"}
    assert not page.attributes & {"src", "href", "style"} and not re.search(r"url\(|@import|//", sheet.page())
    monkeypatch.setattr(sheet, "EACH", "<script>alert(1)</script> & more")
    assert "<script>" not in sheet.page() and "&lt;script&gt;" in sheet.page()


def test_it_names_the_buttons_that_the_lessons_have() -> None:
    from pages.views.lessons.card import RUN_IT

    assert set(RUN_IT.values()) >= set(re.findall(r"“(Close[^”]*)”", sheet.page()))
