"""The access that each endpoint needs: one table of all endpoints; any other needs ``admin``.

A route is classified here, by its declared method and path, and nowhere else. Knows no key and no
header but ``Accept``, which tells pages from the API.
"""

from collections.abc import Mapping
from typing import Literal

from starlette.datastructures import Headers
from starlette.routing import compile_path
from starlette.types import Scope

from app.http.negotiation import accept_of, prefers_html

Need = Literal["nothing", "public", "sample", "train", "admin"]
"""The scope of the key that a caller needs. ``public`` needs ``sample``, unless the operator opened
these endpoints; ``nothing`` needs no key."""

TABLE: Mapping[Need, tuple[str, ...]] = {
    "nothing": (
        "GET /",
        "GET /docs",
        "GET /healthz",
        "GET /openapi.json",
        "GET /readyz",
        "GET /static/{version}/{path:path}",
        "GET /widget/access",
        "GET /widget/charloom-names.d.ts",
        "GET /widget/charloom-names.js",
    ),
    "public": (
        "GET /models",
        "GET /models/{model}",
        "GET /models/{model}/cells",
        "GET /models/{model}/download",
        "GET /models/{model}/history",
        "GET /names",
        "GET /sample",
        "POST /sample",
    ),
    "sample": (
        "GET /api/ps",
        "GET /api/tags",
        "GET /api/version",
        "GET /v1/models",
        "GET /v1/models/{model}",
        "POST /api/chat",
        "POST /api/generate",
        "POST /api/show",
        "GET /models/{model}/cells/{layer}/{cell}",
        "POST /models/{model}/ablate",
        "POST /models/{model}/inspect",
        "POST /score",
        "POST /v1/chat/completions",
        "POST /v1/completions",
    ),
    "train": (
        "DELETE /corpora/{corpus_id}",
        "DELETE /jobs/{job_id}",
        "GET /corpora",
        "GET /corpora/{corpus_id}",
        "GET /corpora/{corpus_id}/outlook",
        "GET /jobs",
        "GET /jobs/{job_id}",
        "GET /jobs/{job_id}/events",
        "GET /workers",
        "POST /corpora",
        "POST /jobs/{job_id}/cancel",
        "POST /jobs/{job_id}/resume",
        "POST /train",
    ),
    "admin": (
        "DELETE /models/{model}",
        "GET /metrics",
        "PATCH /models/{model}",
        "POST /models/{model}",
    ),
}
"""As in the contract, docs/http-api.md. ``HEAD`` needs what ``GET`` needs."""

DIALECTS = ("/api/", "/v1/")
"""With which the paths of other tools' endpoints begin."""

VIEWS = ("/", "/about", "/inside", "/models", "/names", "/train", "/train/{job_id}")
"""URLs of the one page, and ``/docs``; its own router (static/js/router.js) tells them apart."""

FIRST_SEGMENTS = {
    path.split("/")[1] for path in (*VIEWS, *(e.split()[1] for es in TABLE.values() for e in es))
} - {""}
"""With which our paths begin."""

_PAGES = [compile_path(path)[0] for path in VIEWS]
# The router's own patterns, so that both agree on which endpoint a path is.
_ENDPOINTS = [
    (need, method, compile_path(path)[0])
    for need, entries in TABLE.items()
    for method, _, path in (entry.partition(" ") for entry in entries)
]


def is_shared(method: str, path: str) -> bool:
    """Whether pages of the origins that the operator names may call an endpoint: those that sample
    as a page or as another tool's client does."""
    needed = needed_for(method, path)
    return needed == "public" or (needed == "sample" and path.startswith(DIALECTS))


def need(scope: Scope) -> Need:
    """The access that a request needs; ``admin`` for an unclassified endpoint."""
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    return needed_for(method, scope["path"], accept_of(Headers(scope=scope)))


def needed_for(method: str, path: str, accept: str = "") -> Need:
    """As ``need``, from the three things that decide it."""
    if method == "GET" and prefers_html(accept) and any(page.match(path) for page in _PAGES):
        return "nothing"
    for found, its_method, pattern in _ENDPOINTS:
        if its_method == method and pattern.match(path):
            return found
    return "admin"
