"""The canvas: nine stages side by side, with one token's number and a small picture in each, and its sentence below."""

from __future__ import annotations

import base64
import html
import math
import string
from collections.abc import Iterable

import streamlit as st

from engine.lessons.whole_step import Followed
from engine.training.trainer import STAGES
from pages.charts.palette import colours
from pages.charts.static import theme
from pages.views.shared.inspected_step import InspectedStep, show_stage
from pages.views.step.stages.shared import choose_place, place_of
from pages.views.step.story import Card, Picture, number, tell, token

WIDTH, HEIGHT = 120, 56
MOST_BARS = 60
AROUND = 12
"""Tokens on either side of the one that is followed."""
SHOWN_STYLE = (
    ".st-key-rail > div:has(> .st-key-rail_NAME) "
    "{ outline: 2px solid var(--st-primary-color, #4C9BD0); outline-offset: 2px; }"
)
PLACE_STYLE = ".st-key-place_AT button { border-color: currentColor; font-weight: 700; }"
STYLE = """<style>
.st-key-rail { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.2rem, 1fr)); gap: 8px 6px; }
.st-key-rail > div { width: 100%; position: relative; border-radius: 8px;
  border: 1px solid var(--st-border-color, #88888855); background: var(--st-secondary-background-color, transparent); }
.st-key-rail > div:not(:last-child)::after { content: "›"; position: absolute; right: -7px; top: 3.1rem; z-index: 1; }
[class*="st-key-rail_"] { gap: 0; }
[class*="st-key-stage_"] button { padding: 0.2rem 0.3rem; min-height: 2.2rem; border-radius: 7px 7px 0 0; }
.ls-card { padding: 4px 6px 8px; text-align: center; font-size: 0.9rem; line-height: 1.3; overflow-wrap: anywhere; }
.ls-card span { display: block; min-height: 2.6em; }
.ls-card b { display: block; font-size: 1rem; font-variant-numeric: tabular-nums; }
.ls-card img { display: block; width: 100%; height: 56px; margin-top: 4px; }
.ls-told { font-size: 1.2rem; line-height: 1.45; max-width: 70rem; min-height: 2.9em; margin: 0; }
[class*="st-key-place_"] button { min-height: 2rem; min-width: 2rem; padding: 0 0.3rem; font-family: monospace; }
.st-key-places { row-gap: 4px; }
</style>"""


def canvas(shown: InspectedStep) -> None:
    """Choose a place of the batch, and see what the step makes of it."""
    row, position = place_of(shown)
    found = shown.copy.whole.follow(row, position)
    story = tell(shown, found)
    st.html(STYLE)
    places(shown, row, position)
    with st.container(key="rail"):
        for at, (name, card) in enumerate(zip(STAGES, story.cards, strict=True)):
            with st.container(key=f"rail_{name}"):
                st.button(
                    f"{at + 1} {name}",
                    key=f"stage_{name}",
                    type="primary" if at == shown.done - 1 else "secondary",
                    width="stretch",
                    on_click=show_stage,
                    args=(at + 1,),
                )
                st.html(card_html(shown, found, card))
    if shown.stage:
        st.html(f"<style>{SHOWN_STYLE.replace('NAME', shown.stage)}</style>")
    st.subheader(f"{shown.done} {shown.stage}" if shown.stage else "Before the step")
    st.html(f'<p class="ls-told">{html.escape(story.sentences[shown.done])}</p>')


def places(shown: InspectedStep, row: int, position: int) -> None:
    """The tokens of a window, or the examples, each a button that has it followed."""
    inputs, targets = shown.copy.whole.inputs, shown.copy.whole.targets
    rows, columns = targets.shape
    st.html(f"<style>{PLACE_STYLE.replace('AT', f'{row}_{position}')}</style>")
    with st.container(horizontal=True, gap="xxsmall", key="places", vertical_alignment="center"):
        st.text("Follow", width="content")
        if shown.is_text:
            for at in range(max(0, position - AROUND), min(columns, position + AROUND + 1)):
                label = token(shown, int(inputs[row, at]))
                place_button(shown, label, row, at)
            if rows > 1:
                st.button(
                    "Another window",
                    key="another_window",
                    on_click=choose_place,
                    args=(shown, (row + 1) % rows, position),
                    help=f"The batch has {rows:,} windows of the text; this is number {row + 1:,}.",
                )
        else:
            for at in range(rows):
                given = ", ".join(number(x) for x in inputs[at].tolist())
                for k in range(columns):
                    wanted = number(float(targets[at, k]))
                    place_button(shown, f"{given} → {wanted}" + (f" ({k + 1})" if columns > 1 else ""), at, k)


def place_button(shown: InspectedStep, label: str, row: int, position: int) -> None:
    """One place of the batch. Its label is shown literally."""
    st.button(
        literal_markdown(label), key=f"place_{row}_{position}", on_click=choose_place, args=(shown, row, position)
    )


def literal_markdown(text: str) -> str:
    """Text for a button, which would read it as Markdown."""
    return "".join(f"\\{sign}" if sign in string.punctuation else sign for sign in text)


def card_html(shown: InspectedStep, found: Followed, card: Card) -> str:
    """A card's two lines and its picture."""
    picture = draw(shown, found, card.picture) or _svg(())
    image = f'<img alt="" src="data:image/svg+xml;base64,{base64.b64encode(picture.encode()).decode()}">'
    words = f"<span>{html.escape(card.label)}</span><b>{html.escape(card.value)}</b>"
    return f'<div class="ls-card">{words}{image}</div>'


# ---------------------------------------------------------------- small pictures


def draw(shown: InspectedStep, found: Followed, picture: Picture) -> str:
    """The picture of a card as SVG, in the colours of the theme; empty where there is none to draw."""
    ink = colours(theme())
    if picture == "scores":
        return _scores(shown, found, ink)
    if picture == "surprise" and found.probability is not None and math.isfinite(found.surprise):
        return _surprise(found, ink)
    if picture == "slope" and math.isfinite(found.slope):
        return _slope(found, ink)
    if picture == "move" and math.isfinite(found.after):
        return _move(found.after - found.before, ink)
    if picture == "change":
        return _change(found, ink)
    if picture == "go on" or picture == "stop":
        return _verdict(picture == "go on", ink)
    return ""


def _svg(parts: Iterable[str]) -> str:
    start = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">'
    return f"{start}{''.join(parts)}</svg>"


def _scores(shown: InspectedStep, found: Followed, ink: dict[str, str]) -> str:
    """The chance of each token; the right one's bar is green."""
    whole = shown.copy.whole
    right = int(whole.targets[found.row, found.position])
    chances = whole.outputs[found.row, found.position].softmax(-1).tolist()
    if not all(map(math.isfinite, chances)):
        return ""
    order = sorted(range(len(chances)), key=lambda i: (i != right, -chances[i]))[:MOST_BARS]
    order.sort()
    wide, most = WIDTH / len(order), max(chances)
    bars = []
    for place, one in enumerate(order):
        high = max(6.0 if one == right else 1.0, (HEIGHT - 4) * chances[one] / most)  # the right one is always seen
        wider = max(wide * 0.8, 4.0 if one == right else 0.0)
        colour = ink["good" if one == right else "train"]
        bars.append(
            f'<rect x="{place * wide:.1f}" y="{HEIGHT - high:.1f}" width="{wider:.1f}" height="{high:.1f}" '
            f'fill="{colour}"/>'
        )
    return _svg(bars)


def _surprise(found: Followed, ink: dict[str, str]) -> str:
    """−ln p from p = 0 to 1, and the place on it."""
    top = max(5.0, found.surprise)

    def at(surprise: float) -> str:
        return f"{6 + (WIDTH - 12) * math.exp(-surprise):.1f},{6 + (HEIGHT - 12) * (1 - surprise / top):.1f}"

    curve = " ".join(at(top * i / 60) for i in range(61))
    x, y = at(found.surprise).split(",")
    return _svg(
        [
            f'<polyline points="{curve}" fill="none" stroke="{ink["baseline"]}" stroke-width="2"/>',
            f'<circle cx="{x}" cy="{y}" r="5" fill="{ink["validation"]}"/>',
        ]
    )


def _slope(found: Followed, ink: dict[str, str]) -> str:
    """A line that rises or falls as the loss does when the weight grows."""
    rise = 0 if found.slope == 0 else math.copysign(HEIGHT * 0.3, found.slope)
    middle = HEIGHT / 2
    return _svg(
        [
            f'<line x1="14" y1="{middle + rise}" x2="{WIDTH - 14}" y2="{middle - rise}" stroke="{ink["event"]}" '
            'stroke-width="3"/>',
            f'<circle cx="{WIDTH / 2}" cy="{middle}" r="5" fill="{ink["text"]}"/>',
        ]
    )


def _move(move: float, ink: dict[str, str]) -> str:
    """The weight on its axis, and an arrow where it goes."""
    middle, y = WIDTH / 2, HEIGHT / 2
    axis = f'<line x1="8" y1="{y}" x2="{WIDTH - 8}" y2="{y}" stroke="{ink["grid"]}" stroke-width="2"/>'
    dot = f'<circle cx="{middle}" cy="{y}" r="5" fill="{ink["text"]}"/>'
    if move == 0:
        return _svg([axis, dot])
    way = 1 if move > 0 else -1
    end = middle + way * 42
    return _svg(
        [
            axis,
            f'<line x1="{middle}" y1="{y}" x2="{end - way * 8}" y2="{y}" stroke="{ink["good"]}" stroke-width="4"/>',
            f'<polygon points="{end},{y} {end - way * 12},{y - 8} {end - way * 12},{y + 8}" fill="{ink["good"]}"/>',
            dot,
        ]
    )


def _verdict(good: bool, ink: dict[str, str]) -> str:
    """A tick, or a cross."""
    points, colour = ("42,30 54,42 80,14", "good") if good else ("44,12 60,28 76,44 60,28 76,12 60,28 44,44", "error")
    return _svg([f'<polyline points="{points}" fill="none" stroke="{ink[colour]}" stroke-width="6"/>'])


def _change(found: Followed, ink: dict[str, str]) -> str:
    """Two bars, before and after; their difference is drawn larger than it is, so that it can be seen."""
    before, after = found.probability, found.new_probability
    if before is None or after is None:
        before, after = -found.surprise, -found.new_surprise
    if not (math.isfinite(before) and math.isfinite(after)):
        return ""
    low, high = HEIGHT * 0.5, HEIGHT * 0.5 + math.copysign(HEIGHT * 0.25, after - before) * (after != before)
    return _svg(
        f'<rect x="{x}" y="{HEIGHT - tall}" width="30" height="{tall}" fill="{ink[colour]}"/>'
        for x, tall, colour in ((24, low, "baseline"), (66, high, "good"))
    )
