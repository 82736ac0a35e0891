"""``max_copied``: no text has more of its corpus in a row, and the answer says what it took."""

import concurrent.futures
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import pytest

from app.engine import corpus_runs, streams
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream
from models.text.copies import Runs
from models.text.vocab import Vocabulary
from tests.serving import Query, serve, wrong_fields
from tests.toys import ALPHABET, babble, toy_checkpoint, toy_decoder

AS_JSON = {"Accept": "application/json"}
FIELDS: Query = {"model": "writer", "seed": 4, "temperature": 4, "top_k": 4, "length": 600}
COPIED = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``writer`` writes is its own corpus, and that of ``lost`` is nowhere."""
    data = tmp_path_factory.mktemp("data")
    registry = Registry(data / "models")
    registry.publish(Reference("bare"), toy_checkpoint())
    with serve(data) as client:
        text = client.get("/sample", params=FIELDS | {"model": "bare"}).text
        corpus = client.post("/corpora", content=text.encode()).json()["id"]
    registry.publish(Reference("writer"), toy_checkpoint(corpus={"id": corpus}))
    registry.publish(Reference("lost"), toy_checkpoint(corpus={"id": "f" * 64}))
    return data


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    with serve(data) as client:
        yield client


@pytest.fixture(scope="module")
def corpus(client: httpx2.Client) -> str:
    return client.get("/sample", params=FIELDS).text


def answer(client: httpx2.Client, **fields: Any) -> dict[str, Any]:
    response = client.post("/sample", json=FIELDS | fields, headers=AS_JSON)
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


def copied(text: str, corpus: str, prime: str = "") -> list[str]:
    whole = prime + text
    ends = range(max(COPIED, len(prime)), len(whole))
    return [run for end in ends if (run := whole[end - COPIED : end + 1]) in corpus]


def test_nothing_longer_is_copied(client: httpx2.Client, corpus: str) -> None:
    told = answer(client, max_copied=COPIED)
    assert copied(corpus, corpus) and not copied(told["text"], corpus)
    assert told["copies_avoided"] > 0 and told["finish_reason"] == "length"
    assert told["text"][:COPIED] == corpus[:COPIED] and told["text"] != corpus
    assert "copies_avoided" not in answer(client)
    # Where it need not be, the text is the one without it.
    free = answer(client, max_copied=1000, seed=5)
    assert free["copies_avoided"] == 0 and free["text"] == answer(client, seed=5)["text"]


def test_a_prime_is_not_continued_as_the_corpus_does(client: httpx2.Client, corpus: str) -> None:
    prime = corpus[200:260]
    told = answer(client, prime=prime, max_copied=COPIED)
    assert told["text"][0] != corpus[260]
    assert not copied(told["text"], corpus, prime)


def test_it_is_the_same_text_in_every_form_and_under_load(
    client: httpx2.Client, corpus: str
) -> None:
    told = answer(client, max_copied=COPIED)
    guarded = FIELDS | {"max_copied": COPIED}

    def ask(number: int) -> str:
        if number % 2:
            return client.get("/sample", params=FIELDS | {"seed": number}).text
        return client.get("/sample", params=guarded).text

    alone = [ask(1), ask(3)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        crowd = list(pool.map(ask, range(8)))
    assert set(crowd[::2]) == {told["text"]} and crowd[1:4:2] == alone
    lines = client.get("/sample", params=guarded, headers={"Accept": "text/event-stream"}).text
    *texts, end = [json.loads(line[6:]) for line in lines.splitlines() if line.startswith("data: ")]
    assert "".join(one["text"] for one in texts) == told["text"]
    assert end["copies_avoided"] == told["copies_avoided"]
    primes = client.post("/sample", json=guarded | {"primes": ["", ""]})
    one, two = sorted(map(json.loads, primes.text.splitlines()), key=lambda line: line["index"])
    assert one["text"] == told["text"] and not copied(two["text"], corpus)


def test_it_continues_as_one_text(client: httpx2.Client) -> None:
    whole = answer(client, max_copied=COPIED)
    first = answer(client, max_copied=COPIED, length=250)
    on = {"continue_from": first["state"], "length": 350}
    rest = answer(client, max_copied=COPIED, **on)
    assert first["text"] + rest["text"] == whole["text"]
    assert first["copies_avoided"] + rest["copies_avoided"] == whole["copies_avoided"]


def test_a_text_that_can_only_copy_never_looks_complete(tmp_path: Path) -> None:
    """In every form: there is no character that the corpus does not have after this one."""
    both = Vocabulary("characters", [0x0A, 0x61])
    with serve(tmp_path) as client:
        corpus = client.post("/corpora", content=b"aa\n\na" * 50).json()["id"]
        checkpoint = toy_checkpoint(vocabulary=both, corpus={"id": corpus})
        Registry(tmp_path / "models").publish(Reference("writer"), checkpoint)
        told = answer(client, max_copied=1, prime="a")
        assert (told["finish_reason"], told["text"], told["copies_avoided"]) == ("copied", "", 0)
        with pytest.raises(httpx2.RemoteProtocolError):
            client.post("/sample", json=FIELDS | {"max_copied": 1, "prime": "a"})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_copied": 0}, "must be a whole number from 1 to 1000"),
        ({"max_copied": 1001}, "must be a whole number from 1 to 1000"),
        ({"max_copied": 2.5}, "must be a whole number from 1 to 1000"),
        ({"max_copied": "x"}, "must be a whole number from 1 to 1000"),
        ({"max_copied": 9, "model": "lost"}, "needs the corpus of the model, which this server"),
        ({"max_copied": 9, "model": "bare"}, "needs the corpus of the model, which this server"),
    ],
)
def test_what_cannot_be_is_named(client: httpx2.Client, fields: dict[str, Any], words: str) -> None:
    response = client.post("/sample", json=FIELDS | fields)
    assert words in wrong_fields(response)["max_copied"]
    assert response.json()["code"] == ("no_corpus" if "model" in fields else "invalid_fields")


def test_a_corpus_that_is_too_large_or_damaged(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_runs, "MOST_SYMBOLS", 500)
    with serve(data) as client:
        refused = client.post("/sample", json=FIELDS | {"max_copied": 9})
        assert "at most 500 characters" in wrong_fields(refused, "no_corpus")["max_copied"]
    monkeypatch.undo()
    (original,) = (data / "corpora").glob("*/original")
    sound = original.read_bytes()
    original.write_bytes(b"x" + sound[1:])
    try:
        with serve(data) as client:
            refused = client.post("/sample", json=FIELDS | {"max_copied": 9})
            assert "which is damaged" in wrong_fields(refused, "no_corpus")["max_copied"]
            # Whoever sends it again mends it.
            client.post("/corpora", content=sound)
            assert answer(client, max_copied=9)["copies_avoided"]
    finally:
        original.write_bytes(sound)


def test_the_latest_are_kept(client: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = Runs

    def counted(*args: Any) -> Any:
        made.append(args[1])
        return real(*args)

    monkeypatch.setattr(corpus_runs, "Runs", counted)
    monkeypatch.setattr(corpus_runs, "KEPT_BYTES", 14_000)
    for number in (21, 22, 22, 23, 21):
        answer(client, max_copied=number, length=5)
    assert made == [21, 22, 23, 21]


def a_stream(gap: int | None) -> Stream:
    """With so many steps between its detours; None has none."""
    runs = None if gap is None else Runs(babble(100), 9)
    stream = Stream(ALPHABET, ALPHABET.encode("ab"), SampleOptions(), uncopied=runs)
    stream._gap = gap or 0
    # Not at its beginning, where any tick is short.
    stream.characters = 1
    return stream


@pytest.mark.parametrize(
    ("gaps", "steps"), [((20,), 22), ((20, 30), 32), ((20, None), 4096), ((None,), 4096)]
)
def test_ticks_are_short_only_where_every_row_may_back_up(
    gaps: tuple[int | None, ...], steps: int
) -> None:
    """A detour loses the rest of its tick, but those who write beside it want long ones."""
    live = streams._LiveBatch(toy_decoder(toy_checkpoint()))
    rows = [SimpleNamespace(stream=a_stream(gap)) for gap in gaps]
    assert live._bound(cast(list[streams.StreamReader], rows)) == steps
