"""Which address needs what: one table of all there are, and what is not in it is refused.

A route is classified here, by its method and path as it is declared, and nowhere else. Knows no
key and no header but ``Accept``, which tells pages from the API.
"""

from collections.abc import Mapping
from typing import Literal

from starlette.datastructures import Headers
from starlette.routing import compile_path
from starlette.types import Scope

from app.http.negotiation import prefers_html

Need = Literal["nothing", "public", "sample", "train", "admin"]
"""What a caller must have: a key of that scope; for ``public`` one that may sample, unless the
operator has opened these addresses; for ``nothing`` none at all."""

TABLE: Mapping[Need, tuple[str, ...]] = {
    "nothing": (
        "GET /",
        "GET /docs",
        "GET /healthz",
        "GET /openapi.json",
        "GET /readyz",
        "GET /static/{version}/{path:path}",
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
        "GET /api/tags",
        "GET /api/version",
        "GET /v1/models",
        "GET /v1/models/{model}",
        "POST /api/generate",
        "POST /api/show",
        "POST /models/{model}/inspect",
        "POST /score",
        "POST /v1/completions",
    ),
    "train": (
        "DELETE /corpora/{corpus_id}",
        "DELETE /jobs/{job_id}",
        "GET /corpora",
        "GET /corpora/{corpus_id}",
        "GET /jobs",
        "GET /jobs/{job_id}",
        "GET /jobs/{job_id}/events",
        "POST /corpora",
        "POST /jobs/{job_id}/cancel",
        "POST /jobs/{job_id}/resume",
        "POST /train",
    ),
    "admin": (
        "DELETE /models/{model}",
        "GET /metrics",
        "POST /models/{model}",
    ),
}
"""Of the contract, docs/http-api.md. ``HEAD`` is as ``GET``."""

VIEWS = ("/", "/train", "/train/{job_id}", "/inside", "/names", "/models")
"""The URLs of the one page; its own router (static/js/main.js) tells them apart."""

_PAGES = [compile_path(path)[0] for path in VIEWS]
# The router's own patterns: what it takes for another path, this must not take for this one.
_ADDRESSES = [
    (need, method, compile_path(path)[0])
    for need, entries in TABLE.items()
    for method, _, path in (entry.partition(" ") for entry in entries)
]


def need(scope: Scope) -> Need:
    """What a request must have; ``admin`` for what nobody classified."""
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    return needed_for(method, scope["path"], Headers(scope=scope).get("accept", ""))


def needed_for(method: str, path: str, accept: str = "") -> Need:
    """As ``need``, of the three things that decide it."""
    if method == "GET" and prefers_html(accept) and any(page.match(path) for page in _PAGES):
        return "nothing"
    for found, its_method, pattern in _ADDRESSES:
        if its_method == method and pattern.match(path):
            return found
    return "admin"
