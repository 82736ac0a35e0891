"""What is below ``app/static``, read once and served from memory. Knows no route and no problem.

The URLs of files contain a hash of them all, so that they can be cached forever; those of pages do
not, and pages are asked for anew each time.
"""

import gzip
import hashlib
import html
import mimetypes
import posixpath
import re
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path

from fastapi.responses import Response
from starlette.requests import Request

from app.http.compression import COMPRESSED_FROM
from app.http.language import LANGUAGES, in_language, next_language
from app.http.negotiation import takes_gzip

STATIC = Path(__file__).parents[1] / "static"

SCRIPT = "text/javascript; charset=utf-8"

SECURITY = {
    # Nothing inline, nothing from elsewhere: a model's text cannot become a script or a style.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Headers of a page."""

_IMPORT = re.compile(r'^(?:import|export)(?:[^;"()]*\bfrom)?\s*"(\.[^"]+)"', re.MULTILINE)
"""Of another module, by a path relative to the one that imports it."""

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


@cache
def static_files() -> Files:
    """Reads everything below ``static/``, and puts the header and the version into HTML."""
    contents = {
        path.relative_to(STATIC).as_posix(): path.read_bytes()
        for path in sorted(STATIC.rglob("*"))
        if path.is_file()
    }
    digest = hashlib.sha256(repr(sorted(contents.items())).encode()).hexdigest()[:12]
    for name, content in contents.items():
        if name.endswith(".html") and "/" not in name:
            for part in ("header", "footer"):
                content = content.replace(b"{%s}" % part.encode(), contents[f"{part}.html"])
            contents[name] = content.replace(b"{version}", digest.encode())
    found = {name: File(content, _media_type(name)) for name, content in contents.items()}
    return Files(digest, found)


@cache
def modules_with(path: str) -> tuple[str, ...]:
    """Returns the paths of a module and of all that load with it: what it imports, and so on.

    A browser that is told them asks for all at once, not for each when it has read another.
    """
    files, found = static_files().by_path, [path]
    for name in found:
        imported = _IMPORT.findall(files[name].content.decode())
        paths = (posixpath.normpath(f"{posixpath.dirname(name)}/{each}") for each in imported)
        # The widget has a URL of its own.
        found += [each for each in paths if each in files and each not in found]
    return tuple(found)


def _media_type(name: str) -> str:
    # The machine's own table may have another type for JavaScript, and nosniff is strict.
    if name.endswith(".js"):
        return SCRIPT
    if name.endswith(".d.ts"):
        # Which tables take for a video.
        return "text/plain; charset=utf-8"
    kind = mimetypes.types_map.get(Path(name).suffix, "application/octet-stream")
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def root_from(path: str) -> str:
    """The server's root as a relative URL, as a proxy may serve us below any path."""
    return "../" * (path.count("/") - 1) or "./"


def page(
    path: str, name: str, language: str, modules: tuple[str, ...] = (), /, **words: str
) -> File:
    """A page in a language, with words in its placeholders, as text.

    Args:
        path: of the request, to which the links of a page are relative.
        name: of the file.
        language: of the sentences between double braces.
        modules: paths of those that the page will load; for the placeholder ``modules``.
        words: by the names of other placeholders.
    """
    root = root_from(path)
    other = next_language(language)
    words |= {"root": root, "language": language, "other": other, "other_name": LANGUAGES[other]}
    return _filled(name, language, modules, tuple(words.items()))


@lru_cache(maxsize=256)
def _filled(
    name: str, language: str, modules: tuple[str, ...], words: tuple[tuple[str, str], ...]
) -> File:
    file = static_files().by_path[name]
    content = file.content.decode()
    values = {key: html.escape(value) for key, value in words}
    folder = f"{values['root']}static/{static_files().version}"
    values["modules"] = "\n".join(
        f'<link rel="modulepreload" href="{folder}/{module}">' for module in modules
    )

    def filled(match: re.Match[str]) -> str:
        sentence, placeholder = match.groups()
        return html.escape(in_language(language, sentence)) if sentence else values[placeholder]

    # In one go, so that no word is taken for a placeholder.
    filled_in = re.sub(r"\{\{([^{}]+)\}\}|\{(\w+)\}", filled, content)
    return File(filled_in.encode(), file.media_type)
