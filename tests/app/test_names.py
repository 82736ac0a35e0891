"""``/names`` over real HTTP: none twice, as asked, and the same for a seed whatever goes on."""

import asyncio
import concurrent.futures
import functools
import itertools
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from app.engine.callers import NOBODY
from app.engine.loaded import LoadedModels
from app.engine.streams import Streams
from app.routes import names as search
from app.schemas.texts import NamesQuery
from models.checkpoints.format import Checkpoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.text.corpus import Corpus
from models.text.naming import Limits
from models.text.novelty import line_hashes
from models.text.vocab import Vocabulary
from tests.serving import Query, eventually, problem, serve, wrong_fields
from tests.toys import ALPHABET, toy_checkpoint

AS_TEXT = {"Accept": "text/plain"}


def of_a_list(lines: list[str]) -> Checkpoint:
    """The toy model, as if it had been trained on these lines."""
    ids = ALPHABET.encode("\n".join(lines)).astype(np.uint8)
    hashes = line_hashes(Corpus(ALPHABET, ids[:-2], ids[-2:]), limit=10_000)
    assert len(hashes) == len(set(lines))
    return replace(toy_checkpoint(), lines=hashes)


LINES = [f"some line {chr(0x61 + n)}" for n in range(20)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    registry = Registry(data / "models")
    registry.publish(Reference("prose"), toy_checkpoint())
    registry.publish(Reference("list"), of_a_list(LINES))
    return data


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    with serve(data) as client:
        yield client


def found(client: httpx2.Client, **fields: Any) -> dict[str, Any]:
    response = client.get("/names", params={"model": "list"} | fields)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def names(client: httpx2.Client, **fields: Any) -> list[str]:
    return [name["name"] for name in found(client, **fields)["names"]]


def test_names_are_as_asked_and_none_comes_twice(client: httpx2.Client) -> None:
    wanted: Query = {"count": 40, "starts_with": "ka", "min_length": 4, "max_length": 9, "seed": 5}
    answer = found(client, **wanted)
    drawn = [name["name"] for name in answer["names"]]
    assert len(set(drawn)) == len(drawn) == answer["asked"] == 40
    assert answer["drawn"] >= 40 and answer["seed"] == 5
    assert all(name.startswith("ka") and 4 <= len(name) <= 9 for name in drawn)
    assert {4, 9} <= {len(name) for name in drawn}
    assert not any("\n" in name for name in drawn)


@pytest.fixture(scope="module")
def thousand(client: httpx2.Client) -> Callable[[str], list[str]]:
    """Names with a beginning, as many as may be asked for; each beginning is searched once."""

    def drawn(begins: str) -> list[str]:
        return names(client, seed=5, count=1000, starts_with=begins)

    return functools.cache(drawn)


@pytest.mark.parametrize(
    ("limit", "fits"),
    [
        ({"contains": "in"}, lambda name: "in" in name),
        ({"ends_with": "ni"}, lambda name: name.endswith("ni")),
        ({"pattern": "n*i"}, lambda name: name[0] == "n" and name[-1] == "i" and len(name) > 1),
        ({"pattern": "????"}, lambda name: len(name) == 4),
        ({"pattern": "*i?"}, lambda name: name[-2:-1] == "i"),
        (
            {"starts_with": "n", "contains": "m", "ends_with": "n", "pattern": "??*"},
            lambda name: name[0] == "n" and "m" in name and name[-1] == "n",
        ),
    ],
)
def test_names_fit_every_limit_and_no_other_is_left_out(
    client: httpx2.Client,
    limit: Query,
    fits: Callable[[str], bool],
    thousand: Callable[[str], list[str]],
) -> None:
    """Of the draws that both searches look at, the narrower one keeps those that fit."""
    wanted: Query = {"seed": 5, "count": 20} | limit
    answer = found(client, **wanted)
    drawn = [name["name"] for name in answer["names"]]
    assert len(drawn) >= 3 and all(map(fits, drawn))
    begins = str(limit.get("starts_with", "n" if limit.get("pattern") == "n*i" else ""))
    fitting = [name for name in thousand(begins) if fits(name)]
    both = min(len(drawn), len(fitting))
    assert both >= 3 and drawn[:both] == fitting[:both]


def test_a_pattern_that_only_begins_is_a_beginning(client: httpx2.Client) -> None:
    assert found(client, seed=3, pattern="ka*") == found(client, seed=3, starts_with="ka")
    only = found(client, pattern="n", count=3, seed=1)
    assert [name["name"] for name in only["names"]] == ["n"]
    assert only["drawn"] < 600 and only["finish_reason"] == "limit"


@pytest.mark.parametrize(
    "limit",
    [
        {"ends_with": "z" * 30},
        {"contains": "zqxj"},
        {"pattern": "*a" * 60},
        {"pattern": "*" * 200},
        {"pattern": "?" * 41},
    ],
)
def test_a_limit_that_hardly_a_name_meets_ends_and_says_so(
    client: httpx2.Client, limit: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a pattern at which a backtracking matcher would never end."""
    monkeypatch.setattr(search, "MAX_CHARACTERS", 5000)
    answer = found(client, count=1000, seed=1, max_length=200, **limit)
    assert (answer["complete"], answer["finish_reason"]) == (False, "limit")
    assert answer["drawn"] <= 5000


def test_a_name_is_a_line_as_sample_writes_it(client: httpx2.Client) -> None:
    """The first draw has the request's own seed."""
    for seed in range(8):
        line = client.get("/sample", params={"model": "list", "seed": seed, "stop": "\n"}).text
        if line.strip() and len(line.strip()) <= 200:
            assert names(client, seed=seed, count=1, max_length=200) == [line.strip()]


def test_a_drawn_seed_gives_the_same_names_again(client: httpx2.Client) -> None:
    first = client.get("/names", params={"model": "list"})
    seed = first.json()["seed"]
    assert first.headers["x-seed"] == str(seed)
    assert first.headers["x-model"] == "list" and len(first.headers["x-model-digest"]) == 64
    again = client.get("/names", params={"model": "list", "seed": seed})
    assert again.json() == first.json()
    assert names(client) != names(client)


def test_neighbouring_seeds_share_no_names(client: httpx2.Client) -> None:
    one, two = (set(names(client, seed=seed, count=50, min_length=8)) for seed in (1, 2))
    assert not one & two


def test_plain_text_is_one_a_line(client: httpx2.Client) -> None:
    fields: Query = {"model": "list", "seed": 3, "count": 20}
    response = client.get("/names", params=fields, headers=AS_TEXT)
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == "".join(f"{name}\n" for name in names(client, **fields))


def test_names_come_as_they_are_found(client: httpx2.Client) -> None:
    """The first is there while most are still to be drawn."""
    fields: Query = {"model": "list", "count": 200, "min_length": 30, "max_length": 120}
    with client.stream("GET", "/names", params=fields, headers=AS_TEXT) as response:
        chunks = list(response.iter_raw())
    assert len(chunks) > 5 and all(chunk.endswith(b"\n") for chunk in chunks)


def test_novel_names_are_those_that_are_no_lines_of_the_corpus(
    client: httpx2.Client, data: Path
) -> None:
    drawn = names(client, seed=9, count=40)
    known = drawn[::2]
    Registry(data / "models").publish(Reference("known"), of_a_list([*known, *LINES]))
    answer = found(client, model="known", seed=9, count=40)["names"]
    assert [name["name"] for name in answer] == drawn
    assert [name["name"] for name in answer if not name["novel"]] == known
    novel = names(client, model="known", seed=9, count=40, novel=True)
    assert novel[:20] == drawn[1::2] and len(novel) == 40


def test_the_same_names_under_load_and_with_hardly_a_row_free(
    client: httpx2.Client, data: Path
) -> None:
    fields: Query = {"count": 60, "seed": 4, "min_length": 5}
    alone = found(client, **fields)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        crowd = list(pool.map(lambda _: found(client, **fields), range(3)))
    assert crowd == [alone] * 3
    sample: Query = {"model": "list", "length": 1_000_000}
    with (
        serve(data, max_streams=2) as small,
        small.stream("GET", "/sample", params=sample) as running,
    ):
        chunks = running.iter_raw()
        assert next(chunks)
        assert found(small, **fields) == alone


def test_it_gives_up_after_200_draws_a_name(client: httpx2.Client) -> None:
    never = found(client, count=2, min_length=199, max_length=200, starts_with="a" * 198, seed=1)
    assert never["drawn"] == 400 and len(never["names"]) <= 1
    assert (never["complete"], never["finish_reason"]) == (False, "limit")
    greedy = found(client, count=5, temperature=0)
    assert greedy["drawn"] == 1 and len(greedy["names"]) <= 1
    assert (greedy["complete"], greedy["finish_reason"]) == (False, "limit")


def test_it_gives_up_after_so_many_characters_wherever_it_runs(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200,000 draws would be allowed; the bound depends on the request only."""
    fields: Query = {"count": 1000, "min_length": 200, "max_length": 200, "seed": 2}
    monkeypatch.setattr(search, "MAX_CHARACTERS", 5000)
    one = found(client, **fields)
    assert (one["complete"], one["finish_reason"]) == (False, "limit")
    assert 5000 / 206 <= one["drawn"] < 5000
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: found(client, **fields), range(4))) == [one] * 4


def test_more_names_than_there_can_be_are_not_looked_for(client: httpx2.Client) -> None:
    one = found(client, count=1000, starts_with="k", max_length=1, min_length=1)
    assert [name["name"] for name in one["names"]] == ["k"]
    assert (one["complete"], one["finish_reason"]) == (False, "limit")
    assert one["drawn"] < 1000


def test_time_ends_a_search_with_what_was_found(data: Path) -> None:
    """By a clock that jumps while the search goes on."""
    seconds = itertools.chain([0.0] * 12, itertools.repeat(1e9))
    answer = asyncio.run(searched(data, clock=lambda: next(seconds), count=1000, seed=3))
    assert answer.finish_reason == "timeout" and 0 < answer.drawn < 13
    # What was found is what comes first without the clock too.
    rest = asyncio.run(searched(data, clock=lambda: 0.0, count=1000, seed=3))
    assert (
        rest.finish_reason in ("count", "limit") and answer.names == rest.names[: len(answer.names)]
    )


@dataclass
class Searched:
    names: list[str]
    drawn: int
    finish_reason: str | None


async def a_search(
    data: Path, streams: Streams, clock: Callable[[], float], **fields: Any
) -> search.Search:
    """A search without a server."""
    model = await LoadedModels(Registry(data / "models"), 1 << 30).get(Reference("list"))
    asked, decoder = NamesQuery(**fields), model.decoder("exact")
    limits = Limits(asked.min_length, asked.max_length)
    return search.Search(
        streams,
        model,
        decoder,
        asked,
        limits,
        asked.seed or 0,
        NOBODY,
        (),
        lambda _ids: None,
        clock,
    )


async def searched(
    data: Path, clock: Callable[[], float], limit: int = 100, **fields: Any
) -> Searched:
    streams = Streams(limit)
    one = await a_search(data, streams, clock, **fields)
    try:
        found = [name async for name, _novel in one]
    finally:
        one.close()
        streams.stop()
    return Searched(found, one.drawn, one.finish_reason)


def test_rows_are_freed_in_time_even_if_nobody_reads(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "SECONDS", 0)

    async def begun() -> None:
        streams = Streams(100)
        one = await a_search(data, streams, clock=lambda: 0.0)
        one.begin()
        assert streams.running == 1
        async with asyncio.timeout(20):
            while streams.running:
                await asyncio.sleep(0)
        streams.stop()

    asyncio.run(begun())


def test_a_free_row_is_waited_for_only_so_long(data: Path) -> None:
    seconds = iter([0.0, search.SECONDS])
    answer = asyncio.run(searched(data, clock=lambda: next(seconds), limit=0))
    assert answer == Searched([], 0, "timeout")


def test_white_space_around_names_does_not_count(client: httpx2.Client, data: Path) -> None:
    drawn = names(client, seed=9, count=40, max_length=12)
    assert all(name == name.strip() for name in drawn) and len(set(drawn)) == 40
    padded = [f" {name} " for name in drawn[::2]]
    Registry(data / "models").publish(Reference("padded"), of_a_list([*padded, *LINES]))
    answer = found(client, model="padded", seed=9, count=40, max_length=12)["names"]
    assert [name["name"] for name in answer if not name["novel"]] == drawn[::2]
    assert names(client, seed=9, count=5, starts_with=" ka") == names(
        client, seed=9, count=5, starts_with="ka"
    )


@pytest.mark.parametrize("line_end", ["\r", "\x0c", "\u0085", "\u2028"])
def test_a_name_is_one_line_to_any_reader(client: httpx2.Client, data: Path, line_end: str) -> None:
    known = Vocabulary("characters", sorted([0x0A, 0x61, 0x62, ord(line_end)]))
    ids = known.encode("a\nb\n" * 10).astype(np.uint8)
    hashes = line_hashes(Corpus(known, ids[:-2], ids[-2:]), limit=10)
    checkpoint = replace(toy_checkpoint(vocabulary=known), lines=hashes)
    Registry(data / "models").publish(Reference("ends"), checkpoint)
    fields: Query = {"model": "ends", "seed": 1, "count": 12, "max_length": 8}
    answer = client.get("/names", params=fields, headers=AS_TEXT).text
    assert answer.splitlines() == answer.removesuffix("\n").split("\n") == names(client, **fields)
    refused = client.get("/names", params=fields | {"starts_with": f"a{line_end}"})
    assert wrong_fields(refused) == {"starts_with": "must be the beginning of one line"}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"model": "prose"}, "model", "not trained on a list"),
        ({"count": 0}, "count", "from 1 to 1000"),
        ({"count": 1001}, "count", "from 1 to 1000"),
        ({"starts_with": "É"}, "starts_with", "'É'"),
        ({"starts_with": "a\nb"}, "starts_with", "one line"),
        ({"starts_with": "abcd", "max_length": 3}, "starts_with", "max_length"),
        ({"contains": "É"}, "contains", "'É'"),
        ({"contains": "a\u2028b"}, "contains", "part of one line"),
        ({"contains": "abcd", "max_length": 3}, "contains", "max_length"),
        ({"ends_with": "É"}, "ends_with", "'É'"),
        ({"ends_with": "a\nb"}, "ends_with", "the end of one line"),
        ({"ends_with": "a" * 201}, "ends_with", "200"),
        ({"pattern": "É*?"}, "pattern", "'É'"),
        ({"pattern": "a" * 201}, "pattern", "200"),
        ({"pattern": "?????", "max_length": 4}, "pattern", "at most max_length"),
        ({"pattern": "?a", "min_length": 3}, "pattern", "at least min_length"),
        ({"pattern": "?a*", "starts_with": "kk"}, "pattern", "begins with starts_with"),
        ({"min_length": 5, "max_length": 4}, "min_length", "max_length"),
        ({"max_length": 10_000}, "max_length", "1 to 200"),
        ({"temperature": 11}, "temperature", "0.01"),
        ({"novel": "perhaps"}, "novel", "true or false"),
        ({"colour": "red"}, "colour", "is unknown; known fields are model, count"),
    ],
)
def test_what_is_wrong_is_named(
    client: httpx2.Client, fields: dict[str, Any], field: str, words: str
) -> None:
    response = client.get("/names", params={"model": "list"} | fields)
    assert words in wrong_fields(response)[field]


def test_other_answers(client: httpx2.Client) -> None:
    problem(client.get("/names?model=nobody"), 404)
    problem(client.get("/names?model=list", headers={"Accept": "image/png"}), 406)


def test_a_full_server_says_so(data: Path) -> None:
    with serve(data, max_streams=1) as client:
        sample: Query = {"model": "list", "length": 1_000_000}
        with client.stream("GET", "/sample", params=sample) as running:
            chunks = running.iter_raw()
            assert next(chunks)
            refused = client.get("/names?model=list")
            problem(refused, 503)
            assert int(refused.headers["retry-after"]) > 0
        assert eventually(lambda: client.get("/names?model=list").status_code == 200)


@pytest.mark.parametrize("accept", ["application/json", "text/plain"])
def test_a_client_that_leaves_frees_its_rows(data: Path, accept: str) -> None:
    """Of a search that would go on for minutes."""
    query = "model=list&count=1000&min_length=199&max_length=199&starts_with=" + "a" * 150
    head = f"GET /names?{query} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n"
    with serve(data, max_streams=8) as client:
        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as left:
            left.sendall(head.encode())
            left.recv(1000)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:

            def all_rows_are_free() -> bool:
                asked: Query = {"model": "list", "length": 20_000}
                answers = pool.map(lambda _: client.get("/sample", params=asked), range(8))
                return {answer.status_code for answer in answers} == {200}

            eventually(all_rows_are_free, 20)
