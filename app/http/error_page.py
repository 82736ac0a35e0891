"""A problem as a page, for browsers that navigate: in words for people who know no API.

Knows no route; whoever wants JSON gets the problem itself.
"""

from typing import NamedTuple

from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Scope

from app.http.language import ENGLISH, VARY, in_language, language_of
from app.http.negotiation import accept_of, prefers_html
from app.http.problems import Problem
from app.http.static_files import SECURITY, page


class _Words(NamedTuple):
    """What a page says, and where its button leads: the path below the server's own URL."""

    title: str
    text: str
    label: str = "Go to the first page"
    path: str = ""


_KEY = "A link cannot carry one. Open the pages: they ask for the key, and keep it for the tab."
_PROGRAMS = "A browser cannot open it like a page. The API page says how to call it."
_BUSY = "Reload this page in a moment."

WORDS = {
    "damaged_job": _Words(
        "This job is damaged",
        "Its files on the server's disk cannot be read. It can only be deleted.",
        "See all jobs",
        "train",
    ),
    "damaged_model": _Words(
        "This model is damaged",
        "Its files on the server's disk cannot be read. Delete it, and train it again.",
        "See all models",
        "models",
    ),
    "insufficient_scope": _Words("This needs another key", _KEY),
    "internal_error": _Words("Something went wrong", "The server's log says what."),
    "invalid_key": _Words("This needs a key", _KEY),
    "method_not_allowed": _Words("This is for programs", _PROGRAMS, "Open the API page", "docs"),
    "missing_key": _Words("This needs a key", _KEY),
    "not_acceptable": _Words("This is for programs", _PROGRAMS, "Open the API page", "docs"),
    "not_ready": _Words("The server is not ready yet", _BUSY),
    "rate_limited": _Words("That was too often", _BUSY),
    "server_busy": _Words("The server is busy", _BUSY),
    "server_full": _Words("The server is busy", _BUSY),
    "shutting_down": _Words("The server is restarting", _BUSY),
    "storage_away": _Words("The server cannot reach its storage", _BUSY),
    "unknown_corpus": _Words(
        "This text does not exist", "It may have been deleted.", "Choose a text", "train"
    ),
    "unknown_endpoint": _Words(
        "This page does not exist", "The link may be wrong, or the page may have moved."
    ),
    "unknown_job": _Words(
        "This job does not exist", "It may have been deleted.", "See all jobs", "train"
    ),
    "unknown_model": _Words(
        "This model does not exist",
        "It may have been deleted, or have another name now.",
        "See all models",
        "models",
    ),
}
"""By code. Of every other problem the page has the server's own words, which are in English."""


def error_page(scope: Scope, problem: Problem) -> Response | None:
    """The page for a problem, with its status and headers; None if no browser navigates here."""
    if scope["method"] not in ("GET", "HEAD") or not prefers_html(accept_of(Headers(scope=scope))):
        return None
    language = language_of(HTTPConnection(scope))
    words = WORDS.get(problem.code)
    language_of_text = language if words else ENGLISH
    words = words or _Words(problem.title, _sentence(problem.detail))
    file = page(
        scope["path"],
        "problem.html",
        language,
        title=in_language(language, words.title),
        text=in_language(language_of_text, words.text),
        language_of_text=language_of_text,
        label=in_language(language, words.label),
        path=words.path,
        status=str(problem.status_code),
    )
    headers = {**SECURITY, "Vary": f"Accept, {VARY}", **(problem.headers or {})}
    return Response(file.content, problem.status_code, headers, file.media_type)


def _sentence(detail: str) -> str:
    return f"{detail[:1].upper()}{detail[1:].removesuffix('.')}."
