"""A text that did not end as asked never looks as if it had, in any form; over raw sockets.

The network fails after some characters, or the server stops.
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.text.corpus import Corpus
from models.text.novelty import line_hashes
from tests.failing import fail_after
from tests.serving import Query, serve
from tests.toys import ALPHABET, toy_checkpoint

LAST_CHUNK = b"\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    ids = ALPHABET.encode("some name\n" * 50).astype(np.uint8)
    lines = line_hashes(Corpus(ALPHABET, ids[:-2], ids[-2:]), limit=10)
    Registry(data / "models").publish(Reference("toy"), replace(toy_checkpoint(), lines=lines))
    return data


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    with serve(data) as client:
        yield client


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_after(monkeypatch, 3000, seed=1, draw=20)


@contextmanager
def asked(client: httpx2.Client, target: str, version: str = "1.1") -> Iterator[socket.socket]:
    """A connection on which something was asked for by hand."""
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), 20) as one:
        head = f"GET {target} HTTP/{version}\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n"
        one.sendall(head.encode())
        yield one


def all_of(connection: socket.socket) -> tuple[bytes, bool]:
    """What comes, and whether its end is a sound one of the connection."""
    received = b""
    try:
        while block := connection.recv(1 << 16):
            received += block
    except ConnectionResetError:
        return received, False
    return received, True


PLAIN = ["/sample?length=100000&seed=1", "/names?count=1000&min_length=5&max_length=200&seed=1"]


@pytest.mark.parametrize("target", PLAIN)
@pytest.mark.usefixtures("failing")
def test_a_plain_answer_that_fails_has_no_last_chunk(client: httpx2.Client, target: str) -> None:
    with asked(client, target) as connection:
        received, _ = all_of(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and b"transfer-encoding: chunked" in head.lower()
    assert body and not body.endswith(LAST_CHUNK)
    with pytest.raises(httpx2.RemoteProtocolError):
        client.get(target, headers={"Accept": "text/plain"})


@pytest.mark.parametrize("target", PLAIN)
@pytest.mark.usefixtures("failing")
def test_without_chunks_the_connection_is_reset(client: httpx2.Client, target: str) -> None:
    """HTTP/1.0 knows the end of an answer by that of its connection."""
    with asked(client, target, "1.0") as connection:
        received, is_sound = all_of(connection)
    assert received.startswith(b"HTTP/1.1 200") and not is_sound


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_text_that_is_complete_ends_soundly(client: httpx2.Client, version: str) -> None:
    fields: Query = {"length": 2000, "seed": 1}
    with asked(client, f"/sample?{httpx2.QueryParams(fields)}", version) as connection:
        if version == "1.1":
            # The connection stays open.
            received = b""
            while not received.endswith(LAST_CHUNK):
                received += connection.recv(1 << 16)
        else:
            received, is_sound = all_of(connection)
            assert is_sound and received.endswith(client.get("/sample", params=fields).content)


@pytest.mark.parametrize("target", ["/sample?length=1000000", PLAIN[1]])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_server_that_stops_cuts_plain_answers_off(
    data: Path, target: str, version: str, capfd: pytest.CaptureFixture[str]
) -> None:
    ended: list[tuple[bytes, bool]] = []

    def read(connection: socket.socket) -> None:
        with connection:
            ended.append(all_of(connection))

    with serve(data) as client, asked(client, target, version) as connection:
        assert connection.recv(1 << 10)
        # A copy: it outlives this block and the server.
        thread = threading.Thread(target=read, args=(connection.dup(),))
        thread.start()
    thread.join(20)
    ((received, is_sound),) = ended
    assert not received.endswith(LAST_CHUNK)
    assert version == "1.1" or not is_sound
    said = capfd.readouterr().err
    assert "Traceback" not in said and "ASGI" not in said


# In the words of each form


@pytest.mark.usefixtures("failing")
def test_events_and_json_say_error(client: httpx2.Client) -> None:
    target = PLAIN[0]
    events = client.get(target, headers={"Accept": "text/event-stream"}).text
    end = json.loads(events.rpartition("data: ")[2])
    assert end["finish_reason"] == "error"
    answer = client.get(target, headers={"Accept": "application/json"}).json()
    assert answer["finish_reason"] == "error"


@pytest.mark.usefixtures("failing")
def test_names_in_json_say_error(client: httpx2.Client) -> None:
    answer = client.get(PLAIN[1]).json()
    assert (answer["complete"], answer["finish_reason"]) == (False, "error")
    assert len(answer["names"]) < 1000


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.usefixtures("failing")
def test_dialects_say_it_in_their_own_words(client: httpx2.Client, stream: bool) -> None:
    body: Any = {"model": "toy", "prompt": "a", "stream": stream}
    llama = client.post("/api/generate", json=body | {"options": {"num_predict": 100_000}})
    last = json.loads(llama.text.splitlines()[-1])
    assert last.keys() == {"error"} and "overflowed" in last["error"]
    ai = client.post("/v1/completions", json=body | {"max_tokens": 100_000, "n": 2})
    if stream:
        data = ai.text.strip().rpartition("data: ")[2]
        assert "[DONE]" not in ai.text
    else:
        assert llama.status_code == ai.status_code == 400
        data = ai.text
    error = json.loads(data)["error"]
    assert error["type"] == "invalid_request_error" and "overflowed" in error["message"]
