"""Makes one text of the files that a command names, and tells what was taken before it is sent.

What reads archives needs libraries that take longer to import than all of the client: it is
imported when there is something to read. Knows no service.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from app.supervisor.errors import UserError
from app.terminal import commands
from app.terminal.output import note, tell
from models.styles import NO_STYLES, STYLE, parts_of_files, written_parts

if TYPE_CHECKING:
    from models.text.intake.members import Member
    from models.text.intake.taking import Taken

LIMIT = 1 << 30
"""Bytes of a text: as many as the service takes, unless its settings say otherwise."""

_MAX_TOLD = 10


@contextmanager
def opened(
    paths: Sequence[Path], *, as_sent: bool = False, styles: bool = False
) -> Iterator[tuple[IO[bytes], dict[str, str]]]:
    """Opens one text of files, folders, archives and documents.

    Args:
        paths: of them; a single ``-`` is standard input.
        as_sent: whether a single file is left as it is, whatever it is.
        styles: whether it is of several styles, each a file, a folder, or ``NAME=PATH``.

    Yields:
        The text, and the options that say which parts it has.

    Raises:
        UserError: there is none, or only one style.
    """
    if len(paths) > 1 and Path("-") in paths:
        raise UserError("- is standard input, which is a text of its own: name files, or -")
    if len(paths) == 1 and (as_sent or not _is_made_of_others(paths[0])):
        if styles:
            raise UserError(f"--styles {NO_STYLES}")
        with commands.opened(paths[0]) as text:
            yield text, {}
        return
    with tempfile.TemporaryFile() as text:
        told = _take(paths, text, styles)
        text.seek(0)
        yield text, _parts(told) if styles else {}


def _is_made_of_others(path: Path) -> bool:
    """Whether a path is a folder, or a file that is; what cannot be read is found out later."""
    if not path.is_file():
        return path.is_dir()
    from models.text.intake.taking import is_made_of_others
    from models.text.kinds import HEAD

    try:
        with path.open("rb") as file:
            return is_made_of_others(file.read(HEAD), path.name)
    except OSError:
        return False


def _take(paths: Sequence[Path], text: IO[bytes], styles: bool) -> "Taken":
    from models.text.cleaning import CorpusError
    from models.text.intake.folders import members_at
    from models.text.intake.members import TooMuch
    from models.text.intake.taking import take

    try:
        members = _named(paths) if styles else members_at(paths)
        told = take(members, text.write, LIMIT)
    except OSError as error:
        where = error.filename or "the files"
        raise UserError(f"cannot read {where}: {error.strerror}") from None
    except (CorpusError, TooMuch) as error:
        raise UserError(str(error)) from None
    _tell(told, text.tell())
    return told


def _named(paths: Sequence[Path]) -> "list[Member]":
    """Returns the files at paths, below the folder or the style that each is of."""
    from models.text.intake.folders import members_at

    found: list[Member] = []
    for path in paths:
        style, is_named, rest = str(path).partition("=")
        if is_named and STYLE.fullmatch(style) and not path.exists():
            path = Path(rest)
        else:
            style = path.resolve().name if path.is_dir() else ""
        prefix = f"{style}/" if style else ""
        found += [replace(one, name=prefix + one.name) for one in members_at([path])]
    return found


def _parts(told: "Taken") -> dict[str, str]:
    """Returns the option that says which parts a text has, and tells them."""
    try:
        parts = parts_of_files(told.parts)
    except ValueError as error:
        raise UserError(f"--styles {error}") from None
    for part in parts:
        tell(f"style {part.style}: {part.bytes:,} bytes")
    return {"styles": written_parts(parts)}


def _tell(told: "Taken", size: int) -> None:
    """Says what the text is made of, and what was left out."""
    files = "1 file" if told.taken == 1 else f"{told.taken:,} files"
    tell(f"the text is made of {files}, {size:,} bytes")
    for name, _bytes, source in told.files[:_MAX_TOLD]:
        if source != "UTF-8":
            note(f"note: {name} is read as {source}")
    for name, reason in told.omitted[:_MAX_TOLD]:
        note(f"note: {name} is left out: {reason}")
    if (more := told.left_out - _MAX_TOLD) > 0:
        counted = "; ".join(f"{n:,} because {why}" for why, n in told.reasons.most_common(5))
        note(f"note: {more:,} more are left out. Of all, {counted}")
