"""One run, one process: under torchrun it is refused with a sentence."""

from __future__ import annotations

import pytest

from engine.__main__ import main
from engine.errors import InputError
from engine.training.device import check_alone


@pytest.mark.parametrize(
    "environment",
    [{"RANK": "0", "WORLD_SIZE": "2"}, {"RANK": "1", "WORLD_SIZE": "2"}, {"WORLD_SIZE": "8"}, {"RANK": "3"}],
)
def test_under_torchrun_two_copies_do_not_train_silently(environment, monkeypatch, capsys, tmp_path) -> None:
    with pytest.raises(InputError, match="start it without torchrun"):
        check_alone(environment)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOOPSCOPE_HOME", str(tmp_path))
    assert main(["train", "--max-steps", "2"]) == 2
    told = capsys.readouterr()
    assert (told.out, len(told.err.splitlines())) == ("", 1)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("environment", [{}, {"RANK": "0", "WORLD_SIZE": "1"}, {"LOCAL_RANK": "0"}])
def test_a_process_by_itself_trains(environment) -> None:
    check_alone(environment)
