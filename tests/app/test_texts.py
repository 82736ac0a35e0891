"""A request's text becomes what a model reads: normalised and encoded once, or refused in words."""

from pathlib import Path

import httpx2
import pytest

from app.http.problems import Problem
from app.routes.texts import derived_seed, known_text
from models.text.vocab import Vocabulary
from tests.serving import Query, problem, serve, wrong_fields
from tests.toys import ALPHABET, BYTES


def test_a_text_comes_with_its_ids() -> None:
    known = known_text(ALPHABET, "prime", "ab\r\nc", "error")
    assert (known.text, known.left_out) == ("ab\nc", 0)
    assert known.ids.tolist() == ALPHABET.encode("ab\nc").tolist()


@pytest.mark.parametrize(
    ("vocabulary", "text", "known", "left_out"),
    [
        (ALPHABET, "HaÉb", "ab", 2),
        (ALPHABET, "É", "", 1),
        (ALPHABET, "a\ud83db", "ab", 1),
        (BYTES, "AあBA", "AあA", 1),
    ],
)
def test_unknown_characters_are_skipped_and_counted(
    vocabulary: Vocabulary, text: str, known: str, left_out: int
) -> None:
    found = known_text(vocabulary, "text", text, "skip")
    assert (found.text, found.left_out) == (known, left_out)
    assert found.ids.tolist() == vocabulary.encode(known).tolist()


def test_what_composes_once_others_are_skipped_is_skipped_too() -> None:
    """Without the X between them, e and its accent are one character, which is unknown."""
    vocabulary = Vocabulary("characters", [0x61, 0x65, 0x0301])
    known = known_text(vocabulary, "prime", "aeX\u0301a", "skip")
    assert (known.text, known.left_out) == ("aa", 2)


def test_a_text_made_to_compose_again_and_again_is_refused() -> None:
    """Hangul's letters compose to syllables, from the middle of this text outwards."""
    vocabulary = Vocabulary("characters", [0x1100, 0x1161])
    with pytest.raises(Problem) as refused:
        known_text(vocabulary, "prime", "\u1100" * 8000 + "X" + "\u1161" * 8000, "skip")
    assert refused.value.code == "unknown_characters"


def test_unknown_characters_are_named() -> None:
    with pytest.raises(Problem) as refused:
        known_text(ALPHABET, "prime", "aÉ", "error")
    assert (refused.value.status_code, refused.value.code) == (422, "unknown_characters")
    (error,) = refused.value.errors
    assert error.field == "prime" and "'É'" in error.message and "skip" in error.message


def test_the_first_of_several_texts_has_the_requests_own_seed() -> None:
    assert derived_seed(7, 0) == 7
    derived = {derived_seed(seed, index) for seed in range(20) for index in range(1, 20)}
    assert len(derived) == 20 * 19
    assert all(0 <= seed < 2**63 for seed in derived)


# Over HTTP


def test_unknown_characters_may_be_skipped(client: httpx2.Client) -> None:
    fields: Query = {"model": "toy", "seed": 4, "length": 100}
    skipped = client.get("/sample", params=fields | {"prime": "HaÉb", "unknown": "skip"})
    assert skipped.text == client.get("/sample", params=fields | {"prime": "ab"}).text


def test_which_model(client: httpx2.Client) -> None:
    assert (
        "GET /models" in problem(client.get("/sample?model=nobody"), 404, "unknown_model")["detail"]
    )
    assert "bytes, counted, gru, toy" in wrong_fields(client.get("/sample"))["model"]
    refused = client.get("/sample?model=toy", headers={"Accept": "image/png"})
    assert "text/plain" in problem(refused, 406, "not_acceptable")["detail"]


def test_a_drawn_seed_is_told_and_gives_the_text_again(client: httpx2.Client) -> None:
    first = client.get("/sample", params={"model": "toy"})
    seed = first.headers["x-seed"]
    assert client.get("/sample", params={"model": "toy", "seed": seed}).text == first.text
    assert client.get("/sample", params={"model": "toy"}).text != first.text


def test_a_server_without_models_says_how_to_get_one(tmp_path: Path) -> None:
    with serve(tmp_path) as client:
        wrong = wrong_fields(client.get("/sample"), "no_models")
        assert wrong == {"model": "is missing: train one with POST /train"}
