"""Bytes into text: encodings, line ends, and what is refused."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError
from engine.text import decoding
from engine.text.decoding import check_size, count_characters, decode_blocks, printable, read_text, scan_file, signature


def text_of(content: bytes, block: int = 1000) -> str:
    """`content` decoded in blocks of `block` bytes."""
    return "".join(decode_blocks([content[at : at + block] for at in range(0, len(content), block)], "it"))


def as_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(
    st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"])),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be"]),
    st.integers(4, 9),
)
def test_text_is_read_in_every_encoding_we_take(text: str, encoding: str, block: int) -> None:
    content = text.encode(encoding)
    if encoding == "utf-16-be":
        content = b"\xfe\xff" + content
    assert text_of(content, block) == as_lines(text)


@given(st.text("aé\r\n🙂"), st.integers(4, 7))
def test_line_ends_become_one_even_across_blocks(text: str, block: int) -> None:
    assert text_of(text.encode(), block) == as_lines(text)


@given(st.binary(min_size=1, max_size=40), st.integers(4, 9), st.booleans())
def test_the_byte_that_is_no_utf8_is_named(content: bytes, block: int, marked: bool) -> None:
    content = (b"\xef\xbb\xbf" if marked else b"") + content.replace(b"\0", b"0")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return
    try:
        content.decode()
    except UnicodeDecodeError as error:
        with pytest.raises(InputError) as refused:
            text_of(content, block)
        assert str(refused.value) == f"it is not UTF-8 text at byte {error.start:,}; save it as UTF-8 and try again"
    else:
        assert text_of(content, block) == as_lines(content.decode("utf-8-sig"))


def test_half_a_utf16_character_is_refused() -> None:
    with pytest.raises(InputError, match="it is not UTF-16 text at byte 4; save it as UTF-8"):
        text_of(b"\xff\xfea\0b")


@pytest.mark.parametrize("content", [b"MZ\0\1", "plain".encode("utf-16-le"), "marked".encode("utf-32")])
def test_zero_bytes_are_no_text(content: bytes) -> None:
    with pytest.raises(InputError, match="it holds zero bytes, so it is not a text"):
        text_of(content)


def test_the_length_is_in_characters() -> None:
    assert count_characters("é🙂\r\n".encode(), "it") == 3
    assert count_characters(b"", "it") == 0


def test_a_file_is_read_with_its_facts(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb")
    text, facts = read_text(path)
    assert text == "a\nb"
    assert (facts.bytes, facts.characters, facts.problem) == (7, 3, None)
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert scan_file(path) == facts


def test_an_empty_file_is_an_empty_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    assert read_text(tmp_path / "a.txt")[0] == ""


def test_too_large_a_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        file.truncate(decoding.MAX_BYTES + 1)  # takes no room on the disk
    facts = scan_file(path)
    assert facts.bytes == decoding.MAX_BYTES + 1
    assert facts.problem == "large.txt has 268,435,457 bytes, over the limit of 268,435,456; use a part of it"
    check_size(decoding.MAX_BYTES, "as large as may be")


def test_a_file_that_grows_while_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x" * 100)
    monkeypatch.setattr(decoding, "_check_kind", lambda *_: None)
    monkeypatch.setattr(decoding, "MAX_BYTES", 99)
    with pytest.raises(InputError, match=r"a\.txt has 100 bytes, over the limit of 99"):
        read_text(path)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; choose a text file"):
        read_text(tmp_path)
    with pytest.raises(InputError, match=r"cannot be read \(no such file or directory\)"):
        read_text(tmp_path / "missing.txt")
    with pytest.raises(InputError, match=r"some/where.txt cannot be read"):
        read_text(tmp_path / "missing.txt", title="some/where.txt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    assert scan_file(tmp_path / "pipe.txt").problem == "pipe.txt is not a file; choose a text file"


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.txt").write_text("x")
    monkeypatch.setattr(Path, "open", refuse)
    problem = scan_file(tmp_path / "a.txt").problem
    assert problem == "a.txt cannot be read (permission denied); check that it exists and may be read"


def test_links_may_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "real.txt").write_text("real")
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "in.txt").symlink_to("real.txt")
    (folder / "loop.txt").symlink_to("loop.txt")
    (folder / "nowhere.txt").symlink_to("gone.txt")
    assert scan_file(folder / "out.txt", folder).problem == (
        "out.txt is a link out of its folder; put the file itself there"
    )
    assert read_text(folder / "in.txt", folder)[0] == "real"
    assert read_text(folder / "out.txt")[0] == "secret"
    for name in ("loop.txt", "nowhere.txt"):
        assert "cannot be read" in str(scan_file(folder / name, folder).problem)
        assert signature(folder / name) is not None
    assert signature(folder / "missing.txt") is None


def test_names_are_made_printable() -> None:
    assert printable("a\nb\udc80\u202ec é") == "a�b��c é"
