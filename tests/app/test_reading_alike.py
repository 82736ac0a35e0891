"""What a client sends is read as the text that a model was trained on was, in every endpoint.

A corpus has lost its byte-order marks and carriage returns, and its letters are composed.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx2
import numpy as np
import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.text.vocab import Vocabulary
from tests.commands import charloom
from tests.serving import Query, serve
from tests.toys import toy_checkpoint

LETTERS = Vocabulary("characters", sorted(map(ord, "\n abcé")))
BYTES = Vocabulary("bytes", sorted(set("\r\n abceé\u0301\ufeff".encode())))
DECOMPOSED = "e\u0301"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    data = tmp_path_factory.mktemp("data")
    registry = Registry(data / "models")
    for name, vocabulary in (("letters", LETTERS), ("bytes", BYTES)):
        checkpoint = toy_checkpoint(vocabulary=vocabulary)
        listed = replace(checkpoint, lines=np.array([1], np.uint64))
        registry.publish(Reference(name), listed)
    with serve(data) as client:
        yield client


def by_query(client: httpx2.Client, model: str, prime: str, stop: str) -> str:
    fields: Query = {"model": model, "prime": prime, "seed": 1, "temperature": 5, "stop": stop}
    return client.get("/sample", params=fields).text


def by_json(client: httpx2.Client, model: str, prime: str, stop: str) -> str:
    fields = {"model": model, "prime": prime, "seed": 1, "temperature": 5, "stop": [stop]}
    return client.post("/sample", json=fields).text


def by_openai(client: httpx2.Client, model: str, prime: str, stop: str) -> str:
    fields = {"model": model, "prompt": prime, "seed": 1, "temperature": 5, "stop": stop}
    text: str = client.post("/v1/completions", json=fields).json()["choices"][0]["text"]
    return text


def by_ollama(client: httpx2.Client, model: str, prime: str, stop: str) -> str:
    options = {"seed": 1, "temperature": 5, "stop": [stop]}
    fields = {"model": model, "prompt": prime, "options": options, "stream": False}
    text: str = client.post("/api/generate", json=fields).json()["response"]
    return text


def by_terminal(client: httpx2.Client, model: str, prime: str, stop: str) -> str:
    options = ["--model", model, "--seed=1", "--temperature=5", "--prime", prime, "--stop", stop]
    done = charloom("sample", *options, "--url", str(client.base_url))
    assert done.returncode == 0, done.stderr
    return done.stdout


Ask = Callable[[httpx2.Client, str, str, str], str]
ALL = pytest.mark.parametrize("ask", [by_query, by_json, by_openai, by_ollama, by_terminal])


@ALL
@pytest.mark.parametrize(
    ("sent", "read"),
    [("\r\n", "\n"), ("\r", "\n"), (DECOMPOSED, "é"), (f"{DECOMPOSED}\r\n", "é\n")],
)
def test_a_stop_is_read_like_the_text(
    client: httpx2.Client, ask: Ask, sent: str, read: str
) -> None:
    whole = client.get("/sample?model=letters&seed=1&temperature=5").text
    assert read in whole
    assert ask(client, "letters", "", sent) == whole[: whole.index(read)]


@ALL
def test_a_prime_loses_its_byte_order_mark(client: httpx2.Client, ask: Ask) -> None:
    never = "\n\n\n\n\n\n\n\n"
    plain = ask(client, "letters", "a\nbé", never)
    assert ask(client, "letters", f"\ufeffa\r\nb{DECOMPOSED}", never) == plain
    assert ask(client, "letters", f"\ufeffa\n\ufeffb{DECOMPOSED}", never) == plain


def test_bytes_are_read_as_they_are(client: httpx2.Client) -> None:
    for prime in ("a\r\n", DECOMPOSED, "\ufeffa"):
        fields = {"model": "bytes", "prime": prime, "length": 1, "echo": True}
        assert client.post("/sample", json=fields).text[:-1] == prime
    hot: Query = {"model": "bytes", "seed": 1, "length": 20_000, "temperature": 5}
    whole = client.get("/sample", params=hot).text
    for stop in ("\r\n", "\r"):
        stopped = client.get("/sample", params=hot | {"stop": stop}).text
        assert stopped == whole[: whole.index(stop)]


def test_an_echo_is_the_text_as_read(client: httpx2.Client) -> None:
    fields = {"model": "letters", "seed": 1, "length": 5, "echo": True}
    sent = client.post("/sample", json=fields | {"prime": f"\ufeffa\r\nb{DECOMPOSED}"}).text
    assert sent == client.post("/sample", json=fields | {"prime": "a\nbé"}).text
    assert sent.startswith("a\nbé") and len(sent) == 9
    asked = {
        "model": "letters",
        "prompt": "\ufeffab",
        "echo": True,
        "max_tokens": 1,
    }
    done = client.post("/v1/completions", json=asked).json()
    assert done["choices"][0]["text"][:2] == "ab" and done["usage"]["prompt_tokens"] == 2


def test_a_byte_order_mark_counts_nowhere(client: httpx2.Client) -> None:
    for path, body in (
        ("/models/letters/inspect", {"top": 2}),
        ("/score", {"models": ["letters"]}),
    ):
        plain = client.post(path, json=body | {"text": "abc\né"}).json()
        assert plain["unknown"] == 0 if "unknown" in plain else plain["scores"][0]["unknown"] == 0
        for text in ("\ufeffabc\né", f"\ufeffabc\r\n\ufeff{DECOMPOSED}"):
            assert client.post(path, json=body | {"text": text}).json() == plain
    fields: Query = {"model": "letters", "seed": 1, "count": 3}
    plain = client.get("/names", params=fields | {"starts_with": "aé"}).json()
    marked = client.get("/names", params=fields | {"starts_with": f"\ufeffa{DECOMPOSED}"})
    assert marked.json() == plain
