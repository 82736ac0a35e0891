"""Documents are reduced to their text, within bounds."""

import io
import sys
import zipfile

import pytest

from models.text.intake import documents
from models.text.intake.documents import is_installed, kind_of_zip, text_of
from models.text.intake.members import MAX_TAGS, Budget, LeftOut
from models.text.kinds import DOCX, EPUB, HTML
from tests.packed import book, page, word, zip_of

LIMIT = 1 << 30


def html(data: str | bytes) -> str:
    return text_of(
        HTML, io.BytesIO(data.encode() if isinstance(data, str) else data), Budget(LIMIT)
    )


def test_a_page_is_what_a_browser_shows() -> None:
    body = (
        "<style>p{}</style><h1>Ch.  1</h1><p>It was the <b>best</b>\n of times &amp; caf&eacute;."
        "<p>Second.<br>Line<script>x()</script><img alt=picture>"
    )
    assert html(page(body)) == "Ch. 1\n\nIt was the best of times & café.\n\nSecond.\nLine"


def test_a_page_is_read_as_it_says_that_it_is_written() -> None:
    said = page("<p>Grün ist schön</p>", '<meta charset="iso-8859-1">')
    assert html(said.encode("latin-1")) == html(said) == "Grün ist schön"
    for unsure in (
        page("Grün").encode("latin-1"),
        said.replace("iso-8859-1", "x-no").encode("cp1252"),
    ):
        with pytest.raises(LeftOut, match="encoding is uncertain"):
            html(unsure)


def test_a_word_document() -> None:
    data = word("Chapter 1", "It was the best of times.", cells=("one", "two"))
    assert (
        text_of(DOCX, io.BytesIO(data), Budget(LIMIT))
        == "Chapter 1\nIt was the best of times.\none\ttwo"
    )


def test_a_chapter_is_read_once() -> None:
    opf = '<package><manifest><item id="a" href="a"/><item id="b" href="a#2"/></manifest>'
    opf += '<spine><itemref idref="a"/><itemref idref="b"/><itemref idref="a"/></spine></package>'
    data = book({}, {"OEBPS/b.opf": opf, "OEBPS/a": page("Text")})
    assert text_of(EPUB, io.BytesIO(data), Budget(LIMIT)) == "Text"


def test_a_book_is_read_in_its_own_order() -> None:
    data = book(
        {"b.xhtml": page("<p>First</p>"), "a%20b.xhtml": page("Lost"), "a.xhtml": page("Then")}
    )
    assert text_of(EPUB, io.BytesIO(data), Budget(LIMIT)) == "First\n\nThen"


def test_an_entity_reads_no_file() -> None:
    opf = (
        '<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><package>'
        '<manifest><item id="a" href="a.xhtml"/></manifest>'
        '<spine><itemref idref="a"/></spine>&x;</package>'
    )
    data = book({}, {"OEBPS/b.opf": opf, "OEBPS/a.xhtml": page("Text")})
    assert text_of(EPUB, io.BytesIO(data), Budget(LIMIT)) == "Text"


def test_entities_grow_no_text() -> None:
    pairs = zip("abcdefgh", "bcdefghi", strict=True)
    grown = "".join(f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in pairs)
    with zipfile.ZipFile(io.BytesIO(word("text"))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    body = members["word/document.xml"].decode().partition("?>")[2].replace("text", "&i;")
    bomb = f'<!DOCTYPE d [<!ENTITY a "ha">{grown}]>{body}'
    data = zip_of(members | {"word/document.xml": bomb})
    with pytest.raises(LeftOut, match="damaged"):
        text_of(DOCX, io.BytesIO(data), Budget(LIMIT))


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        (DOCX, zip_of({"word/document.xml": "<w"}), "damaged"),
        (DOCX, zip_of({"word/document.xml": "<a/>", "b": bytes(65 << 20)}), "more than 64 MiB"),
        (DOCX, zip_of({"word/document.xml": bytes(17 << 20)}), "more than 16 MiB"),
        (DOCX, b"no zip", "damaged"),
        (EPUB, zip_of({"META-INF/container.xml": "<a/>"}), "damaged"),
        (EPUB, zip_of({"META-INF/container.xml": "<a"}), "damaged"),
        (EPUB, zip_of({}), "damaged"),
        (EPUB, book({"a": page("x")}, {"META-INF/rights.xml": ""}), "protected"),
        (HTML, b"<html>" + bytes(17 << 20), "more than 16 MiB"),
        (HTML, b"<p>" * (MAX_TAGS + 1), "more than 500,000 tags"),
        (DOCX, zip_of({"word/document.xml": "<a/>", "b": "<p/>" * MAX_TAGS}), "500,000 tags"),
        (EPUB, book({"a": "<p>" * (MAX_TAGS + 1)}), "500,000 tags"),
    ],
)
def test_a_document_that_is_wrong(kind: object, data: bytes, words: str) -> None:
    with pytest.raises(LeftOut, match=words):
        text_of(kind, io.BytesIO(data), Budget(LIMIT))  # type: ignore[arg-type]


def test_documents_are_told_from_other_zips() -> None:
    assert kind_of_zip(io.BytesIO(word("x"))) == DOCX
    assert kind_of_zip(io.BytesIO(book({"a": "x"}))) == EPUB
    assert kind_of_zip(io.BytesIO(zip_of({"a": "x"}))) is None


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_installed()
    monkeypatch.setitem(sys.modules, "resiliparse", None)
    assert not is_installed()
    with pytest.raises(LeftOut, match=r"an EPUB book, and the extra documents is not installed"):
        documents.text_of(EPUB, io.BytesIO(book({"a": "x"})), Budget(LIMIT))


def test_all_documents_of_a_text_have_so_many_tags() -> None:
    budget = Budget(LIMIT)
    budget.mark_up(MAX_TAGS, 5)
    budget.mark_up(MAX_TAGS, 4)
    budget.mark_up(MAX_TAGS - 9)
    with pytest.raises(LeftOut, match="the documents before it"):
        text_of(HTML, io.BytesIO(b"<p>" * 10), budget)
    assert text_of(HTML, io.BytesIO(b"<p>x"), budget) == "x"
