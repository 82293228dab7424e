from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.config import MAX_STEPS, LiveSettings, RunConfig, changed
from engine.errors import InputError
from engine.paths import home
from engine.presets import PRESETS, preset

CONFIG = RunConfig(preset="bigram")
SETTINGS = LiveSettings()


def facts(name: str) -> dict[str, Any]:
    start = preset(name)
    return {**start.config.model_dump(), **start.settings.model_dump()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bigram", {"model": "bigram", "optimizer": "adamw", "batch_size": 32, "block_size": 8, "seed": 1337}),
        ("lecture", {"lr": 1e-3, "corpus": "tiny-shakespeare", "val_fraction": 0.1, "test_fraction": 0.0}),
        ("document-000", {"max_steps": 10_000, "lr": 3e-4}),
        ("document-001", {"lr": 4e-4, "weight_decay": 0.1, "seed": 123, "epochs": 10, "n_layer": 12, "n_embd": 768}),
        ("simple", {"model": "gpt", "corpus": "ferry-notebook", "dropout": 0.1, "eval_batches": 5}),
        ("document-003", {"max_steps": 100_000, "lr": 1e-3, "batch_size": 32, "draws": "document-003"}),
        ("document-004", {"max_steps": 100, "lr": 1e-3}),
        ("gpt-small", {"block_size": 64, "batch_size": 12, "n_layer": 4, "n_head": 4, "n_embd": 128}),
        ("gpt-tiny", {"model": "gpt", "n_layer": 2}),
    ],
)
def test_presets_say_what_the_documents_say(name: str, expected: dict[str, Any]) -> None:
    assert facts(name).items() >= expected.items()
    assert facts(name)["preset"] == name


def test_bigrams_start_at_a_speed_that_a_room_can_follow() -> None:
    limited = {name for name, start in PRESETS.items() if start.settings.speed != "unlimited"}
    assert limited == {name for name, start in PRESETS.items() if start.config.model != "gpt"}


def test_an_unknown_preset_lists_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no preset 'gpt-5'.*bigram, lecture, .*gpt-tiny"):
        preset("gpt-5")


@pytest.mark.parametrize("record", [CONFIG, SETTINGS])
def test_records_are_frozen_and_described(record: RunConfig | LiveSettings) -> None:
    for name, field in type(record).model_fields.items():
        assert field.description and field.description.endswith("."), name
        with pytest.raises(ValidationError):
            setattr(record, name, getattr(record, name))


@pytest.mark.parametrize(
    ("record", "change", "words"),
    [
        (SETTINGS, {"lr": 0}, ["lr", "0", "above 0"]),
        (SETTINGS, {"lr": 2e7}, ["lr", "20000000.0", "at most 10000000"]),
        (SETTINGS, {"lr": "fast"}, ["lr", "'fast'"]),
        (SETTINGS, {"max_steps": 0}, ["max_steps", "0", "at least 1"]),
        (SETTINGS, {"max_steps": MAX_STEPS + 1}, ["max_steps", str(MAX_STEPS)]),
        (SETTINGS, {"batch_size": -3}, ["batch_size", "-3", "at least 1"]),
        (SETTINGS, {"speed": 7}, ["speed", "7", "1, 10, 100, 1000", "unlimited"]),
        (SETTINGS, {"momentum": 0.9}, ["no setting 'momentum'"]),
        (CONFIG, {"dropout": 1.0}, ["dropout", "1.0", "below 1"]),
        (CONFIG, {"block_size": 5000}, ["block_size", "5000", "at most 4096"]),
        (CONFIG, {"model": "lstm"}, ["model", "'lstm'", "bigram", "gpt"]),
        (CONFIG, {"val_fraction": 0.5, "test_fraction": 0.5}, ["val_fraction 0.5", "test_fraction 0.5", "under 1"]),
        (CONFIG, {"model": "gpt", "n_embd": 130, "n_head": 4}, ["n_embd 130", "n_head 4", "128"]),
        (CONFIG, {"model": "gpt", "n_embd": 3, "n_head": 4}, ["n_embd 3", "n_head 4", "choose n_embd 4"]),
    ],
)
def test_a_wrong_value_is_named_with_its_bound(
    record: RunConfig | LiveSettings, change: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        changed(record, **change)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


@given(st.sampled_from(["lr", "weight_decay", "grad_clip"]), st.floats(max_value=-1e-9) | st.just(float("nan")))
def test_no_knob_takes_a_negative_or_no_number(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        changed(SETTINGS, **{name: value})


@given(st.floats(1e-12, 1e7), st.integers(1, 8192), st.sampled_from([1, 10, 100, 1000, "unlimited"]))
def test_changed_keeps_the_rest(lr: float, batch_size: int, speed: Any) -> None:
    after = changed(SETTINGS, lr=lr, batch_size=batch_size, speed=speed)
    assert (after.lr, after.batch_size, after.speed) == (lr, batch_size, speed)
    assert after.model_dump(exclude={"lr", "batch_size", "speed"}) == SETTINGS.model_dump(
        exclude={"lr", "batch_size", "speed"}
    )
    assert changed(after, lr=SETTINGS.lr, batch_size=SETTINGS.batch_size, speed=SETTINGS.speed) == SETTINGS


def test_home_is_the_projects_data_unless_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LOOPSCOPE_HOME", raising=False)
    assert (home() / "lamplighters.txt").is_file()
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.setenv("LOOPSCOPE_HOME", "relative")
    assert home().is_absolute()
