"""What a panel of the live board is: a figure whose traces name the channels that feed them.

The figures carry no data: the board in the browser feeds them from the socket. A new chart is a function that returns
a `Panel`, listed for its page in `pages.charts.pages`.

A trace says in `meta` what feeds it:

- `channel`: the name of the scalar channel that it draws ("train/loss").
  With ":nan" behind it: where that channel is no finite number, at the height of the value before.
- `only`: "lowest" draws the lowest point of the channel alone, "planned" the learning rates that are still to come.
- `smooth`: draw the moving average instead of the values; the panel then has a smoothing slider.
- `run`: "previous" draws the run before this one (the ghost), until somebody dismisses it.
- `group`: traces of one group share one entry in the legend, a strip from the first colour to the last.
- `views`: for a heatmap, a list of {"name", "bar", "channel", "scale", "rows"}: bar is the colour bar's title, scale
  "signed" (centred on 0) or "probability" (0 to 1), rows "softmax" where each row becomes probabilities first.

A layout says in `meta`:

- `above`: the channel that the axis above the chart counts, at the steps of the axis below.
- `events`: True marks every event with a vertical line; "text" also writes what happened.
- `tokens`: the axes of a table that count tokens ("y" or "xy"); the board labels them.

Colours are those of the dark stage. The board replaces each by its twin when the page is light.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import plotly.graph_objects as go

from engine.config import RunConfig
from engine.models import registry
from engine.models.base import Feature, Model
from engine.text.baselines import Baselines

Area = Literal["main", "left", "right", "side", "foot"]
Kind = Literal["plot", "samples", "plane", "scatter", "lane-table", "lane-samples"]

OWN_UNIT = "in the run's own unit"


def unit_of(config: RunConfig | None) -> str:
    """What the losses of a run are measured in; a recorded run has no configuration."""
    return OWN_UNIT if config is None else registry.find(config.model).loss_unit


@dataclass(frozen=True)
class RunInfo:
    """What a run's charts depend on."""

    run: str
    title: str
    model: type[Model] | None
    """None of a run that was recorded from somebody's own loop."""
    tokens: tuple[str, ...]
    baselines: Baselines | None
    layers: tuple[str, ...]
    epochs: int | None = None
    points: tuple[tuple[float, float], ...] = ()
    """What a line learns from."""
    former: str | None = None
    """The title of the text that a fine-tuned model learnt before."""
    channels: tuple[str, ...] = ()
    """The names of what a recorded run has to show."""
    lanes: tuple[str, ...] = ()
    """The names of a race's lanes."""
    forked: bool = False
    """Does the race begin at a fork of another run?"""
    scheduled: bool = False
    """Does its learning rate follow a schedule?"""

    def has(self, feature: Feature) -> bool:
        """Has the run's model this feature? Of a recorded run's model nothing is known."""
        return self.model is not None and feature in self.model.features


@dataclass(frozen=True)
class Panel:
    """One place on the stage: a figure or the samples, with a title and two sentences of help.

    `area` is where it goes: "main" (wide, on top), "side" (beside it), "left", "right" and "foot" (below). On Train
    there may be any number of them: each gets a place of its own, and no place stays empty (`places.js`).
    """

    key: str
    title: str
    help: str
    area: Area
    kind: Kind = "plot"
    figure: go.Figure | None = None
    shaded: bool = True
    """Of samples: does a character's shade say how likely it was?"""
    engine_room: bool = False
    """Is it shown in the engine room only, and not on the beginner's stage?"""

    def as_json(self) -> dict[str, Any]:
        """What `/panels` sends of it: plain JSON values."""
        figure = json.loads(self.figure.to_json()) if self.figure is not None else None
        return {
            "key": self.key,
            "title": self.title,
            "help": self.help,
            "area": self.area,
            "kind": self.kind,
            "figure": figure,
            "shaded": self.shaded,
            "engine_room": self.engine_room,
        }
