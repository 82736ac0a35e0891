"""One text of the files in a request: as sent if it is one text, else made of what they hold.

Knows no route and no option.
"""

import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import IO, Any

import anyio
from anyio.to_thread import run_sync
from fastapi.concurrency import run_in_threadpool

from app.http.bodies import Received, SentFile, staged
from models.text.intake.members import Member
from models.text.intake.taking import Taken, is_made_of_others, take
from models.text.kinds import HEAD
from worker.corpora import CorpusStore, Upload


@dataclass(frozen=True, slots=True)
class OneText:
    """A staged text; if not sent as it is, ``made_of`` says of which files."""

    upload: Upload
    made_of: Taken | None = None


@asynccontextmanager
async def one_text(
    received: Received[Any],
    corpora: CorpusStore,
    limiter: anyio.CapacityLimiter,
    limit: int,
    *,
    as_sent: bool = False,
) -> AsyncIterator[OneText]:
    """Makes the files of a request one text; unless the store takes it, the block's end removes it.

    Args:
        received: the files.
        corpora: where the text is staged.
        limiter: of how many texts are read at a time.
        limit: most bytes of the text, and of all that is unpacked for it.
        as_sent: whether a single file is left as it is, whatever it is.

    Raises:
        CorpusError: the files hold no text.
        TooMuch: there are more files or bytes than there may be.
    """
    is_single = len(received.files) == 1
    if is_single and (as_sent or not await run_in_threadpool(_is_made_of_others, received)):
        yield OneText(received.upload)
        return
    async with staged(corpora) as upload:
        yield OneText(upload, await run_sync(_taken, received, upload, limit, limiter=limiter))


def _is_made_of_others(received: Received[Any]) -> bool:
    with received.upload.read() as file:
        return is_made_of_others(file.read(HEAD), received.files[0].name)


def _taken(received: Received[Any], upload: Upload, limit: int) -> Taken:
    with received.upload.read() as file:
        members = [Member(sent.name, _opening(file, sent)) for sent in received.files]
        # Beside the text: what is on another disk may not fit there, or be memory.
        return take(members, upload.write, limit, upload.path.parent)


def _opening(file: IO[bytes], sent: SentFile) -> "Callable[[], closing[_Part]]":
    return lambda: closing(_Part(file, sent))


class _Part(io.RawIOBase):
    """Reads one of several files in a file, once."""

    def __init__(self, file: IO[bytes], sent: SentFile) -> None:
        self._file = file
        self._left = sent.end - sent.begin
        file.seek(sent.begin)

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        return data
