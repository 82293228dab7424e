"""What it takes to add something: a model is one file, a chart one function, a probe with its gauge one function."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import Tensor, nn

from engine.__main__ import main
from engine.config import RunConfig, changed, fields_of
from engine.errors import InputError
from engine.models import registry
from engine.models.base import Heatmap, LanguageModel, Model
from engine.models.bigram import Bigram
from engine.models.registry import register
from engine.paths import home
from engine.presets import preset
from engine.runs.manager import RunManager
from engine.storage import reader
from engine.storage.index import differing, overview
from engine.stream.messages import Observation, Record
from engine.stream.status import State
from engine.text.corpus import Corpus
from engine.training import probes
from engine.training.trainer import Trainer
from pages.charts import pages as chart_pages
from pages.charts.live_figures import step_chart
from pages.charts.panel import Panel, RunInfo
from pages.charts.training import training_panels
from pages.server.run_info import run_info

TRIGRAM = "trigram"


class Trigram(LanguageModel):
    """A table (C·C, C): row i·C + j holds the scores of what follows token i and then token j."""

    title = "trigram"
    heatmap = Heatmap("pairs", title="Pairs", rows="two tokens", columns="next token", help="One row for each pair.")

    def __init__(self, vocab_size: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.context = 2
        self.pairs = nn.Parameter(torch.empty(vocab_size**2, vocab_size).normal_(generator=generator))

    def logits(self, inputs: Tensor) -> Tensor:
        """Token ids (B, T) -> scores (B, T, C); before the first token stands token 0."""
        before = torch.cat((torch.zeros_like(inputs[:, :1]), inputs[:, :-1]), dim=1)  # (B, T)
        return self.pairs[before * self.pairs.size(1) + inputs]  # (B, T) -> (B, T, C)

    def tables(self) -> dict[str, Tensor]:
        return {"pairs": self.pairs}


@pytest.fixture
def trigram() -> Iterator[None]:
    register(TRIGRAM)(Trigram)
    yield
    registry.unregister(TRIGRAM)


def test_a_wrong_name_is_refused_with_those_there_are(trigram: None) -> None:
    assert registry.names() == ("bigram", "gpt", "line", "logistic", TRIGRAM)
    with pytest.raises(InputError, match=r"model 'lstm' is not possible; choose .*'logistic' or 'trigram'"):
        changed(RunConfig(), model="lstm")


def test_an_added_model_trains_forks_and_shows_its_heatmap(
    trigram: None, manager: RunManager, wait_until: Callable[..., None]
) -> None:
    config = changed(preset("bigram").config, model=TRIGRAM, corpus="tiny", observe_every=5, device="cpu")
    run = manager.prepare(config, changed(preset("bigram").settings, speed="unlimited", lr=0.1))
    run.make_steps(30)
    wait_until(lambda: run.step == 30 and run.state is State.PAUSED, 60)
    assert run.title.startswith("trigram on ")
    losses = [row.loss for row in reader.scalars(stored(manager, run))]
    assert losses[-1] < losses[0]
    (table,) = [panel for panel in training_panels(run_info(run)) if panel.key == "table"]
    assert [view["channel"] for view in table.figure.data[0].meta["views"]] == ["weights/pairs", "gradients/pairs"]
    tables = {name: array for name, array in run.history.snapshot({}).arrays if name == "weights/pairs"}
    assert tables["weights/pairs"].shape[1] == run.corpus.vocab_size
    sample = run.sample("abc", 5, 1.0, None, 0)
    assert sample.text.startswith("abc") and len(sample.text) == 8

    fork = manager.fork(20, lr=0.05)
    fork.make_steps(10)
    wait_until(lambda: fork.step == 30 and fork.state is State.PAUSED, 60)
    assert losses_from(manager, fork)[:1] == losses[20:21], "the first batch after the fork meets the same weights"
    lines = [overview(home() / "runs" / one.id) for one in (run, fork)]
    assert differing(lines) == ["lr"]
    assert "n_layer" not in lines[0].settings and lines[0].settings["model"] == TRIGRAM
    assert set(fields_of("gpt")) - set(fields_of(TRIGRAM)) == {
        "n_layer",
        "n_head",
        "n_embd",
        "dropout",
        "tie_weights",
        "attention",
    }


def stored(manager: RunManager, run: Any) -> Any:
    manager.flush(run)
    return reader.open_run(run.id)


def losses_from(manager: RunManager, run: Any) -> list[float]:
    return [row.loss for row in reader.scalars(stored(manager, run)) if row.step > 20]


def test_an_added_model_on_the_command_line_resumes_bit_for_bit(
    trigram: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("abcde edcba bad cab deed ace " * 12, encoding="utf-8")

    def train(*words: str) -> dict[str, Any]:
        assert main([*words, "--json"]) == 0
        return dict(json.loads(capsys.readouterr().out.splitlines()[-1]))

    order = ("train", "--model", TRIGRAM, "--corpus", str(text), "--device", "cpu", "--lr", "0.05")
    whole = train(*order, "--max-steps", "40")
    half = train(*order, "--max-steps", "20")
    assert whole["parameters"] == 6**3
    again = train("resume", half["run"], "--max-steps", "40")
    assert (again["step"], again["train_loss"]) == (40, whole["train_loss"])


def test_an_added_model_on_the_page(trigram: None, house: RunManager, wait_until: Callable[..., None]) -> None:
    shell = Path(chart_pages.__file__).parent.parent / "shell.py"
    page = AppTest.from_file(str(shell), default_timeout=60)
    page.session_state["engine_room"] = True
    for name, value in {"model": TRIGRAM, "max_steps": "5", "device": "cpu", "speed": "unlimited"}.items():
        page.query_params[name] = value
    page.run()
    (model,) = [box for box in page.selectbox if (box.key or "").startswith("model-")]
    assert model.value == TRIGRAM
    (play,) = [button for button in page.button if button.key == "play"]
    play.click().run()
    assert not page.exception
    wait_until(lambda: house.current is not None and house.current.state is State.DONE, 60)
    for name in ("inside.py", "embeddings.py", "step.py", "compare.py"):
        page.switch_page(name).run()
        assert not page.exception, name


def test_a_chart_is_added_in_python_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def accuracy(info: RunInfo) -> Panel:
        figure = step_chart("share")
        figure.add_scatter(meta={"channel": "accuracy"})
        return Panel(key="accuracy", title="Accuracy", help="More is better.", area="right", figure=figure)

    panels = {**chart_pages.PANELS, "train": lambda info: [*training_panels(info), accuracy(info)]}
    monkeypatch.setattr(chart_pages, "PANELS", panels)
    info = RunInfo("r", "a run", Bigram, tuple("ab"), None, ("token_embedding",))
    shown = [panel.as_json() for panel in chart_pages.PANELS["train"](info)]
    assert shown[-1]["key"] == "accuracy" and shown[-1]["figure"]["data"][0]["meta"] == {"channel": "accuracy"}


def test_a_probe_comes_with_its_gauge(monkeypatch: pytest.MonkeyPatch, tiny: Corpus) -> None:
    monkeypatch.setattr(probes, "QUANTITIES", {})
    monkeypatch.setattr("pages.charts.training.QUANTITIES", probes.QUANTITIES)

    @probes.quantity("Largest weight", "as it is")
    def largest_weight(model: Model) -> float:
        """The largest absolute value of any weight. Healthy is a slow growth that ends."""
        return max(float(p.detach().abs().max()) for p in model.parameters())

    records: list[Record] = []
    start = preset("bigram")
    trainer = Trainer(changed(start.config, observe_every=1), start.settings, tiny, records.append)
    for _ in range(2):
        trainer.advance()
    seen = [r.scalars["largest_weight"] for r in records if isinstance(r, Observation) and "update_ratio" in r.scalars]
    assert seen[-1] == largest_weight(trainer.model) and len(seen) == 2
    info = RunInfo("r", "a run", Bigram, tiny.tokenizer.vocab, None, ("token_embedding",))
    (gauge,) = [panel for panel in training_panels(info) if panel.key == "largest_weight"]
    assert gauge.help.startswith("The largest absolute value") and gauge.figure is not None
    assert gauge.figure.data[0].meta == {"channel": "largest_weight"}
