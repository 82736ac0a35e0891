"""A caller with many texts leaves others their share of a decoder thread."""

import asyncio
from collections import Counter
from dataclasses import dataclass

import pytest

from app.engine.callers import Caller
from app.engine.fairness import Sharing
from app.engine.streams import Lane, StreamReader
from models.decoding.stream import Stream
from tests.streaming import read, running, stream_of, text_alone
from tests.toys import toy_checkpoint, toy_decoder


@dataclass(eq=False)
class Text:
    caller: Caller
    steps: int = 0


def texts(**counts: int) -> list[Text]:
    return [Text(Caller(name)) for name, count in counts.items() for _ in range(count)]


def cost(rows: int) -> int:
    """Of a step, in rows."""
    return SPARE_ROWS + rows


def played(waiting: dict[str, list[Text]], turns: int) -> int:
    """Plays so many turns as a lane does, and returns what they cost."""
    sharing, spent = Sharing(lambda _: SPARE_ROWS), 0
    for _ in range(turns):
        for batch, chosen in sharing.turn(dict(waiting)):
            # As many steps as fit into a tick.
            steps = 10_000 // cost(len(chosen))
            spent += steps * cost(len(chosen))
            for text in chosen:
                text.steps += steps
            taken = set(chosen)
            waiting[batch] = [text for text in waiting[batch] if text not in taken] + chosen
    return spent


SPARE_ROWS = 4


@pytest.mark.parametrize(
    "models",
    [
        {"toy": {"greedy": 900, "one": 1}},
        {"toy": {"greedy": 900, "some": 5, "one": 1}},
        {"toy": {"greedy": 900, "greedier": 900, "some": 30, "one": 1}},
        {"toy": {"greedy": 500, "half": 250}},
        {"toy": {"greedy": 100, "one": 1}, "other": {"greedy": 100}, "third": {"greedy": 100}},
        {"toy": {"greedy": 100}, "other": {"one": 1}},
    ],
)
def test_each_gets_its_share(models: dict[str, dict[str, int]]) -> None:
    """What it would have by itself, divided by the number of callers: counted, not timed."""
    waiting = {model: texts(**counts) for model, counts in models.items()}
    held = Counter[str]()
    for counts in models.values():
        held.update(counts)
    everyone = [text for rows in waiting.values() for text in rows]
    spent = played(waiting, 400)
    for name, count in held.items():
        if name == "greedy" and len(models) > 1:
            # Has fewer rows in a tick of its own, too.
            continue
        got = sum(text.steps for text in everyone if text.caller.name == name)
        alone = count * spent / cost(count)
        assert got >= 0.95 * alone / len(held), name
    # And none of its texts stands still.
    assert min(text.steps for text in everyone) > 0


def test_who_is_alone_or_has_no_more_than_others_is_not_divided() -> None:
    alone = {"toy": texts(one=900), "other": texts(one=3)}
    assert [len(chosen) for _, chosen in Sharing(lambda _: SPARE_ROWS).turn(alone)] == [900, 3]
    alike = {"toy": texts(**{f"caller {n}": 1 + n % SPARE_ROWS for n in range(200)})}
    ((_, chosen),) = Sharing(lambda _: SPARE_ROWS).turn(alike)
    assert chosen == alike["toy"]
    assert list(Sharing(lambda _: SPARE_ROWS).turn({"toy": texts()})) == []


def test_a_lane_shares_its_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the texts are what they are without the others, byte for byte."""
    ticks: list[list[str]] = []
    tick = Lane._tick

    def counted(lane: Lane, batch: object, active: list[StreamReader]) -> int:
        ticks.append([reader.caller.name for reader in active])
        return tick(lane, batch, active)  # type: ignore[arg-type]

    monkeypatch.setattr(Lane, "_tick", counted)

    async def check() -> None:
        decoder = toy_decoder(toy_checkpoint())
        greedy, one = Caller("greedy"), Caller("one")
        async with running(limit=60) as streams:
            many = [streams.open(decoder, stream_of(n, 1500), greedy) for n in range(20)]
            single = streams.open(decoder, stream_of(99, 1500), one)
            said = await asyncio.gather(read(single), *(read(reader) for reader in many))
        assert said[0] == text_alone(decoder, 99, 1500)
        assert said[1:] == [text_alone(decoder, n, 1500) for n in range(20)]

    asyncio.run(check())
    with_both = [rows for rows in ticks if "one" in rows and "greedy" in rows]
    assert with_both
    assert all(rows.count("greedy") <= 1 + SPARE_ROWS for rows in with_both)


def test_who_takes_all_places_leaves_half_of_the_rest() -> None:
    async def check() -> None:
        decoder = toy_decoder(toy_checkpoint())
        async with running(limit=100) as streams:
            had = []
            for caller in (
                Caller("a", shares=True),
                Caller("b", shares=True),
                Caller("c", 7, True),
            ):
                for seed in range(streams.most(caller)):
                    streams.open(decoder, endless(seed), caller)
                had.append(streams.held(caller))
            assert had == [50, 25, 7]
            assert streams.most(Caller("laptop")) == 100

    asyncio.run(check())


def endless(seed: int) -> Stream:
    return stream_of(seed, 1_000_000)
