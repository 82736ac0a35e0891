"""The decoder's graph finds the rows that the table itself finds, and mixes them as torch does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.config import NetworkConfig
from models.decoding.graph import Precision, build_graph
from models.decoding.ngram_nodes import output_with_gates
from models.ngram_table import STEP, NGramTable
from models.onnx_graph import OnnxSession
from models.training.network import CharNetwork
from tests.networks import decoder_of, trained_like, warm, weights_of
from tests.toys import toy_table, wordy


@pytest.mark.parametrize(
    ("size", "orders"), [(2, 16), (28, 1), (28, 4), (28, 8), (300, 4), (60_000, 2), (60_000, 9)]
)
def test_logits_are_those_of_torch_with_the_same_rows(size: int, orders: int) -> None:
    """Contexts of all lengths, known and not, in several rows at once."""
    network = trained_like(NetworkConfig(size, "lstm", 1, 8), orders).eval()
    table = network.table
    assert table
    read = np.stack([wordy(size, 40, seed) for seed in range(3)], axis=1)
    read[5:9, 1] = np.arange(4) % size
    found = table.find(table.hashes(read))
    assert len(np.unique(found[..., 0])) > 3
    assert (len(np.unique(found[..., 1])) > 3) == (len(table.long_sizes) > 0)
    with torch.no_grad():
        counted = torch.from_numpy(table.log_probabilities(found))
        expected, _ = network(torch.from_numpy(read), None, counted)
    decoder = decoder_of(network)
    _, logits, _ = decoder.advance(
        decoder.start(read[0]), read[1:], np.zeros((39, 3), np.float32), warm(3)
    )
    np.testing.assert_allclose(logits, expected[:-1].numpy(), atol=2e-5)


def test_a_step_of_the_table_costs_no_precision() -> None:
    """The factor in the gate is a power of two, so the product is torch's, bit for bit."""
    network = trained_like(NetworkConfig(28, "lstm", 1, 8), 2)
    weight, bias = output_with_gates(weights_of(network))
    gates = network.export()["gates.weight"]
    assert (weight[-1] / -STEP).tobytes() == gates[1].tobytes()
    assert (
        weight[:-1].tobytes()
        == np.concatenate([network.export()["output.weight"], gates[:1]]).tobytes()
    )
    assert bias.shape == (30,)


@pytest.mark.parametrize(("orders", "most"), [(4, 34), (5, 38)])
@pytest.mark.parametrize(("precision", "more"), [("exact", 0), ("fast", 2)])
def test_the_loop_stays_small(orders: int, most: int, precision: Precision, more: int) -> None:
    network = trained_like(NetworkConfig(28, "lstm", 2, 16), orders)
    built = build_graph(network.config, weights_of(network), precision).graph
    (scan,) = (node for node in built.node if node.op_type == "Scan")
    (body,) = (attribute.g for attribute in scan.attribute if attribute.name == "body")
    assert len(body.node) <= most + more


def test_a_table_that_knows_nothing_leaves_the_row_of_no_context() -> None:
    """Empty buckets match no context, not even one whose key is the largest."""
    known = toy_table(28, 2)
    empty = replace(known, keys=np.full(len(known.keys), -1, np.int32))
    empty.keys[0] = 0
    config = NetworkConfig(28, "lstm", 1, 8).beside(known)
    network = CharNetwork(config, empty).eval()
    with torch.no_grad():
        assert network.gates is not None
        network.gates.bias.copy_(torch.tensor([0.0, 1.0]))
    decoder = decoder_of(network)
    _, logits, _ = decoder.advance(
        decoder.start(np.arange(28)),
        np.zeros((1, 28), np.int64),
        np.zeros((1, 28), np.float32),
        warm(28),
    )
    expected = empty.log_probabilities(np.zeros((28, 2), np.int64))
    np.testing.assert_array_equal(logits[0], expected)


def test_sessions_hold_the_table_once() -> None:
    """Its memory is counted: a server with little of it must know."""
    network = trained_like(NetworkConfig(28, "lstm", 1, 8), 2)
    table = network.table
    assert table
    rows = np.zeros((40_002, 28), np.uint8)
    grown = NGramTable((1, 40_000), (), np.full(40_002, -1, np.int32), rows, table.lists)
    config = network.config.beside(grown)
    large = OnnxSession(build_graph(config, network.export() | grown.tensors()))
    small = OnnxSession(build_graph(network.config, network.export()))
    tables = (grown.rows.nbytes + grown.keys.nbytes) - (table.rows.nbytes + table.keys.nbytes)
    assert large.bytes - small.bytes >= tables
