"""Names files that are not texts by their first bytes. Knows no encoding and no corpus."""

import codecs
import re
from dataclasses import dataclass

import chardet

HEAD = 1 << 16
"""Bytes of a file's beginning to look at."""

BINARY = 0.1
"""Share of control characters from which a file is not a text. A list whose entries end in U+0000
has less, UTF-16 and tables of numbers more."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file, with its article, and what to do to get at its text; empty if it has none."""

    name: str
    way: str = ""

    def __str__(self) -> str:
        return f"it is {self.name}: {self.way}" if self.way else f"it is {self.name}"


_PANDOC = "save it as plain text first, as in pandoc -t plain {0} -o NEW"
_NO_TEXT = "it holds no text to train on"

ZIP = Kind("a zip archive", "unpack it first, as in unzip FILE")
GZIP = Kind("a gzip file", "unpack it first, as in gunzip -c FILE > NEW")
TAR = Kind("a tar archive", "unpack it first, as in tar -xf FILE")
DOCX = Kind("a Word document (.docx)", _PANDOC.format("FILE.docx"))
EPUB = Kind("an EPUB book", _PANDOC.format("FILE.epub"))
HTML = Kind(
    "an HTML page",
    "its tags and scripts are trained on too. Save only its text, or install the extra documents",
)
"""Those that ``models.text.intake`` reads."""

_KINDS = {
    "application/pdf": Kind("a PDF", "extract its text first, as in pdftotext FILE NEW"),
    "application/gzip": GZIP,
    "application/x-bzip2": Kind("a bzip2 file", "unpack it first, as in bunzip2 -c FILE > NEW"),
    "application/x-xz": Kind("an xz file", "unpack it first, as in xz -dc FILE > NEW"),
    "application/zstd": Kind("a Zstandard file", "unpack it first, as in zstd -dc FILE > NEW"),
    "application/zip": ZIP,
    "application/x-7z-compressed": Kind("a 7z archive", "unpack it first, as in 7z x FILE"),
    "application/vnd.rar": Kind("a RAR archive", "unpack it first, as in unrar x FILE"),
    "application/x-tar": TAR,
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": DOCX,
    "application/vnd.oasis.opendocument.text": Kind(
        "an OpenDocument text (.odt)", _PANDOC.format("FILE.odt")
    ),
    "application/epub+zip": EPUB,
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": Kind(
        "a spreadsheet (.xlsx)", "save it as CSV first"
    ),
    "application/vnd.oasis.opendocument.spreadsheet": Kind(
        "a spreadsheet (.ods)", "save it as CSV first"
    ),
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": Kind(
        "a presentation (.pptx)", "save it as plain text first"
    ),
    "application/vnd.oasis.opendocument.presentation": Kind(
        "a presentation (.odp)", "save it as plain text first"
    ),
    "application/x-sqlite3": Kind("an SQLite database", "export its text first"),
    "application/vnd.apache.parquet": Kind("a Parquet file", "export its text first"),
    "application/vnd.apache.arrow.file": Kind("an Arrow file", "export its text first"),
    "application/java-archive": Kind("a Java archive", "unpack it first, as in unzip FILE"),
    "application/x-wheel+zip": Kind("a Python wheel", "unpack it first, as in unzip FILE"),
}
"""By MIME type; those of images, sounds and the like are described by their type itself."""

_MORE = (
    (b"PK\x05\x06", Kind("an empty zip archive", _NO_TEXT)),
    (b"PK\x07\x08", ZIP),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind("an old Office document", "save it as plain text")),
    (b"\x1f\x9d", Kind("a compressed file (.Z)", "unpack it first, as in gunzip -c FILE > NEW")),
    (b"\x1f\xa0", Kind("a compressed file (.Z)", "unpack it first, as in gunzip -c FILE > NEW")),
    (b"\x04\x22\x4d\x18", Kind("an lz4 file", "unpack it first, as in lz4 -dc FILE > NEW")),
    (b"AT&TFORM", Kind("a DjVu document", "extract its text first, as in djvutxt FILE NEW")),
    (b"\x93NUMPY", Kind("a NumPy array", "export its text first")),
)
"""Those that chardet does not know, by their first bytes."""

_FAMILIES = {
    "image": "an image",
    "audio": "a sound file",
    "video": "a video",
    "font": "a font",
    "application": "a binary file",
}

_CONTROLS = re.compile(rb"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]")
"""Bytes that texts do not have; BS, TAB, LF, VT, FF, CR and ESC are in some."""

_PAGE = re.compile(
    rb"\s*+(?>(?:<\?xml[^>]*>|<!--.*?-->)\s*)*+<(?:!doctype\s+html|html)\b", re.I | re.S
)


def kind_of(head: bytes) -> Kind | None:
    """Returns the kind of a file that is not a text; None if nothing says that it is not one.

    Args:
        head: up to ``HEAD`` bytes from the beginning.
    """
    # Some kinds are known by two letters, which a text may begin with.
    if not head.startswith(b"%PDF-") and _may_be_text(head):
        return None
    for magic, kind in _MORE:
        if head.startswith(magic):
            return kind
    if head[60:68] == b"BOOKMOBI":
        return Kind("a MOBI book", "convert it first, as in ebook-convert FILE.mobi NEW.txt")
    # Only by magic bytes: else it takes some archives for UTF-16 and names what is just not text.
    found = chardet.detect(
        head[:4096],
        include_encodings=["ascii"],
        no_match_encoding="ascii",
        empty_input_encoding="ascii",
    )
    mime = found["mime_type"] or ""
    if found["encoding"] is not None or mime == "application/octet-stream":
        return None
    return _KINDS.get(mime) or _described(mime)


def _may_be_text(head: bytes) -> bool:
    found = controls(head)
    if not found:
        return True
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(head)
    except UnicodeDecodeError:
        return False
    return found * 100 <= len(head)


def _described(mime: str) -> Kind:
    family, _, subtype = mime.partition("/")
    name = _FAMILIES.get(family, "a binary file")
    return Kind(f"{name} ({subtype.removeprefix('x-').rpartition('.')[2]})", _NO_TEXT)


def controls(data: bytes) -> int:
    """Counts the bytes that texts do not have."""
    return len(_CONTROLS.findall(data))


def first_control(data: bytes) -> int | None:
    """Returns the place of the first byte that texts do not have."""
    found = _CONTROLS.search(data)
    return found.start() if found else None


def markup_of(head: bytes) -> Kind | None:
    """Returns the kind of a text that is mostly written for a program, such as a web page."""
    head = head.removeprefix(b"\xef\xbb\xbf")
    if _PAGE.match(head):
        return HTML
    if head.startswith(rb"{\rtf"):
        return Kind("an RTF document", "its markup is trained on too. Save it as plain text")
    if head.startswith(b"%!PS"):
        return Kind("a PostScript file", "it is a program that draws pages. Use the text itself")
    return None
