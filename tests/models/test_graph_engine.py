"""A graph with more options is built only for those who use them."""

import numpy as np

from models.decoding.decoder import Decoder
from models.decoding.graph_engine import GraphEngine
from models.decoding.rows import Choices
from tests.networks import warm
from tests.toys import toy_checkpoint


def test_options_take_memory_once_they_are_used() -> None:
    checkpoint = toy_checkpoint()
    engine = GraphEngine(checkpoint.config, checkpoint.weights, "exact")
    begin = Decoder(checkpoint.config, checkpoint.weights).start(np.arange(2))
    free, numbers = np.full((3, 2), -1), np.full((3, 2), 0.5, np.float32)
    sizes = [engine.bytes]

    def ids(choices: Choices) -> list[list[int]]:
        chosen, _, _ = engine.advance(begin, free, numbers, choices)
        sizes.append(engine.bytes)
        found: list[list[int]] = chosen.tolist()
        return found

    plainly = ids(warm(2))
    changing = ids(Choices(np.ones((3, 2), np.float32), np.zeros(2, int), np.zeros(2, np.float32)))
    filtered = ids(warm(2, 1000))
    assert plainly == changing == filtered
    assert sizes[0] == sizes[1] < sizes[2] < sizes[3]
