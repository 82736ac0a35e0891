"""A card is what its type says once it was read, and tells people what the model is."""

import dataclasses
import json
from typing import Any

import pytest

from models.checkpoints.card import Card, check_card, date, parse_card, readme
from models.config import NetworkConfig
from models.files import CheckpointError

CONFIG = NetworkConfig(vocabulary_size=3, num_layers=1, hidden_size=2)
FULL: Card = {
    "job_id": "0123456789abcdef012345",
    "created_at": "2026-01-02T03:04:05.000Z",
    "device": "CPU, 2 threads",
    "step": 500,
    "val_loss": 1.5,
    "bpc": 2.164,
    "options": {"seed": 0, "dropout": 0.5, "sample_at": [100, 300]},
    "corpus": {
        "id": "0" * 64,
        "bytes": 1300,
        "characters": 1234,
        "distinct": 3,
        "tokens": "characters",
        "lines": 10,
    },
    "precision": {"exact": 1.5, "fast": None},
    "baseline": {"ngram_order": 5, "val_loss": 1.75, "bpc": 2.52},
    "ngram": "1" * 64,
    "memorisation": {
        "characters": 32768,
        "longest": 40,
        "longest_start": 7,
        "lines": 900,
        "novel_line_share": 0.75,
        "novel_name_share": None,
    },
    "pretrained": True,
}


def test_a_full_card_comes_back_as_it_was() -> None:
    assert parse_card(json.dumps(FULL).encode()) == FULL


def test_nothing_of_a_card_is_sure_to_be_there() -> None:
    assert parse_card(b"{}") == {}
    nothing = dict.fromkeys((*FULL, "more"))
    del nothing["pretrained"]
    assert parse_card(json.dumps(nothing).encode()) == nothing


def test_a_card_may_hold_more() -> None:
    assert dict(parse_card(b'{"colour": ["red"]}')) == {"colour": ["red"]}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"val_loss": "low"}, "val_loss is not a number"),
        ({"val_loss": True}, "val_loss is not a number"),
        ({"step": 10**400}, "step is not a whole number"),
        ({"step": 1.5}, "step is not a whole number"),
        ({"bpc": [1]}, "bpc is not a number"),
        ({"job_id": 5}, "job_id is not a line of text"),
        ({"device": "a\nb"}, "device is not a line of text"),
        ({"ngram": ["0" * 64]}, "ngram is not a line of text"),
        ({"corpus": [1]}, "corpus is not an object"),
        ({"corpus": {"characters": "many"}}, "corpus characters is not a whole number"),
        ({"corpus": {"id": "\a"}}, "corpus id is not a line of text"),
        ({"corpus": {"tokens": 1}}, "corpus tokens is not a line of text"),
        ({"options": [1]}, "options is not an object"),
        ({"baseline": 1.5}, "baseline is not an object"),
        ({"baseline": {"ngram_order": "5"}}, "baseline ngram_order is not a whole number"),
        ({"baseline": {"ngram_order": 5.5}}, "baseline ngram_order is not a whole number"),
        ({"device": "a" * 257}, "device is not a line of text"),
        ({"precision": {"exact": 1.0}}, "precision lacks exact or fast"),
        ({"precision": {"exact": "1", "fast": None}}, "precision exact is not a number"),
        ({"memorisation": "none"}, "memorisation is not an object"),
        ({"memorisation": {"longest": "long"}}, "memorisation longest is not a number"),
        ({"pretrained": 1}, "pretrained is neither true nor false"),
        ({"pretrained": None}, "pretrained is neither true nor false"),
    ],
    ids=str,
)
def test_a_part_of_another_type_is_refused(changed: dict[str, Any], words: str) -> None:
    """Of what somebody brings; of what is here already only that part is not told."""
    content = json.dumps({**FULL, **changed}).encode()
    with pytest.raises(CheckpointError) as refusal:
        check_card(content)
    assert str(refusal.value) == f"card.json: {words}"
    found = parse_card(content)
    check_card(json.dumps(found).encode())
    assert {k: v for k, v in found.items() if k not in changed} == {
        k: v for k, v in FULL.items() if k not in changed
    }


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05.000Z",
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.123456789+05:30",
        "1970-01-01T00:00:00Z",
        "2999-12-31T23:59:59-23:59",
    ],
)
def test_a_date_is_rfc_3339(text: str) -> None:
    assert date({"created_at": text}) is not None
    content = json.dumps({"created_at": text}).encode()
    check_card(content)
    assert parse_card(content) == {"created_at": text}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "yesterday",
        "+275761-01-01T00:00:00Z",
        "-000001-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "1970-01-01T00:00:00+00:01",
        "1969-12-31T23:59:59Z",
        "3000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "2026-02-30T00:00:00Z",
        "2026-01-02T25:00:00Z",
        "2026-01-02T03:04:60Z",
        "2026-01-02T03:04:05",
        "2026-01-02",
        "2026-01-02t03:04:05z",
        "20260102T030405Z",
        "2026-W01-1T00:00:00Z",
        "2026-01-02 03:04:05Z",
        "٢٠٢٦-01-02T03:04:05Z",
        "2026-01-02T03:04:05Z\n",
        "2026-01-02T03:04:05+99:99",
    ],
)
def test_what_is_no_date_is_none_and_no_import(text: str) -> None:
    assert date({"created_at": text}) is None
    content = json.dumps({"created_at": text}).encode()
    with pytest.raises(CheckpointError, match="created_at is not a date"):
        check_card(content)
    assert parse_card(content) == {}


def test_a_card_without_a_date_is_none_too() -> None:
    assert date({}) is None
    check_card(b"{}")


def test_the_model_card_tells_people_all_of_it() -> None:
    """Word for word: a checkpoint's digest depends on it."""
    assert readme(CONFIG, "characters", FULL) == (
        "# Model card\n\n"
        "A character-level LSTM of 1 layers of 2 cells (65 parameters) over 3 characters.\n\n"
        f"- corpus: sha256 {'0' * 64}, 1234 characters\n"
        "- trained: 500 steps by job 0123456789abcdef012345, 2026-01-02T03:04:05.000Z\n"
        "- device: CPU, 2 threads\n"
        "- validation loss: 1.5000 nats per character (2.1640 bits)\n"
        "- n-gram baseline on the same text: 1.7500 nats per character (order 5)\n"
        "- of 32768 characters that it wrote, the longest run that the corpus has word for word: "
        "40\n"
        "- novel lines: 75.0%\n\n"
        "## Options\n\n"
        "- dropout: 0.5\n- sample_at: [100, 300]\n- seed: 0\n"
    )
    assert readme(CONFIG, "bytes", {}) == (
        "# Model card\n\n"
        "A character-level LSTM of 1 layers of 2 cells (65 parameters) over 3 bytes.\n\n"
        "- corpus: sha256 None, None characters\n"
        "- trained: None steps by job None, None\n"
        "- device: None\n\n"
        "## Options\n\n"
    )


def test_the_model_card_tells_of_an_ngram_table() -> None:
    """Word for word, too; the rest of the card is as without one."""
    beside = dataclasses.replace(CONFIG, ngram_buckets=(1001, 20_000))
    line = "- n-gram table beside it: 21,001 buckets for contexts of up to 2 characters (0.1 MB)\n"
    told = readme(beside, "characters", FULL)
    assert told.count(line) == 1
    with_its_gates = readme(CONFIG, "characters", FULL).replace("(65 ", "(71 ")
    assert told.replace(line, "") == with_its_gates
