"""Chooses the media type that a client prefers (RFC 9110, 12.5.1). Knows no route."""

import re

from fastapi import Request
from starlette.datastructures import Headers

from app.http.problems import Problem

TEXT, EVENTS, JSON = "text/plain", "text/event-stream", "application/json"
NDJSON = "application/x-ndjson"
_HTML, _ANY = "text/html", "*/*"

_PREVIEWERS = re.compile(
    r"(facebookexternalhit|Facebot|Twitterbot|Slackbot|Discordbot|TelegramBot|WhatsApp|LinkedInBot"
    r"|SkypeUriPreview|Mastodon|redditbot|Applebot|Iframely)\b"
)
"""Programs that look a link up when somebody posts it, by what they call themselves."""


def accepted(request: Request, offers: tuple[str, ...]) -> str:
    """The offer that a client's ``Accept`` prefers; the first if it has no preference.

    Raises:
        Problem: 406, the client accepts none of them.
    """
    ranges = _ranges(accept_of(request.headers)) or {_ANY: 1.0}
    best = max(offers, key=lambda offer: _quality(ranges, offer))
    if not _quality(ranges, best):
        raise Problem(406, "not_acceptable", f"this endpoint answers with {', '.join(offers)}")
    return best


def accept_of(headers: Headers) -> str:
    """The ``Accept`` header; several are one list (RFC 9110, 5.3).

    What draws previews of links takes anything, and means a page.
    """
    accept = ", ".join(headers.getlist("accept"))
    if accept.strip() in ("", _ANY) and _PREVIEWERS.search(headers.get("user-agent", "")):
        return f"{_HTML}, {_ANY}"
    return accept


def takes_gzip(headers: Headers) -> bool:
    """Whether ``Accept-Encoding`` allows gzip (RFC 9110, 12.5.3)."""
    codings = weights(", ".join(headers.getlist("accept-encoding")))
    return codings.get("gzip", codings.get("*", 0.0)) > 0


def prefers_html(accept: str) -> bool:
    """Whether an ``Accept`` header names HTML and prefers none of the API's media types to it.

    Browsers name HTML when they navigate; ``curl`` and ``fetch`` send ``*/*``.
    """
    ranges = _ranges(accept)
    html = ranges.get(_HTML, 0.0)
    return html > 0 and html >= max(ranges.get(JSON, 0.0), ranges.get(TEXT, 0.0))


def weights(header: str) -> dict[str, float]:
    """The values of a header such as ``Accept`` with their weights; a malformed weight is 0."""
    found: dict[str, float] = {}
    for entry in header.split(","):
        value, *parameters = ("".join(part.split()).lower() for part in entry.split(";"))
        weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        is_weight = re.fullmatch(r"\d(\.\d*)?|\.\d+", weight, re.ASCII)
        found.setdefault(value, min(float(weight), 1.0) if is_weight else 0.0)
    return found


def _quality(ranges: dict[str, float], offer: str) -> float:
    """The weight of a media type, from 0 to 1: the most specific range decides."""
    for media_range in (offer, offer.partition("/")[0] + "/*", _ANY):
        if media_range in ranges:
            return ranges[media_range]
    return 0.0


def _ranges(header: str) -> dict[str, float]:
    """The media ranges of an ``Accept`` header with their weights.

    Lenient otherwise: ``*`` is any, as Java's clients have it, and words that are none are passed
    over.
    """
    ranges: dict[str, float] = {}
    for media_range, weight in weights(header).items():
        if media_range == "*":
            media_range = _ANY
        if "/" in media_range:
            ranges.setdefault(media_range, weight)
    return ranges
