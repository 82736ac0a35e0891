"""Texts that are fetched, against a server of our own that breaks off, changes and lies."""

import hashlib
import http.client
import io
import lzma
import re
import ssl
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.essay.corpora import PublicCorpus
from app.essay.fetch import fetch, pack, pack_files
from app.supervisor.errors import UserError
from tests.local_http import answering

TEXT = bytes(range(256)) * 2000
"""Half a megabyte in which each place can be told from its neighbours."""


@dataclass
class Keeper:
    """A server that keeps one file, and how it behaves."""

    content: bytes = TEXT
    tag: str | None = '"one"'
    breaks_after: int | None = None
    ranges: bool = True
    says_length: bool = True
    asked: list[str | None] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/text"


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    kept = Keeper()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            kept.asked.append(asked)
            if self.path != "/text":
                self.send_error(404)
                return
            begin = 0
            fresh = self.headers.get("If-Range") in (None, kept.tag)
            if asked and kept.ranges and fresh:
                begin = int(asked.removeprefix("bytes=").removesuffix("-"))
                if begin >= len(kept.content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(kept.content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
            body = kept.content[begin:]
            self.send_response(206 if begin else 200)
            self.send_header("Connection", "close")
            if kept.tag:
                self.send_header("ETag", kept.tag)
            if kept.says_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(body[: kept.breaks_after])
            self.close_connection = True

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.port = server.server_port
    with answering(server):
        yield kept


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def corpus(keeper: Keeper, pinned: bool = True) -> PublicCorpus:
    digest = sha256(keeper.content) if pinned else None
    return PublicCorpus("a text", keeper.url, len(keeper.content), "none", sha256=digest)


def get(public: PublicCorpus, target: Path) -> str:
    """What was told."""
    told: list[str] = []
    fetch(public, target, told.append, lambda here, total: None)
    return "\n".join(told)


def test_the_size_comes_first_and_then_the_text(keeper: Keeper, tmp_path: Path) -> None:
    told: list[str] = []
    sizes: list[tuple[int, int | None]] = []

    def show(here: int, total: int | None) -> None:
        assert told
        sizes.append((here, total))

    fetch(corpus(keeper), tmp_path / "deep" / "text", told.append, show)
    assert told == [f"downloading {keeper.url}, {len(TEXT):,} bytes"]
    assert (tmp_path / "deep" / "text").read_bytes() == TEXT
    assert sizes[-1] == (len(TEXT), len(TEXT))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["text"]


@pytest.mark.parametrize("pinned", [True, False])
def test_what_broke_off_is_gone_on_with(keeper: Keeper, tmp_path: Path, pinned: bool) -> None:
    keeper.breaks_after = 200_000
    with pytest.raises(
        UserError,
        match=r"broke off after 200,000 of 512,000 bytes; run the command again to resume",
    ):
        get(corpus(keeper, pinned), tmp_path / "text")
    assert not (tmp_path / "text").exists()
    keeper.breaks_after = None
    assert "512,000 bytes, resuming after 200,000" in get(corpus(keeper, pinned), tmp_path / "text")
    assert keeper.asked == [None, "bytes=200000-"]
    assert (tmp_path / "text").read_bytes() == TEXT


def test_what_is_whole_is_not_asked_for_again(keeper: Keeper, tmp_path: Path) -> None:
    (tmp_path / ".text.part").write_bytes(TEXT)
    get(corpus(keeper), tmp_path / "text")
    assert keeper.asked == [f"bytes={len(TEXT)}-"]
    assert (tmp_path / "text").read_bytes() == TEXT


def test_what_tls_breaks_off_is_not_told_as_a_file_that_cannot_be_written(
    keeper: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_response: object, _size: int) -> bytes:
        raise ssl.SSLEOFError(8, "EOF occurred in violation of protocol")

    monkeypatch.setattr(http.client.HTTPResponse, "read", read)
    with pytest.raises(UserError, match="broke off; run the command again to resume"):
        get(corpus(keeper), tmp_path / "text")


def test_what_is_there_is_compared_and_left_as_it_is(keeper: Keeper, tmp_path: Path) -> None:
    target = tmp_path / "text"
    target.write_bytes(TEXT)
    assert get(corpus(keeper), target) == "already downloaded"
    target.write_bytes(b"mine")
    with pytest.raises(UserError, match="exists and is another file: move it"):
        get(corpus(keeper), target)
    assert target.read_bytes() == b"mine" and keeper.asked == []


def test_a_server_that_knows_no_ranges_starts_over(keeper: Keeper, tmp_path: Path) -> None:
    keeper.breaks_after, keeper.ranges = 1000, False
    with pytest.raises(UserError):
        get(corpus(keeper), tmp_path / "text")
    keeper.breaks_after = None
    get(corpus(keeper), tmp_path / "text")
    assert (tmp_path / "text").read_bytes() == TEXT


@pytest.mark.parametrize("tag", ['"two"', None])
def test_halves_of_two_files_are_not_put_together(
    keeper: Keeper, tmp_path: Path, tag: str | None
) -> None:
    keeper.breaks_after = 1000
    keeper.tag = tag and '"one"'
    with pytest.raises(UserError, match="again to resume" if tag else "again to start over"):
        get(corpus(keeper, pinned=False), tmp_path / "text")
    keeper.breaks_after, keeper.tag, keeper.content = None, tag, TEXT[::-1]
    get(corpus(keeper, pinned=False), tmp_path / "text")
    assert (tmp_path / "text").read_bytes() == TEXT[::-1]


def test_another_file_than_is_meant_is_deleted(keeper: Keeper, tmp_path: Path) -> None:
    public = corpus(keeper)
    keeper.content = b"<html>Sign in to this network</html>"
    with pytest.raises(UserError, match="checksum mismatch: deleted the downloaded file"):
        get(public, tmp_path / "text")
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_is_not_said(keeper: Keeper, tmp_path: Path) -> None:
    keeper.says_length = False
    assert "unknown size" in get(corpus(keeper), tmp_path / "text")
    assert (tmp_path / "text").read_bytes() == TEXT


def test_errors_say_who_and_why(keeper: Keeper, tmp_path: Path) -> None:
    away = replace(corpus(keeper), url="http://127.0.0.1:1/text")
    with pytest.raises(UserError, match=r"cannot reach 127\.0\.0\.1:1: Connection refused\. With"):
        get(away, tmp_path / "text")
    unnamed = replace(corpus(keeper), url="http://nowhere.invalid/text")
    with pytest.raises(UserError, match=r"cannot reach nowhere\.invalid: .*--corpus FILE"):
        get(unnamed, tmp_path / "text")
    gone = replace(corpus(keeper), url=f"{keeper.url}s")
    with pytest.raises(UserError, match="answers 404 Not Found"):
        get(gone, tmp_path / "text")


def test_a_text_out_of_a_zip(keeper: Keeper, tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("enwik8", TEXT)
    keeper.content = archive.getvalue()
    public = replace(
        corpus(keeper, pinned=False), kind="zip", members=("enwik8",), text_sha256=sha256(TEXT)
    )
    get(public, tmp_path / "text")
    assert (tmp_path / "text").read_bytes() == TEXT
    (tmp_path / "text").unlink()
    with pytest.raises(UserError, match="checksum mismatch"):
        get(replace(public, text_sha256="0" * 64), tmp_path / "text")
    keeper.content, keeper.tag = b"PK but no zip", '"two"'
    with pytest.raises(UserError, match="the downloaded archive is damaged"):
        get(public, tmp_path / "text")
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_text_out_of_sources(keeper: Keeper, tmp_path: Path) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as opened:
        for name, content in {
            "linux/kernel/a.c": b"int a;\n",
            "linux/kernel/sched/b.h": b"int b;",
            "linux/mm/c.c": b"int c;\n",
            "linux/kernel/Makefile": b"obj-y = a.o\n",
            "linux/kernel/latin.c": b"/* \xe9 */\n",
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("linux/kernel/passwd.c")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        opened.addfile(link)
    keeper.content = lzma.compress(raw.getvalue())
    public = replace(corpus(keeper), kind="tar", members=("linux/kernel/*.c", "linux/kernel/*.h"))
    assert "files packed: 2; skipped, since not UTF-8: 1 (" in get(public, tmp_path / "text")
    found = (tmp_path / "text").read_text()
    assert sorted(re.findall(r"int \w;\n\n", found)) == ["int a;\n\n", "int b;\n\n"]
    assert len(found) == 16
    (tmp_path / "text").unlink()
    with pytest.raises(UserError, match=r"the archive has no text linux/drivers/\*\.c"):
        get(replace(public, members=("linux/drivers/*.c",)), tmp_path / "text")
    assert list(tmp_path.iterdir()) == []


# Packing


def test_a_pack_is_all_files_in_an_order_of_its_own() -> None:
    files = [(f"{n:02}", f"file {n}\n".encode()) for n in range(20)]
    packed = pack([*files, ("x", b"\xff\xfe"), ("y", b"  \n")])
    assert (packed.files, packed.skipped) == (20, ["x"])
    texts = packed.text.decode().split("\n\n")[:-1]
    in_order = [f"file {n}" for n in range(20)]
    assert sorted(texts) == sorted(in_order) and texts != in_order
    assert pack(reversed(files)).text == packed.text


def test_files_are_found_below_a_directory(tmp_path: Path) -> None:
    for name in ("a.c", "src/b.c", "src/deep/c.c", "src/d.h", ".git/e.c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert pack_files(["src/**/*.c"], tmp_path).files == 2
    assert pack_files(["**/*.c", "*.c"], tmp_path).files == 3
    assert pack_files([f"{tmp_path}/**/*.[ch]"], Path("/")).files == 4
    assert pack_files(["**/*.c"], tmp_path, to=tmp_path / "a.h").files == 3
    assert pack_files(["src"], tmp_path).files == pack_files([f"{tmp_path}/src"], Path("/")).files
    assert pack_files(["src", "*.c"], tmp_path).files == 4
    with pytest.raises(UserError, match="no text file matches"):
        pack_files(["*.rs"], tmp_path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two files and links: to the parent, out of the folder, to a folder in it, to a file in it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.c").write_text("outside")
    top = tmp_path / "top"
    (top / "src").mkdir(parents=True)
    (top / "src" / "a.c").write_text("int a;")
    (top / "b.c").write_text("int b;")
    (top / "src" / "up").symlink_to(top)
    (top / "src" / "round").symlink_to(".")
    (top / "out").symlink_to(tmp_path / "outside")
    (top / "again").symlink_to("src")
    (top / "file.c").symlink_to("b.c")
    (top / "secret.c").symlink_to(tmp_path / "outside" / "secret.c")
    (top / "nowhere").symlink_to("nothing")
    (top / "itself.c").symlink_to("itself.c")
    return top


@pytest.mark.parametrize("pattern", [".", "**/*.c", "**/**/*.c", "*", "*/*.c", "**", "*/**/*.c"])
def test_links_are_not_followed(pattern: str, tree: Path) -> None:
    packed = pack_files([pattern, "."], tree)
    assert sorted(packed.text.split(b"\n\n")[:-1]) == [b"int a;", b"int b;"]
    inside = [pattern] if pattern != "*" else ["*", "src/*"]
    wanted = [b"int a;"] if pattern in ("*/*.c", "*/**/*.c") else [b"int a;", b"int b;"]
    assert sorted(pack_files(inside, tree).text.split(b"\n\n")[:-1]) == wanted


def test_a_link_that_is_named_is_followed(tree: Path) -> None:
    assert pack_files(["again"], tree).text == b"int a;\n\n"
    assert pack_files(["out/*.c"], tree).text == b"outside\n\n"
    assert pack_files([str(tree / "file.c")], tree).text == b"int b;\n\n"


def test_a_pack_has_no_byte_order_marks_and_no_binary_files() -> None:
    files = [
        ("a.c", "\ufeffint a;\n".encode()),
        ("b.c", "\ufeff\ufeffint b;\n".encode()),
        ("wide.txt", "int c;\n".encode("utf-16-le") * 9),
        ("image.bmp", b"BM" + bytes(200)),
        ("list.tar", b"a".ljust(257, b"\0") + b"ustar\0" + bytes(200)),
        *((f"{n}.o", bytes(100)) for n in range(4)),
    ]
    packed = pack(files)
    assert sorted(packed.text.split(b"\n\n")[:-1]) == [b"int a;", b"int b;"]
    assert str(packed).endswith("UTF-8: 7 (0.o, 1.o, 2.o, 3.o, image.bmp and 2 more)")
