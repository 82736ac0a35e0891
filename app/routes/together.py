"""Several texts of one request: opened together, and read as they come. Knows no endpoint."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from typing import TypeVar

from app.engine.callers import Caller
from app.http.problems import Problem
from app.routes.texts import Opened, Texts, derived_seed, draw_seed
from app.schemas.texts import SampleQuery

MAX_WRITTEN = 16_000_000
"""Most characters of texts that are kept until they are whole."""

Item = TypeVar("Item")


def several(query: SampleQuery, primes: Iterable[str]) -> list[SampleQuery]:
    """Queries for texts that differ in their primes, and in seeds that follow from the first."""
    seed = draw_seed() if query.seed is None else query.seed
    return [
        query.model_copy(update={"prime": prime, "seed": derived_seed(seed, index)})
        for index, prime in enumerate(primes)
    ]


async def open_all(
    texts: Texts,
    queries: Sequence[SampleQuery],
    caller: Caller,
    *,
    names: Sequence[str],
    tell_prime: bool = False,
    keep_state: bool = False,
) -> list[Opened]:
    """Starts texts; whoever calls closes them.

    Args:
        texts: where they are started.
        queries: one for each.
        caller: for whom.
        names: of the fields that have their primes, for errors.
        tell_prime: whether the primes' characters get probabilities too.
        keep_state: whether the texts can be continued.

    Raises:
        Exception: as ``Texts.open``; none is open then.
    """
    opened: list[Opened] = []
    try:
        for query in queries:
            opened.append(
                await texts.open(query, caller=caller, tell_prime=tell_prime, keep_state=keep_state)
            )
    except BaseException as error:
        close(opened)
        if isinstance(error, Problem):
            for one in error.errors:
                one.field = names[len(opened)] if one.field == "prime" else one.field
        raise
    return opened


def close(opened: Iterable[Opened]) -> None:
    for one in opened:
        one.reader.close()


async def merged(
    iterators: Sequence[AsyncIterator[Item]],
) -> AsyncGenerator[tuple[int, Item | None], None]:
    """Yields the items of several iterators as they come, with the iterator's index.

    None follows the last item of each.
    """
    coming = {asyncio.ensure_future(anext(one)): index for index, one in enumerate(iterators)}
    try:
        while coming:
            done, _ = await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                index = coming.pop(future)
                try:
                    item = future.result()
                except StopAsyncIteration:
                    yield index, None
                    continue
                coming[asyncio.ensure_future(anext(iterators[index]))] = index
                yield index, item
    finally:
        for future in coming:
            future.cancel()
