"""Snapshots on disk: exact, whole or absent, and refused by name when a byte is not as it was written."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.config import LiveSettings, RunConfig
from engine.storage import checkpoint_files
from engine.storage.checkpoint_files import SnapshotError
from engine.storage.state_shape import StateShape
from engine.text.corpus import Corpus
from engine.training.projection import TOKEN_EMBEDDING
from engine.training.state import repeat_steps, restore, take_snapshot
from engine.training.trainer import Trainer

GPT = RunConfig(model="gpt", block_size=8, n_layer=1, n_head=2, n_embd=8, dropout=0.2)
EPOCHS = RunConfig(block_size=8, epochs=3)
SETTINGS = LiveSettings(lr=0.01, max_steps=1000, batch_size=4)


def trainer_of(config, corpus, steps=7):
    trainer = Trainer(config, SETTINGS, corpus, lambda _: None)
    for _ in range(steps):
        trainer.advance()
    return trainer


@pytest.mark.parametrize("config", [RunConfig(block_size=8), GPT, EPOCHS], ids=["bigram", "gpt", "epochs"])
def test_a_trainer_goes_on_from_disk_bit_for_bit(config, corpus, tmp_path) -> None:
    trainer = trainer_of(config, corpus)
    path = checkpoint_files.write(tmp_path, take_snapshot(trainer))
    other = trainer_of(config, corpus, 0)
    restore(other, checkpoint_files.read(path))
    for _ in range(20):
        trainer.advance()
        other.advance()
        assert trainer.recorder.loss == other.recorder.loss
    assert all(torch.equal(a, b) for a, b in zip(trainer.parameters, other.parameters, strict=True))


@pytest.mark.parametrize("again", [0, 30], ids=["resumed", "forked 30 steps later"])
def test_after_a_resume_the_planes_axes_keep_their_order_and_sides(again, play, tmp_path) -> None:
    corpus = Corpus.of(play[:20_000])
    config = RunConfig(observe_every=10, eval_every=10_000, sample_every=10_000, seed=0)
    settings = LiveSettings(lr=0.05, max_steps=400, batch_size=8)
    one, other = [], []
    trainer = Trainer(config, settings, corpus, one.append)
    trainer.observer.show_start()
    for step in range(250):
        if step == 150 - again:
            path = checkpoint_files.write(tmp_path, take_snapshot(trainer))
        trainer.advance()
    second = Trainer(config, settings, corpus, other.append)
    restore(second, checkpoint_files.read(path, StateShape.of(config, corpus)))
    repeat_steps(second, 150, (), lambda: False)
    for _ in range(100):
        second.advance()
    looks = [
        [told for told in records if "explained_variance/1" in getattr(told, "scalars", {})] for records in (one, other)
    ]
    looks[0] = looks[0][-len(looks[1]) :]
    assert len(looks[1]) >= 2
    for look, its in zip(*looks, strict=True):
        assert look.scalars == its.scalars
        np.testing.assert_array_equal(look.tables[TOKEN_EMBEDDING], its.tables[TOKEN_EMBEDDING])


def damaged(folder: Path, draw: random.Random) -> str:
    """Flip one bit of, or cut, one file of the snapshot; what was done."""
    path = draw.choice(sorted(folder.iterdir()))
    content = bytearray(path.read_bytes())
    at = draw.randrange(len(content))
    if draw.random() < 0.5:
        content[at] ^= 1 << draw.randrange(8)
        done = f"bit flipped at {at} of {path.name}"
    else:
        del content[at:]
        done = f"{path.name} cut at {at}"
    path.write_bytes(bytes(content))
    return done


def test_every_damage_is_refused_by_name_and_the_one_before_is_used(corpus, tmp_path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    trainer = trainer_of(GPT, corpus, 1)
    checkpoint_files.write(tmp_path, take_snapshot(trainer))
    trainer.advance()
    whole = take_snapshot(trainer)
    for _ in range(120):
        newest = checkpoint_files.write(tmp_path, whole)
        done = damaged(newest, draw)
        with pytest.raises(SnapshotError, match=newest.name):
            checkpoint_files.read(newest)
        found, refused = checkpoint_files.newest(tmp_path)
        assert found is not None, done
        assert found.step == 1
        assert len(refused) == 1


SAVER = """
import sys
from pathlib import Path
import torch
from engine.storage import checkpoint_files
from engine.config import LiveSettings
from engine.training.checkpoint import Snapshot
step = int(sys.argv[2])
weights = {"w": torch.arange(200_000.0)}
while True:
    step += 1
    weights["w"][0] = step
    checkpoint_files.write(Path(sys.argv[1]), Snapshot(step, step, LiveSettings(), weights, {}, {"data": weights["w"]}))
    print(step, flush=True)
"""


def test_a_kill_while_saving_leaves_only_whole_snapshots(tmp_path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    step = 0
    for _ in range(int(os.environ.get("LOOPSCOPE_KILLS", "5"))):
        saver = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(tmp_path), str(step)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parent.parent.parent,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert saver.stdout is not None
        step = int(saver.stdout.readline())
        time.sleep(draw.uniform(0, 0.05))
        saver.send_signal(signal.SIGKILL)
        saver.communicate()
        found, refused = checkpoint_files.newest(tmp_path)
        assert found is not None
        assert not refused, refused
        assert found.step >= step
        assert float(found.weights["w"][0]) == found.step
        step = found.step
        checkpoint_files.clear_partial(tmp_path)
        assert all(checkpoint_files.NAME.fullmatch(path.name) for path in tmp_path.iterdir())
        checkpoint_files.thin_out(tmp_path, set(), 5, 10**9)


def test_a_manifest_that_points_outside_and_a_newer_format_are_refused(corpus, tmp_path) -> None:
    path = checkpoint_files.write(tmp_path, take_snapshot(trainer_of(RunConfig(block_size=8), corpus)))
    body = checkpoint_files._verified((path / "manifest.json").read_bytes())
    for change, word in (
        ({"files": {"../../weights.safetensors": "0", "state.safetensors": "0"}}, "other files"),
        ({"format": 2}, "format 2"),
        ({"settings": {"lr": -1}}, "damaged"),
    ):
        (path / "manifest.json").write_bytes(checkpoint_files._signed({**body, **change}))
        with pytest.raises(SnapshotError, match=word):
            checkpoint_files.read(path)


def test_a_pickle_in_the_place_of_weights_is_never_opened(corpus, tmp_path) -> None:
    path = checkpoint_files.write(tmp_path, take_snapshot(trainer_of(RunConfig(block_size=8), corpus)))
    told = tmp_path / "executed"
    hostile = b"cos\nsystem\n(S'touch " + str(told).encode() + b"'\ntR."
    (path / "weights.safetensors").write_bytes(hostile)
    body = checkpoint_files._verified((path / "manifest.json").read_bytes())
    body["files"]["weights.safetensors"] = checkpoint_files._sha256(path / "weights.safetensors")
    (path / "manifest.json").write_bytes(checkpoint_files._signed(body))
    with pytest.raises(SnapshotError):
        checkpoint_files.read(path)
    assert not told.exists()


def test_thinning_keeps_the_ends_and_what_it_is_told(tmp_path) -> None:
    for step in (0, 1, 2, 5, 10, 100, 110, 120, 1000):
        checkpoint_files.write(
            tmp_path,
            checkpoint_files.Snapshot(step, 0, LiveSettings(), {"w": torch.zeros(1)}, {}, {"data": torch.zeros(1)}),
        )
    checkpoint_files.thin_out(tmp_path, {110}, 5, 10**9)
    left = checkpoint_files.steps(tmp_path)
    assert len(left) == 5
    assert {0, 110, 1000} <= set(left)
