"""What a recorded run says of itself: its name, its settings and where it is to end, whatever it was given as."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from ...config import MAX_STEPS, MOST_SHOWN, Frozen, sentence
from ...errors import InputError

LONGEST_RUN_NAME = 80
MOST_SETTINGS = 64
LONGEST_SETTING_NAME = 100
LONGEST_SETTING = 300  # characters of one that is a text
DEEPEST = 8
Setting = bool | Annotated[int, Field(ge=-(2**63), lt=2**64)] | float | str | None
"""A larger whole number is kept as a float: a frame holds none of more than 64 bits."""
Report = Callable[[str, str], None]
"""Told what was not possible: a key that is the same for all of its kind, and a sentence. May raise."""


class Recorded(Frozen):
    """What a run that was recorded from somebody's own loop says of itself."""

    name: str = Field("", max_length=LONGEST_RUN_NAME)
    settings: dict[str, Setting] = Field(default_factory=dict, max_length=MOST_SETTINGS)
    max_steps: int | None = Field(None, ge=1, le=MAX_STEPS)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Recorded:
        """These fields, checked. InputError says what is wrong with them."""
        try:
            return cls(**fields)
        except ValidationError as error:
            raise InputError(sentence(error)) from None

    @classmethod
    def converted(cls, fields: Mapping[str, Any], report: Report) -> Recorded:
        """These fields as far as they are possible; `report` is told what had to be changed or left out."""
        for name in fields:
            if name not in cls.model_fields:
                report(f"field {name}", f"{shown(name)} is no field of a run; write {', '.join(cls.model_fields)}")
        given = fields.get("settings")
        if given is not None and not isinstance(given, Mapping):
            report("settings", f"settings {shown(given)} is {kind_of(given)}; give names with values")
            given = None
        return cls(
            name=_name(fields.get("name"), report),
            settings=_settings(given or {}, report),
            max_steps=_max_steps(fields.get("max_steps"), report),
        )


def shown(value: object) -> str:
    """A wrong value, as an error repeats it."""
    try:
        return " ".join(repr(value).split())[:MOST_SHOWN]
    except Exception:  # its author's own
        return f"<{type(value).__name__}>"


def kind_of(value: object) -> str:
    """What kind of value it is: "a tuple", "an int"."""
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def text_of(value: object) -> str:
    """`value` as a text: its own words where it has any, whole characters alone."""
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception:  # its author's own
        text = f"<{type(value).__name__}>"
    return text.encode(errors="replace").decode()


def printable_name(text: str, longest: int) -> str:
    """`text` without what cannot be printed, and with its middle left out where it is longer than `longest`."""
    text = "".join(one if one.isprintable() else "?" for one in text)
    if len(text) <= longest:
        return text
    tail = longest // 3  # names differ at their ends
    return f"{text[: longest - tail - 1]}…{text[-tail:]}"


def as_number(value: Any) -> float | None:
    """One number, or a tensor or array of one element, as a float; None for everything else.

    A whole number too large for a float is infinite. A tensor on a GPU is waited for.
    """
    try:
        if isinstance(value, str | bytes | bytearray):
            return None
        if hasattr(value, "detach"):
            value = value.detach()
        if hasattr(value, "item"):
            value = value.item()
        return None if isinstance(value, str | bytes) else float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except Exception:  # of several elements, or no number
        return None


def _name(given: object, report: Report) -> str:
    if given is None:
        return ""
    text = text_of(given)
    if not isinstance(given, str):
        report("name", f"name {shown(given)} is {kind_of(given)}; it is kept as {shown(text)}")
    name = printable_name(text, LONGEST_RUN_NAME)
    if isinstance(given, str) and name != given:
        reason = "is too long" if len(given) > LONGEST_RUN_NAME else "has characters that cannot be printed"
        report("name", f"name {shown(given)} {reason}; choose at most {LONGEST_RUN_NAME} printable characters")
    return name


def _max_steps(given: object, report: Report) -> int | None:
    if given is None:
        return None
    number = None if isinstance(given, bool) else as_number(given)
    if number is None or not 1 <= number <= MAX_STEPS or number != int(number):
        bound = f"choose a whole number from 1 to {MAX_STEPS:,}, or leave it out"
        report("max_steps", f"max_steps {shown(given)} is not possible; {bound}")
        return None
    return int(number)


def _settings(given: Mapping[Any, Any], report: Report) -> dict[str, Setting]:
    kept: dict[str, Setting] = {}
    for given_name, value in _flat(given):
        name = printable_name(given_name, LONGEST_SETTING_NAME) or "?"
        if len(kept) == MOST_SETTINGS and name not in kept:
            report(
                "settings", f"setting {shown(name)} is one too many; a run keeps {MOST_SETTINGS}, the first that it has"
            )
            break
        kept[name] = _setting(name, value, report)
    return kept


def _flat(given: Mapping[Any, Any], before: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    """Names and values; those of a mapping in a mapping have its name and a dot before theirs."""
    for name, value in given.items():
        whole = before + text_of(name)
        if isinstance(value, Mapping) and value and depth < DEEPEST:
            yield from _flat(value, whole + ".", depth + 1)
        else:
            yield whole, value


def _setting(name: str, value: Any, report: Report) -> Setting:
    if value is None or type(value) in (bool, float):
        return value  # type: ignore[no-any-return]
    if type(value) is int:
        number = as_number(value)
        return value if -(2**63) <= value < 2**64 else number
    if not isinstance(value, str) and (number := as_number(value)) is not None:
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    text = text_of(value)
    if not isinstance(value, str):
        remedy = "give a number, a text, true or false"
        report(f"a setting that is {kind_of(value)}", f"setting {shown(name)} is {kind_of(value)}, {remedy}")
    if len(text) > LONGEST_SETTING:
        report(
            "a long setting", f"setting {shown(name)} has {len(text):,} characters; at most {LONGEST_SETTING} are kept"
        )
        text = text[: LONGEST_SETTING - 1] + "…"
    return text
