"""Files that are given a text's name: what they are is said; a byte order mark is no character of a text."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import pytest

from engine.cli import check
from engine.errors import InputError
from engine.presets import preset
from engine.text.corpus import Corpus, least_characters
from engine.text.decoding import read_text

TEXT = "the ferry left the quay. " * 40
MARK = "\ufeff"


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("word/document.xml", TEXT)
    return packed.getvalue()


KINDS = {
    "gzip": (gzip.compress(TEXT.encode()), "packed with gzip; unpack it"),
    "bzip2": (bz2.compress(TEXT.encode()), "packed with bzip2; unpack it"),
    "xz": (lzma.compress(TEXT.encode()), "packed with xz; unpack it"),
    "zip or docx": (zipped(), "a zip archive"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "a PDF; save its text"),
    "pdf that is ASCII": (b"%PDF-1.4\n1 0 obj << >> endobj\n" * 30, "a PDF; save its text"),
    "rtf": (b"{\\rtf1\\ansi " + TEXT.encode() + b"}", "a document in RTF"),
    "doc": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "an old Office document"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(50), "a picture"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(50), "a picture"),
    "program": (b"\x7fELF\x02\x01" + bytes(50), "a program"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_gz_or_pdf_that_is_renamed_is_called_what_it_is(kind: str, tmp_path: Path) -> None:
    content, what = KINDS[kind]
    (tmp_path / "novel.txt").write_bytes(content)
    with pytest.raises(InputError, match=rf"^novel\.txt is {what}"):
        read_text(tmp_path / "novel.txt")


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + TEXT.encode(),
        2 * codecs.BOM_UTF8 + TEXT.encode(),
        (TEXT[:100] + MARK + TEXT[100:]).encode(),
        codecs.BOM_UTF8 + TEXT[:50].encode() + codecs.BOM_UTF8 + TEXT[50:].encode() + codecs.BOM_UTF8,
        codecs.BOM_UTF16_LE + (MARK + TEXT).encode("utf-16-le"),
        codecs.BOM_UTF16_BE + (TEXT[:9] + MARK + TEXT[9:]).encode("utf-16-be"),
    ],
)
def test_a_doubled_or_inner_byte_order_mark_is_no_character_of_the_vocabulary(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "marked.txt").write_bytes(content)
    text, facts = read_text(tmp_path / "marked.txt")
    assert (text, facts.characters) == (TEXT, len(TEXT))
    assert MARK not in Corpus.of(text).tokenizer.vocab


def test_check_does_not_list_a_text_that_training_refuses(tmp_path: Path) -> None:
    usual = preset("bigram").config
    least = least_characters(usual)
    (tmp_path / "corpora").mkdir()
    for name, length in (("short", least - 1), ("enough", least), ("empty", 0)):
        text = (TEXT * 9)[:length]
        (tmp_path / "corpora" / f"{name}.txt").write_text(text, encoding="utf-8")
        if length >= least:
            Corpus.of(text).check(usual)
        else:
            with pytest.raises(InputError):
                Corpus.of(text).check(usual)
    told = [finding.text for finding in check.corpora(tmp_path)]
    (here,) = [text for text in told if text.startswith("texts here")]
    assert "enough" in here
    assert "short" not in here
    assert "empty" not in here
    assert any(text.startswith("short cannot be learnt from") for text in told)
    assert any(text.startswith("empty cannot be learnt from") for text in told)
