"""The thirteen questions of document 003: one at a time, answered with the current model."""

from __future__ import annotations

import streamlit as st

from engine.errors import InputError
from engine.lessons.questions import QUESTIONS, QuestionContext
from engine.lessons.questions.question import Answer
from engine.progress import Report
from pages.charts import static
from pages.views.inside.inspected_model import InspectedModel
from pages.widgets import waiting

DOCUMENT = {
    "answered": "The document answers it in its own way.",
    "left open": "The document leaves it open.",
    "begun": "The document begins an answer.",
}


def show(look: InspectedModel) -> None:
    """The list at the left, the answer to the chosen one beside it."""
    found = look.text()
    if found is None:
        return
    left, right = st.columns([2, 3], gap="large")
    with left:
        chosen = st.radio(
            "Questions that document 003 asks itself",
            range(len(QUESTIONS)),
            format_func=lambda i: f"{i + 1}. {QUESTIONS[i].words}",
            key="inside_question",
            persist_state="session",
        )
    question = QUESTIONS[chosen or 0]
    with right:
        key = look.key, look.settings.batch_size, question.line

        def work(report: Report) -> Answer:
            return question.answer(QuestionContext.of(*found, look.config, look.settings, report))

        try:
            answer = waiting.result("answer", key, work)
        except InputError as error:
            st.text(str(error))
            return
        if answer is None:
            return
        static.heading(
            "The answer, on the current tensors",
            "The sentences and the table are computed from the weights of the step above and one batch of the training "
            "text. Refresh later, and the numbers have moved.",
        )
        st.markdown(answer.text)
        st.caption(f"Document 003, line {question.line}. {DOCUMENT[question.document]}")
        st.dataframe(
            [{"quantity": name, "value": format_value(value)} for name, value in answer.numbers.items()],
            hide_index=True,
            key="inside_numbers",
        )


def format_value(value: float | int | str) -> str:
    """A value as people read it; blanks are visible."""
    if isinstance(value, str):
        return static.visible(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
