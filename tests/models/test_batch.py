"""Streams of one model advance together, and none can harm another."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from models.decoding.batch import Batch, Stream
from models.decoding.sampling import SampleOptions
from tests.toys import ALPHABET, toy_checkpoint, toy_decoder

HOSTILE: list[dict[str, Any]] = [
    {"top_k": 10**30},
    {"top_k": 1 << 63},
    {"top_k": -1},
    {"seed": 1 << 64},
    {"seed": -1},
    {"temperature": 1e-300},
    {"temperature": math.nan},
    {"top_p": math.inf},
    {"length": 10**30},
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=str)
def test_a_row_with_a_hostile_option_can_not_reach_a_tick(hostile: dict[str, Any]) -> None:
    """numpy would raise for all rows, and so end the texts of the neighbours."""
    decoder = toy_decoder(toy_checkpoint())
    neighbour = Stream(ALPHABET, ALPHABET.encode("a"), SampleOptions(seed=3, length=40))
    batch, text = Batch(decoder), ""
    while neighbour.finish_reason is None:
        with pytest.raises(ValueError, match=f"{next(iter(hostile))} must be"):
            Stream(ALPHABET, ALPHABET.encode("a"), SampleOptions(**hostile))
        with pytest.raises(ValueError, match=f"{next(iter(hostile))} must be"):
            dataclasses.replace(neighbour.options, **hostile)
        text += batch.tick([neighbour], 16)[0][0].text
    assert len(text) == 40


def test_a_row_at_every_bound_runs_beside_others() -> None:
    """What the options allow, the decoder takes."""
    decoder = toy_decoder(toy_checkpoint())
    extremes = [
        SampleOptions(seed=(1 << 63) - 1, temperature=0.01, length=40, top_k=1 << 20, top_p=1.0),
        SampleOptions(seed=0, temperature=10.0, length=40, top_k=1, top_p=1e-12),
        SampleOptions(temperature=0.0, length=40, stop=("never" * 51,) * 4),
        SampleOptions(length=0),
    ]
    streams = [Stream(ALPHABET, np.array([], np.int64), options) for options in extremes]
    batch, texts = Batch(decoder), [""] * len(streams)
    while running := [index for index, s in enumerate(streams) if s.finish_reason is None]:
        pieces, _ = batch.tick([streams[index] for index in running], 16)
        for index, piece in zip(running, pieces, strict=True):
            texts[index] += piece.text
    assert [stream.finish_reason for stream in streams] == ["length"] * 4
    assert [len(text) for text in texts] == [40, 40, 40, 0]
