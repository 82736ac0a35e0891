"""Texts for the terminal's commands: downloaded, extracted from archives, packed from files.

An interrupted download resumes, which libraries for downloads, such as pooch, do not offer. A file
is verified by its SHA-256, where that is known, before anything reads it. Knows no service.
"""

import codecs
import glob
import hashlib
import http.client
import os
import random
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.essay.corpora import PublicCorpus
from app.supervisor.errors import UserError

TIMEOUT = 30.0
MAX_TEXT = 1 << 30
"""Bytes of an extracted text."""

_BLOCK = 1 << 16
_MOST_NAMES = 5

Tell = Callable[[str], None]
Show = Callable[[int, int | None], None]
"""Takes the bytes downloaded so far, and those of the whole file if they are known."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A text made of files; the names of those that were skipped, since they are not UTF-8."""

    text: bytes
    files: int
    skipped: Sequence[str]

    def __str__(self) -> str:
        packed = f"{len(self.text):,} bytes; files packed: {self.files:,}"
        if not self.skipped:
            return packed
        names = ", ".join(self.skipped[:_MOST_NAMES])
        others = len(self.skipped) - _MOST_NAMES
        more = f" and {others:,} more" if others > 0 else ""
        return f"{packed}; skipped, since not UTF-8: {len(self.skipped):,} ({names}{more})"


def fetch(corpus: PublicCorpus, target: Path, tell: Tell, show: Show) -> None:
    """Downloads a text to a file, which appears whole or not at all, unless it exists.

    Raises:
        UserError: the text is not available, or the file holds another one.
        OSError: it cannot be written.
    """
    if target.exists():
        _check_same(corpus, target)
        tell("already downloaded")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    _download(corpus.url, part, pinned=corpus.sha256 is not None, tell=tell, show=show)
    _compare(part, corpus.sha256)
    text = part
    if corpus.kind != "text":
        text = target.with_name(f".{target.name}.text")
        try:
            if corpus.kind == "zip":
                _unzip(part, corpus.members, text)
            else:
                packed = _untar(part, corpus.members)
                text.write_bytes(packed.text)
                tell(str(packed))
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, KeyError):
            _forget(part)
            raise UserError("the downloaded archive is damaged: try again later") from None
        except UserError:
            _forget(part)
            raise
        _compare(text, corpus.text_sha256)
    text.replace(target)
    _forget(part)


def _download(url: str, part: Path, *, pinned: bool, tell: Tell, show: Show) -> None:
    validator = _validator(part)
    offset = part.stat().st_size if part.exists() else 0
    if offset and not (pinned or validator.exists()):
        # Nothing could tell whether the rest is of the same file.
        offset = 0
    try:
        with _ask(url, offset, validator) as response:
            if response.status == http.client.OK:
                offset = 0
            length = response.headers.get("Content-Length")
            total = offset + int(length) if length else None
            size = "unknown size" if total is None else f"{total:,} bytes"
            resumed = f", resuming after {offset:,}" if offset else ""
            tell(f"downloading {url}, {size}{resumed}")
            _check_space(part.parent, (total or 0) - offset)
            if tag := response.headers.get("ETag"):
                validator.write_text(tag, "utf-8")
            with part.open("ab" if offset else "wb") as file:
                while block := _read(response):
                    file.write(block)
                    offset += len(block)
                    show(offset, total)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                if error.headers.get("Content-Range") == f"bytes */{offset}":
                    return
                _forget(part)
                raise UserError("the file has changed: run the command again") from None
        raise UserError(f"{_host(url)} answers {error.code} {error.reason}: {url}") from None
    except (http.client.HTTPException, TimeoutError, ConnectionError):
        raise UserError(f"{_host(url)} broke off; {_again(validator, pinned)}") from None
    except urllib.error.URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise UserError(
            f"cannot reach {_host(url)}: {reason}. Without a network, copy the file to this "
            "machine by other means and pass it: --corpus FILE, or train FILE"
        ) from None
    if total is not None and offset < total:
        again = _again(validator, pinned)
        raise UserError(f"{_host(url)} broke off after {offset:,} of {total:,} bytes; {again}")


def _again(validator: Path, pinned: bool) -> str:
    if pinned or validator.exists():
        return "run the command again to resume"
    return "run the command again to start over"


def _read(response: Any) -> bytes:
    try:
        block: bytes = response.read(_BLOCK)
    except OSError as error:
        # Such as TLS's own: unlike these, an OSError of `_download` is one of writing.
        raise ConnectionError(str(error)) from None
    return block


def _ask(url: str, offset: int, validator: Path) -> Any:
    headers = {"User-Agent": "charloom", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator.exists():
            headers["If-Range"] = validator.read_text("utf-8")
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)


def _validator(part: Path) -> Path:
    return part.with_suffix(".tag")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator(part).unlink(missing_ok=True)


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _check_space(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise UserError(f"not enough disk: needs {needed:,} bytes, and {free:,} are free")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_same(corpus: PublicCorpus, path: Path) -> None:
    wanted = corpus.sha256 if corpus.kind == "text" else corpus.text_sha256
    if wanted and _sha256(path) != wanted:
        raise UserError(f"{path} exists and is another file: move it, or choose another --to")


def _compare(path: Path, wanted: str | None) -> None:
    if wanted is None:
        return
    if (found := _sha256(path)) != wanted:
        _forget(path)
        raise UserError(
            f"checksum mismatch: deleted the downloaded file (sha256 {found[:12]}…, expected "
            f"{wanted[:12]}…)"
        )


def _unzip(archive: Path, members: tuple[str, ...], target: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        (name,) = members
        if opened.getinfo(name).file_size > MAX_TEXT:
            raise UserError("the text in the archive is larger than expected")
        with opened.open(name) as text, target.open("wb") as file:
            shutil.copyfileobj(text, file)


def _untar(archive: Path, members: tuple[str, ...]) -> Packed:
    def contents() -> Iterator[tuple[str, bytes]]:
        total = 0
        with tarfile.open(archive) as opened:
            for member in opened:
                if member.isfile() and any(fnmatch(member.name, name) for name in members):
                    total += member.size
                    if total > MAX_TEXT:
                        raise UserError("the text in the archive is larger than expected")
                    file = opened.extractfile(member)
                    assert file
                    yield member.name, file.read()

    packed = pack(contents())
    if not packed.files:
        raise UserError(f"the archive has no text {' or '.join(members)}")
    return packed


def pack_files(patterns: Iterable[str], root: Path, to: Path | None = None) -> Packed:
    """Packs all files that patterns such as ``src/**/*.c`` match into one text.

    Links are followed only where a pattern names them, so a file is packed once, and none from
    outside the named folders.

    Args:
        patterns: as of ``glob``, or folders, with all files in them.
        root: the folder that they are relative to.
        to: the file that will be written.

    Raises:
        UserError: no file matches, or the one to write does and would be lost.
    """
    found = {path for pattern in patterns for path in _matches(pattern, root)}
    if to is not None and any(_is_same(path, to) for path in found):
        raise UserError(
            f"{to} is one of the files to pack, and would be overwritten: choose another name "
            "with --to, or delete it if it is an earlier pack"
        )
    base = os.path.realpath(root)
    packed = pack((os.path.relpath(path, base), path.read_bytes()) for path in found)
    if not packed.files:
        raise UserError("no text file matches: quote patterns, as in 'src/**/*.c'")
    return packed


def _matches(pattern: str, root: Path) -> Iterator[Path]:
    """Yields the real paths of a pattern's files."""
    parts: Sequence[str] = Path(pattern).parts
    others: Sequence[str] = ("**", "*")
    if (root / pattern).is_dir():
        named = root / pattern
    else:
        wild = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
        named, others = root.joinpath(*parts[:wild]), parts[wild:]
    # Unlike Path.resolve, realpath takes a link to itself.
    real = os.path.realpath(named)
    for name in _names(others, named):
        path = Path(os.path.realpath(named / name))
        if path.is_file() and path.is_relative_to(real):
            yield path


def _names(parts: Sequence[str], folder: Path) -> Iterator[str]:
    """Yields what a pattern matches below a folder, without hidden files.

    As ``glob``, which would follow links round and round at ``**``.
    """
    if "**" not in parts:
        # Unlike Path's it skips hidden files.
        yield from glob.glob(str(Path(*parts)), root_dir=folder)  # noqa: PTH207
        return
    at = parts.index("**")
    rest = parts[at + 1 :] or ("*",)
    for begin in _names(parts[:at], folder) if at else ("",):
        for below in _folders(folder / begin):
            yield from (str(below / name) for name in _names(rest, below))


def _folders(top: Path) -> Iterator[Path]:
    """Yields a folder and those in it, but for hidden ones and links."""
    for directory, names, _ in os.walk(top):
        names[:] = [name for name in names if not name.startswith(".")]
        yield Path(directory)


def _is_same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return False


def pack(files: Iterable[tuple[str, bytes]]) -> Packed:
    """Packs files one after the other, as the essay did with Linux.

    They are shuffled, the same way each time, so that the end, which is held out for validation,
    is of the same kind as the rest. Byte-order marks are dropped.
    """
    # Takes longer to import than all else of the commands that do not pack.
    from models.text.cleaning import is_text

    texts = []
    skipped = []
    for name, content in sorted(files):
        if not is_text(content):
            skipped.append(name)
            continue
        while content.startswith(codecs.BOM_UTF8):
            content = content.removeprefix(codecs.BOM_UTF8)
        if content.strip():
            texts.append(content.rstrip(b"\n") + b"\n\n")
    random.Random(0).shuffle(texts)
    return Packed(b"".join(texts), len(texts), skipped)
