"""Held-out text in the parts that it was put together of, which older checkpoints do not tell."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.checkpoints.format import Checkpoint
from models.config import NetworkConfig
from models.inside.cells import find_cells
from models.inside.unseen import unseen_text
from models.text.vocab import Vocabulary
from tests.planted import HIDDEN, VOCABULARY, made, planted, quoting_text
from tests.toys import in_styles, toy_checkpoint

ONE, OTHER = quoting_text(12_000) + '"open', quoting_text(9000)[::-1]


@pytest.fixture
def of_two() -> Checkpoint:
    config = NetworkConfig(len(VOCABULARY), "lstm", 1, HIDDEN, styles=("one", "other"))
    weights = planted()
    weights["layers.0.weight_ih_l0"] = np.pad(weights["layers.0.weight_ih_l0"], ((0, 0), (0, 2)))
    checkpoint = made(weights, ONE + OTHER, config)
    checkpoint.card["held_out"] = [["one", len(ONE)], ["other", len(OTHER)]]
    return checkpoint


def test_parts_have_their_styles(of_two: Checkpoint) -> None:
    found = unseen_text(of_two, 1 << 20)
    assert found.text == ONE + OTHER
    assert found.parts == [(0, len(ONE), "one"), (len(ONE), len(ONE + OTHER), "other")]
    assert len(found.ids) == len(found.ends) == len(found.text)
    # Of a large network only the beginning is read.
    assert unseen_text(of_two, 100).parts == [(0, 100, "one")]


@pytest.mark.parametrize(
    "told",
    [None, "one", [], [["one", 5]], [["one", "5"]], [[], []], [["one", True]], [["one", -1]]],
    ids=str,
)
def test_who_does_not_say_where_its_seams_are_has_one_part(of_two: Checkpoint, told: Any) -> None:
    of_two.card["held_out"] = told
    assert unseen_text(of_two, 1 << 20).parts == [(0, len(ONE + OTHER), None)]


def test_nor_are_parts_of_unknown_styles_believed(of_two: Checkpoint) -> None:
    of_two.card["held_out"] = [["else", len(ONE + OTHER)]]
    assert unseen_text(of_two, 1 << 20).parts == [(0, len(ONE + OTHER), None)]


def test_no_passage_spans_a_seam(of_two: Checkpoint) -> None:
    """A quote that is open where one text ends is not open in the next."""
    passages = find_cells(of_two)["passages"]
    assert {passage["style"] for passage in passages} == {"one", "other"}
    for passage in passages:
        assert passage["text"] in (ONE if passage["style"] == "one" else OTHER)


def test_bytes_are_counted_as_bytes_and_shown_as_characters() -> None:
    vocabulary = Vocabulary("bytes", list(range(256)))
    checkpoint = in_styles(toy_checkpoint(vocabulary=vocabulary), "one", "other")
    parts = ["あ\n".encode(), b"\xffab"]
    checkpoint = replace(checkpoint, validation=b"".join(parts))
    checkpoint.card["held_out"] = [["one", 4], ["other", 3]]
    found = unseen_text(checkpoint, 100)
    assert found.text == "あ\n\ufffdab"
    assert found.parts == [(0, 2, "one"), (2, 5, "other")]
    assert found.ends.tolist() == [2, 3, 4, 5, 6]
