"""Files of the pages: how they are cached and compressed, and what is put into HTML."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from app.http.static_files import modules_with, page, static_files
from tests.browsing import NAVIGATION
from tests.serving import problem, serve


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with serve(tmp_path_factory.mktemp("data")) as client:
        yield client


def test_files_are_kept_forever_and_pages_asked_for_anew(client: httpx2.Client) -> None:
    page = client.get("/", headers=NAVIGATION)
    again = client.get("/", headers=NAVIGATION | {"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304 and not again.content
    links = re.findall(r'(?:src|href)="\.(/static/[^"]+)"', page.text)
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    assert len(links) >= 5
    for address in links:
        file = client.get(address)
        assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert file.headers["content-type"].startswith(kinds[Path(address).suffix])
        assert client.head(address).headers["etag"] == file.headers["etag"]
    version = links[0].split("/")[2]
    for gone in ("/static/000000000000/app.css", f"/static/{version}/../pages.py"):
        problem(client.get(gone), 404)
    problem(client.get(f"/static/{version}/index.html"), 404)


def test_words_in_a_page_are_text() -> None:
    words = {"title": '<b>"{text}"</b>', "text": "a & b", "label": "c", "path": "", "status": "404"}
    words["language_of_text"] = "en"
    found = page("/a/b", "problem.html", "en", **words).content.decode()
    assert "<h1>&lt;b&gt;&quot;{text}&quot;&lt;/b&gt;</h1>" in found
    assert "a &amp; b" in found
    # Links are relative to the request.
    assert f'href="../static/{static_files().version}/app.css"' in found


def test_who_takes_no_gzip_gets_the_file_itself(client: httpx2.Client) -> None:
    url = f"/static/{static_files().version}/app.css"
    plain = client.get(url, headers={"Accept-Encoding": "gzip;q=0"})
    packed = client.get(url, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == plain.text and packed.headers["etag"] != plain.headers["etag"]


def test_a_module_loads_what_it_imports_and_what_these_import() -> None:
    found = modules_with("js/views/write.js")
    assert found[0] == "js/views/write.js" and len(set(found)) == len(found)
    assert {"js/ui.js", "js/views/write/stage.js", "js/words.js"} <= set(found)
    # What another asks for when it is needed is not among its own.
    inside = "js/views/inside.js"
    script = static_files().by_path[inside].content.decode()
    later = {f"js/views/{name}" for name in re.findall(r'import\("\./([^"]+)"\)', script)}
    assert later and later.isdisjoint(modules_with(inside))
