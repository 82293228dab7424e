"""What the audience is told of a run: its state and what went wrong in a sentence, without tracebacks and file names.

The words of an error belong to whoever can do something about it; they name folders, and with them people.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import HTTPConnection

from engine.stream.history import Frame
from engine.stream.status import State
from pages.server.gate import is_presenter

UNSAVED = "what this run makes is not being saved now; the presenter sees why"
AS_IT_IS = frozenset({"samples", "question"})  # what a model wrote, and the characters of a text, are shown literally
# A quoted path is taken whole; of one that stands free all up to the last separator of its line, since folders may
# have spaces in their names. It begins with a slash, ~/, C: or two backslashes, and not in a word, as in "bits/char".
START = r"(?:[A-Za-z]:[\\/]|\\\\|~[\w.-]*[\\/]|/(?=[^\s/]))"
QUOTED = re.compile(rf"(['\"`])(?:file:/*)?{START}[^\n]*?\1")
FREE = re.compile(rf"(?<![\w/\\.~])(?:file:/*)?{START}(?:[^\n]*[\\/])?[^\s'\"`)]*")


def for_audience(connection: HTTPConnection) -> bool:
    """Is this to see what the audience sees? Who lacks the token, and whoever asks for `audience`, as /watch does."""
    return not is_presenter(connection.scope) or "audience" in connection.query_params


def audience_frame(frame: Frame) -> Frame:
    """The frame as the audience gets it; its arrays are the same."""
    return Frame(audience_header(frame.header), frame.arrays)


def audience_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """A frame's header for the audience."""
    told = {name: value if name in AS_IT_IS else _cleared(value) for name, value in header.items()}
    if header.get("error") is not None or header.get("state") == State.FAILED:
        told["message"] = _failed(header.get("step"))
    told["error"] = None
    if header.get("unsaved"):
        told["unsaved"] = UNSAVED
    told["events"] = [_event(event) for event in told.get("events", ())]
    question = told.get("question")
    if question and question["open"]:  # how many have answered is for the presenter to know
        told["question"] = {name: value for name, value in question.items() if name != "count"}
    return told


def without_paths(text: str) -> str:
    """The text with "a file" in place of each path in it."""
    return FREE.sub("a file", QUOTED.sub("a file", text)) if "/" in text or "\\" in text else text


def _event(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "text": _failed(event["step"])} if event["name"] == State.FAILED else event


def _failed(step: int | None) -> str:
    return f"failed at step {step or 0:,}; the presenter sees why"


def _cleared(value: Any) -> Any:
    if isinstance(value, str):
        return without_paths(value)
    if isinstance(value, Mapping):
        return {key: _cleared(inner) for key, inner in value.items()}
    return [_cleared(inner) for inner in value] if isinstance(value, list | tuple) else value
