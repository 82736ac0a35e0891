"""JSON on one line, for formats that are framed by lines: NDJSON, JSON Lines, server-sent events.

Knows no format and no file.
"""

import json
from typing import Any

_ENDS = {end: f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
"""What also ends a line to many readers, such as Python's ``splitlines`` and httpx. JSON itself
escapes only control characters below U+0020."""


def one_line(value: object) -> str:
    """Returns a value as JSON in which no reader finds a second line.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if not text.isascii():
        for end, escaped in _ENDS.items():
            text = text.replace(end, escaped)
    return text


def parsed(text: str | bytes) -> Any:
    """Returns the value that JSON from elsewhere means.

    Raises:
        ValueError: it is not JSON, or nested too deeply to be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
