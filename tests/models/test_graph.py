"""The decoder's graph is sound ONNX, and computes what the network does."""

import itertools
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from models import onnx_graph
from models.config import NetworkConfig
from models.decoding import graph
from models.decoding.graph import Precision, build_graph
from models.onnx_graph import OnnxSession
from models.options import NetworkKind
from tests.networks import VOCABULARY, trained_like, weights_of

GRAPHS: list[tuple[NetworkKind, Precision]] = [
    ("lstm", "exact"),
    ("lstm", "fast"),
    ("gru", "exact"),
    ("rnn", "exact"),
]


def config_of(kind: NetworkKind, embedding_size: int = 0) -> NetworkConfig:
    return NetworkConfig(len(VOCABULARY), kind, 2, 16, embedding_size)


def operators(within: onnx.GraphProto) -> set[tuple[str, str]]:
    """Domain and name of every operator, within loops too."""
    found = set()
    for node in within.node:
        found.add((node.domain, node.op_type))
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found |= operators(attribute.g)
    return found


@pytest.mark.parametrize(("kind", "precision"), GRAPHS)
@pytest.mark.parametrize("filtering", [False, True])
@pytest.mark.parametrize("embedding_size", [0, 5])
def test_a_graph_is_sound(
    kind: NetworkKind, precision: Precision, filtering: bool, embedding_size: int
) -> None:
    config = config_of(kind, embedding_size)
    model = build_graph(config, weights_of(trained_like(config)), precision, filtering=filtering)
    onnx.checker.check_model(model)
    parts = "hc" if kind == "lstm" else "h"
    state = [f"{part}{layer}" for layer, part in itertools.product(range(2), parts)]
    inputs = ["id", *state, "uniforms", "forced", "temperature", "greedy"]
    assert [value.name for value in model.graph.input] == [
        *inputs,
        *(["last_kept", "top_p"] if filtering else []),
    ]
    changing = build_graph(config, weights_of(trained_like(config)), precision, changing=True)
    onnx.checker.check_model(changing)
    assert [value.name for value in changing.graph.input] == inputs
    assert [value.name for value in model.graph.output] == [
        "id_end",
        *(f"{name}_end" for name in state),
        "chosen",
        "logits",
    ]
    domains = {domain for domain, _ in operators(model.graph)}
    assert domains == ({"", "com.microsoft"} if precision == "fast" else {""})


@pytest.mark.parametrize(("precision", "most"), [("exact", 18), ("fast", 20)])
def test_a_loops_body_stays_small(precision: Precision, most: int) -> None:
    """One stream pays for each node of it, whatever the node computes."""
    config = config_of("lstm")
    for changing in (False, True):
        weights = weights_of(trained_like(config))
        built = build_graph(config, weights, precision, changing=changing).graph
        (scan,) = (node for node in built.node if node.op_type == "Scan")
        (body,) = (attribute.g for attribute in scan.attribute if attribute.name == "body")
        assert len(body.node) <= most


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_how_one_of_k_is_made_changes_no_bit(
    precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of a large vocabulary are not looked up, since that takes its square in memory."""
    config = config_of("lstm")
    weights = weights_of(trained_like(config))
    ids = np.array([0, 5, len(VOCABULARY) - 1])
    feeds: dict[str, NDArray[Any]] = {
        "id": ids,
        "uniforms": np.random.default_rng(0).random((20, 3), np.float32),
        "forced": np.full((20, 3), -1),
        "temperature": np.ones((3, 1), np.float32),
        "greedy": np.zeros(3, np.bool_),
    }
    for name in ("h0", "c0", "h1", "c1"):
        feeds[name] = np.zeros((1, 3, 16), np.float32)
    looked_up = OnnxSession(build_graph(config, weights, precision)).run(feeds)
    monkeypatch.setattr(graph, "_LOOKED_UP", 1)
    made = OnnxSession(build_graph(config, weights, precision)).run(feeds)
    for name, values in made.items():
        np.testing.assert_array_equal(values, looked_up[name])


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("embedding_size", [0, 5])
def test_logits_and_states_are_the_networks(kind: NetworkKind, embedding_size: int) -> None:
    """Over several steps of forced ids, from a state that is not zero."""
    config = config_of(kind, embedding_size)
    network = trained_like(config).eval()
    rng = np.random.default_rng(0)
    ids = rng.integers(len(VOCABULARY), size=(6, 3))
    parts = "hc" if kind == "lstm" else "h"
    state = tuple(torch.tanh(torch.randn(2, 3, 16)) for _ in parts)
    with torch.no_grad():
        expected, ends = network(torch.from_numpy(ids[:-1]), state)
    feeds: dict[str, NDArray[Any]] = {
        "id": ids[0],
        "uniforms": np.zeros((5, 3), np.float32),
        "forced": ids[1:],
        "temperature": np.ones((3, 1), np.float32),
        "greedy": np.zeros(3, np.bool_),
    }
    for part, values in zip(parts, state, strict=True):
        feeds |= {f"{part}{layer}": values[layer : layer + 1].numpy() for layer in range(2)}
    found = OnnxSession(build_graph(config, weights_of(network))).run(feeds)
    np.testing.assert_array_equal(found["chosen"], ids[1:])
    np.testing.assert_array_equal(found["id_end"], ids[-1])
    np.testing.assert_allclose(found["logits"], expected.numpy(), atol=2e-5)
    for part, values in zip(parts, ends, strict=True):
        for layer in range(2):
            shown = found[f"{part}{layer}_end"][0]
            np.testing.assert_allclose(shown, values[layer].numpy(), atol=1e-5)


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("filtering", [False, True])
def test_where_constants_are_kept_changes_no_bit(
    precision: Precision, filtering: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a large network move out of the loop's body, where they take half the memory."""
    config = config_of("lstm", 5)
    weights = weights_of(trained_like(config))
    rng = np.random.default_rng(0)
    feeds: dict[str, NDArray[Any]] = {
        "id": np.zeros(3, np.int64),
        "uniforms": rng.random((50, 3), np.float32),
        "forced": np.full((50, 3), -1),
        "temperature": np.ones((3, 1), np.float32),
        "greedy": np.zeros(3, np.bool_),
    }
    for name in ("h0", "c0", "h1", "c1"):
        feeds[name] = np.zeros((1, 3, 16), np.float32)
    if filtering:
        feeds |= {"last_kept": np.full((3, 1), 4), "top_p": np.full((3, 1), 2, np.float32)}
        feeds |= {"temperature": np.ones((50, 3), np.float32), "greedy": np.zeros((50, 3), bool)}
    small = OnnxSession(build_graph(config, weights, precision, filtering=filtering))
    monkeypatch.setattr(onnx_graph, "HOISTED_BYTES", 1)
    model = build_graph(config, weights, precision, filtering=filtering)
    assert len(model.graph.initializer) > 10
    large = OnnxSession(model)
    assert large.bytes < small.bytes
    expected = small.run(feeds)
    for name, values in large.run(feeds).items():
        np.testing.assert_array_equal(values, expected[name])
