"""A server remembers the states of primes: texts begin sooner, and are the same."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from app.engine.prime_states import ENTRY_BYTES, PrimeStates, ReadAs
from models.arrays import Ids
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.decoding.rows import Rows
from tests.dialects import openai_client
from tests.serving import eventually, serve
from tests.toys import toy_checkpoint

EXACT, FAST = ReadAs("a", "exact"), ReadAs("a", "fast")
PRIME = "the quick brown fox jumps over the lazy dog\n" * 8


def ids(*values: int) -> Ids:
    return np.array(values, np.int64)


def rows(value: float, numbers: int = 10) -> Rows:
    return Rows(ids(1), (np.full((1, 1, numbers), value, np.float32),))


def learn(states: PrimeStates, read_as: ReadAs, prime: Ids, value: float) -> None:
    priming = states.priming(read_as, prime)
    assert priming
    priming.remember(rows(value))


def known(states: PrimeStates, read_as: ReadAs, prime: Ids) -> tuple[int, float | None]:
    """How many ids are known, and the number that was remembered for them."""
    priming = states.priming(read_as, prime)
    assert priming
    return priming.count, float(priming.rows.state[0][0, 0, 0]) if priming.rows else None


ENTRY = ENTRY_BYTES + 40


def test_the_longest_known_beginning_counts() -> None:
    states = PrimeStates(1 << 20)
    for length, value in ((2, 2), (5, 5), (3, 3)):
        learn(states, EXACT, np.arange(length), value)
    assert known(states, EXACT, np.arange(5)) == (5, 5)
    assert known(states, EXACT, np.arange(9)) == (5, 5)
    assert known(states, EXACT, np.arange(4)) == (3, 3)
    assert known(states, EXACT, ids(0, 1, 9)) == (2, 2)
    assert known(states, EXACT, ids(1, 0)) == known(states, EXACT, ids(0)) == (0, None)
    assert states.lookups == {"all": 1, "beginning": 5, "nothing": 3}
    assert states.bytes == 3 * ENTRY
    assert states.priming(EXACT, ids()) is None


def test_what_is_read_otherwise_is_another_prime() -> None:
    states = PrimeStates(1 << 20)
    learn(states, EXACT, np.arange(4), 1.0)
    assert known(states, FAST, np.arange(4)) == (0, None)
    assert known(states, ReadAs("b", "exact"), np.arange(4)) == (0, None)


def test_those_used_last_stay_within_the_limit() -> None:
    states = PrimeStates(3 * ENTRY)
    for first in range(3):
        learn(states, EXACT, ids(first, 0), first)
    assert known(states, EXACT, ids(0, 0, 7))[0] == 2
    learn(states, EXACT, ids(3, 0), 3)
    assert [known(states, EXACT, ids(first, 0))[0] for first in range(4)] == [2, 0, 2, 2]
    assert states.bytes == 3 * ENTRY
    small = PrimeStates(ENTRY - 1)
    learn(small, EXACT, ids(1), 1)
    assert (known(small, EXACT, ids(1)), small.bytes) == ((0, None), 0)
    assert PrimeStates(0).priming(EXACT, ids(1)) is None


def test_only_loaded_models_keep_theirs() -> None:
    states = PrimeStates(1 << 20)
    learn(states, EXACT, ids(1, 2), 1)
    learn(states, FAST, ids(1, 2), 2)
    learn(states, ReadAs("b", "exact"), ids(1, 2), 3)
    states.keep({"b": object()})
    assert known(states, ReadAs("b", "exact"), ids(1, 2)) == (2, 3)
    assert known(states, EXACT, ids(1, 2)) == known(states, FAST, ids(1, 2, 3)) == (0, None)
    assert states.bytes == ENTRY


def test_numbers_that_overflowed_are_not_remembered() -> None:
    states = PrimeStates(1 << 20)
    learn(states, EXACT, ids(1), np.inf)
    assert states.bytes == 0


def test_a_beginning_is_found_among_very_many() -> None:
    states = PrimeStates(1 << 24)
    for length in range(1, 2000):
        learn(states, EXACT, np.full(length, length % 7), length)
    assert known(states, EXACT, np.append(np.full(1999, 1999 % 7), 0)) == (1999, 1999)


# Over HTTP


@pytest.fixture(scope="module")
def forgetful(toys: Path) -> Iterator[httpx2.Client]:
    """Of a server that remembers no prime."""
    with serve(toys, prime_memory_bytes=0) as client:
        yield client


def lookups(client: httpx2.Client) -> dict[str, float]:
    """How many primes were looked up, by how much of them was known; and the bytes of all."""
    found = {}
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(("charloom_prime_lookups_total", "charloom_primes_bytes")):
            name, _, value = line.rpartition(" ")
            found[name.removesuffix('"}').rpartition('"')[2]] = float(value)
    return found


def sample(client: httpx2.Client, **fields: Any) -> dict[str, Any]:
    answer = client.post(
        "/sample", json={"length": 80, **fields}, headers={"Accept": "application/json"}
    )
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return {name: told[name] for name in ("text", "state", "finish_reason", "seed", "characters")}


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_texts_are_the_same_with_and_without_whatever_the_load(
    toys: Path, forgetful: httpx2.Client, precision: str
) -> None:
    asked = [
        {
            "model": ("toy", "counted")[seed % 2],
            "prime": PRIME[: (300, 300, 250, 17)[seed // 2 % 4]],
            "precision": precision,
            "seed": seed,
            "probabilities": 3 * (seed % 3 == 0),
            "temperature": 0.7,
        }
        for seed in range(24)
    ]
    expected = [sample(forgetful, **one) for one in asked]
    assert lookups(forgetful) == {
        "all": 0,
        "beginning": 0,
        "nothing": 0,
        "charloom_primes_bytes": 0,
    }
    with serve(toys) as client, ThreadPoolExecutor(24) as pool:
        for _ in range(3):
            assert list(pool.map(lambda one: sample(client, **one), asked)) == expected
        counted = lookups(client)
        assert counted["all"] >= 48
        assert sum(counted[known] for known in ("all", "beginning", "nothing")) == 72
        assert counted["charloom_primes_bytes"] > 0
        longer = {"model": "toy", "prime": PRIME[:310], "precision": precision, "seed": 5}
        assert sample(client, **longer) == sample(forgetful, **longer)
        assert lookups(client)["beginning"] == counted["beginning"] + 1


def test_dialects_and_names_remember_too(toys: Path, forgetful: httpx2.Client) -> None:
    a_list = replace(toy_checkpoint(), lines=np.arange(3, dtype=np.uint64))
    Registry(toys / "models").publish(Reference("list"), a_list)

    def asked(client: httpx2.Client) -> list[str]:
        names = client.get("/names?model=list&starts_with=so&seed=1&max_length=30")
        assert len(names.json()["names"]) > 1
        with openai_client(client) as ai:
            made = ai.completions.create(model="toy", prompt=PRIME, n=3, seed=4, max_tokens=30)
            echoed = ai.completions.create(
                model="toy", prompt=PRIME, echo=True, logprobs=2, seed=4, max_tokens=30
            )
        told = [str(choice.logprobs) for choice in echoed.choices]
        return [names.text, *(choice.text for choice in made.choices), *told]

    expected = asked(forgetful)
    with serve(toys) as client:
        assert asked(client) == expected
        before = lookups(client)
        assert asked(client) == expected
        after = lookups(client)
    assert after["nothing"] == before["nothing"] and after["all"] > before["all"]


def test_a_state_continues_whatever_is_remembered(toys: Path, forgetful: httpx2.Client) -> None:
    """What follows a state is not what follows the prime by itself."""
    first = sample(forgetful, model="toy", prime="fox", seed=1)
    more = {"model": "toy", "prime": PRIME, "continue_from": first["state"]}
    with serve(toys) as client:
        sample(client, model="toy", prime=PRIME, seed=1)
        before = lookups(client)
        assert sample(client, **more) == sample(forgetful, **more)
        assert lookups(client) == before


def test_a_deleted_model_takes_its_primes_away(data: Path) -> None:
    registry = Registry(data / "models")
    registry.publish(Reference("kept"), toy_checkpoint())
    registry.publish(Reference("gone"), toy_checkpoint(seed=1))
    with serve(data) as client:
        for model in ("kept", "gone"):
            sample(client, model=model, prime=PRIME)
        both = lookups(client)["charloom_primes_bytes"]
        assert client.delete("/models/gone").status_code == 204
        eventually(lambda: lookups(client)["charloom_primes_bytes"] == both / 2)
        registry.publish(Reference("kept"), toy_checkpoint(seed=2))
        sample(client, model="kept", prime=PRIME[:99])
        eventually(lambda: lookups(client)["charloom_primes_bytes"] == both / 2)


def test_a_model_pushed_out_takes_its_primes_away(toys: Path) -> None:
    with serve(toys, model_memory_bytes=1) as client:
        sample(client, model="toy", prime=PRIME)
        one = lookups(client)["charloom_primes_bytes"]
        sample(client, model="gru", prime=PRIME)
        sample(client, model="toy", prime=PRIME)
        assert lookups(client)["nothing"] == 3
        assert lookups(client)["charloom_primes_bytes"] == one
