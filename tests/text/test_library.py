"""The list of texts: names, recognized files, uploads, and what never becomes a path."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import DEFAULT_CORPUS
from engine.errors import InputError
from engine.paths import SHIPPED_FOLDER
from engine.text import decoding
from engine.text.baselines import Baselines
from engine.text.corpus import Corpus
from engine.text.download import PINNED_TEXTS, PinnedFile
from engine.text.drop_folder import DropFolder
from engine.text.library import Library, TextEntry, slug

POEM = b"a short poem\nthat can be fetched\n"
KNOWN_POEM = PinnedFile(
    "short-poem", "Short Poem", "http://127.0.0.1:9/poem.txt", len(POEM), len(POEM),
    hashlib.sha256(POEM).hexdigest(), "a poet", "public domain",
)  # fmt: skip


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """A library with an empty home; the poem is the one text that it knows by its hash."""
    return Library(tmp_path / "home", known=[KNOWN_POEM])


def drop(library: Library, name: str, content: bytes) -> Path:
    library.folder.path.mkdir(parents=True, exist_ok=True)
    path = library.folder.path / name
    path.write_bytes(content)
    return path


def by_name(library: Library) -> dict[str, TextEntry]:
    entries = library.entries()
    assert len({entry.name for entry in entries}) == len(entries)
    return {entry.name: entry for entry in entries}


# What comes with the project


def test_an_empty_home_has_the_shipped_texts_and_writes_nothing(library: Library, tmp_path: Path) -> None:
    kinds = {entry.name: entry.kind for entry in library.entries()}
    assert kinds == {
        "lamplighters": "shipped",
        "ferry-notebook": "shipped",
        "python-docs": "found",
        "short-poem": "fetchable",
    }
    assert list(tmp_path.iterdir()) == []


def test_the_shipped_texts_have_the_promised_lengths(library: Library) -> None:
    entries = by_name(library)
    assert entries[DEFAULT_CORPUS].characters >= 60_000
    assert 6_000 <= entries["ferry-notebook"].characters <= 10_000
    for name in (DEFAULT_CORPUS, "ferry-notebook", "python-docs"):
        text, entry = library.load_name(name)
        assert entry == entries[name]
        assert len(text) == entry.characters
        assert entry.source
        assert entry.licence
        assert entry.ready


def test_the_readme_of_the_texts_tells_their_true_counts(library: Library) -> None:
    readme = (SHIPPED_FOLDER / "README.md").read_text(encoding="utf-8")
    for name in ("lamplighters", "ferry-notebook"):
        text, entry = library.load_name(name)
        ladder = Baselines.of(Corpus.of(text))
        counts = (len(text), len(set(text)), len(text.splitlines()), len(text.split()))
        assert " | ".join(f"{count:,}" for count in counts) in readme
        assert f"{entry.sha256}  {name}.txt" in readme
        rungs = " | ".join(f"{rung:.3f}" for rung in (ladder.uniform, ladder.unigram, ladder.bigram))
        assert f"`{name}` | {rungs} | {ladder.pairs} |" in readme


def test_the_python_documentation_is_one_text(library: Library) -> None:
    text, entry = library.load_name("python-docs")
    assert 'The "assert" statement' in text
    assert entry.path is None
    assert entry.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert "Python" in entry.source


def test_the_texts_that_can_be_fetched_are_pinned() -> None:
    assert {known.name for known in PINNED_TEXTS} == {"tiny-shakespeare", "names", "the-verdict"}
    for known in PINNED_TEXTS:
        assert len(known.sha256) == 64
        assert known.url.startswith("https://raw.githubusercontent.com/")


# Names


@pytest.mark.parametrize(
    "name", ["short-poem", "Short Poem", "short_poem", "SHORTPOEM", " short  poem ", "short-poem.txt"]
)
def test_names_are_taken_leniently(library: Library, name: str) -> None:
    assert library.entry(name).name == "short-poem"


@pytest.mark.parametrize("name", ["shortpoems", "", "..", "/", "-", "text"])
def test_a_wrong_name_is_answered_with_the_right_ones(library: Library, name: str) -> None:
    with pytest.raises(InputError) as error:
        library.load_name(name)
    assert str(error.value) == (
        f"there is no corpus {name!r}; choose one of lamplighters, ferry-notebook, python-docs, short-poem"
    )


def test_a_name_is_never_a_path(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.chdir(tmp_path)
    for name in (str(tmp_path / "secret.txt"), "secret.txt", "../secret.txt", "./secret.txt", "..\\secret.txt"):
        with pytest.raises(InputError, match="there is no corpus"):
            library.load_name(name)


@given(st.text(max_size=60))
def test_a_slug_holds_letters_digits_and_hyphens_and_stays_itself(name: str) -> None:
    made = slug(name)
    assert slug(made) == made
    assert not set(made) & set('/\\.:*?"<>|%&=#$[]() \n\t\0')
    assert made == made.strip("-")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("My  Text_2", "my-text-2"),
        ("Gedichte über Katzen", "gedichte-über-katzen"),
        ("हिन्दी", "हिन्दी"),
        ("吾輩は猫である", "吾輩は猫である"),
        ("../../app", "app"),
        ("<img src=x onerror=alert(1)>", "img-src-x-onerror-alert-1"),
        ("🙂", ""),
        ("\udcff", ""),
    ],
)
def test_slugs(name: str, expected: str) -> None:
    assert slug(name) == expected


# Dropped files


def test_a_dropped_file_is_listed_and_loaded(library: Library) -> None:
    path = drop(library, "My Notes.txt", b"\xef\xbb\xbfone\r\ntwo")
    text, entry = library.load_name("my notes")
    assert text == "one\ntwo"
    assert (entry.name, entry.title, entry.kind, entry.path) == ("my-notes", "my notes", "dropped", path)
    assert (entry.bytes, entry.characters) == (11, 7)


def test_a_dropped_file_that_is_known_gets_its_known_name(library: Library) -> None:
    drop(library, "download (3).txt", POEM)
    drop(library, "a copy of it.txt", POEM)
    entries = by_name(library)
    assert entries["short-poem"].kind == "dropped"
    assert entries["short-poem"].title == "Short Poem"
    assert "download-3" not in entries
    assert library.load_name("short poem")[0] == POEM.decode()
    assert library.fetch("short-poem").kind == "dropped"


def test_a_name_that_is_taken_gets_a_number(library: Library) -> None:
    drop(library, "Lamplighters.txt", b"not the play")
    drop(library, "short-poem.txt", b"not the poem")
    drop(library, "A b.txt", b"1")
    drop(library, "a-b.txt", b"2")
    drop(library, "a_b.txt", b"3")
    entries = by_name(library)
    assert entries["lamplighters"].kind == "shipped"
    assert entries["short-poem"].kind == "fetchable"
    loaded = {name: library.load_name(name)[0] for name in entries if entries[name].kind == "dropped"}
    assert loaded == {
        "lamplighters-2": "not the play",
        "short-poem-2": "not the poem",
        "a-b": "2",
        "a-b-2": "1",
        "a-b-3": "3",
    }


def test_long_and_nameless_files_have_names_that_work(library: Library) -> None:
    long = "a very long title that goes on and on and on, as titles did in the eighteenth century"
    drop(library, f"{long}.txt", b"1")
    drop(library, f"{long} again.txt", b"2")
    drop(library, "🙂.txt", b"3")
    dropped = [entry for entry in library.entries() if entry.kind == "dropped"]
    assert {library.load_name(entry.name)[0] for entry in dropped} == {"1", "2", "3"}
    assert "text" in {entry.name for entry in dropped}
    assert max(len(entry.name) for entry in dropped) <= 42


@pytest.mark.skipif(os.name != "posix", reason="such names exist on POSIX only")
def test_a_file_name_that_is_no_unicode_can_be_listed(library: Library) -> None:
    library.folder.path.mkdir(parents=True)
    Path(os.fsdecode(os.fsencode(library.folder.path) + b"/caf\xe9.txt")).write_bytes(b"\xe9")
    entry = next(entry for entry in library.entries() if entry.kind == "dropped")
    assert (entry.name, entry.title) == ("caf", "caf")
    assert entry.problem == "caf�.txt is not UTF-8 text at byte 0; save it as UTF-8 and try again"
    str(entry.problem).encode()


def test_a_file_with_a_problem_is_listed_and_refused_with_the_reason(library: Library) -> None:
    drop(library, "latin.txt", "naïve".encode("latin-1"))
    entry = library.entry("latin")
    assert not entry.ready
    with pytest.raises(InputError) as error:
        library.load_name("latin")
    assert str(error.value) == entry.problem
    assert entry.problem == "latin.txt is not UTF-8 text at byte 2; save it as UTF-8 and try again"


def test_a_file_that_changed_since_it_was_listed_tells_its_new_facts(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = drop(library, "a.txt", b"first")
    listed = library.entry("a")
    monkeypatch.setattr(library, "entry", lambda _: listed)
    path.write_bytes(b"second text")
    text, entry = library.load_name("a")
    assert text == "second text"
    assert entry.sha256 == hashlib.sha256(b"second text").hexdigest()
    assert entry.characters == 11


@pytest.mark.parametrize("kind", ["dropped", "uploaded"])
def test_a_file_that_became_a_link_since_it_was_listed_is_not_followed(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    listed = library.add_upload("a.txt", b"first")
    if kind == "dropped":
        drop(library, "b.txt", b"first")
        listed = library.entry("b")
    assert listed.kind == kind
    assert listed.path is not None
    listed.path.unlink()
    listed.path.symlink_to(tmp_path / "secret.txt")
    monkeypatch.setattr(library, "entry", lambda _: listed)
    with pytest.raises(InputError, match="is a link out of its folder"):
        library.load_name(listed.name)


# Paths, for the command line


def test_a_path_to_any_file_can_be_loaded(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Some Text.txt").write_text("hello")
    (tmp_path / "script.py").write_text("x = 1")
    monkeypatch.chdir(tmp_path)
    for path in (str(tmp_path / "Some Text.txt"), "Some Text.txt", "./Some Text.txt"):
        text, entry = library.load(path)
        assert text == "hello"
        assert (entry.name, entry.kind, entry.path) == ("some-text", "file", tmp_path / "Some Text.txt")
    assert library.load("script.py")[0] == "x = 1"


def test_names_come_before_files_of_the_working_folder(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lamplighters").write_text("a file")
    monkeypatch.chdir(tmp_path)
    assert library.load("lamplighters")[1].kind == "shipped"
    assert library.load("The Lamplighters of Quay Street")[1].kind == "shipped"
    assert library.load("./lamplighters")[0] == "a file"


def test_a_path_to_a_known_text_is_recognized(library: Library, tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_bytes(POEM)
    entry = library.load(str(tmp_path / "input.txt"))[1]
    assert (entry.name, entry.kind, entry.licence) == ("short-poem", "file", "public domain")


@pytest.mark.parametrize("name", ["missing", "missing.txt", "m" * 5000])
def test_what_is_neither_name_nor_file_is_refused(library: Library, name: str) -> None:
    with pytest.raises(InputError, match="there is no corpus"):
        library.load(name)


def test_a_path_that_leads_nowhere_is_named_whole(library: Library, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"here/missing.txt cannot be read \(no such file or directory\)"):
        library.load("here/missing.txt")
    with pytest.raises(InputError, match="is a folder; choose a text file"):
        library.load(str(tmp_path))


# Uploads


@pytest.mark.parametrize(
    "filename",
    [
        "../../app.py",
        "..\\..\\app.py",
        "/etc/app.txt",
        "C:\\app.txt",
        "app",
        "<b>app</b>.txt",
        "\0app.txt",
        "",
        "..",
        "🙂.txt",
    ],
)
def test_an_upload_is_kept_in_the_home_and_nowhere_else(library: Library, tmp_path: Path, filename: str) -> None:
    entry = library.add_upload(filename, b"hello\r\n")
    assert entry.path is not None
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [entry.path]
    assert entry.path.parent == tmp_path / "home" / "uploads"
    assert entry.path.name == f"{entry.name}.txt"
    assert entry.kind == "uploaded"
    assert library.load_name(entry.name) == ("hello\n", entry)
    assert library.version == 1


def test_an_upload_has_a_title_without_the_hash(library: Library) -> None:
    entry = library.add_upload("My Notes.txt", b"hello")
    assert entry.name.startswith("my-notes-")
    assert entry.title == "my notes"
    other = library.add_upload("My Notes.txt", b"other")
    assert other.name != entry.name
    assert library.load_name(entry.name)[0] == "hello"


def test_the_same_text_is_kept_once(library: Library) -> None:
    entry = library.add_upload("a.txt", b"hello")
    assert library.add_upload("b.txt", b"hello") == entry
    assert library.version == 1
    play = (SHIPPED_FOLDER / "lamplighters.txt").read_bytes()
    assert library.add_upload("play.txt", play).kind == "shipped"
    assert len(list(library.uploads.iterdir())) == 1


def test_an_uploaded_text_that_is_known_gets_its_known_name(library: Library) -> None:
    entry = library.add_upload("x.txt", POEM)
    assert (entry.name, entry.kind) == ("short-poem", "uploaded")
    assert by_name(library)["short-poem"].kind == "uploaded"
    assert library.load_name("short-poem")[0] == POEM.decode()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "bad.txt is empty; choose a file with text in it"),
        (b"\xef\xbb\xbf", "bad.txt is empty; choose a file with text in it"),
        (b"ab\xff", "bad.txt is not UTF-8 text at byte 2; save it as UTF-8 and try again"),
        (b"a\0b", "bad.txt holds zero bytes, so it is not a text; save it as plain text in UTF-8"),
        (b"x" * 101, "bad.txt has 101 bytes, over the limit of 100; use a part of it"),
    ],
)
def test_a_bad_upload_is_refused_and_leaves_nothing(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, sentence: str
) -> None:
    monkeypatch.setattr(decoding, "MAX_BYTES", 100)
    with pytest.raises(InputError) as error:
        library.add_upload("bad.txt", content)
    assert str(error.value) == sentence
    assert list(tmp_path.iterdir()) == []
    assert library.version == 0


def test_an_upload_that_cannot_be_written_says_why(library: Library, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(InputError, match=r"a\.txt could not be kept \(.*\); make room for it"):
        library.add_upload("a.txt", b"hello")


def test_links_and_folders_among_the_uploads_are_not_followed(library: Library, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    library.uploads.mkdir(parents=True)
    (library.uploads / "link-00000000.txt").symlink_to(tmp_path / "secret.txt")
    (library.uploads / "folder-00000000.txt").mkdir()
    for name in ("link-00000000", "folder-00000000"):
        assert not library.entry(name).ready
        with pytest.raises(InputError):
            library.load_name(name)


# The watch


def test_the_version_follows_the_watched_folder(tmp_path: Path) -> None:
    folder = DropFolder(tmp_path / "corpora", quiet=0.0)
    library = Library(tmp_path, folder=folder)
    library.start()
    try:
        assert library.notice is None
        assert library.version == 0
        folder.version += 1
        library.add_upload("a.txt", b"hello")
        assert library.version == 2
    finally:
        library.stop()
