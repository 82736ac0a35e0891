"""Reads the texts that a command is given: their beginnings, or all of one to report on it.

It needs the server's schemas, whose libraries take longer to import than all of the client:
commands that read no text do not import it. Knows no service.
"""

import codecs
import io
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from app.http.problems import Problem
from app.http.validation import validated
from app.schemas.common import MAX_TEXT
from app.schemas.training import TrainForm
from app.supervisor.errors import UserError
from app.terminal.output import duration, note, state
from app.terminal.problems import explained, in_options
from models.text.cleaning import CorpusError, NotUtf8, refuse_at_once
from models.text.encodings import explained as explained_file
from worker.corpora import CorpusStore

_BLOCK = 1 << 20


def beginning(text: IO[bytes]) -> str:
    """Returns as much of a text as the service reads. Raises UserError."""
    # One more than the service reads, each of up to 4 bytes, and a byte-order mark.
    data = text.read(4 * (MAX_TEXT + 2))
    try:
        # Line ends stay as they are: a bytes model was trained on them.
        read = codecs.getincrementaldecoder("utf-8-sig")().decode(data, len(data) < 4 * MAX_TEXT)
        refuse_at_once(io.BytesIO(data))
    except UnicodeDecodeError as error:
        found = explained_file(io.BytesIO(data), error.start)
        raise _not_utf8(NotUtf8(error.start, found)) from None
    except NotUtf8 as error:
        raise _not_utf8(error) from None
    if len(read) > MAX_TEXT:
        note(f"note: only the first {MAX_TEXT:,} characters are read")
    return read[:MAX_TEXT]


def _not_utf8(error: NotUtf8) -> UserError:
    """Returns what is wrong, but for the advice to train on the bytes."""
    return UserError(str(error).partition(", or pass")[0])


def check(text: IO[bytes], fields: Mapping[str, Any]) -> int:
    """Reports on a text as the service would read it, keeping nothing.

    Returns the exit code: not 0 if ``train`` would refuse the text or an option. What only the
    service knows, such as its memory, is not checked.
    """
    try:
        options = validated(TrainForm, fields).options()
    except Problem as problem:
        errors = [error.model_dump() for error in problem.errors]
        wrong = {"code": problem.code, "detail": problem.detail, "errors": errors}
        raise UserError(explained(wrong)) from None
    with tempfile.TemporaryDirectory() as directory:
        corpora = CorpusStore(Path(directory))
        with corpora.upload() as upload:
            while block := text.read(_BLOCK):
                upload.write(block)
            try:
                report = asdict(corpora.add(upload, options.symbols)[1])
            except CorpusError as error:
                report = {"bytes": upload.bytes, "warnings": [str(error)]}
    for line in described(report):
        state(in_options(line))
    return 1 if report.get("characters") is None else 0


def described(report: Mapping[str, Any]) -> Iterator[str]:
    """Yields a corpus's report for people, a line a fact."""

    def fact(name: str, value: object) -> str:
        return f"{name + ':':<19}{value}"

    size = report["bytes"]
    yield fact("bytes", f"{size:,}")
    if report.get("characters") is None:
        yield fact("can be trained on", "no")
    else:
        symbols = "bytes" if report["encoding"] == "bytes" else "characters"
        yield fact("read as", f"{symbols} ({report['encoding']}), line ends {report['line_ends']}")
        yield fact(symbols, f"{report['characters']:,}, {report['distinct']:,} distinct")
        yield fact("lines", f"{report['lines']:,}")
    if (share := report.get("duplicate_line_share")) is not None:
        yield fact("repeated lines", f"{share:.0%}")
    for change in report.get("normalised", []):
        yield fact("changed", change)
    if rare := report.get("rare"):
        shown = " ".join(f"{one['char']!r}" for one in rare[:20])
        more = f" and {len(rare) - 20} more" if len(rare) > 20 else ""
        yield fact("rare", f"{shown}{more}")
    for one in report.get("invisible", []):
        yield fact("invisible", f"{one['name']}, {one['count']:,} times")
    if preset := report.get("preset"):
        yield fact("preset", preset)
    if (seconds := report.get("estimated_seconds")) is not None:
        yield fact("would take", f"about {duration(seconds)}")
    for warning in report.get("warnings", []):
        yield fact("note", warning)
