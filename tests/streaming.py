"""Streams of toy networks in real decoder threads, without HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.engine.streams import StreamReader, Streams
from models.decoding.batch import Batch
from models.decoding.decoder import RowDecoder
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream
from tests.toys import ALPHABET


def stream_of(seed: int, length: int, top_k: int = 0) -> Stream:
    return Stream(ALPHABET, ALPHABET.encode("ab"), SampleOptions(seed, 1.0, length, top_k))


def text_alone(decoder: RowDecoder, seed: int, length: int, top_k: int = 0) -> str:
    """What a stream says in a batch of its own."""
    stream, batch, text = stream_of(seed, length, top_k), Batch(decoder), ""
    while stream.finish_reason is None:
        text += batch.tick([stream], 64)[0][0].text
    return text


async def read(reader: StreamReader) -> str:
    return "".join([piece.text async for piece in reader])


@asynccontextmanager
async def running(limit: int = 10, lanes: int = 1) -> AsyncIterator[Streams]:
    streams = Streams(limit, lanes)
    try:
        yield streams
    finally:
        await asyncio.to_thread(streams.stop)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now
