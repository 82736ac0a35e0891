"""A file that is not a text is named, with what to do; a text is never taken for one."""

import bz2
import gzip
import io
import lzma
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import pytest

from models.text.cleaning import NotUtf8
from models.text.corpus import scan
from models.text.kinds import kind_of, markup_of

PROSE = "".join(f"It was the {n} best of times, it was the worst.\n" for n in range(200))


def zipped(*members: tuple[str, str], stored: bool = False) -> bytes:
    file = io.BytesIO()
    kind = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, text in members:
            archive.writestr(name, text)
    return file.getvalue()


def tarred(name: str, text: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text.encode()))
    return file.getvalue()


def database(tmp: Path) -> bytes:
    path = tmp / "db"
    connection = sqlite3.connect(path)
    connection.execute("create table texts (text)")
    connection.execute("insert into texts values (?)", (PROSE,))
    connection.commit()
    connection.close()
    return path.read_bytes()


FILES = [
    (gzip.compress(PROSE.encode()), "a gzip file: unpack it first, as in gunzip -c FILE > NEW"),
    (bz2.compress(PROSE.encode()), "a bzip2 file: unpack it first"),
    (lzma.compress(PROSE.encode()), "an xz file: unpack it first"),
    (b"\x28\xb5\x2f\xfd" + bytes(range(256)), "a Zstandard file"),
    (zipped(("a.txt", PROSE)), "a zip archive: unpack it first, as in unzip FILE"),
    (zipped(("a.txt", PROSE), stored=True), "a zip archive"),
    (zipped(), "an empty zip archive"),
    (tarred("a.txt", PROSE), "a tar archive: unpack it first, as in tar -xf FILE"),
    (zipped(("[Content_Types].xml", "x" * 99), ("word/document.xml", PROSE)), "a Word document"),
    (zipped(("mimetype", "application/epub+zip"), ("META-INF/container.xml", "x")), "an EPUB book"),
    (zipped(("xl/workbook.xml", PROSE)), "a spreadsheet"),
    (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + PROSE.encode(), "a PDF: extract its text first"),
    # Such as those of old printers: ASCII from end to end.
    (b"%PDF-1.2\n" + PROSE.encode(), "a PDF: extract its text first, as in pdftotext FILE NEW"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(200), "an image (png)"),
    (b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(200), "an image (jpeg)"),
    (b"GIF89a" + bytes(200), "an image (gif)"),
    (b"BM" + bytes(200), "an image (bmp)"),
    (b"RIFF\x24\x08\0\0WAVEfmt " + bytes(200), "a sound file (wav)"),
    (b"ID3\x04\0\0\0\0\0\x23" + bytes(200), "a sound file (mpeg)"),
    (b"\0\0\0\x18ftypmp42" + bytes(200), "a video (mp4)"),
    (b"\x7fELF\x02\x01\x01" + bytes(200), "a binary file (elf)"),
    (b"MZ\x90\0" + bytes(200), "a binary file"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(200), "an old Office document"),
]


@pytest.mark.parametrize(("data", "words"), FILES, ids=[words for _, words in FILES])
def test_it_is_named_and_refused(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(NotUtf8, match="not UTF-8") as refusal:
        scan(path)
    place = f" invalid byte at offset {refusal.value.offset};"
    if refusal.value.offset is None:
        place = ""
        data.decode()
    assert f"not UTF-8:{place} it is {words}" in str(refusal.value)
    assert not refusal.value.is_text
    # Training on the bytes of one would publish a model of noise.
    assert "tokens=bytes" not in str(refusal.value)


def test_an_archive_is_one_whatever_its_bytes_look_like() -> None:
    """Some could be UTF-16."""
    packed = gzip.compress(b"It was the best of times, it was the worst of times.\n" * 9)
    for second in range(1_795_000_000, 1_795_000_500):
        stamped = packed[:4] + second.to_bytes(4, "little") + packed[8:]
        assert "a gzip file" in str(kind_of(stamped))


def test_a_database_is_named(tmp_path: Path) -> None:
    assert "an SQLite database" in str(kind_of(database(tmp_path)[: 1 << 16]))


@pytest.mark.parametrize("data", [FILES[0][0] * 2, FILES[4][0], FILES[13][0]])
def test_its_bytes_may_be_trained_on_with_a_warning(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data + bytes(range(256)))
    assert "little can be learned" in scan(path, "bytes").report.warnings[0]


@pytest.mark.parametrize(
    "begin",
    ["BM", "MZ", "ID3 tags", "BZh", "PAR1", "OTTO", "GIF89a", "RIFF", "%!", "PK", "II*", "ustar"],
)
@pytest.mark.parametrize("rest", ["", "\x01", "é\x00\x1b"], ids=["plain", "control", "more"])
def test_a_text_may_begin_like_one(begin: str, rest: str, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text(begin + rest + PROSE)
    scan(path)


def test_a_text_of_another_encoding_may_begin_like_one() -> None:
    assert kind_of(("BMW – Größe\n" * 40).encode("cp1252")) is None


@pytest.mark.parametrize(
    ("begin", "words"),
    [
        ("<!DOCTYPE html>\n<html>", "it is an HTML page: its tags"),
        ("\ufeff\r\n<html lang=en>", "it is an HTML page"),
        ("<?xml version='1.0'?>\n<!-- one -->\n<!-- two --> <!doctype HTML>", "an HTML page"),
        ("{\\rtf1\\ansi ", "an RTF document"),
        ("%!PS-Adobe-3.0\n", "a PostScript file"),
    ],
)
def test_markup_is_pointed_out_and_accepted(begin: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text(begin + PROSE)
    assert any(words in warning for warning in scan(path).report.warnings)


def test_a_page_is_looked_for_in_linear_time() -> None:
    for head in (b"<!-- a -->" * 6000, b"<?xml >" * 9000, b" " * 65536, b"<!--" * 16000):
        assert markup_of(head) is None
