"""Texts that curl changed on the way: it has options that people take for one that sends a file.

Knows no route and no corpus.
"""

import re

from fastapi import Request
from python_multipart.multipart import parse_options_header

_LOOKED_AT = 1024
_ENCODED = re.compile(rb"%[0-9A-Fa-f]{2}")

INSTEAD = "send the file with --data-binary @FILE, or as a form with -F corpus=@FILE"


class Sent:
    """Looks at a raw body as it arrives, if curl sent it as the values of a form.

    It sends ``--data-binary`` so too, so only the body can tell.
    """

    def __init__(self, request: Request) -> None:
        kind, _ = parse_options_header(request.headers.get("content-type"))
        self._is_suspect = kind == b"application/x-www-form-urlencoded"
        self._beginning = b""

    def look(self, data: bytes) -> None:
        if not self._is_suspect:
            return
        self._beginning += data[: _LOOKED_AT - len(self._beginning)]
        self._is_suspect = b"\n" not in data and b"\r" not in data

    @property
    def warnings(self) -> list[str]:
        """Once all of the body has been looked at."""
        if not self._is_suspect or not self._beginning:
            return []
        if not re.search(rb"\s", self._beginning) and _ENCODED.search(self._beginning):
            return [f"the text is percent-encoded, as curl --data-urlencode sends it: {INSTEAD}"]
        return [f"the text has no line ends, which curl -d @FILE takes out: {INSTEAD}"]
