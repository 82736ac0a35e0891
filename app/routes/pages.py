"""The pages, the widget and the API's documentation: static files, served from memory.

A page may share its URL with the API (``/models``): requests that prefer HTML, as browsers do when
they navigate, get the page, and all others fall through to the API. Knows no model and no job; the
pages ask the API, like any client.
"""

import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import metadata, resources
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from app.access.table import VIEWS
from app.http.compression import COMPRESSED_FROM
from app.http.negotiation import accept_of, prefers_html, takes_gzip

STATIC = Path(__file__).parents[1] / "static"

SCRIPT = "text/javascript; charset=utf-8"


SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css")
"""The files of Swagger UI that /docs needs; an installed package has them."""

SECURITY = {
    # Nothing inline, nothing from elsewhere: a model's text cannot become a script or a style.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
}

IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATED = "no-cache"


@dataclass(frozen=True)
class File:
    """A file's bytes, and the answers that send them."""

    content: bytes
    media_type: str

    @cached_property
    def etag(self) -> str:
        return hashlib.sha256(self.content).hexdigest()[:32]

    @cached_property
    def compressed(self) -> bytes | None:
        if len(self.content) < COMPRESSED_FROM:
            return None
        return gzip.compress(self.content, mtime=0)

    def response(self, request: Request, caching: str, **headers: str) -> Response:
        """The file, or 304 if the client has it."""
        body, etag = self.content, f'"{self.etag}"'
        headers = {"Cache-Control": caching, "Vary": "Accept-Encoding"} | headers
        if self.compressed and takes_gzip(request.headers):
            # Another body is another entity and needs its own tag (RFC 9110, 8.8.3.3).
            body, etag = self.compressed, f'"{self.etag}-gzip"'
            headers["Content-Encoding"] = "gzip"
        headers["ETag"] = etag
        known = re.findall(r'"[^"]*"', request.headers.get("if-none-match", ""))
        if etag in known:
            headers.pop("Content-Encoding", None)
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=self.media_type)


@dataclass(frozen=True)
class Files:
    """Files by their path. Their URLs contain ``version``, a hash of them all, and may be cached
    forever.
    """

    version: str
    by_path: dict[str, File]


class _PageRoute(APIRoute):
    """Matches only requests that prefer HTML to the API's media types."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and not prefers_html(accept_of(Headers(scope=scope))):
            return Match.NONE, {}
        return super().matches(scope)


router = APIRouter(include_in_schema=False)
views = APIRouter(include_in_schema=False, route_class=_PageRoute)


@cache
def static_files() -> Files:
    """Reads everything below ``static/``, and puts the version into the links of HTML."""
    contents = {
        path.relative_to(STATIC).as_posix(): path.read_bytes()
        for path in sorted(STATIC.rglob("*"))
        if path.is_file()
    }
    # The URLs of Swagger UI's files contain the version too.
    everything = repr((sorted(contents.items()), metadata.version("fastapi-swagger")))
    digest = hashlib.sha256(everything.encode()).hexdigest()[:12]
    for name, content in contents.items():
        if name.endswith(".html"):
            contents[name] = content.replace(b"{version}", digest.encode())
    found = {name: File(content, _media_type(name)) for name, content in contents.items()}
    return Files(digest, found)


@cache
def swagger(name: str) -> File:
    """A file of Swagger UI's."""
    path = resources.files("fastapi_swagger") / "resources" / name
    return File(path.read_bytes(), _media_type(name))


def _media_type(name: str) -> str:
    # The machine's own table may have another type for JavaScript, and nosniff is strict.
    if name.endswith(".js"):
        return SCRIPT
    kind = mimetypes.types_map.get(Path(name).suffix, "application/octet-stream")
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


@cache
def _html(name: str, root: str) -> File:
    """A page whose links are relative to its URL: a proxy may serve us below any path."""
    file = static_files().by_path[name]
    return File(file.content.replace(b"{root}", root.encode()), file.media_type)


def _page(request: Request, name: str, **headers: str) -> Response:
    depth = request.scope["path"].count("/")
    file = _html(name, "../" * (depth - 1) or "./")
    return file.response(request, REVALIDATED, **SECURITY, **headers)


def _view(request: Request) -> Response:
    return _page(request, "index.html", Vary="Accept, Accept-Encoding")


for _path in VIEWS:
    views.add_api_route(_path, _view)
router.include_router(views)


@router.get("/docs")
def docs(request: Request) -> Response:
    return _page(request, "docs.html")


@router.get("/static/{version}/{path:path}")
def static(request: Request, version: str, path: str) -> Response:
    """A file of this version. Other versions are gone; a page that wants one reloads."""
    here = static_files()
    folder, _, name = path.rpartition("/")
    if version == here.version and folder == "swagger" and name in SWAGGER:
        file = swagger(name)
    elif version == here.version and path in here.by_path and not path.endswith(".html"):
        file = here.by_path[path]
    else:
        raise HTTPException(404)
    return file.response(request, IMMUTABLE)


@router.get("/widget/charloom-names.js")
def widget(request: Request) -> Response:
    """For pages of any site: a module needs CORS."""
    shared = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
    file = static_files().by_path["widget/charloom-names.js"]
    return file.response(request, REVALIDATED, **shared)
