"""Fine-tuning: a new run begins with another one's weights, and learns from another text of the same characters."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.__main__ import main
from engine.config import RunConfig, changed
from engine.errors import InputError
from engine.generators import generator
from engine.models.bigram import Bigram
from engine.models.registry import build_language_model
from engine.paths import home
from engine.presets import preset
from engine.runs import fine_tuning, forks
from engine.runs.manager import RunActive, RunManager
from engine.runs.run import Run
from engine.storage import checkpoint_files, reader
from engine.stream.status import State
from engine.text.corpus import Batcher, Corpus
from engine.training.evaluation import mean_loss

FIRST = "abcde edcba bad cab deed ace " * 12
SECOND = "dab dab cede decade " * 15
BIGRAM = changed(preset("bigram").config, corpus="first", snapshot_every=40)
GPT = changed(preset("gpt-tiny").config, corpus="first", block_size=8, n_layer=1, n_embd=8, snapshot_every=40)
SETTINGS = changed(preset("bigram").settings, speed="unlimited", batch_size=4, lr=0.01)


def drop(**texts: str) -> None:
    folder = home() / "corpora"
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


@pytest.fixture
def manager(house: RunManager) -> RunManager:
    """The house with two texts, of which the second has no character that the first has not; pumping."""
    drop(first=FIRST, second=SECOND)
    house.pump.start()
    return house


@pytest.fixture
def go(manager: RunManager, wait_until: Callable[..., None]) -> Callable[[Run, int], None]:
    """`go(run, step)`: train up to that step and have everything on the disk."""

    def go(run: Run, step: int) -> None:
        if step > run.step:
            run.make_steps(step - run.step)
        wait_until(lambda: run.step == step and run.state in (State.PAUSED, State.DONE), 60)
        manager.flush(run)

    return go


def learnt(manager: RunManager, go: Callable[[Run, int], None], config: RunConfig = BIGRAM) -> Run:
    run = manager.prepare(config, SETTINGS)
    go(run, 60)
    return run


def losses(run: Run) -> list[float]:
    return [row.loss for row in reader.scalars(reader.open_run(run.id))]


def look(run: Run, step: int) -> dict[str, float]:
    scalars: dict[str, float] = {}
    for record in reader.observations(reader.open_run(run.id)):
        if record.step == step:
            scalars |= record.scalars
    return scalars


def weights(run: Run) -> dict[str, torch.Tensor]:
    return dict(run.paused_state().snapshot.weights)


def test_its_losses_are_those_of_a_plain_loop_over_the_new_text_from_the_old_weights(manager, go) -> None:
    parent = learnt(manager, go)
    run = manager.fine_tune("second")
    assert (run.step, run.parent, run.title) == (0, (parent.id, 60), "bigram fine-tuned on second")
    assert run.settings == parent.settings and manager.previous is parent
    go(run, 20)

    corpus = Corpus.of(SECOND, tokenizer=Corpus.of(FIRST).tokenizer)
    model = Bigram(corpus.vocab_size)
    model.load_state_dict(weights(parent))
    rule = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=SETTINGS.weight_decay, fused=True)
    batcher = Batcher(corpus.train, BIGRAM.block_size, generator(BIGRAM.seed, "data"))
    expected = []
    for _ in range(20):
        loss = model(*batcher.draw(4))[1]
        rule.zero_grad()
        loss.backward()
        rule.step()
        expected.append(loss.item())
    assert losses(run) == pytest.approx(expected, rel=1e-6)
    assert torch.equal(weights(run)["token_embedding.weight"], model.token_embedding.weight)


def test_what_it_forgets_is_measured_on_the_text_before(manager, go) -> None:
    parent = learnt(manager, go, GPT)
    run = manager.fine_tune("second")
    go(run, 60)
    model = build_language_model(GPT, run.corpus.vocab_size)
    fixed = parent.corpus.val_batches(GPT, 4, torch.device("cpu"))
    model.load_state_dict(weights(parent))
    assert look(run, 0)["val/former_loss"] == mean_loss(model, fixed)
    model.load_state_dict(weights(run))
    now = look(run, 60)
    assert now["val/former_loss"] == mean_loss(model, fixed)
    assert now["val/former_loss"] > look(run, 0)["val/former_loss"]
    assert now["val/loss"] < look(run, 0)["val/loss"]


@pytest.mark.parametrize("tokenizer", ["char", "bpe"])
def test_reset_fork_and_a_restart_keep_its_beginning(manager, go, tokenizer) -> None:
    parent = learnt(manager, go, changed(GPT, tokenizer=tokenizer, vocab_size=256, test_fraction=0))
    first = manager.fine_tune("second")
    begin = weights(first)
    assert all(torch.equal(begin[name], weight) for name, weight in weights(parent).items())
    go(first, 50)
    fork = manager.fork(30)
    go(fork, 50)
    assert losses(fork) == losses(first)
    for run in (fork, first):
        if manager.current is not run:
            manager.resume(run.id, replace=True)
        again = manager.reset(replace=True)
        assert all(torch.equal(weights(again)[name], weight) for name, weight in begin.items())
        assert again.parent == (parent.id, 60)
    go(again, 50)
    assert losses(again) == losses(first)
    later = RunManager(manager.library)
    manager.close(30)
    back = later.resume(again.id)
    back.wait()
    assert (back.step, back.corpus.former.name) == (50, "first")
    assert back.corpus.tokenizer.vocab == parent.corpus.tokenizer.vocab
    later.close(30)


def test_by_epochs_it_has_epochs_of_its_own(manager, go) -> None:
    learnt(manager, go, changed(GPT, epochs=8, eval_every=5, eval_batches=1, sample_tokens=1))
    run = manager.fine_tune("second")
    assert run.settings.max_steps == 8 * run.corpus.steps_per_epoch(8, 4)
    go(run, run.settings.max_steps)
    assert (run.state, run.status().epoch) == (State.DONE, 8)


def test_a_third_text_is_written_in_the_first_ones_characters(manager, go) -> None:
    drop(third="bead bead " * 40)
    learnt(manager, go)
    go(manager.fine_tune("second"), 10)
    third = manager.fine_tune("third")
    assert third.corpus.tokenizer.vocab == Corpus.of(FIRST).tokenizer.vocab
    go(third, 10)
    assert reader.recorded_texts(reader.open_run(third.id))[0]["name"] == "first"
    stored = reader.open_run(third.id)
    assert manager.datasets.load_stored(stored).former.former.name == "first"
    drop(first=FIRST + "a")
    with pytest.raises(InputError, match="learnt from another text than 'first' is now"):
        manager.datasets.load_stored(stored)


def test_what_cannot_be_gone_on_with_is_said_and_harms_nothing(manager, go, wait_until) -> None:
    drop(foreign="abc xyz " * 30, short="abc")
    with pytest.raises(InputError, match="press Start first"):
        manager.fine_tune("second")
    run = manager.prepare(BIGRAM, SETTINGS)
    with pytest.raises(InputError, match="learnt nothing yet"):
        manager.fine_tune("second")
    go(run, 5)
    before = set((home() / "runs").iterdir())
    for text, why in (
        ("foreign", "foreign has characters that the model does not know: x, y, z; choose a text without them"),
        ("first", "learns from first already"),
        ("nowhere", "there is no corpus 'nowhere'"),
        ("short", "too short"),
    ):
        with pytest.raises(InputError, match=why):
            manager.fine_tune(text)
    assert set((home() / "runs").iterdir()) == before and manager.current is run
    run.start()
    wait_until(lambda: run.state is State.RUNNING)
    with pytest.raises(RunActive):
        manager.fine_tune("second")
    tuned = manager.fine_tune("second", replace=True)
    assert (run.state, tuned.state) == (State.PAUSED, State.READY)
    line = manager.prepare(preset("document-002-line").config, SETTINGS, replace=True)
    line.make_steps(1)
    with pytest.raises(InputError, match="learns from points"):
        manager.fine_tune("second", replace=True)


def test_it_shares_no_step_with_the_run_before_it(manager, go) -> None:
    learnt(manager, go)
    run = manager.fine_tune("second")
    go(run, 30)
    shutil.rmtree(home() / "runs" / run.id / "snapshots")
    with pytest.raises(InputError, match="no snapshot at or before step 20"):
        forks.nearest_snapshot(reader.open_run(run.id), 20)
    with pytest.raises(InputError, match="no snapshot of step 0; fine-tune again"):
        fine_tuning.fine_tune_source(reader.open_run(run.id))


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    record: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return record


def test_the_command_line_goes_on_with_a_run_on_another_text(tmp_path: Path, capsys) -> None:
    one, two, new = tmp_path / "one.txt", tmp_path / "two.txt", tmp_path / "new"
    one.write_text(FIRST)
    two.write_text(SECOND)
    assert main(["train", "--corpus", str(one), "--max-steps", "50", "--batch-size", "4", "--json"]) == 0
    parent = str(told(capsys)["run"])
    asked = ["train", "--from", parent, "--corpus", str(two), "--max-steps", "30", "--lr", "0.01", "--json"]
    assert main([*asked, "--out", str(new), "--evaluate"]) == 0
    first = told(capsys)
    assert first["step"] == 30 and isinstance(first["former_val_loss"], float)
    about = json.loads((new / "config.json").read_text())
    assert about["parent"] == {"run": parent, "step": 50}
    assert about["environment"]["corpus"]["former"]["name"] == "one"
    assert checkpoint_files.newest(new / "snapshots", upto=0)[0] is not None
    assert main(["resume", str(new), "--max-steps", "40", "--json"]) == 0
    assert told(capsys)["step"] == 40
    for flags, why in (
        (["--corpus", str(one)], "already"),
        ([], "name one with --corpus"),
        (["--corpus", str(two), "--block-size", "4"], "--block-size does not go with --from"),
        (["--corpus", "lamplighters"], "characters that the model does not know"),
    ):
        assert main(["train", "--from", parent, *flags]) == 2
        said = capsys.readouterr().err
        assert why in said and said.count("\n") == 1
