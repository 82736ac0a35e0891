"""Torch networks with opinions, their decoders, and what these write."""

import numpy as np
import torch

from models.config import INPUT_WEIGHTS, NetworkConfig, Weights
from models.decoding.batch import Batch
from models.decoding.characters import Piece
from models.decoding.decoder import Decoder
from models.decoding.graph import Precision
from models.decoding.rows import Choices
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream
from models.text.vocab import Vocabulary
from models.training.generate import generate
from models.training.network import CharNetwork
from tests.toys import toy_table

VOCABULARY = Vocabulary("characters", [0x0A, *range(0x61, 0x7B), 0x3042])


def trained_like(config: NetworkConfig, orders: int = 0) -> CharNetwork:
    """A network with opinions: a fresh one's are too flat to tell temperatures apart.

    With ``orders`` above 0 it has an n-gram table for contexts of up to so many ids, and gates that
    depend on what it read.
    """
    torch.manual_seed(1)
    table = toy_table(config.vocabulary_size, orders) if orders else None
    network = CharNetwork(config.beside(table), table)
    with torch.no_grad():
        extent = 8 / config.hidden_size**0.5
        network.output.weight.uniform_(-extent, extent)
        if config.styles:
            of_input = network.get_parameter(INPUT_WEIGHTS)
            of_input[:, config.character_size :].uniform_(-2, 2)
        if network.gates is not None:
            network.gates.weight.uniform_(-extent / 8, extent / 8)
    return network


def weights_of(network: CharNetwork) -> Weights:
    return network.export()


def decoder_of(network: CharNetwork, precision: Precision = "exact") -> Decoder:
    return Decoder(network.config, weights_of(network), precision)


def warm(rows: int, top_k: int = 0, top_p: float = 0.0) -> Choices:
    return Choices(
        np.ones(rows, np.float32), np.full(rows, top_k), np.full(rows, top_p, np.float32)
    )


def pieces_of(decoder: Decoder, streams: list[Stream], steps: int) -> list[list[Piece]]:
    """Ticks until all have ended; what each said."""
    batch = Batch(decoder)
    said: dict[Stream, list[Piece]] = {stream: [] for stream in streams}
    while active := [stream for stream in streams if stream.finish_reason is None]:
        for stream, piece in zip(active, batch.tick(active, steps)[0], strict=True):
            said[stream].append(piece)
    return list(said.values())


def run(decoder: Decoder, streams: list[Stream], steps: int = 7) -> list[str]:
    """The text of each stream."""
    return ["".join(p.text for p in said) for said in pieces_of(decoder, streams, steps)]


def slowly(network: CharNetwork, prime: str, options: SampleOptions) -> str:
    ids = generate(network, VOCABULARY.start_id, VOCABULARY.encode(prime), options)
    return VOCABULARY.decoder().decode(np.fromiter(ids, np.int64))


def stream(prime: str, options: SampleOptions) -> Stream:
    return Stream(VOCABULARY, VOCABULARY.encode(prime), options)
