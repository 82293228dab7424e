"""Each of the five teaching documents has its preset: its setting, started from the page and from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from engine.__main__ import main
from engine.presets import preset
from engine.runs.manager import RunManager
from engine.stream.status import State
from tests.pages.test_train import click, current, manager, opened  # noqa: F401

# What the documents' own code says. Document 001 needs files that are not shipped: see test_cost and test_page.
SETTINGS: dict[str, dict[str, Any]] = {
    "document-000": {"model": "bigram", "optimizer": "adamw", "max_steps": 10_000, "lr": 3e-4},
    "document-001": {
        "model": "gpt",
        "tokenizer": "gpt2",
        "block_size": 256,
        "n_layer": 12,
        "n_head": 12,
        "n_embd": 768,
        "dropout": 0.1,
        "optimizer": "adamw",
        "lr": 4e-4,
        "weight_decay": 0.1,
        "seed": 123,
        "epochs": 10,
        "eval_every": 5,
        "eval_batches": 5,
    },
    "document-002": {"model": "logistic", "optimizer": "sgd", "max_steps": 5, "lr": 0.01},
    "document-003": {"model": "bigram", "optimizer": "adamw", "max_steps": 100_000, "lr": 1e-3, "batch_size": 32},
    "document-004": {"model": "bigram", "optimizer": "adamw", "max_steps": 100, "lr": 1e-3},
}
LIGHT = [name for name in SETTINGS if name != "document-001"]


@pytest.mark.parametrize("name", SETTINGS)
def test_the_preset_is_the_documents_own_setting(name: str) -> None:
    start = preset(name)
    held = start.config.model_dump() | start.settings.model_dump()
    assert {key: held[key] for key in SETTINGS[name]} == SETTINGS[name]


@pytest.mark.parametrize("name", LIGHT)
def test_it_starts_from_the_page(
    name: str,
    opened: Callable[..., AppTest],  # noqa: F811
    manager: RunManager,  # noqa: F811
    wait_until: Callable[..., None],
) -> None:
    page = opened(preset=name, speed="unlimited", max_steps="5")
    click(page, "play")
    run = current(manager)
    assert run.config.preset == name
    wait_until(lambda: run.state is State.DONE)
    assert run.step == 5


@pytest.mark.parametrize("name", LIGHT)
def test_it_starts_from_the_command_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--preset", name, "--max-steps", "5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["state"], told["step"]) == ("done", 5)
