"""A sheet to print: a workshop of 60 minutes and one of 20, a page each, made from the lessons' own scenes.

One HTML file without any outside resource; all of its text is escaped.
"""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from .course import find_lesson
from .course.scene import Again, Bets, Do, Lesson, Look, Scene, Training, WhatIf


class Part(NamedTuple):
    """So many minutes of a workshop: a scene of a lesson, or what is said and pressed where there is none."""

    minutes: int
    lesson: str = ""
    scene: str = ""
    heading: str = ""
    say: str = ""
    press: str = ""


WELCOME = (
    "Before it begins",
    "You will be asked before anything is shown. Say what you think, on your phone. A wrong answer is worth as much as "
    "a right one: what matters is to have said something before one sees it.",
    "Start with the room open (LOOPSCOPE_ROOM=1). Show the QR code until the phones are there.",
)
FAREWELL = (
    "At the end",
    "What surprised you most? Say to your neighbour why it came out as it did.",
    "Page Lessons: each lesson can be played alone, at one's own pace.",
)

EACH = (
    "For each question: read it aloud and leave it open until most have answered, half a minute or so. Say nothing of "
    "the answer. Then press the button. While it trains, ask one or two what they said and why. When it is done, read "
    "the explanation aloud, and the reason that stands at the option which most of them chose."
)

WORKSHOPS: dict[int, tuple[Part, ...]] = {
    60: (
        Part(3, "", "", *WELCOME),
        Part(2, "line-learns", "Three points and a line"),
        Part(4, "line-learns", "After one step"),
        Part(4, "line-learns", "Just above the edge"),
        Part(3, "before-learning", "The price of a surprise"),
        Part(5, "before-learning", "The first loss"),
        Part(4, "before-learning", "All scores at 0"),
        Part(8, "how-large-a-step", "Bet a learning rate"),
        Part(5, "how-large-a-step", "Only 50 steps"),
        Part(6, "the-floor", "Where does it end?"),
        Part(6, "looking-back", "When does it pass the floor?"),
        Part(6, "by-heart", "Where does validation turn?"),
        Part(4, "", "", *FAREWELL),
    ),
    20: (
        Part(2, "", "", *WELCOME),
        Part(2, "before-learning", "The price of a surprise"),
        Part(3, "before-learning", "The first loss"),
        Part(5, "how-large-a-step", "Bet a learning rate"),
        Part(4, "the-floor", "Where does it end?"),
        Part(3, "looking-back", "When does it pass the floor?"),
        Part(1, "", "", *FAREWELL),
    ),
}
"""The parts of each, whose minutes add up to its length."""

STYLE = """
@page { size: A4; margin: 9mm 12mm; }
body { font: 8pt/1.3 system-ui, sans-serif; color: #15202b; margin: 0 auto; max-width: 186mm; }
section + section { break-before: page; }
h1 { font-size: 15pt; margin: 0 0 1mm; }
p { margin: 0 0 2mm; }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: 1.1mm 2mm 1.1mm 0; border-top: 0.2mm solid #9aa7b3; }
tr { break-inside: avoid; }
th { font-weight: 600; }
td:nth-child(1) { white-space: nowrap; font-variant-numeric: tabular-nums; }
td:nth-child(2) { width: 27mm; font-weight: 600; }
td:nth-child(4) { width: 40mm; }
ul { columns: 2; margin: 0 0 2mm; padding-left: 4mm; }
"""


def page() -> str:
    """Both workshops as one HTML page that prints on two."""
    sections = "\n".join(_workshop(minutes, parts) for minutes, parts in WORKSHOPS.items())
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Loopscope: two workshops</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n{sections}\n</body>\n</html>\n"
    )


def _workshop(minutes: int, parts: tuple[Part, ...]) -> str:
    lessons = {part.lesson: find_lesson(part.lesson) for part in parts if part.lesson}
    can = "".join(f"<li>{escape(lesson.can)}</li>" for lesson in lessons.values())
    rows, at = [], 0
    for part in parts:
        cells = (f"{at // 60}:{at % 60:02d}", *_told(part, lessons.get(part.lesson)))
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
        at += part.minutes
    return (
        f"<section>\n<h1>Watch a model learn: {minutes} minutes</h1>\n<p>Afterwards people "
        f"can</p>\n<ul>{can}</ul>\n<p>{escape(EACH)}</p>\n"
        "<table>\n<tr><th>at</th><th>what</th><th>say</th><th>press</th></tr>\n" + "\n".join(rows) + "\n</table>\n"
        "</section>"
    )


def _told(part: Part, lesson: Lesson | None) -> tuple[str, str, str]:
    """The heading of a part, what to say and what to press."""
    if lesson is None:
        return part.heading, part.say, part.press
    place, scene = next((n, one) for n, one in enumerate(lesson.scenes, 1) if one.title == part.scene)
    asked = lesson.asked(scene)
    say = asked.text if asked is not None else getattr(scene, "text", "")
    return f"{lesson.number} · {scene.title}", say, f"Lesson {lesson.number}, scene {place}: {_press(lesson, scene)}"


def _press(lesson: Lesson, scene: Scene) -> str:
    if isinstance(scene, Look):
        return "read it aloud, and let them look"
    if isinstance(scene, Do):
        return f"Let one of them do it. Hint: {scene.hint}"
    asked = lesson.asked(scene)
    run_it = {Training: "Close and train it", WhatIf: "Close and try it", Bets: "Close and train the bets"}
    button = run_it.get(type(asked.experiment) if asked is not None else type(None), "Close")
    before = "First let them talk to a neighbour. " if isinstance(scene, Again) else ""
    return f"{before}“{button}”"
