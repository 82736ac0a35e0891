"""Several texts of one request: opened together or not at all, and read as they come."""

import asyncio
from collections.abc import AsyncIterator

from app.routes.texts import derived_seed
from app.routes.together import merged, several
from app.schemas.texts import SampleQuery


def test_items_of_several_iterators_come_with_whose_they_are() -> None:
    async def count(to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    async def check() -> None:
        found: dict[int, list[int | None]] = {0: [], 1: [], 2: []}
        async for index, item in merged([count(3), count(0), count(1)]):
            found[index].append(item)
        assert found == {0: [0, 1, 2, None], 1: [None], 2: [0, None]}

    asyncio.run(check())


def test_several_texts_have_seeds_that_follow_from_the_first() -> None:
    queries = several(SampleQuery(seed=5, length=7), ["a", "b", "a"])
    assert [(one.prime, one.seed, one.length) for one in queries] == [
        ("a", 5, 7),
        ("b", derived_seed(5, 1), 7),
        ("a", derived_seed(5, 2), 7),
    ]
    drawn = [one.seed for one in several(SampleQuery(), ["", ""])]
    assert None not in drawn and len(set(drawn)) == 2
