"""``/sample`` over real HTTP: what is streamed, what decides it, and what is refused."""

import asyncio
import concurrent.futures
import itertools
import json
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import app.__main__
from app.engine.streams import StreamReader, Streams
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.decoding.batch import Batch, Stream
from models.decoding.sampling import SampleOptions
from models.text.vocab import Vocabulary
from tests.serving import eventually, problem, serve, wrong_fields
from tests.toys import ALPHABET, toy_checkpoint, toy_decoder

EVENTS = {"Accept": "text/event-stream"}
AS_JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    registry = Registry(data / "models")
    registry.publish(Reference("toy"), toy_checkpoint(precision={"exact": 2.0, "fast": 2.005}))
    registry.publish(
        Reference("toy", "rough"), toy_checkpoint(precision={"exact": 2.0, "fast": 2.02})
    )
    registry.publish(Reference("gru"), toy_checkpoint("gru"))
    registry.publish(Reference("bytes"), toy_checkpoint(vocabulary=BYTES))
    return data


BYTES = Vocabulary("bytes", [0x0A, 0x41, 0x81, 0x82, 0xE3])


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    with serve(data, max_streams=200) as client:
        yield client


def text_of(precision: str, prime: str, options: SampleOptions) -> str:
    """What the toy model says, straight from the decoder."""
    decoder = toy_decoder(toy_checkpoint(), "fast" if precision == "fast" else "exact")
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
    fields = {"model": "toy", "prime": "hello\n", "temperature": 0.7, "length": 500, "seed": 3}
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
    fields = {"model": "toy", "length": 60_000}
    with client.stream("GET", "/sample", params=fields) as response:
        chunks = [len(chunk) for chunk in response.iter_text()]
    assert sum(chunks) == 60_000 and len(chunks) > 5


def test_fast_is_the_default_only_where_it_costs_little(client: httpx2.Client) -> None:
    assert client.get("/sample", params={"model": "toy:rough"}).headers["x-precision"] == "exact"
    asked = {"model": "toy:rough", "precision": "fast"}
    assert client.get("/sample", params=asked).headers["x-precision"] == "fast"
    assert client.get("/sample", params={"model": "gru"}).headers["x-precision"] == "exact"
    refused = client.get("/sample", params={"model": "gru", "precision": "fast"})
    assert "exact" in wrong_fields(refused)["precision"]


def test_the_same_seed_alone_and_among_fifty(client: httpx2.Client) -> None:
    def ask(seed: int) -> str:
        fields = {"model": "toy", "seed": seed, "length": 3000, "prime": "a" * (seed % 7)}
        return client.get("/sample", params=fields).text

    alone = ask(11)
    assert ask(11) == alone
    with concurrent.futures.ThreadPoolExecutor(51) as pool:
        crowd = list(pool.map(ask, [*range(50), 11]))
    assert crowd[11] == crowd[50] == alone
    assert len(set(crowd)) == 50


def test_a_drawn_seed_is_told_and_gives_the_text_again(client: httpx2.Client) -> None:
    first = client.get("/sample", params={"model": "toy"})
    seed = first.headers["x-seed"]
    assert client.get("/sample", params={"model": "toy", "seed": seed}).text == first.text
    assert client.get("/sample", params={"model": "toy"}).text != first.text


def test_events_carry_probabilities(client: httpx2.Client) -> None:
    fields = {"model": "toy", "length": 300, "seed": 1, "probabilities": 3}
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


def test_json_at_once_and_on_from_its_state(client: httpx2.Client) -> None:
    fields = {"model": "toy", "seed": 5, "temperature": 0.9}
    whole = client.get("/sample", params=fields | {"length": 900}).text
    first = client.post("/sample", json=fields | {"length": 400}, headers=AS_JSON).json()
    assert first["text"] == whole[:400]
    assert first["finish_reason"] == "length" and first["model"] == "toy"
    on = {"model": "toy", "temperature": 0.9, "continue_from": first["state"]}
    rest = client.post("/sample", json=on | {"length": 500})
    assert rest.text == whole[400:] and rest.headers["x-seed"] == "5"
    branch = client.post("/sample", json=on | {"length": 500, "seed": 6})
    assert branch.text != whole[400:]


def test_a_state_is_bound_and_signed(client: httpx2.Client) -> None:
    asked = {"model": "toy", "length": 5}
    state = client.post("/sample", json=asked, headers=AS_JSON).json()["state"]
    other = client.post("/sample", json={"model": "toy:rough", "continue_from": state})
    assert "another checkpoint" in problem(other, 409)["detail"]
    for forged in ("A" + state[1:], state[:-8], "nonsense", "é", state + "AAAA"):
        refused = client.post("/sample", json={"model": "toy", "continue_from": forged})
        assert "unchanged" in wrong_fields(refused)["continue_from"]


def test_stop_ends_before_the_first(client: httpx2.Client) -> None:
    fields = {"model": "toy", "seed": 2, "length": 2000}
    whole = client.get("/sample", params=fields).text
    stops = [whole[700:704], whole[600:603]]
    end = min(whole.find(stop) for stop in stops)
    response = client.get("/sample", params=fields | {"stop": stops}, headers=AS_JSON)
    assert response.json()["text"] == whole[:end]
    assert response.json()["finish_reason"] == "stop"


def test_greedy_top_k_and_top_p(client: httpx2.Client) -> None:
    fields: dict[str, Any] = {"model": "toy", "seed": 2, "length": 300}
    greedy = client.get("/sample", params=fields | {"temperature": 0}).text
    assert client.get("/sample", params=fields | {"top_k": 1}).text == greedy
    assert client.get("/sample", params=fields | {"seed": 3, "temperature": 0}).text == greedy
    narrow = client.get("/sample", params=fields | {"top_p": 0.6, "precision": "exact"}).text
    assert narrow == text_of("exact", "", SampleOptions(2, 1.0, 300, top_p=0.6))


def test_bytes_models_stream_sound_utf8(client: httpx2.Client) -> None:
    fields = {"model": "bytes", "length": 5000, "temperature": 3, "seed": 1}
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


def test_unknown_characters_may_be_skipped(client: httpx2.Client) -> None:
    fields = {"model": "toy", "seed": 4, "length": 100}
    skipped = client.get("/sample", params=fields | {"prime": "HaÉb", "unknown": "skip"})
    assert skipped.text == client.get("/sample", params=fields | {"prime": "ab"}).text


def test_which_model(client: httpx2.Client) -> None:
    assert "GET /models" in problem(client.get("/sample?model=nobody"), 404)["detail"]
    assert "bytes, gru, toy" in wrong_fields(client.get("/sample"))["model"]
    refused = client.get("/sample?model=toy", headers={"Accept": "image/png"})
    assert "text/plain" in problem(refused, 406)["detail"]


def test_a_better_checkpoint_takes_over_without_breaking_streams(
    client: httpx2.Client, data: Path
) -> None:
    registry = Registry(data / "models")
    old = registry.publish(Reference("moving"), toy_checkpoint(seed=1))
    fields = {"model": "moving", "seed": 1, "length": 60_000}
    whole = client.get("/sample", params=fields)
    assert whole.headers["x-model-digest"] == old
    with client.stream("GET", "/sample", params=fields) as response:
        chunks = response.iter_text()
        text = next(chunks)
        for seed in (2, 3, 4):
            newest = registry.publish(Reference("moving"), toy_checkpoint(seed=seed))
        now = client.get("/sample", params={"model": "moving", "length": 10})
        assert now.headers["x-model-digest"] == newest
        text += "".join(chunks)
    assert text == whole.text


def test_a_model_let_go_lives_on_for_its_streams(data: Path) -> None:
    fields = {"model": "toy", "seed": 3, "length": 20_000}
    with serve(data, model_memory_bytes=1) as client:
        expected = client.get("/sample", params=fields).text
        with client.stream("GET", "/sample", params=fields) as response:
            chunks = response.iter_text()
            text = next(chunks)
            # There is room for one alone, the newest.
            for model in ("gru", "bytes", "gru"):
                assert client.get(f"/sample?model={model}&length=5").status_code == 200
                assert "charloom_models_loaded 1.0" in client.get("/metrics").text
            text += "".join(chunks)
    assert text == expected


def test_the_checkpoint_before_a_damaged_one_is_served(data: Path) -> None:
    registry = Registry(data / "models")
    before = registry.publish(Reference("hurt"), toy_checkpoint())
    damaged = registry.publish(Reference("hurt"), toy_checkpoint(seed=1))
    weights = data / "models" / "hurt" / damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    fields = {"model": "hurt", "length": 20, "seed": 0}
    with serve(data) as client:
        answer = client.get("/sample", params=fields)
        assert (answer.status_code, answer.headers["x-model-digest"]) == (200, before)
        assert "charloom_models_damaged 1.0" in client.get("/metrics").text
        better = registry.publish(Reference("hurt"), toy_checkpoint(seed=2))
        assert client.get("/sample", params=fields).headers["x-model-digest"] == better


def test_a_damaged_model_is_said(client: httpx2.Client, data: Path) -> None:
    registry = Registry(data / "models")
    digest = registry.publish(Reference("broken"), toy_checkpoint(seed=9))
    (data / "models" / "broken" / digest / "model.safetensors").write_bytes(b"")
    problem(client.get("/sample?model=broken"), 404)


def test_a_full_server_says_so_and_recovers(data: Path) -> None:
    with serve(data, max_streams=2) as client:
        fields = {"model": "toy", "length": 1_000_000}
        with (
            client.stream("GET", "/sample", params=fields) as one,
            client.stream("GET", "/sample", params=fields) as two,
        ):
            chunks = one.iter_text(), two.iter_text()
            assert all(next(text) for text in chunks)
            refused = client.get("/sample", params={"model": "toy"})
            problem(refused, 503)
            assert int(refused.headers["retry-after"]) > 0
        # Both clients left in the middle: their rows are free again.
        answer = eventually(lambda: client.get("/sample?model=toy").status_code == 200)
        assert answer


def test_broken_off_streams_leave_no_row(data: Path) -> None:
    """500 of them, in the middle or before the first character, some with a reset."""
    reset = struct.pack("ii", 1, 0)
    with serve(data, max_streams=8) as client:
        port = client.base_url.port
        request = b"GET /sample?model=toy&length=1000000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for round_ in range(50):
            sockets = [socket.create_connection(("127.0.0.1", port or 0)) for _ in range(10)]
            for one in sockets:
                one.sendall(request)
            for one in sockets:
                if round_ % 2:
                    one.recv(1000)
                if round_ % 4 > 1:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                one.close()
        eventually(lambda: _all_rows_are_free(client))


def _all_rows_are_free(client: httpx2.Client) -> bool:
    """Whether as many streams as there are rows can be opened at once."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        fields = {"model": "toy", "length": 20_000}
        answers = pool.map(lambda _: client.get("/sample", params=fields).status_code, range(8))
        return set(answers) == {200}


def test_a_stalled_reader_pauses_alone(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row is held, not dropped, and what it gets when it reads on is what follows."""
    # On a busy machine this takes longer than a reader may stall.
    monkeypatch.setattr(app.__main__, "STALLED_MILLISECONDS", 300_000)
    fields = {"model": "toy", "seed": 8, "length": 150_000}
    small_buffer = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)]
    with (
        serve(data, max_streams=2) as client,
        httpx2.Client(
            base_url=client.base_url, transport=httpx2.HTTPTransport(socket_options=small_buffer)
        ) as slow,
        slow.stream("GET", "/sample", params=fields) as stalled,
    ):
        chunks = stalled.iter_text()
        text = next(chunks)
        # As long as it would have taken to its end, and it still has its row.
        whole = client.get("/sample", params=fields).text
        with client.stream("GET", "/sample", params=fields) as other:
            rest = other.iter_text()
            next(rest)
            problem(client.get("/sample?model=toy"), 503)
        text += "".join(itertools.islice(chunks, 20))
    assert len(text) > 1000 and whole.startswith(text)


def test_rows_that_pause_count_for_nothing_when_streams_are_dealt() -> None:
    async def deal() -> None:
        streams, decoder = Streams(limit=10, lanes=2), toy_decoder(toy_checkpoint())

        def opened() -> StreamReader:
            options = SampleOptions(seed=1, length=1_000_000)
            return streams.open(decoder, Stream(ALPHABET, ALPHABET.encode(""), options))

        stalled, closed, stalled_too = opened(), opened(), opened()
        assert stalled.lane is stalled_too.lane is not closed.lane
        while stalled.wants_more() or stalled_too.wants_more():
            await asyncio.sleep(0)
        closed.close()
        assert opened().lane is closed.lane
        # One row that goes on there, two that pause here.
        assert opened().lane is stalled.lane
        await asyncio.to_thread(streams.stop)

    asyncio.run(deal())


def test_shutdown_ends_streams_with_a_reason(data: Path) -> None:
    ended: list[str] = []
    started = threading.Event()

    def follow(url: httpx2.URL) -> None:
        fields = {"model": "toy", "length": 1_000_000}
        with (
            httpx2.Client(base_url=url, timeout=20) as client,
            client.stream("GET", "/sample", params=fields, headers=EVENTS) as response,
        ):
            lines = response.iter_lines()
            next(lines)
            started.set()
            ended.extend(line for line in lines if line)

    with serve(data) as client:
        thread = threading.Thread(target=follow, args=(client.base_url,))
        thread.start()
        assert started.wait(10)
    thread.join(10)
    assert ended[-2] == "event: end"
    assert json.loads(ended[-1].removeprefix("data: "))["finish_reason"] == "shutdown"
