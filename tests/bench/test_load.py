"""A load generator counts what comes, and says what went wrong; servers are told when they end."""

import asyncio
import itertools
import json
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bench.load import Client, first_text, load, read
from bench.servers import Running, free_port, server, vocabulary
from tests.serving import eventually
from tests.support import is_alive

TEXT = "aé漢".encode()


def frame(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextmanager
def answering(*parts: bytes, endless: bool = False) -> Iterator[int]:
    """The port of a server that answers with parts, after a pause each; the last for ever."""
    stopped = threading.Event()

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            with suppress(ConnectionError):
                for part in itertools.chain(parts, itertools.repeat(parts[-1], endless * 10**9)):
                    self.wfile.write(part)
                    if stopped.wait(0.005):
                        return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield listening.server_address[1]
        stopped.set()
        listening.shutdown()
        thread.join()


def test_characters_are_counted_not_bytes_and_frames() -> None:
    with answering(HEAD, frame(TEXT), frame(TEXT * 5), b"0\r\n\r\n") as port:
        (client,) = asyncio.run(read(port, "/", 1, None))
        assert sum(client.sizes()) == 18
        assert [size for _, size in client.arrivals()] == [3, 15]
        assert first_text(port, "/") > 0


def test_a_character_in_two_pieces_is_counted_once() -> None:
    whole = HEAD + frame(TEXT)
    client = Client(b"", times=[1.0, 2.0], pieces=[whole[:-4], whole[-4:]])
    assert client.sizes() == [3, 0]


def test_a_load_has_the_rate_the_waits_and_the_gaps() -> None:
    with answering(HEAD, frame(TEXT), endless=True) as port:
        found = load(port, "/", 3, 0.2, warm_up=0.05, memory=lambda: 17)
    assert found.rate > 0
    assert len(found.waits) == 3 and all(0 < wait < 60 for wait in found.waits)
    # The server pauses for 5 ms before each.
    assert found.gaps and sum(found.gaps) / len(found.gaps) >= 0.004
    assert 0 < found.reader <= 1
    assert found.memory == 17


def test_streams_without_text_are_waited_for_no_longer_than_asked() -> None:
    with answering(HEAD, b"", endless=True) as port:
        found = load(port, "/", 2, 0.05, warm_up=0.0, patience=0.05)
    assert found.rate == 0
    assert found.waits == [float("inf")] * 2 and found.gaps == []


def test_a_problem_is_not_measured_as_text() -> None:
    body = json.dumps({"title": "full"}).encode()
    with answering(b"HTTP/1.1 503 Service Unavailable\r\n\r\n" + body) as port:
        with pytest.raises(RuntimeError, match="503 Service Unavailable"):
            load(port, "/", 1, 0.01, warm_up=0.0)
        with pytest.raises(RuntimeError, match="503 Service Unavailable"):
            first_text(port, "/")


def test_a_server_that_ends_says_why() -> None:
    command = [sys.executable, "-c", "raise SystemExit('no model here')"]
    with pytest.raises(RuntimeError, match="no model here"), server(command, free_port(), {}):
        pass


LISTENING = """
import os, socket, subprocess, sys, time
ballast = bytearray(os.urandom(20_000_000))
more = "import os, time; b = os.urandom(30_000_000); print('there', flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", more], stdout=subprocess.PIPE)
child.stdout.readline()
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    time.sleep(60)
"""


def test_a_server_is_all_its_processes_and_none_is_left() -> None:
    port = free_port()
    with server([sys.executable, "-c", LISTENING, str(port)], port, {}) as running:
        running.settle()
        assert running.memory() > 50_000_000
        assert running.seconds > 0
        assert running.seconds_of_work() > 0
        (child,) = children(running)
    eventually(lambda: not is_alive(child))


def children(running: Running) -> list[int]:
    listed = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text()
    return [int(pid) for pid in listed.split()]


@pytest.mark.parametrize("size", [20, 100, 5000])
def test_a_vocabulary_has_the_size_that_is_asked_for(size: int) -> None:
    made = vocabulary(size)
    assert len(made) == size
    assert made.encode("\n").tolist() == [0]
