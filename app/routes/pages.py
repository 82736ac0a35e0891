"""The pages and the widget: static files, served from memory.

A page may share its URL with the API (``/models``): requests that prefer HTML, as browsers do when
they navigate, get the page, and all others fall through to the API. Knows no model and no job; the
pages ask the API, like any client.
"""

from functools import cache
from typing import NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from app.access.table import VIEWS
from app.http.language import ENGLISH, VARY, in_language, language_of
from app.http.negotiation import accept_of, prefers_html
from app.http.static_files import (
    IMMUTABLE,
    REVALIDATED,
    SECURITY,
    modules_with,
    page,
    root_from,
    static_files,
)
from models.checkpoints.reference import Reference


class _Preview(NamedTuple):
    """What a link to a view is shown with elsewhere; ``of`` is its title with a model's name."""

    title: str
    description: str
    of: str = ""


PREVIEWS = {
    "/": _Preview(
        "charloom",
        "Give it a text, watch a network learn it, and let it write on, character by character.",
    ),
    "/about": _Preview(
        "Why charloom",
        "The Unreasonable Effectiveness of Recurrent Neural Networks, live: what a network learns "
        "that only ever guesses the next character.",
    ),
    "/docs": _Preview("The API", "Every endpoint of charloom, to read and to try."),
    "/inside": _Preview(
        "Inside a network",
        "Each character of a text in the colour of one cell of the network that reads it: some "
        "follow quotes, comments, or the place in the line.",
        "Inside {model}",
    ),
    "/models": _Preview("Models", "The networks of this server, and how well each one guesses."),
    "/names": _Preview(
        "Names", "Names that a network makes up, as you wish them.", "Names by {model}"
    ),
    "/train": _Preview(
        "Train", "Drop a text, and watch a network learn to write like it within minutes."
    ),
    "/train/{job_id}": _Preview(
        "A network learns", "Its loss as it falls, and what it writes, from noise to words."
    ),
}


class _PageRoute(APIRoute):
    """Matches only requests that prefer HTML to the API's media types."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and not prefers_html(accept_of(Headers(scope=scope))):
            return Match.NONE, {}
        return super().matches(scope)


router = APIRouter(include_in_schema=False)
views = APIRouter(include_in_schema=False, route_class=_PageRoute)


def _view(request: Request) -> Response:
    route = request.scope["route"].path
    preview = PREVIEWS[route]
    server = str(request.base_url)
    language = language_of(request)
    file = page(
        request.scope["path"],
        "index.html",
        language,
        _modules(route),
        title=_title(preview, request.query_params.get("model", ""), language),
        description=in_language(language, preview.description),
        server=server,
        url=server.rstrip("/") + request.scope["path"] + _model_of(request),
    )
    headers = {**SECURITY, **_preloaded(request.scope["path"], language)}
    return file.response(request, REVALIDATED, **headers, Vary=f"Accept, Accept-Encoding, {VARY}")


@cache
def _modules(route: str) -> tuple[str, ...]:
    """The modules of the pages and of the view of a route."""
    view = route.split("/")[1] or "write"
    shell, own = modules_with("js/main.js"), modules_with(f"js/views/{view}.js")
    return tuple(dict.fromkeys([*shell, *own]))


def _preloaded(path: str, language: str) -> dict[str, str]:
    """Has the browser fetch the words of another language beside the script that asks for them."""
    if language == ENGLISH:
        return {}
    words = f"{root_from(path)}static/{static_files().version}/languages/{language}.json"
    return {"Link": f"<{words}>; rel=preload; as=fetch; crossorigin"}


def _title(preview: _Preview, model: str, language: str) -> str:
    title = in_language(language, preview.title)
    if preview.of and _is_model(model):
        title = in_language(language, preview.of).format(model=model)
    return title if title == "charloom" else f"{title} · charloom"


def _model_of(request: Request) -> str:
    """The query of a view that is about a model; the rest of a query is a visitor's own."""
    model = request.query_params.get("model", "")
    return f"?model={model}" if _is_model(model) else ""


def _is_model(name: str) -> bool:
    # Whether there is such a one is for those who have a key.
    try:
        Reference.parse(name)
    except ValueError:
        return False
    return True


for _path in VIEWS:
    views.add_api_route(_path, _view)
router.include_router(views)
router.add_api_route("/docs", _view)


@router.get("/static/{version}/{path:path}")
def static(request: Request, version: str, path: str) -> Response:
    """A file of this version. Other versions are gone; a page that wants one reloads."""
    here = static_files()
    if version != here.version or path not in here.by_path or path.endswith(".html"):
        raise HTTPException(404)
    return here.by_path[path].response(request, IMMUTABLE)


@router.get("/widget/charloom-names.js")
@router.get("/widget/charloom-names.d.ts")
def widget(request: Request) -> Response:
    """The widget and its types, for pages of any site: a module needs CORS."""
    shared = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
    file = static_files().by_path[request.scope["route"].path.removeprefix("/")]
    return file.response(request, REVALIDATED, **shared)
