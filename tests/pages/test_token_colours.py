"""A text coloured by its tokens: all of it, literally, and nothing of it as markup."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from engine.text.tokenizer import CharTokenizer
from pages.views.data.token_colours import markup


class Reader(HTMLParser):
    """What a browser makes of a piece of HTML: the elements, and the text in them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert {name for name, _ in attrs} <= {"class", "title"}

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\t\r\0⏎⇥"), min_size=1, max_size=80))
def test_the_text_is_shown_literally(text: str) -> None:
    tokenizer = CharTokenizer.of(text)
    shown = read(markup(tokenizer.encode(text).tolist(), tokenizer))
    assert "".join(shown.words) == text
    assert shown.tags == ["div"] + ["span"] * len(text)


def test_markup_in_a_text_stays_text() -> None:
    text = '<script>alert("1")</script> & <b onclick=x>'
    tokenizer = CharTokenizer.of(text)
    shown = read(markup(tokenizer.encode(text).tolist(), tokenizer))
    assert set(shown.tags) == {"div", "span"}
    assert "".join(shown.words) == text


def test_line_ends_can_be_seen() -> None:
    tokenizer = CharTokenizer.of("a\n\tb")
    assert "".join(read(markup([*tokenizer.encode("a\n\tb")], tokenizer)).words) == "a⏎\n⇥\tb"
