"""What the charts of a run depend on (`RunInfo`), read from a run, a race, a recorded run or the shipped example."""

from __future__ import annotations

from functools import lru_cache

import orjson

from engine.models import registry
from engine.paths import SHIPPED_FOLDER
from engine.runs.races.race import Race
from engine.runs.run import Run
from engine.text.baselines import Baselines
from engine.text.corpus import Corpus
from engine.text.points import read_points
from engine.tracking.external_run import ExternalRun
from engine.training.schedule import is_constant
from pages.charts.panel import RunInfo

EXAMPLE = SHIPPED_FOLDER / "example.frame"
EXAMPLE_RUN = "example"


def run_info(run: Run | Race | ExternalRun) -> RunInfo:
    """What the charts of a run depend on. Its model must be built, unless it was recorded."""
    if run.config is None:
        assert isinstance(run, ExternalRun)
        return RunInfo(run.id, run.title, None, (), None, run.layers, channels=run.channels)
    model = registry.find(run.config.model)
    former = run.dataset.former if isinstance(run.dataset, Corpus) else None
    return RunInfo(
        run.id,
        run.title,
        model,
        run.dataset.tokenizer.vocab if isinstance(run.dataset, Corpus) else (),
        run.baselines,
        run.layers,
        run.config.epochs,
        tuple(read_points(run.config.points)) if "plane" in model.features else (),
        None if former is None else former.title,
        lanes=run.names if isinstance(run, Race) else (),
        forked=isinstance(run, Race) and run.forked,
        scheduled=isinstance(run, Run) and not is_constant(run.settings),
    )


@lru_cache(maxsize=1)
def example_info() -> RunInfo:
    """What the charts of the shipped example depend on, from its header."""
    frame = EXAMPLE.read_bytes()
    header = orjson.loads(frame[4 : 4 + int.from_bytes(frame[:4], "little")])
    facts = header["facts"]
    return RunInfo(
        EXAMPLE_RUN,
        header["title"],
        registry.find(facts["model"]),
        tuple(facts["tokens"]),
        Baselines(**facts["baselines"]),
        tuple(facts["layers"]),
    )
