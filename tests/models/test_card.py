"""A card is what its type says once it was read, and tells people what the model is."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.checkpoints.card import Card, parse_card, parse_point, read_card, readme
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


def test_a_full_card_comes_back_as_it_was(tmp_path: Path) -> None:
    assert parse_card(json.dumps(FULL).encode()) == FULL
    (tmp_path / "card.json").write_text(json.dumps(FULL))
    assert read_card(tmp_path) == FULL


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
        ({"step": 10**400}, "step is not a number"),
        ({"bpc": [1]}, "bpc is not a number"),
        ({"job_id": 5}, "job_id is not a line of text"),
        ({"device": "a\nb"}, "device is not a line of text"),
        ({"created_at": "\x1b[2J"}, "created_at is not a line of text"),
        ({"ngram": ["0" * 64]}, "ngram is not a line of text"),
        ({"corpus": [1]}, "corpus is not an object"),
        ({"corpus": {"characters": "many"}}, "corpus characters is not a number"),
        ({"corpus": {"id": "\a"}}, "corpus id is not a line of text"),
        ({"corpus": {"tokens": 1}}, "corpus tokens is not a line of text"),
        ({"options": [1]}, "options is not an object"),
        ({"baseline": 1.5}, "baseline is not an object"),
        ({"baseline": {"ngram_order": "5"}}, "baseline ngram_order is not a number"),
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
    with pytest.raises(CheckpointError) as refusal:
        parse_card(json.dumps({**FULL, **changed}).encode())
    assert str(refusal.value) == f"card.json: {words}"


def test_points_and_samples_come_back() -> None:
    for line in (
        b'{"step": 1, "train_loss": 2.5, "val_loss": null}',
        b'{"step": 1, "temperature": 0.5, "text": "a\\n"}',
        b'{"step": 0}',
    ):
        assert parse_point(line) == json.loads(line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"[]", "history.jsonl is not a JSON object"),
        (b"{}", "history.jsonl: a figure is not a number"),
        (b'{"step": 1.5}', "history.jsonl: a figure is not a number"),
        (b'{"step": true}', "history.jsonl: a figure is not a number"),
        (b'{"step": 1' + b"0" * 20 + b"}", "history.jsonl: a figure is not a number"),
        (b'{"step": 1, "val_loss": "1"}', "history.jsonl: a figure is not a number"),
        (b'{"step": 1, "train_loss": []}', "history.jsonl: a figure is not a number"),
        (b'{"step": 1, "temperature": {}}', "history.jsonl: a figure is not a number"),
        (b'{"step": 1, "text": 5}', "history.jsonl: a sample is not text"),
        (b'{"step": 1, "text": null}', "history.jsonl: a sample is not text"),
    ],
    ids=str,
)
def test_a_point_of_another_type_is_refused(line: bytes, words: str) -> None:
    with pytest.raises(CheckpointError) as refusal:
        parse_point(line)
    assert str(refusal.value) == words


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
