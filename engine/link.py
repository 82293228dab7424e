"""Experiments as links: the query part of an address, converted to settings and back.

A query such as `preset=gpt-small&lr=0.003&speed=unlimited` names a preset and what differs from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args
from urllib.parse import urlencode

from .config import MAX_STEPS, MOST_SHOWN, SPEEDS, LiveSettings, RunConfig, changed
from .errors import InputError
from .presets import Preset, preset

DEFAULT_PRESET = "bigram"
STAGE = "stage"
"""Which stage a link opens, a beginner's or the engine room: nothing of the run."""
LESSON = "lesson"
"""Which lesson a link opens, by name or number: nothing of the run either."""
OPTIONAL = {
    name
    for record in (RunConfig, LiveSettings)
    for name, field in record.model_fields.items()
    if type(None) in get_args(field.annotation)
}
"""Settings that may be nothing, "off" in a link."""
MOST_NAMED = 3
"""Differences from a preset that a description names."""


def read(query: Mapping[str, str]) -> tuple[Preset, list[str]]:
    """The experiment that `query` describes, and a notice for each value that had to be ignored."""
    notices: list[str] = []
    try:
        start = preset(query.get("preset", DEFAULT_PRESET))
    except InputError as error:
        notices.append(str(error))
        start = preset(DEFAULT_PRESET)
    config, settings = start.config, start.settings
    structure: dict[str, object] = {}
    for name, value in query.items():
        try:
            if name in LiveSettings.model_fields:
                settings = changed(settings, **{name: _plain(name, value)})
            elif name in RunConfig.model_fields and name != "preset":
                structure[name] = _plain(name, value)
            elif name not in ("preset", STAGE, LESSON, "token"):  # a token belongs to the gate
                raise InputError(f"there is no setting {name[:MOST_SHOWN]!r}")
        except InputError as error:
            notices.append(f"the link's {name[:MOST_SHOWN]}={value[:MOST_SHOWN]} was ignored: {error}")
    config = _structured(config, structure, notices)
    if "max_steps" not in query:
        settings = _end_by_epochs("epochs" in query, config, settings)
    return Preset(config, settings, start.about), notices


def sets_up(query: Mapping[str, str]) -> bool:
    """Does `query` name an experiment? A token, or the view that a page opens with, sets nothing up."""
    return any(name in RunConfig.model_fields or name in LiveSettings.model_fields for name in query)


def _structured(config: RunConfig, structure: dict[str, object], notices: list[str]) -> RunConfig:
    """`config` with all of `structure` at once, as values may depend on each other; else with each that fits alone."""
    try:
        return changed(config, **structure)
    except InputError:
        for name, value in structure.items():
            try:
                config = changed(config, **{name: value})
            except InputError as error:
                shown = "off" if value is None else str(value)[:MOST_SHOWN]
                notices.append(f"the link's {name[:MOST_SHOWN]}={shown} was ignored: {error}")
        return config


def _end_by_epochs(asked: bool, config: RunConfig, settings: LiveSettings) -> LiveSettings:
    """`settings` for a query that names epochs, if `asked`: they end the run, not the preset's number of steps."""
    return changed(settings, max_steps=MAX_STEPS) if asked and config.epochs is not None else settings


def write(config: RunConfig, settings: LiveSettings) -> str:
    """The shortest query that `read` turns back into these settings."""
    values = {name: "off" if value is None else str(value) for name, value in _differences(config, settings).items()}
    return urlencode({"preset": config.preset, **values})


def describe(config: RunConfig, settings: LiveSettings, text: str) -> str:
    """An experiment in a few words: its preset, and what differs from it; `text` is what people call its text.

    For example "bigram on The Ferry Notebook, lr 10, 3,000 steps". The speed changes no loss: it is named where nothing
    else differs.
    """
    start, differs = preset(config.preset), _differences(config, settings)
    name = config.preset if config.model == start.config.model else config.model
    if differs.pop("corpus", None) is not None and config.reads_text:
        name = f"{name} on {text}"
    speed = differs.pop("speed", None)
    differs.pop("model", None)
    named = [_named(*one) for one in sorted(differs.items(), key=lambda one: one[0] != "lr")]
    if speed is not None and not named:
        named = ["speed max" if speed == "unlimited" else f"{speed:,} steps/s"]
    more = len(named) - MOST_NAMED
    return ", ".join([name, *named[:MOST_NAMED]]) + (f" and {more} more" if more > 0 else "")


def _named(name: str, value: Any) -> str:
    """A setting with its value, as one says it."""
    if name == "max_steps":
        return f"{value:,} steps"
    if name == "optimizer":
        return {"adamw": "AdamW", "sgd": "SGD"}.get(value, str(value).capitalize())
    shown = "off" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return f"{name.replace('_', ' ')} {shown[:MOST_SHOWN]}"


def _differences(config: RunConfig, settings: LiveSettings) -> dict[str, Any]:
    """Each setting that is not as its preset has it."""
    start = preset(config.preset)
    expected = _end_by_epochs(config.epochs != start.config.epochs, config, start.settings)
    return {
        name: value
        for now, then in ((config, start.config), (settings, expected))
        for name, value in now.model_dump().items()
        if value != getattr(then, name)
    }


def _plain(name: str, value: str) -> object:
    """A setting's text as a value: "off" is None, a speed limit a number."""
    if value == "off" and name in OPTIONAL:
        return None
    return {str(speed): speed for speed in SPEEDS}.get(value, value) if name == "speed" else value
