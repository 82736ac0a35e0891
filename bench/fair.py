"""One client with few texts beside one with many: what each gets of a decoder thread.

    python -m bench.fair [--hidden 24 256 512] [--greedy 300] [--texts 1] [--seconds 3]

Prints characters a second of the client with few texts, by itself and beside the other, as a share
of what is fair (by itself, divided by the two clients), and of the server in all; with turns
(``app.engine.fairness``) and without, interleaved. Also the rows that cost as much as the fixed
part of a step, which a decoder's ``spare_rows`` stand for.
"""

import argparse
import asyncio
import statistics
import time

import numpy as np

from app.engine.callers import Caller
from app.engine.streams import StreamReader, Streams
from bench.naive import network_of
from bench.native import native_step
from models.decoding.batch import Batch
from models.decoding.decoder import Decoder
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream
from models.text.vocab import Vocabulary

VOCABULARY = Vocabulary("characters", list(range(0x21, 0x21 + 100)))
LONG, ENDLESS = 1_000_000, 10**9
"""Characters of a text, which none reaches here, and rows that nobody has."""


def stream(seed: int) -> Stream:
    return Stream(VOCABULARY, VOCABULARY.encode("a"), SampleOptions(seed, 1.0, LONG))


async def drain(reader: StreamReader) -> None:
    async for _ in reader:
        pass


async def measure(decoder: Decoder, counts: dict[str, int], seconds: float) -> dict[str, float]:
    """Characters a second of each client, in one thread."""
    streams = Streams(10_000, lanes=1)
    readers = {
        name: [streams.open(decoder, stream(seed), Caller(name)) for seed in range(count)]
        for name, count in counts.items()
    }
    tasks = [asyncio.create_task(drain(one)) for some in readers.values() for one in some]

    def written() -> dict[str, int]:
        return {name: sum(one.stream.characters for one in some) for name, some in readers.items()}

    await asyncio.sleep(seconds / 3)
    before, began = written(), time.perf_counter()
    await asyncio.sleep(seconds)
    after, took = written(), time.perf_counter() - began
    await asyncio.to_thread(streams.stop)
    await asyncio.gather(*tasks)
    return {name: (after[name] - before[name]) / took for name in counts}


def spare_rows(decoder: Decoder) -> float:
    """A step's fixed part in rows, from a line through its times."""
    sizes, times = (1, 4, 8, 16, 32), []
    for size in sizes:
        batch, rows = Batch(decoder), [stream(seed) for seed in range(size)]
        batch.tick(rows, 8)
        best = []
        for _ in range(7):
            began = time.perf_counter()
            _, steps = batch.tick(rows, 64)
            best.append((time.perf_counter() - began) / steps)
        times.append(min(best))
    slope, fixed = np.polyfit(sizes, times, 1)
    return float(fixed / slope)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, nargs="+", default=[24, 256, 512])
    parser.add_argument("--greedy", type=int, default=300)
    parser.add_argument("--texts", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    few, many = {"few": given.texts}, {"greedy": given.greedy}
    for hidden in given.hidden:
        network = network_of(hidden)
        weights = {name: value.numpy() for name, value in network.state_dict().items()}
        decoder = Decoder(network.config, weights, "fast", native_step())
        known = decoder.spare_rows
        shares: dict[str, list[float]] = {"with turns": [], "without": []}
        sums: dict[str, list[float]] = {"with turns": [], "without": []}
        for _ in range(given.rounds):
            for kind, spare in (("with turns", known), ("without", ENDLESS)):
                decoder.spare_rows = spare
                alone = asyncio.run(measure(decoder, few, given.seconds))
                both = asyncio.run(measure(decoder, few | many, given.seconds))
                shares[kind].append(both["few"] / (alone["few"] / 2))
                sums[kind].append(sum(both.values()))
        print(f"{hidden} cells: a step's fixed part costs {spare_rows(decoder):.1f} rows")
        for kind in shares:
            share, total = statistics.median(shares[kind]), statistics.median(sums[kind])
            print(f"  {kind:10} {share:6.1%} of the fair share; {total:,.0f} characters/s in all")


if __name__ == "__main__":
    main()
