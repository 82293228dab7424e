"""The script that each session runs: the page's frame and the way between pages. Holds no state."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages.views.lessons.card import lesson_line

st.set_page_config(
    page_title="Loopscope",
    layout="wide",
    menu_items={"About": "Loopscope: watch a neural network learn, live."},
)
st.logo(Path(__file__).parent / "board" / "logo.svg", size="large")
PAGES = [
    st.Page("train.py", title="Train", default=True),
    st.Page("lessons.py", title="Lessons", url_path="lessons"),
    st.Page("step.py", title="Step", url_path="step"),
    st.Page("inside.py", title="Inside", url_path="inside"),
    st.Page("embeddings.py", title="Embeddings", url_path="embeddings"),
    st.Page("first_steps.py", title="First steps", url_path="first_steps"),
    st.Page("compare.py", title="Compare", url_path="compare"),
    st.Page("race.py", title="Race", url_path="race"),
    st.Page("data.py", title="Data", url_path="data"),
    st.Page("glossary.py", title="Glossary", url_path="glossary"),
]
page = st.navigation(PAGES, position="top")
st.html(f'<h1 class="ls-unseen">{page.title}</h1>')
lesson_line(page.title)
page.run()
