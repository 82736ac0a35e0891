"""What a builder puts together is an ONNX graph, which runs."""

import numpy as np
import onnx

from models.onnx_graph import (
    FLOAT,
    IR_VERSION,
    MICROSOFT,
    OPSET,
    GraphBuilder,
    OnnxSession,
    model_of,
    values,
)


def a_model() -> onnx.ModelProto:
    """2x + y, and its negative."""
    builder = GraphBuilder()
    two = builder.constant("two", np.array([2], np.float32))
    product = builder.add("Mul", ["x", two])
    assert builder.add("Add", [product, "y"], "sum") == "sum"
    builder.add("Neg", ["sum"], "negative")
    # The first of a name stays.
    assert builder.constant("two", np.array([3], np.float32)) == "two"
    inputs = values(["x", "y"], FLOAT, "n")
    return model_of(builder.graph("sums", inputs, values(["sum", "negative"], FLOAT, "n")))


def test_a_graph_runs_and_gives_its_outputs_by_name() -> None:
    model = a_model()
    onnx.checker.check_model(model, full_check=True)
    feeds = {name: np.array([1, 2, 3], np.float32) for name in "xy"}
    found = OnnxSession(model).run(feeds)
    assert {name: array.tolist() for name, array in found.items()} == {
        "sum": [3, 6, 9],
        "negative": [-3, -6, -9],
    }


def test_it_says_which_operators_it_is_of() -> None:
    model = a_model()
    assert model.ir_version == IR_VERSION
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert model.graph.name == "sums"
    more = model_of(model.graph, microsoft=True)
    assert [opset.domain for opset in more.opset_import] == ["", MICROSOFT]


def test_a_node_is_known_by_its_first_output_with_a_name() -> None:
    builder = GraphBuilder()
    assert builder.add("TopK", ["x", "k"], "", "places") == "places"


def test_a_body_takes_no_name_of_the_graph_around_and_shares_its_constants() -> None:
    around = GraphBuilder()
    body = GraphBuilder(around)
    assert around.constant("two", np.array([2], np.float32)) == "two"
    assert body.constant("two", np.array([2], np.float32)) == "two"
    assert around.add("Neg", ["x"]) != body.add("Neg", ["x"])
    assert not body.graph("body", [], []).initializer


def test_a_constant_keeps_its_shape() -> None:
    builder = GraphBuilder()
    builder.constant("number", np.array(2))
    builder.constant("turned", np.arange(6).reshape(2, 3).T)
    number, turned = map(onnx.numpy_helper.to_array, builder.graph("g", [], []).initializer)
    assert number.shape == ()
    assert turned.tolist() == [[0, 3], [1, 4], [2, 5]]
