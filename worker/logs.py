"""How server and workers say what happens: lines for people, or JSON for those who gather logs.

What a request or a job is about is on every record that is made meanwhile, in whatever thread.
Nothing in a record can forge another or steer a terminal. Knows no request and no job.
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from worker.clock import timestamp

VARIABLE = "CHARLOOM_LOG"
"""``json`` or ``text``; else text on a terminal and JSON everywhere else."""

_subject: ContextVar[dict[str, str] | None] = ContextVar("subject", default=None)


@contextmanager
def about(**fields: str) -> Iterator[None]:
    """Records that are made in the block have these fields too, such as ``job_id``."""
    token = _subject.set((_subject.get() or {}) | fields)
    try:
        yield
    finally:
        _subject.reset(token)


def configure(stream: TextIO, level: int = logging.INFO) -> logging.Handler:
    """Lets all loggers write to a stream, as the environment and the stream ask for."""
    wanted = os.environ.get(VARIABLE) or ("text" if stream.isatty() else "json")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if wanted == "json" else TextLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    return handler


class JsonLines(logging.Formatter):
    """One object a line: ``time``, ``level``, ``message``, what it is about, and ``fields``.

    ASCII alone: what is no letter of it is escaped.
    """

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, object] = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **(_subject.get() or {}),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str)


class TextLines(logging.Formatter):
    """A line for each record, with a traceback below it where there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return harmless(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return "\n".join(map(harmless, super().formatException(ei).split("\n")))


def harmless(text: str) -> str:
    """The text with what can't be seen in it escaped: line ends, control and bidi characters."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
