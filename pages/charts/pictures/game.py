"""The picture of a guessing game: a person's bounds, and the model's figure at each of its stored moments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from engine.lessons.game.passage import StoredFigure
from engine.lessons.game.shannon import Bounds
from pages.charts import static
from pages.charts.palette import BASELINE, EVENT, FIGURE_FONT, TRAIN

ROOM = 0.08


def game_figure(
    yours: float,
    bounds: Bounds | None,
    counted: Mapping[str, float],
    figures: Sequence[StoredFigure],
    who: str = "you",
) -> go.Figure:
    """Nats per character: the figure of a person or a room, what counting reaches, by name, and the model by step.

    Shannon's `bounds` are a band, where there were guesses enough for them.
    """
    figure = static.plane("steps of training", "nats per character on this passage")
    last = max([one.step for one in figures] or [1])
    right = math.log10(1 + last)
    if bounds is not None:
        figure.add_hrect(y0=bounds.lower, y1=bounds.upper, fillcolor=EVENT, opacity=0.18, line_width=0)
        figure.add_annotation(
            x=0.99,
            xref="paper",
            xanchor="right",
            y=(bounds.lower + bounds.upper) / 2,
            text=f"Shannon's bounds of you {bounds.lower:.2f} to {bounds.upper:.2f}",
            showarrow=False,
            font={"color": EVENT, "size": FIGURE_FONT},
        )
    figure.add_hline(y=yours, line={"color": EVENT, "dash": "dash", "width": 3}, **_words(f"{who} {yours:.2f}", EVENT))
    for name, height in counted.items():
        line = {"color": BASELINE, "dash": "dash", "width": 1.5}
        figure.add_hline(y=height, line=line, **_words(f"{name} {height:.2f}", BASELINE))
    figure.add_scatter(
        name="the model",
        x=[math.log10(1 + one.step) for one in figures],  # so that step 0 has a place
        y=[one.loss for one in figures],
        mode="lines+markers",
        line={"color": TRAIN, "width": 3},
        marker={"size": 9, "color": TRAIN},
        customdata=[one.step for one in figures],
        hovertemplate="step %{customdata:,}<br>%{y:.3f}<extra></extra>",
    )
    ticks = [0, *(10**power for power in range(12) if 10**power <= last)]
    figure.update_xaxes(
        range=[-0.05 * right - 0.05, right * 1.05 + 0.05],
        tickmode="array",
        tickvals=[math.log10(1 + tick) for tick in ticks],
        ticktext=[f"{tick:,}" for tick in ticks],
    )
    heights = [yours, *(bounds or ()), *counted.values(), *(one.loss for one in figures)]
    room = ROOM * (max(heights) - min(heights) or 1)
    figure.update_yaxes(range=[max(0.0, min(heights) - room), max(heights) + 2 * room])
    return figure.update_layout(showlegend=False)


def _words(text: str, colour: str) -> dict[str, object]:
    return {
        "annotation": {"text": text, "font": {"color": colour, "size": FIGURE_FONT}},
        "annotation_position": "top left",
    }
