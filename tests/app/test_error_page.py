"""An error is a page for a browser that navigates, and a problem for everybody else."""

import html
import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from app.http.error_page import WORDS
from app.http.problems import CODES
from tests.browsing import NAVIGATION
from tests.serving import problem, serve

JOB = "/jobs/0123456789abcdef012345"
WRONG = [
    ("/nowhere", 404, "This page does not exist", "./"),
    ("/nowhere/deep/down", 404, "This page does not exist", "../../"),
    ("/models/nope", 404, "This model does not exist", "../models"),
    ("/models/nope/history", 404, "This model does not exist", "../../models"),
    ("/models/No Such", 404, "This model does not exist", "../models"),
    ("/sample?model=nope", 404, "This model does not exist", "./models"),
    (JOB, 404, "This job does not exist", "../train"),
    ("/corpora/nope", 404, "This text does not exist", "../train"),
    ("/score", 405, "This is for programs", "./docs"),
    ("/sample?length=0", 422, "Unprocessable Content", "./"),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with serve(tmp_path_factory.mktemp("data")) as client:
        yield client


@pytest.mark.parametrize(("path", "status", "title", "link"), WRONG, ids=[w[0] for w in WRONG])
def test_a_browser_gets_a_page(
    client: httpx2.Client, path: str, status: int, title: str, link: str
) -> None:
    page = client.get(path, headers=NAVIGATION)
    assert page.status_code == status
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src")
    assert page.headers["cache-control"] == "no-store" and "Accept" in page.headers["vary"]
    assert f"<h1>{title}</h1>" in page.text and f"<title>{title} · charloom" in page.text
    [button] = re.findall(r'class="button primary" href="([^"]*)"', page.text)
    assert (button or "./") == link
    text = html.unescape(re.sub(r"<[^>]+>", "", page.text))
    assert not re.search(r"\b(GET|POST|DELETE) /", text)
    for accept in ("*/*", "application/json"):
        problem(client.get(path, headers={"Accept": accept}), status)


@pytest.mark.parametrize(
    ("path", "title", "text"),
    [
        ("/nowhere", "このページはありません", "リンクが間違っているか"),
        ("/models/nope", "このモデルはありません", "削除されたか"),
        ("/score", "これはプログラム用です", "ブラウザで"),
    ],
)
def test_a_page_is_in_japanese_for_who_reads_it(
    client: httpx2.Client, path: str, title: str, text: str
) -> None:
    page = client.get(path, headers=NAVIGATION | {"Accept-Language": "ja"})
    assert '<html lang="ja">' in page.text
    assert f"<h1>{title}</h1>" in page.text and f"<title>{title} · charloom" in page.text
    assert f'<p class="lead" lang="ja">{text}' in page.text


def test_what_only_the_server_can_say_is_marked_as_english(client: httpx2.Client) -> None:
    page = client.get("/sample?length=0", headers=NAVIGATION | {"Accept-Language": "ja"})
    assert "<h1>リクエストの内容に誤りがあります</h1>" in page.text
    assert '<p class="lead" lang="en">Length must be a whole number from' in page.text


def test_the_words_of_a_refused_field_are_text(client: httpx2.Client) -> None:
    page = client.get("/sample?<b>x</b>=1", headers=NAVIGATION)
    assert page.status_code == 422
    assert "<b>x" not in page.text


def test_head_is_as_get_and_other_methods_have_problems(client: httpx2.Client) -> None:
    head = client.head("/models/nope", headers=NAVIGATION)
    assert head.status_code == 404 and head.headers["content-type"].startswith("text/html")
    problem(client.delete("/models/nope", headers=NAVIGATION), 404, "unknown_model")


def test_a_page_keeps_the_headers_of_its_problem(client: httpx2.Client, tmp_path: Path) -> None:
    assert client.get("/score", headers=NAVIGATION).headers["allow"] == "POST"
    with serve(tmp_path, api_keys="the-chief:admin") as locked:
        page = locked.get("/jobs", headers=NAVIGATION)
        assert page.status_code == 401 and "This needs a key" in page.text
        assert page.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/v1/models/nope", "/api/nothing"])
def test_other_tools_have_their_own_errors(client: httpx2.Client, path: str) -> None:
    assert "error" in client.get(path, headers=NAVIGATION).json()


def test_every_code_that_has_a_page_is_one() -> None:
    assert WORDS.keys() <= CODES.keys()
    assert not any(re.search(r"\b(GET|POST) /", " ".join(words)) for words in WORDS.values())
