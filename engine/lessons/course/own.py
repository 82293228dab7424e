"""A teacher's own lessons: one TOML file each in the data home, checked as it is read.

A file can set up what a link can and nothing else. Its right answers are measures from a fixed table, by name, and its
explanations name facts: nothing in a file is run as code.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, ValidationError

from ...config import MOST_SHOWN, Frozen, LiveSettings, changed
from ...console import printable
from ...errors import InputError
from ...paths import home
from ...presets import preset
from ...runs.run import Run
from ...stream.series import SeriesPoints
from ...text.decoding import Signature, signature
from ...text.library import slug
from ..poll import FEWEST_OPTIONS, MOST_OPTIONS, Choice, Drawing, Kind, Number
from . import LESSONS
from .measures import LOSS, SMOOTH, VALIDATION, drawn, first, last, points, run_of
from .rehearsal import planned
from .scene import Act, Again, Do, Lesson, Look, Measured, Outcome, Predict, Scene, Training, filled

FOLDER = "lessons"
MOST_FILES, LARGEST_FILE = 50, 64 * 1024
CHANNELS = (LOSS, VALIDATION, "grad_norm", "update_ratio", "lr", "kl")
KNOBS = tuple(LiveSettings.model_fields)
FACTS = ("measured", "steps", "first", "last")
TEXT_FACTS = ("guessing", "letters", "floor")
"""What an explanation may name; the second kind for models of text."""

Title = Annotated[str, Field(min_length=1, max_length=80)]
Text = Annotated[str, Field(min_length=1, max_length=800)]
Bound = Annotated[float, Field(allow_inf_nan=False)]
Value = Callable[[SeriesPoints], float]


class Turned(Frozen):
    """One act of a task's way: these live settings, then so many steps."""

    steps: int = Field(ge=1, le=100_000)
    turns: dict[str, Any] = Field(default_factory=dict, max_length=20)


class Option(Frozen):
    """One option: right if what was measured is below its bound, and not below a smaller one."""

    text: Title
    below: Bound | None = None
    wrong: Text | None = None


class Numbered(Frozen):
    """A slider."""

    low: Bound
    high: Bound
    unit: str = Field("", max_length=40)
    log: bool = False


class Drawn(Frozen):
    """A curve to draw over steps and values."""

    first: int = Field(0, ge=0)
    last: int = Field(ge=1)
    low: Bound
    high: Bound


class Shown(Frozen):
    """A scene to look at."""

    kind: Literal["look"]
    title: Title
    text: Text
    link: str | None = Field(None, max_length=500)


class Asked(Frozen):
    """A question; exactly one of options, number and curve says how it is answered."""

    kind: Literal["predict"] = "predict"
    title: Title
    text: Text
    link: str = Field(max_length=500)
    measure: str = Field(max_length=100)
    because: Text
    options: tuple[Option, ...] | None = Field(None, min_length=FEWEST_OPTIONS, max_length=MOST_OPTIONS)
    number: Numbered | None = None
    curve: Drawn | None = None


class Done(Frozen):
    """A task: its measure comes below, or above, a level, within so many steps."""

    kind: Literal["do"]
    title: Title
    text: Text
    hint: Text
    measure: str = Field(max_length=100)
    below: Bound | None = None
    above: Bound | None = None
    within: int | None = Field(None, ge=1)
    link: str | None = Field(None, max_length=500)
    way: tuple[Turned, ...] = Field((), max_length=20)


class Repeated(Frozen):
    """A question once more, or its twin."""

    kind: Literal["again"]
    title: Title
    of: Title
    twin: Asked | None = None


class Written(Frozen):
    """What a file holds."""

    title: Title
    minutes: int = Field(ge=1, le=240)
    can: Text
    scenes: tuple[Annotated[Shown | Asked | Done | Repeated, Field(discriminator="kind")], ...] = Field(
        min_length=1, max_length=12
    )


class OwnLessons(NamedTuple):
    """Those that can be played, numbered after the others; and a sentence for each file that cannot."""

    lessons: tuple[Lesson, ...]
    problems: tuple[str, ...]


def own_lessons(folder: Path | None = None) -> OwnLessons:
    """The lessons that lie in `folder`, by default <home>/lessons, in the order of their files' names."""
    folder = folder or home() / FOLDER
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == ".toml")
    except OSError:
        return OwnLessons((), ())
    lessons: list[Lesson] = []
    problems = []
    for path in files[:MOST_FILES]:
        try:
            lesson = read_lesson(path, len(LESSONS) + len(lessons) + 1)
            if any(other.name == lesson.name for other in (*LESSONS, *lessons)):
                raise InputError(f"there is a lesson {lesson.name!r} already; give the file another name")
            lessons.append(lesson)
        except InputError as error:
            problems.append(f"{printable(path.name)[:80]}: {error}")
    if len(files) > MOST_FILES:
        problems.append(f"{len(files):,} lessons are too many; the first {MOST_FILES} are read, move the others away")
    return OwnLessons(tuple(lessons), tuple(problems))


def all_lessons() -> tuple[Lesson, ...]:
    """The lessons, and a teacher's own after them."""
    return (*LESSONS, *own_lessons().lessons)


def read_lesson(path: Path, number: int) -> Lesson:
    """The lesson in a file, the same one until the file changes; InputError says what is wrong with it."""
    return _read(path, number, signature(path))


@lru_cache(maxsize=2 * MOST_FILES)
def _read(path: Path, number: int, _: Signature | None) -> Lesson:
    written = _written(path)
    scenes: list[Scene] = []
    for place, scene in enumerate(written.scenes, 1):
        try:
            scenes.append(_scene(scene, scenes))
        except InputError as error:
            raise InputError(f"scene {place}: {error}") from None
    return Lesson(
        number, slug(path.stem)[:40] or f"lesson-{number}", written.title, written.minutes, written.can, tuple(scenes)
    )


def _written(path: Path) -> Written:
    try:
        if path.is_symlink() or not path.is_file():
            raise InputError("it is no plain file; put the lesson itself there")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"it cannot be read ({(error.strerror or 'refused').lower()}); see who may read it") from None
    if len(content) > LARGEST_FILE:
        raise InputError(f"it is longer than {LARGEST_FILE // 1024} kB; make two lessons of it")
    try:
        return Written.model_validate(tomllib.loads(content.decode("utf-8")))
    except UnicodeDecodeError:
        raise InputError("it is not UTF-8; save it as UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"it is not TOML: {printable(str(error))[:120]}; mend that line") from None
    except (RecursionError, OverflowError):
        raise InputError("it is nested too deeply; write scenes as [[scenes]], one after the other") from None
    except ValidationError as error:
        raise InputError(_complaint(error)) from None
    except ValueError:  # Python's own bound on the digits of a whole number
        raise InputError("a number in it is too long to read; write a shorter one") from None


def _complaint(error: ValidationError) -> str:
    """The first complaint, with its place in the file, the value, and what is possible."""
    problem = error.errors()[0]
    place = [part for part in problem["loc"] if part not in ("look", "predict", "do", "again")]
    where = " ".join(f"{part + 1}" if isinstance(part, int) else str(part)[:MOST_SHOWN] for part in place)
    where = where.replace("scenes ", "scene ", 1)
    context, kind = problem.get("ctx", {}), problem["type"]
    if kind == "missing":
        return f"{where} is missing; add it"
    if kind == "extra_forbidden":
        return f"there is no {where}; take it out"
    value = problem["input"]
    shown = repr(value[:MOST_SHOWN] if isinstance(value, str) else value)[: 2 * MOST_SHOWN]
    bounds = {
        "greater_than_equal": "at least {ge}",
        "less_than_equal": "at most {le}",
        "string_too_short": "at least {min_length} character",
        "string_too_long": "at most {max_length} characters",
        "too_short": "at least {min_length} of them",
        "too_long": "at most {max_length} of them",
        "finite_number": "a finite number",
        "union_tag_invalid": "one of {expected_tags}",
        "union_tag_not_found": "kind = 'look', 'predict', 'do' or 'again'",
    }
    if kind in bounds:
        return f"{where} {shown} is not possible; choose {bounds[kind].format(**context)}"
    return f"{where} {shown} is not usable: {problem['msg'][:1].lower()}{problem['msg'][1:]}"


def _scene(written: Shown | Asked | Done | Repeated, before: list[Scene]) -> Scene:
    if any(scene.title == written.title for scene in before):
        raise InputError(f"there is a scene {written.title!r} already; give each a title of its own")
    if isinstance(written, Shown):
        return Look(written.title, written.text, _training(written.link))
    if isinstance(written, Asked):
        return _question(written)
    if isinstance(written, Done):
        return _task(written, before)
    if not any(isinstance(scene, Predict) and scene.title == written.of for scene in before):
        raise InputError(f"no question before it is called {written.of!r}; write the title of one")
    return Again(written.title, written.of, None if written.twin is None else _question(written.twin))


def _training(link: str | None) -> Training | None:
    """The run of a link; InputError for whatever in it would be ignored."""
    if link is None:
        return None
    planned(Training(link))
    return Training(link)


def _question(written: Asked) -> Predict:
    training = _training(written.link)
    assert training is not None
    given = [one for one in (written.options, written.number, written.curve) if one is not None]
    if len(given) != 1:
        raise InputError(f"{len(given)} ways to answer are given; give one of options, number and curve")
    reads_text = planned(training).config.reads_text
    facts = dict.fromkeys((*FACTS, *(TEXT_FACTS if reads_text else ())), 1)
    filled(written.because, facts)
    options = written.options or ()
    for option in options:
        filled(option.wrong or "", facts)
    channel, value = named_measure(written.measure)
    kind: Kind
    if written.number is not None:
        kind = Number(**written.number.model_dump())
    elif written.curve is not None:
        kind = Drawing(**written.curve.model_dump(), channel=channel)
    else:
        kind = Choice(tuple(option.text for option in options))
        bounds = [option.below for option in options]
        if bounds.count(None) != 1 or len(set(bounds)) != len(bounds):
            raise InputError("all options but one need a `below`, each another; the one without is right for the rest")
    return Predict(
        written.title,
        written.text,
        kind,
        training,
        partial(_measure, kind=kind, channel=channel, value=value, bounds=tuple(option.below for option in options)),
        written.because,
        {place: option.wrong for place, option in enumerate(options) if option.wrong is not None},
    )


def _measure(outcome: Outcome, kind: Kind, channel: str, value: Value, bounds: tuple[float | None, ...]) -> Measured:
    run = run_of(outcome)
    found = points(run, channel)
    number = value(found)
    facts: dict[str, Any] = {
        "measured": number,
        "steps": run.step,
        "first": first(run),
        "last": last(run, LOSS, SMOOTH),
    }
    if run.baselines is not None:
        lines = run.baselines
        facts |= {"guessing": lines.uniform, "letters": lines.unigram, "floor": lines.bigram}
    if isinstance(kind, Drawing):
        return Measured(drawn(kind, found.steps, found.values), facts)
    if isinstance(kind, Number):
        return Measured(number, facts)
    above = [(bound, place) for place, bound in enumerate(bounds) if bound is not None and number < bound]
    return Measured(min(above)[1] if above else bounds.index(None), facts)


def _task(written: Done, before: list[Scene]) -> Do:
    if (written.below is None) == (written.above is None):
        raise InputError("a task needs a level; give either below or above")
    training = _training(written.link)
    if training is None and not any(getattr(scene, "experiment", None) is not None for scene in before):
        raise InputError("there is no run to do it with; give it a link, or a scene with one before it")
    for act in written.way:
        if unknown := [name for name in act.turns if name not in LiveSettings.model_fields]:
            raise InputError(f"{unknown[0][:MOST_SHOWN]!r} cannot be turned; choose one of {', '.join(KNOBS)}")
        changed(preset("bigram").settings, **act.turns)
    channel, value = named_measure(written.measure)
    return Do(
        written.title,
        written.text,
        partial(_holds, channel=channel, value=value, task=written),
        written.hint,
        tuple(Act(act.steps, act.turns) for act in written.way),
        training,
    )


def _holds(run: Run, channel: str, value: Value, task: Done) -> bool:
    if run.step == 0:
        return False
    found = points(run, channel)
    if task.within is not None:
        early = found.steps <= task.within
        found = SeriesPoints(found.steps[early], found.values[early], found.means[early])
    if not len(found.steps):
        return False
    try:
        number = value(found)
    except InputError:  # what it asks for has not happened yet
        return False
    return number < task.below if task.below is not None else number > (task.above or 0.0)


# ---------------------------------------------------------------- measures by name


def _step_below(found: SeriesPoints, level: float) -> float:
    under = (found.values < level).nonzero()[0]
    if not len(under):
        raise InputError(f"it never came below {level:g}; let it train longer, or ask for another level")
    return float(found.steps[under[0]])


MEASURES: Mapping[str, Callable[[SeriesPoints], float]] = {
    "first": lambda found: float(found.values[0]),
    "last": lambda found: float(found.values[-1]),
    f"mean of the last {SMOOTH}": lambda found: float(found.values[-SMOOTH:].mean(dtype="float64")),
    "lowest": lambda found: float(found.values.min()),
    "highest": lambda found: float(found.values.max()),
    "step of the lowest": lambda found: float(found.steps[found.values.argmin()]),
    "step of the highest": lambda found: float(found.steps[found.values.argmax()]),
}
"""What stands before a channel's name."""
_FIRST_STEP = re.compile(r"first step where (\S+) < (\d+(?:\.\d+)?)")


def named_measure(name: str) -> tuple[str, Value]:
    """The channel and the measure behind "lowest val/loss" or "first step where train/loss < 2.5".

    InputError lists what there is.
    """
    channel: str = name.rpartition(" ")[2]
    what = name.removesuffix(channel).rstrip()
    value: Value | None = MEASURES.get(what)
    if (step := _FIRST_STEP.fullmatch(name)) is not None:
        channel, value = step[1], partial(_step_below, level=float(step[2]))
    if value is None or channel not in CHANNELS:
        measures = ", ".join(repr(one) for one in MEASURES)
        raise InputError(
            f"there is no measure {name[:MOST_SHOWN]!r}; write one of {measures} before one of {', '.join(CHANNELS)}, "
            "or 'first step where train/loss < 2.5'"
        )
    return channel, value
