"""Files, archives and documents are made one text, and what became of them is told."""

import gzip
import hashlib
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from models.text.intake.members import MAX_MEMBERS
from tests.packed import book, page, tar_of, word, zip_of
from tests.serving import TEXT, problem, serve, wrong_fields
from tests.uploads import FORM, on_disk

LIMIT = 4 << 20

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(200)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    """Of a server whose Redis is away, which no test here may notice."""
    with serve(data, max_upload_bytes=LIMIT) as client:
        yield client


def id_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_several_files_are_one_text(client: httpx2.Client, name: str) -> None:
    prose = "It was the best of times.\n"
    files: list[tuple[str, tuple[str, str | bytes]]] = [
        ("corpus", ("book/b.txt", prose)),
        ("corpus", ("book/a.txt", TEXT)),
        ("corpus", ("book/logo.png", PNG)),
    ]
    expected = f"{TEXT}\n{prose}"
    report = client.post("/corpora", files=files).json()
    assert report["id"] == id_of(expected)
    assert report["sources"] == {
        "taken": 2,
        "left_out": 1,
        "files": [
            {"name": "book/a.txt", "bytes": len(TEXT), "source": "UTF-8"},
            {"name": "book/b.txt", "bytes": len(prose), "source": "UTF-8"},
        ],
        "omitted": [{"name": "book/logo.png", "reason": "it is an image (png)"}],
        "reasons": [{"reason": "it is an image (png)", "count": 1}],
        # The second one is too short to be a style.
        "styles": None,
    }
    assert client.get(f"/corpora/{report['id']}").json()["sources"] is None
    job = client.post("/train", files=files[::-1], data={"model": name}).json()
    assert job["corpus_id"] == report["id"]
    assert job["corpus"]["sources"] == report["sources"]


@pytest.mark.parametrize(
    "packed",
    [
        zip_of({"a.txt": TEXT}),
        tar_of({"a.txt": TEXT}),
        tar_of({"a.txt": TEXT}, "w:gz"),
        gzip.compress(TEXT.encode()),
        book({"a.xhtml": page(f"<pre>{TEXT}</pre>")}),
        word(*TEXT.splitlines()),
        page(f"<pre>{TEXT}</pre>").encode(),
    ],
    ids=["zip", "tar", "tar.gz", "gz", "epub", "docx", "html"],
)
def test_a_raw_body_may_be_packed(client: httpx2.Client, name: str, packed: bytes) -> None:
    started = client.post("/train", params={"model": name}, content=packed)
    assert started.status_code == 202, started.text
    assert started.json()["corpus"]["characters"] in (len(TEXT), len(TEXT) - 1)
    assert started.json()["corpus"]["sources"]["taken"] == 1


def test_bytes_are_trained_on_as_they_were_sent(client: httpx2.Client, name: str) -> None:
    packed = gzip.compress(TEXT.encode())
    asked = {"model": name, "tokens": "bytes"}
    job = client.post("/train", params=asked, content=packed).json()
    assert job["corpus_id"] == hashlib.sha256(packed).hexdigest()
    assert job["corpus"]["sources"] is None
    assert "a gzip file" in job["corpus"]["warnings"][0]


def bomb() -> bytes:
    """Ten megabytes of zeros in ten kilobytes, in an archive that holds it many times."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(5):
            archive.writestr(f"{n}.txt", bytes(10 << 20))
    return packed.getvalue()


@pytest.mark.parametrize("path", ["/corpora", "/train?model=refused"])
@pytest.mark.parametrize(
    ("packed", "status", "words"),
    [
        (bomb(), 422, "more than 100 times its size"),
        (gzip.compress(b"a" * (50 << 20)), 413, "more than 4,194,304 bytes"),
        (zip_of({str(n): "" for n in range(MAX_MEMBERS + 1)}), 413, "more than 10,000 files"),
        (
            zip_of({f"{n}": (TEXT * 999)[n : 1 << 20] for n in range(9)}),
            413,
            "more than 4,194,304 bytes",
        ),
        (zip_of({"a.png": PNG}), 422, "it is an image"),
        (b"PK\3\4" + bytes(range(256)), 422, "damaged"),
    ],
    ids=["bomb", "gzip bomb", "files", "size", "image", "damaged"],
)
def test_what_is_too_much_or_no_text_is_refused(
    client: httpx2.Client, data: Path, path: str, packed: bytes, status: int, words: str
) -> None:
    before = on_disk(data)
    response = client.post(path, content=packed)
    code = "body_too_large" if status == 413 else "invalid_corpus"
    assert words in problem(response, status, code)["detail"]
    assert on_disk(data) == before


def test_a_form_of_too_many_files(client: httpx2.Client, data: Path) -> None:
    before = on_disk(data)
    part = '--B\r\nContent-Disposition: form-data; name="corpus"; filename="a/%d.txt"\r\n\r\nx\r\n'
    body = "".join(part % n for n in range(MAX_MEMBERS + 1)) + "--B--\r\n"
    response = client.post("/corpora", content=body, headers={"Content-Type": FORM})
    assert "more than 10,000 files" in problem(response, 413, "body_too_large")["detail"]
    assert on_disk(data) == before


def test_nothing_is_written_by_a_members_name(client: httpx2.Client, data: Path) -> None:
    before = on_disk(data)
    packed = zip_of({"../../../evil.txt": TEXT, "/evil.txt": TEXT, "good.txt": TEXT + "."})
    report: dict[str, Any] = client.post("/corpora", content=packed).json()
    assert report["sources"]["left_out"] == 2
    added = {path.name for path in on_disk(data) - before}
    assert added == {report["id"], "original"}


def test_without_the_extra_a_refusal_names_it(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "docx", None)
    for packed in (word(TEXT), book({"a.xhtml": page(TEXT)})):
        wrong = wrong_fields(client.post("/corpora", content=packed), "invalid_corpus")
        assert "the extra documents is not installed here" in wrong["corpus"]
    report = client.post("/corpora", content=page(TEXT)).json()
    assert "install the extra documents" in report["warnings"][0]
