"""The room against the model: each phone gives the next character, and the room's belief has a figure of its own."""

from __future__ import annotations

import html
from collections.abc import Callable

import streamlit as st

from engine.errors import InputError
from engine.lessons.game.passage import Passage, choose_passage, counted_figures, overtakes
from engine.lessons.game.shannon import mean
from engine.lessons.game.together import SECONDS, Together, room_game
from engine.lessons.under_way import lesson_under_way
from engine.runs.run import Run
from pages.charts import static
from pages.charts.pictures.game import game_figure
from pages.server import room
from pages.views.lessons.game import STYLE, corpus_of, figures_of, run_with_text
from pages.widgets import notices

RULES = (
    "Everybody who watches gives one character: **which one comes next?** The room's belief is how its votes fall, and "
    "its surprise at the right character is a loss like the model's, in nats."
)
HELP = (
    "Lower is better: fewer surprises per character. The dashed line is the room: at each place −ln of the share that "
    "its votes gave to the right character, smoothed a little, so that nobody pays without end. The curve is the model "
    "with the weights of each stored moment, asked for the same characters."
)


def room_game_block() -> None:
    """The whole game, for whoever presents."""
    game, run = room_game(), run_with_text()
    st.html(STYLE)
    st.markdown(RULES)
    if game.passage is not None:
        st.html(f'<p class="ls-passage"><span class="lead">{html.escape(game.known)}</span></p>')
    with st.container(horizontal=True, vertical_alignment="center"):
        _verbs(game, run)
    if game.open:
        _answers(game)
    elif game.votes and not game.done:
        st.text(f"After place {len(game.votes)} the room is at {game.loss:.2f} nats per character.")
    if game.votes and not game.open:
        _outcome(game, run)
    if room.configured() is None:
        st.caption("The room is closed: only this computer can answer, on /watch. LOOPSCOPE_ROOM=1 opens it.")


@st.fragment(run_every=1.0)
def _answers(game: Together) -> None:
    """How many have answered, until the place closes."""
    if game.late:
        _try(game.close)
    if not game.open:
        st.rerun()
    count = game.room.poll.count if game.room.poll is not None else 0
    st.text(f"{count:,} have answered. A place stays open for {SECONDS:.0f} seconds.")


def _verbs(game: Together, run: Run | None) -> None:
    if game.open:
        st.button("Close and show it", key="room_close", type="primary", on_click=_try, args=(game.close,))
    elif game.passage is not None and not game.done and game.asks:
        st.button("Next character", key="room_next", type="primary", on_click=_try, args=(game.next,))
    st.button(
        "Begin" if game.passage is None else "Another passage",
        key="room_begin",
        type="primary" if game.passage is None else "secondary",
        on_click=_begin,
        args=(run,),
    )
    if game.asks:
        st.button("Take the question away", key="room_end", on_click=game.end)


def _begin(run: Run | None) -> None:
    lesson_under_way().leave()  # one question stands before the room
    st.session_state.room_seed = st.session_state.get("room_seed", 100) + 1
    _try(lambda: room_game().begin(choose_passage(corpus_of(run), st.session_state.room_seed)))


def _try(act: Callable[[], None]) -> None:
    try:
        act()
    except InputError as error:
        notices.add(str(error))


def _outcome(game: Together, run: Run | None) -> None:
    assert game.passage is not None
    played = Passage(game.passage.corpus, game.passage.first, len(game.votes))
    counts = counted_figures(played)
    counted = {"guessing": mean(counts.guessing), "letters": mean(counts.letters), "pairs": mean(counts.pairs)}
    figures = figures_of(run, played) if run is not None else []
    if figures is None:
        return
    figure = game_figure(game.loss, None, counted, figures, "the room")
    static.show(figure, "room_chart", "The room and the model, on the same characters", HELP, height=380)
    if figures:
        step, last = overtakes(figures, game.loss), figures[-1]
        ahead = "The room is ahead at each stored moment."
        told = ahead if step is None else f"It overtakes the room at step {step:,}."
        st.text(f"The model is at {last.loss:.2f} after {last.step:,} steps. {told}")
