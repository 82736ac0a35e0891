"""The real curl, with the options that people use: the ones that change a text are told."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.serving import TEXT, serve

CURL = shutil.which("curl")

pytestmark = pytest.mark.skipif(not CURL, reason="curl is not installed")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with serve(tmp_path_factory.mktemp("data")) as client:
        yield client


def curl(client: httpx2.Client, path: str, *arguments: str) -> dict[str, Any]:
    url = f"{str(client.base_url).rstrip('/')}{path}"
    run = subprocess.run([str(CURL), "-sS", *arguments, url], capture_output=True, check=True)
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


@pytest.mark.parametrize(
    ("how", "text", "words"),
    [
        (["-d", "@{}"], TEXT, "has no line ends, which curl -d @FILE takes out"),
        (["--data-urlencode", "corpus@{}"], TEXT, "is percent-encoded, as curl --data-urlencode"),
        (["--data-urlencode", "@{}"], TEXT, "is percent-encoded, as curl --data-urlencode"),
        (["--data-binary", "@{}"], TEXT, None),
        (["-F", "corpus=@{}"], TEXT, None),
        (["-T", "{}", "-X", "POST"], TEXT, None),
        # Whoever says what it is means it.
        (["-H", "Content-Type: text/plain", "--data-binary", "@{}"], TEXT.replace("\n", " "), None),
    ],
)
@pytest.mark.parametrize("path", ["/corpora", "/train?model={}"])
def test_what_curl_changed_is_told(
    client: httpx2.Client,
    tmp_path: Path,
    name: str,
    path: str,
    how: list[str],
    text: str,
    words: str | None,
) -> None:
    file = tmp_path / "text"
    file.write_text(text)
    answer = curl(client, path.format(name), *(part.format(file) for part in how))
    report = answer.get("corpus", answer)
    told = [warning for warning in report["warnings"] if "--data-binary @FILE" in warning]
    assert len(told) == (words is not None)
    assert words is None or words in told[0]


def test_a_prime_is_taken_as_it_is_typed(client: httpx2.Client) -> None:
    """Raw UTF-8; a space cannot be."""
    answer = curl(client, "/sample?model=nobody&prime=é")
    assert answer["code"] == "unknown_model"


def test_an_empty_body_changed_nothing(client: httpx2.Client) -> None:
    assert not any("curl" in text for text in curl(client, "/corpora", "-d", "")["warnings"])
