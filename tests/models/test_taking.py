"""Files become one text, in the order of their paths, and what is left out is told."""

import gzip
import io
import random
import sys
import zipfile
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import partial

import pytest

from models.text.cleaning import CorpusError
from models.text.intake.members import Member, TooMuch
from models.text.intake.taking import Taken, is_made_of_others, take
from tests.packed import Files, book, page, tar_of, word, zip_of

LIMIT = 1 << 26
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(200)
NAMES = "".join(f"Ann{n}\n" for n in range(50))


def opened(data: bytes) -> closing[io.BytesIO]:
    return closing(io.BytesIO(data))


def taken(files: Files, limit: int = LIMIT) -> tuple[str, Taken]:
    raw = {k: v.encode() if isinstance(v, str) else v for k, v in files.items()}
    members = [Member(name, partial(opened, data)) for name, data in raw.items()]
    text = io.BytesIO()
    told = take(members, text.write, limit)
    return text.getvalue().decode(), told


def omitted(told: Taken) -> Mapping[str, str]:
    return dict(told.omitted)


def test_documents_are_separated_by_an_empty_line() -> None:
    text, told = taken(
        {"b": "Two.\n", "a/z": "One.", "c": "Three.\n\n", "d": "Four.\r\n", "e": "5"}
    )
    assert text == "One.\n\nTwo.\n\nThree.\n\nFour.\r\n\n5"
    assert (told.taken, told.left_out) == (5, 0)
    assert told.files[0] == ("a/z", 4, "UTF-8")


def test_lists_are_joined() -> None:
    text, _ = taken({"a": NAMES, "b": NAMES.replace("Ann", "Bob").rstrip(), "c": NAMES[5:]})
    assert text == NAMES + NAMES.replace("Ann", "Bob") + NAMES[5:]
    assert taken({"a": NAMES, "b": "Prose."})[0] == f"{NAMES}\nProse."


def test_the_order_of_files_is_not_that_of_their_sending() -> None:
    files = {f"{n}.txt": f"Text {n}.\n" for n in range(30)}
    shuffled = list(files.items())
    random.Random(1).shuffle(shuffled)
    expected = taken(files)[0]
    assert taken(dict(shuffled))[0] == expected
    assert taken({"a.zip": zip_of(dict(shuffled))})[0] == expected
    assert taken({"a.tgz": tar_of(dict(shuffled), "w:gz")})[0] == expected


def test_each_file_is_in_an_encoding_of_its_own() -> None:
    german = "Die schönen Bäume blühen früh, und die Vögel hören überall süße Töne. " * 20
    russian = "Все счастливые семьи похожи друг на друга. " * 20  # noqa: RUF001
    text, told = taken(
        {
            "1": german,
            "2": russian.encode("koi8-r"),
            "3": german.replace("früh", "spät").encode("utf-16"),
            "4": b"\xef\xbb\xbfmarked",
            "5": b"\xe9\xff\x90 ??",
        }
    )
    assert text.split("\n\n") == [german, russian, german.replace("früh", "spät"), "marked"]
    assert [source for *_, source in told.files] == ["UTF-8", "KOI8-R", "UTF-16", "UTF-8"]
    assert "UTF-8" in omitted(told)["5"]


def test_what_is_no_text_is_left_out_with_a_reason() -> None:
    text, told = taken(
        {
            "a.txt": "Text.",
            "again.txt": "Text.",
            "empty.txt": " \n",
            "logo.png": PNG,
            "noise": bytes(range(256)) * 9,
            "package-lock.json": "{}",
            "../up.txt": "up",
        }
    )
    assert text == "Text."
    assert omitted(told) == {
        "../up.txt": "its path leads out of its folder",
        "again.txt": "it is a copy of another file",
        "empty.txt": "it is empty",
        "logo.png": "it is an image (png)",
        "noise": "it is a binary file",
        "package-lock.json": "it is a lockfile",
    }
    assert told.to_json()["reasons"][0]["count"] == 1
    assert told.to_json()["files"] == [{"name": "a.txt", "bytes": 5, "source": "UTF-8"}]


def test_archives_within_archives() -> None:
    inner = zip_of({"a.txt": "deep", "../b.txt": "out"})
    text, told = taken(
        {"x.tar.gz": tar_of({"y.zip": inner, "z.txt.gz": gzip.compress(b"zipped")}, "w:gz")}
    )
    assert text == "deep\n\nzipped"
    assert [name for name, *_ in told.files] == ["x.tar.gz/y.zip/a.txt", "x.tar.gz/z.txt"]
    assert omitted(told) == {"x.tar.gz/y.zip/../b.txt": "its path leads out of its folder"}
    text, told = taken({"w.zip": zip_of({"x.zip": zip_of({"y.zip": inner, "t": "text"})})})
    assert text == "text"
    assert omitted(told) == {"w.zip/x.zip/y.zip": "it is an archive in 2 others"}


def test_documents_become_text() -> None:
    text, told = taken(
        {
            "a.docx": word("Word."),
            "b.epub": book({"a.xhtml": page("<p>Book.")}),
            "c.html": "<p>A page &amp; more",
            "d": page("<p>Page."),
        }
    )
    assert text == "Word.\n\nBook.\n\nA page & more\n\nPage."
    assert [source for *_, source in told.files] == [
        "a Word document (.docx)",
        "an EPUB book",
        "an HTML page",
        "an HTML page",
    ]


def test_without_the_extra_pages_are_read_with_their_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docx", None)
    text, told = taken({"a.html": page("x"), "b.docx": word("x")})
    assert text == page("x")
    assert "the extra documents is not installed" in omitted(told)["b.docx"]
    with pytest.raises(CorpusError, match="the extra documents is not installed"):
        taken({"b.docx": word("x")})
    assert is_made_of_others(word("x")) and not is_made_of_others(page("x").encode())


def test_what_is_made_of_others() -> None:
    for data in (zip_of({"a": "b"}), tar_of({"a": "b"}), gzip.compress(b"a"), page("x").encode()):
        assert is_made_of_others(data)
    assert is_made_of_others(b"<p>x", "a.HTM")
    assert not is_made_of_others(b"a text", "a.txt")
    assert not is_made_of_others(PNG, "a.png")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.png": PNG}, "it is an image"),
        ({"a.zip": zip_of({})}, "it is an empty zip archive"),
        ({"a.zip": zip_of({"a/": ""})}, "it is empty"),
        (
            {"a.zip": zip_of({"0": PNG, "1": PNG, "2": ""})},
            r"it is an image \(png\) \(2 files\); it is",
        ),
        ({"a.gz": gzip.compress(b"a" * (18 << 20))}, "more than 100 times"),
        ({"a.zip": b"PK\3\4" + bytes(range(256))}, "it is damaged"),
    ],
)
def test_where_there_is_no_text(files: Files, words: str) -> None:
    with pytest.raises(CorpusError, match=words):
        taken(files)


def test_what_is_unpacked_is_counted_once() -> None:
    noise = "".join(f"{n * n}\n" for n in range(2000))
    for packed in (zip_of({"a": noise}), tar_of({"a": noise}), tar_of({"a": noise}, "w:gz")):
        assert taken({"a": packed}, limit=len(noise) + (10 << 10))[0] == noise


def test_what_is_too_much() -> None:
    noise = "".join(f"{n * n}\n" for n in range(2000))
    for files in (
        {"a": noise},
        {"a.zip": zip_of({"a": noise})},
        {"a.gz": gzip.compress(noise.encode())},
    ):
        with pytest.raises(TooMuch, match="more than 9,999 bytes"):
            taken(files, limit=9_999)
    with pytest.raises(TooMuch, match="10,000 files"):
        taken(
            {
                "a.zip": zip_of({str(n): "" for n in range(5001)}),
                "b.zip": zip_of({str(n): "" for n in range(5001)}),
            }
        )


def test_reports_are_bounded() -> None:
    _, told = taken(
        {f"{n}": f"text {n}" for n in range(150)} | {f"{n}.lock": "" for n in range(150)}
    )
    assert (told.taken, told.left_out) == (150, 150)
    assert len(told.files) == len(told.omitted) == 100
    assert told.reasons == {"it is a lockfile": 150}


def test_no_damage_breaks_it() -> None:
    dice = random.Random(1)
    text = "some text to pack\n" * 20
    chapter = page(f"<p>{text}")
    whole = [
        zip_of({"a": text, "b.zip": zip_of({"c": text})}),
        tar_of({"a": text, "b/c": text}),
        tar_of({"a": text}, "w:gz"),
        unpacked(word(text, cells=("a", "b"))),
        unpacked(book({"a.xhtml": chapter})),
        chapter.encode(),
        text.encode("utf-16"),
    ]
    for number in range(1000):
        data = bytearray(whole[number % len(whole)])
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(data))
            data[at : at + dice.randrange(9)] = dice.randbytes(dice.randrange(9))
        with suppress(CorpusError, TooMuch):
            taken({"a": bytes(data)})


def unpacked(document: bytes) -> bytes:
    """A document in which nothing is compressed, so that damage meets its markup."""
    stored = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(document)) as packed, zipfile.ZipFile(stored, "w") as archive:
        for name in packed.namelist():
            archive.writestr(name, packed.read(name))
    return stored.getvalue()
