"""Reduces web pages, Word documents and EPUB books to their text.

The extra ``documents`` brings what reads them: Resiliparse, which keeps the paragraphs of a page as
a browser shows them and reads 40 MB/s, and python-docx with lxml. Knows no upload.
"""

import importlib.util
import posixpath
import re
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any
from urllib.parse import unquote

from models.text.intake.members import Budget, LeftOut
from models.text.intake.unpacking import blocks, is_usual, opened, opened_zip
from models.text.kinds import DOCX, EPUB, HTML, Kind

NEEDED = "the extra documents"
"""What is to be installed, in words."""

MAX_PAGE = 16 << 20
"""Bytes of a page, a chapter or the body of a document."""

MAX_DOCUMENT = 64 << 20
"""Bytes of a document, unpacked."""

_MAX_CHAPTERS = 2000
_WEIGHT_OF_WORD = 5
_CHARSET = re.compile(
    rb"""<(?:\?xml|meta)\b[^>]*?(?:charset|encoding)\s*=\s*["']?([\w-]{1,40})""", re.I | re.A
)
_CONTAINER = "META-INF/container.xml"
_BODY = "word/document.xml"


def is_installed() -> bool:
    """Whether the extra is."""
    return all(importlib.util.find_spec(name) for name in ("docx", "lxml", "resiliparse"))


def kind_of_zip(file: IO[bytes]) -> Kind | None:
    """Returns the kind of document that a zip is, if any. Raises LeftOut."""
    names = set(opened_zip(file).namelist())
    if _BODY in names:
        return DOCX
    return EPUB if _CONTAINER in names else None


def text_of(kind: Kind, file: IO[bytes], budget: Budget) -> str:
    """Returns the text of a document.

    Raises:
        LeftOut: it is damaged or too large, or the extra is not installed.
    """
    if not is_installed():
        raise LeftOut(f"it is {kind.name}, and {NEEDED} is not installed here")
    file.seek(0)
    readers: dict[Kind, Callable[[IO[bytes], Budget], str]] = {
        DOCX: _word,
        EPUB: _book,
        HTML: _page,
    }
    return readers[kind](file, budget)


def _page(file: IO[bytes], budget: Budget) -> str:
    data = file.read(MAX_PAGE + 1)
    if len(data) > MAX_PAGE:
        raise LeftOut(_larger(MAX_PAGE))
    return _reduced(data, budget)


def _decoded(data: bytes) -> str:
    """Reads a page as UTF-8, else as it says that it is written."""
    declared = _CHARSET.search(data[:4096])
    names = ["utf-8-sig", *([declared[1].decode("ascii")] if declared else [])]
    for name in names:
        try:
            return data.decode(name)
        except (UnicodeError, LookupError):
            continue
    raise LeftOut("its encoding is uncertain")


def _reduced(data: bytes, budget: Budget) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    budget.mark_up(data.count(b"<"))
    page = _decoded(data)
    text: str = extract_plain_text(page, list_bullets=False, alt_texts=False, noscript=False)
    return text.strip()


def _word(file: IO[bytes], budget: Budget) -> str:
    import docx

    archive = opened_zip(file)
    _check_sizes(archive, [_BODY])
    # python-docx parses what a document says is markup, whatever its name.
    parts = (_read(archive, name) for name in archive.namelist())
    budget.mark_up(sum(part.count(b"<") for part in parts), _WEIGHT_OF_WORD)
    try:
        document = docx.Document(file)
        return "\n".join(_paragraphs(document))
    # It trusts a document's parts to be as they should, and fails in any way where they are not.
    except Exception:
        raise LeftOut("it is damaged") from None


def _paragraphs(document: Any) -> Iterator[str]:
    from docx.table import Table

    for block in document.iter_inner_content():
        if isinstance(block, Table):
            for row in block.rows:
                yield "\t".join(cell.text for cell in row.cells)
        else:
            yield block.text


def _book(file: IO[bytes], budget: Budget) -> str:
    archive = opened_zip(file)
    if "META-INF/rights.xml" in archive.namelist():
        raise LeftOut("it is protected against copying")
    chapters = _chapters(archive, budget)
    _check_sizes(archive, chapters)
    texts = (_reduced(_read(archive, name), budget) for name in chapters)
    return "\n\n".join(text for text in texts if text)


def _chapters(archive: zipfile.ZipFile, budget: Budget) -> list[str]:
    """Returns the names of a book's chapters, in the order of reading."""
    container = _xml(archive, _CONTAINER, budget)
    roots = container.xpath("//*[local-name()='rootfile']/@full-path")
    if not roots:
        raise LeftOut("it is damaged")
    package = _xml(archive, str(roots[0]), budget)
    places = {
        item.get("id"): item.get("href", "")
        for item in package.xpath("//*[local-name()='manifest']/*[local-name()='item']")
    }
    order = package.xpath("//*[local-name()='spine']/*[local-name()='itemref']/@idref")
    folder = posixpath.dirname(str(roots[0]))
    names = [
        posixpath.normpath(posixpath.join(folder, unquote(places[id_].partition("#")[0])))
        for id_ in dict.fromkeys(order)
        if id_ in places
    ]
    known = set(archive.namelist())
    # Each once: a book may name one a million times.
    return [name for name in dict.fromkeys(names) if name in known][:_MAX_CHAPTERS]


def _xml(archive: zipfile.ZipFile, name: str, budget: Budget) -> Any:
    from lxml import etree

    _check_sizes(archive, [name])
    data = _read(archive, name)
    budget.mark_up(data.count(b"<"))
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        return etree.fromstring(data, parser)
    except (etree.LxmlError, ValueError):
        raise LeftOut("it is damaged") from None


def _check_sizes(archive: zipfile.ZipFile, read: list[str]) -> None:
    """Raises LeftOut if a document, or a file in it that is read, is too large."""
    infos = archive.infolist()
    sizes = {info.filename: info.file_size for info in infos}
    if not all(map(is_usual, infos)):
        raise LeftOut("it is compressed in an unusual way")
    if sum(sizes.values()) > MAX_DOCUMENT:
        raise LeftOut(_larger(MAX_DOCUMENT))
    if any(sizes.get(name, 0) > MAX_PAGE for name in read):
        raise LeftOut(_larger(MAX_PAGE))


def _larger(most: int) -> str:
    return f"it is a document of more than {most >> 20} MiB"


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """Returns a file whose size was checked: zipfile reads no more than that."""
    if name not in archive.NameToInfo:
        raise LeftOut("it is damaged")
    with opened(partial(archive.open, name)) as file:
        return b"".join(blocks(file))
