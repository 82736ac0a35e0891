"""How server and workers log: lines for people, or JSON for programs that gather logs.

All loggers are below ``charloom``. What a request or a job is about is on every record that is made
meanwhile. Nothing in a record can forge another or control a terminal. Knows no request and no job.
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
"""One of the forms; by default text on a terminal and JSON everywhere else."""

FORMS = ("json", "text")

_subject: ContextVar[dict[str, str] | None] = ContextVar("subject", default=None)


def logger(module: str) -> logging.Logger:
    """The logger of a module, given its ``__name__``."""
    return logging.getLogger(f"charloom.{module}")


@contextmanager
def about(**fields: str) -> Iterator[None]:
    """Adds fields, such as ``job_id``, to all records that are made in the block."""
    token = _subject.set((_subject.get() or {}) | fields)
    try:
        yield
    finally:
        _subject.reset(token)


def configure(stream: TextIO, level: int = logging.INFO) -> logging.Handler:
    """Makes all loggers write to a stream, in the form that the environment or the stream asks."""
    wanted = os.environ.get(VARIABLE) or ("text" if stream.isatty() else "json")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if wanted == "json" else TextLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    return handler


class JsonLines(logging.Formatter):
    """One object a line: ``time``, ``level``, ``message``, what it is about, and ``fields``.

    ASCII only: all other characters are escaped.
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
    """Escapes what cannot be seen: line ends, control and bidi characters."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
