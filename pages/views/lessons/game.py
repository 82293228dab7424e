"""You against the model: guess a passage character by character, and see whose figure is lower, yours or the model's.

A session keeps the game of its person. The model is that of the run on the stage, at each moment that was stored of it.
"""

from __future__ import annotations

import html
import re

import streamlit as st

from engine.errors import InputError
from engine.lessons.game.alone import Alone, in_groups
from engine.lessons.game.passage import (
    Passage,
    StoredFigure,
    choose_passage,
    counted_figures,
    overtakes,
    stored_figures,
)
from engine.lessons.game.shannon import mean
from engine.presets import preset
from engine.progress import Report
from engine.runs.manager import run_manager
from engine.runs.run import Run
from engine.storage import reader
from engine.stream.status import State
from engine.text.corpus import Corpus
from pages.charts import static
from pages.charts.pictures.game import game_figure
from pages.widgets import notices, waiting

FEWEST = 10
"""Characters from which a game can be ended early: fewer say nothing."""
ENOUGH = 20
"""Characters from which Shannon's bounds are drawn."""
NAMES = {" ": "␣ blank", "\n": "↵ new line", "\t": "⇥ tab"}
MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$:<>&^])")
RULES = (
    "Here is a stretch of text that the model was never trained on. **Which character comes next?** Tap until you are "
    "right. How many taps each character takes says how well you know the language: Claude Shannon measured English "
    "that way in 1951."
)
HELP = (
    "Lower is better: fewer surprises per character. The dashed line is you: a first guess costs 0.69 nats, a second "
    "1.79, the i-th ln i(i + 1), prices that were fixed beforehand. The band is what Shannon's bounds make of your "
    "guesses, with prices taken from them. The curve is the model with the weights of each stored moment, asked for "
    "the same characters; healthy is one that comes down through guessing, letters and pairs."
)
STYLE = """<style>
.ls-passage { font-family: var(--st-code-font, monospace); font-size: 1.25rem; line-height: 1.5; white-space: pre-wrap;
  overflow-wrap: anywhere; margin: 0; }
.ls-passage .lead { opacity: 0.7; }
.ls-passage ruby { ruby-position: under; margin: 0 3px; }
.ls-passage rt { font-size: 0.62rem; opacity: 0.75; }
.ls-passage .open { border-bottom: 3px solid currentColor; padding: 0 0.35em; }
.st-key-game_keys button { min-width: 2.6rem; min-height: 2.6rem; justify-content: center; }
</style>"""


@st.fragment
def game() -> None:
    """The whole game, as a block that a page places."""
    run = run_with_text()
    try:
        now = _game(run)
    except InputError as error:
        st.text(str(error))
        return
    st.html(STYLE)
    st.markdown(RULES)
    _passage(now)
    if now.done or st.session_state.get("game_ended"):
        _outcome(now, run)
    else:
        _keys(now)
    st.button("Another passage", key="game_again", icon=":material/refresh:", on_click=_again)


def run_with_text() -> Run | None:
    """The run on the stage, if it learns from a text."""
    run = run_manager().current
    return run if run is not None and run.config.reads_text and run.state is not State.FAILED else None


def _game(run: Run | None) -> Alone:
    """This person's game; a new one where there is none, or another text is on the stage. InputError."""
    state, corpus = st.session_state, corpus_of(run)
    now: Alone | None = state.get("game")
    if now is None or now.passage.corpus.sha256 != corpus.sha256 or len(now.passage.corpus.val) != len(corpus.val):
        state.game_seed = state.get("game_seed", 0) + 1
        now = state.game = Alone(choose_passage(corpus, state.game_seed))
        state.game_ended = False
    return now


def corpus_of(run: Run | None) -> Corpus:
    """The text that the run learns from, else the one that a bigram would."""
    if run is not None and isinstance(run.dataset, Corpus):
        return run.dataset
    return run_manager().datasets.load_corpus(preset("bigram").config)


def _again() -> None:
    st.session_state.pop("game", None)


def _end() -> None:
    st.session_state.game_ended = True


# ---------------------------------------------------------------- the guessing


def _passage(now: Alone) -> None:
    """The text so far; under each character the taps that it took."""
    known = now.passage.hidden[: len(now.ranks)]
    shown = "".join(
        f"<ruby>{html.escape(static.visible(one))}<rt>{rank}</rt></ruby>"
        for one, rank in zip(known, now.ranks, strict=True)
    )
    hidden = "" if now.done else '<span class="open">?</span>'
    st.html(f'<p class="ls-passage"><span class="lead">{html.escape(now.passage.lead)}</span>{shown}{hidden}</p>')


def _keys(now: Alone) -> None:
    """The characters that are left, one tap each."""
    place = len(now.ranks)
    key = f"game_tap-{st.session_state.game_seed}-{place}-{len(now.tried)}"

    def tap() -> None:
        character = st.session_state.get(key)
        if character is None or key != f"game_tap-{st.session_state.game_seed}-{len(now.ranks)}-{len(now.tried)}":
            return  # a tap that came late
        try:
            now.guess(character)
        except InputError as error:
            notices.add(str(error))

    tried = " ".join(static.visible(one) for one in now.tried)
    with st.container(key="game_keys"):
        st.pills(
            f"character {place + 1} of {now.passage.count}",
            [one for one in in_groups(now.passage.alphabet) if one in now.left],
            key=key,
            format_func=_label,
            on_change=tap,
        )
    st.text(f"Not: {tried}" if tried else "Tap the character that you think comes next.")
    with st.container(horizontal=True):
        st.button("Show me this one", key="game_show", on_click=now.show, help="It counts as the last of all guesses.")
        if place >= FEWEST:
            st.button("Enough: compare us now", key="game_end", type="primary", on_click=_end)


def _label(character: str) -> str:
    """A character on its key, shown literally."""
    return NAMES.get(character) or MARKUP.sub(r"\\\1", static.visible(character))


# ---------------------------------------------------------------- the outcome


def _outcome(now: Alone, run: Run | None) -> None:
    """Both figures on the characters that were guessed: the bounds, the model's curve, and who is ahead since when."""
    played = Passage(now.passage.corpus, now.passage.first, len(now.ranks))
    bounds = now.bounds if len(now.ranks) >= ENOUGH else None
    counts = counted_figures(played)
    counted = {"guessing": mean(counts.guessing), "letters": mean(counts.letters), "pairs": mean(counts.pairs)}
    figures = figures_of(run, played) if run is not None else []
    if figures is None:
        return
    static.show(
        game_figure(now.loss, bounds, counted, figures),
        "game_chart",
        "You and the model, on the same characters",
        HELP,
        height=400,
        picture="you-against-the-model",
    )
    st.text(told(now, figures))


def figures_of(run: Run, passage: Passage) -> list[StoredFigure] | None:
    """The model at each stored moment, and as it is now; None while it is being asked."""
    house = run_manager()

    def work(report: Report) -> list[StoredFigure]:
        house.flush(run)
        return list(stored_figures(reader.open_run(run.id), passage, report))

    try:
        return waiting.result("game", (run.id, run.state, passage.first, passage.count), work)
    except InputError as error:
        st.text(f"The model cannot be asked: {error}")
        return []


def told(now: Alone, figures: list[StoredFigure]) -> str:
    """The outcome in sentences."""
    count, bounds = len(now.ranks), now.bounds
    first = sum(rank == 1 for rank in now.ranks)
    words = [f"You guessed {first} of {count} characters at the first tap: {now.loss:.2f} nats per character."]
    if now.told:
        words.append(f"{now.told} that you had shown count as guessed last.")
    if count >= ENOUGH:
        words.append(
            f"By Shannon's bounds your entropy lies between {bounds.lower:.2f} and {bounds.upper:.2f}; {count} "
            "characters make them low and rough."
        )
    if not figures:
        return " ".join([*words, "There is no model to compare with yet: start one on Train, then come back."])
    step, last = overtakes(figures, now.loss), figures[-1]
    words.append(f"The model is at {last.loss:.2f} after {last.step:,} steps.")
    words.append(
        "You are ahead of it at each of its stored moments."
        if step is None
        else f"It overtakes you at step {step:,}, the first stored moment at which it is lower."
    )
    return " ".join(words)
