"""``/sample`` over real HTTP: what is streamed, what determines it, and what is refused."""

import concurrent.futures
import json
import threading
from typing import Any

import httpx2
import pytest

from models.decoding.batch import Batch
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream
from tests.compiled import as_served
from tests.serving import Query, wrong_fields
from tests.toys import ALPHABET, toy_checkpoint

EVENTS = {"Accept": "text/event-stream"}
AS_JSON = {"Accept": "application/json"}


def text_of(precision: str, prime: str, options: SampleOptions) -> str:
    """What the toy model says, straight from the decoder."""
    decoder = as_served(toy_checkpoint(), "fast" if precision == "fast" else "exact")
    stream = Stream(ALPHABET, ALPHABET.encode(prime), options)
    batch, text = Batch(decoder), ""
    while stream.finish_reason is None:
        text += batch.tick([stream], 64)[0][0].text
    return text


def sse(response: httpx2.Response) -> list[tuple[str, dict[str, Any]]]:
    events = []
    for block in response.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        if lines:
            events.append((lines["event"], json.loads(lines["data"])))
    return events


def test_streams_what_the_decoder_says(client: httpx2.Client) -> None:
    fields: Query = {
        "model": "toy",
        "prime": "hello\n",
        "temperature": 0.7,
        "length": 500,
        "seed": 3,
    }
    response = client.get("/sample", params=fields)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-model"] == "toy"
    assert response.headers["x-seed"] == "3"
    assert response.headers["x-precision"] == "fast"
    assert len(response.headers["x-model-digest"]) == 64
    options = SampleOptions(3, 0.7, 500)
    assert response.text == text_of("fast", "hello\n", options)
    exact = client.get("/sample", params=fields | {"precision": "exact"})
    assert exact.text == text_of("exact", "hello\n", options)
    assert client.post("/sample", json=fields).text == response.text
    echoed = client.get("/sample", params=fields | {"echo": "true"})
    assert echoed.text == "hello\n" + response.text


def test_comes_in_chunks(client: httpx2.Client) -> None:
    fields: Query = {"model": "toy", "length": 60_000}
    with client.stream("GET", "/sample", params=fields) as response:
        chunks = [len(chunk) for chunk in response.iter_text()]
    assert sum(chunks) == 60_000 and len(chunks) > 5


def test_the_same_seed_alone_and_among_fifty(client: httpx2.Client) -> None:
    def ask(seed: int) -> str:
        fields: Query = {"model": "toy", "seed": seed, "length": 3000, "prime": "a" * (seed % 7)}
        return client.get("/sample", params=fields).text

    alone = ask(11)
    assert ask(11) == alone
    with concurrent.futures.ThreadPoolExecutor(51) as pool:
        crowd = list(pool.map(ask, [*range(50), 11]))
    assert crowd[11] == crowd[50] == alone
    assert len(set(crowd)) == 50


def test_events_carry_probabilities(client: httpx2.Client) -> None:
    fields: Query = {"model": "toy", "length": 300, "seed": 1, "probabilities": 3}
    response = client.get("/sample", params=fields, headers=EVENTS)
    assert response.headers["content-type"].startswith("text/event-stream")
    *texts, (name, end) = sse(response)
    assert name == "end" and {event for event, _ in texts} == {"text"}
    text = "".join(data["text"] for _, data in texts)
    characters = [char for _, data in texts for char in data["characters"]]
    assert "".join(char["char"] for char in characters) == text
    assert all(len(char["top"]) == 3 and 0 < char["probability"] <= 1 for char in characters)
    assert end["finish_reason"] == "length" and end["characters"] == 300 and end["seed"] == 1
    plain = client.get("/sample", params=fields | {"probabilities": 0})
    assert plain.text == text
    refused = client.get("/sample", params=fields)
    assert "Accept" in wrong_fields(refused)["probabilities"]


@pytest.mark.parametrize("model", ["toy", "counted"])
def test_json_at_once_and_on_from_its_state(client: httpx2.Client, model: str) -> None:
    fields: Query = {"model": model, "seed": 5, "temperature": 0.9}
    whole = client.get("/sample", params=fields | {"length": 900}).text
    first = client.post("/sample", json=fields | {"length": 400}, headers=AS_JSON).json()
    assert first["text"] == whole[:400]
    assert first["finish_reason"] == "length" and first["model"] == model
    on = {"model": model, "temperature": 0.9, "continue_from": first["state"]}
    rest = client.post("/sample", json=on | {"length": 500})
    assert rest.text == whole[400:] and rest.headers["x-seed"] == "5"
    branch = client.post("/sample", json=on | {"length": 500, "seed": 6})
    assert branch.text != whole[400:]
    # What is read after a state follows the text of the state.
    greedy: Query = {"model": model, "temperature": 0, "length": 200}
    read = client.post("/sample", json=greedy | {"prime": first["text"] + "fox"}).text
    there = greedy | {"prime": "fox", "continue_from": first["state"]}
    assert client.post("/sample", json=there).text == read


def test_stop_ends_before_the_first(client: httpx2.Client) -> None:
    fields: Query = {"model": "toy", "seed": 2, "length": 2000}
    whole = client.get("/sample", params=fields).text
    stops = [whole[700:704], whole[600:603]]
    end = min(whole.find(stop) for stop in stops)
    response = client.get("/sample", params=fields | {"stop": stops}, headers=AS_JSON)
    assert response.json()["text"] == whole[:end]
    assert response.json()["finish_reason"] == "stop"


def test_greedy_top_k_and_top_p(client: httpx2.Client) -> None:
    fields: Query = {"model": "toy", "seed": 2, "length": 300}
    greedy = client.get("/sample", params=fields | {"temperature": 0}).text
    assert client.get("/sample", params=fields | {"top_k": 1}).text == greedy
    assert client.get("/sample", params=fields | {"seed": 3, "temperature": 0}).text == greedy
    narrow = client.get("/sample", params=fields | {"top_p": 0.6, "precision": "exact"}).text
    assert narrow == text_of("exact", "", SampleOptions(2, 1.0, 300, top_p=0.6))


def test_temperatures_are_gone_through(client: httpx2.Client) -> None:
    """However they are sent, each for an equal part of the length."""
    fields: Query = {"model": "toy", "seed": 2, "length": 300, "precision": "exact"}
    text = text_of("exact", "", SampleOptions(2, (2.0, 0.0, 0.5), 300))
    assert client.get("/sample", params=fields | {"temperature": "2,0,0.5"}).text == text
    assert client.get("/sample", params=fields | {"temperature": [2, 0, 0.5]}).text == text
    assert client.post("/sample", json=fields | {"temperature": [2, 0, 0.5]}).text == text
    empty = client.get("/sample", params=fields | {"temperature": ""}).text
    assert empty == client.get("/sample", params=fields).text
    hot = client.get("/sample", params=fields | {"temperature": 2}).text
    assert text[:100] == hot[:100] and text != hot


def test_bytes_models_stream_sound_utf8(client: httpx2.Client) -> None:
    fields: Query = {"model": "bytes", "length": 5000, "temperature": 3, "seed": 1}
    with client.stream("GET", "/sample", params=fields) as response:
        chunks = list(response.iter_raw())
    text = "".join(chunk.decode() for chunk in chunks)
    assert len(text) == 5000 and "\u3042" in text


def test_a_long_prime_stalls_nobody(client: httpx2.Client) -> None:
    """16,384 characters are read while another stream goes on, and both come out right."""
    prime = "abcdefgh" * 2048
    texts: list[str] = []
    with client.stream("GET", "/sample", params={"model": "toy", "length": 1_000_000}) as live:
        chunks = live.iter_text()
        next(chunks)
        asked = {"model": "toy", "prime": prime, "seed": 1, "length": 50}
        thread = threading.Thread(
            target=lambda: texts.append(client.post("/sample", json=asked).text)
        )
        thread.start()
        while thread.is_alive():
            assert next(chunks)
    thread.join()
    assert texts == [text_of("fast", prime, SampleOptions(1, 1.0, 50))]


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"temperature": "nan"}, "temperature", "number"),
        ({"temperature": "0.001"}, "temperature", "0.01"),
        ({"temperature": "-1"}, "temperature", "0.01"),
        ({"temperature": "1,x"}, "temperature", "a list of numbers"),
        ({"temperature": "1,"}, "temperature", "a list of numbers"),
        ({"temperature": ",".join("1" * 101)}, "temperature", "1 to 100 numbers"),
        ({"length": "1000000000"}, "length", "1 to 1000000"),
        ({"length": "0"}, "length", "1 to 1000000"),
        ({"seed": "-1"}, "seed", "from 0"),
        ({"top_k": "0"}, "top_k", "from 1"),
        ({"top_p": "1.5"}, "top_p", "1"),
        ({"colour": "red"}, "colour", "is unknown; known fields are model, prime"),
        ({"prime": "Héllo"}, "prime", "'H', 'é'"),
        ({"prime": "a" * 17_000}, "prime", "16,384"),
        ({"model": "../x"}, "model", "lower-case"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "4"),
    ],
)
def test_what_is_wrong_is_named(
    client: httpx2.Client, fields: dict[str, Any], field: str, words: str
) -> None:
    query = {"model": "toy"} | fields
    if len(str(query)) > 8000:
        response = client.post("/sample", json=query)
    else:
        response = client.get("/sample", params=query)
    assert words in wrong_fields(response)[field]
