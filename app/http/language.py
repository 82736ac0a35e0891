"""The language of the pages: which one a visitor reads, and the server's own sentences in it.

English sentences stand in the code. Of every other language, ``app/static/languages`` has a file
with each sentence by its English one, for the server and for the pages' scripts. Knows no route.
"""

import json
from functools import cache
from pathlib import Path

from starlette.requests import HTTPConnection

from app.http.negotiation import weights

ENGLISH = "en"
LANGUAGES = {ENGLISH: "English", "ja": "日本語"}
"""By the ``lang`` attribute of HTML, in their own words."""

COOKIE = "charloom_language"
"""The visitor's choice, which the pages' switch sets."""

SENTENCES = Path(__file__).parents[1] / "static" / "languages"

VARY = "Accept-Language, Cookie"
"""What the language of an answer depends on."""


def language_of(request: HTTPConnection) -> str:
    """The visitor's choice, else what the browser asks for (RFC 9110, 12.5.4), else English."""
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return chosen
    asked = weights(", ".join(request.headers.getlist("accept-language")))
    wanted = {_primary(tag): weight for tag, weight in reversed(asked.items()) if weight}
    return max(LANGUAGES, key=lambda language: wanted.get(language, 0.0))


def in_language(language: str, sentence: str) -> str:
    """A sentence in a language; as it is if it has no translation."""
    return _sentences(language).get(sentence, sentence)


def next_language(language: str) -> str:
    """The language that the pages' switch leads to."""
    known = list(LANGUAGES)
    return known[(known.index(language) + 1) % len(known)]


def _primary(tag: str) -> str:
    """The language itself, without script and region: "ja" of "ja-JP"."""
    return tag.partition("-")[0]


@cache
def _sentences(language: str) -> dict[str, str]:
    if language == ENGLISH:
        return {}
    sentences: dict[str, str] = json.loads((SENTENCES / f"{language}.json").read_text())
    return sentences
