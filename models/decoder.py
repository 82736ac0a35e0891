"""The decoder: many streams of one model advance together, several characters a call.

A checkpoint becomes an ONNX graph: a ``Scan`` whose body is one character for every row (input,
recurrent layers, output, temperature, softmax, choice), so that nothing is done in Python per
character and the interpreter's lock is free meanwhile. fp32, and bit-identical for a row whatever
rows it runs beside.

Knows rows of numbers. Not text, not who asks, not torch.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.checkpoint import Weights
from models.config import GATES, NetworkConfig

OPSET = 17
IR_VERSION = 9

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]

NOT_FINITE = -1
"""Chosen where a row's logits are not numbers."""

# Row blocks of torch's gates in the order that ONNX wants: (i, f, g, o) to (i, o, f, c),
# (r, z, n) to (z, r, h).
_GATE_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}


@dataclass(frozen=True, slots=True)
class Rows:
    """Where rows stand: their last id [rows], and state parts, each [layers, rows, hidden]."""

    ids: Ids
    state: tuple[Floats, ...]


class Decoder:
    """A network ready to advance rows. It keeps nothing between calls; threads may share it."""

    def __init__(self, config: NetworkConfig, weights: Weights) -> None:
        self.config = config
        self.parts = 2 if config.kind == "lstm" else 1
        options = onnxruntime.SessionOptions()
        # One thread: a second one buys little for a product this small, and each core has a
        # batch of its own to work on.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            build_graph(config, weights).SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
        )
        self._outputs = [output.name for output in self._session.get_outputs()]

    def start(self, ids: Ids) -> Rows:
        """Rows that have read nothing yet and are about to read ``ids``, [rows]."""
        shape = (self.config.num_layers, len(ids), self.config.hidden_size)
        return Rows(ids, tuple(np.zeros(shape, np.float32) for _ in range(self.parts)))

    def advance(
        self, rows: Rows, forced: Ids, uniforms: Floats, temperatures: Floats
    ) -> tuple[Ids, Rows]:
        """Reads each row's last id, chooses the next, and so on for every step.

        Args:
            rows: where they stand.
            forced: [steps, rows]; an id to take instead of choosing, −1 to choose.
            uniforms: [steps, rows], in [0, 1).
            temperatures: [rows]; 0 is argmax.

        Returns:
            The ids taken, [steps, rows], ``NOT_FINITE`` where a row's logits were no numbers,
            and where the rows stand then.
        """
        greedy = temperatures == 0
        feeds: dict[str, Any] = {
            "id": rows.ids,
            "forced": forced,
            "uniforms": uniforms,
            "temperature": np.where(greedy, np.float32(1), temperatures)[:, None],
            "greedy": greedy,
        }
        for part, values in zip("hc", rows.state, strict=False):
            for layer in range(self.config.num_layers):
                feeds[f"{part}{layer}"] = values[layer : layer + 1]
        results = dict(zip(self._outputs, self._session.run(None, feeds), strict=True))
        state = tuple(
            np.concatenate([results[f"{part}{layer}_end"] for layer in range(len(values))])
            for part, values in zip("hc", rows.state, strict=False)
        )
        return results["chosen"], Rows(results["id_end"], state)


def build_graph(config: NetworkConfig, weights: Weights) -> onnx.ModelProto:
    """The network as ONNX: state and one id a row in, ids chosen over the steps and state out."""
    layers = range(config.num_layers)
    parts = "hc" if config.kind == "lstm" else "h"
    state = [f"{part}{layer}" for layer in layers for part in parts]
    ends = [f"{name}_end" for name in state]
    scan = helper.make_node(
        "Scan",
        ["id", *state, "uniforms", "forced"],
        ["id_end", *ends, "chosen"],
        body=_Body(config, weights).graph(state),
        num_scan_inputs=2,
    )
    inputs = [
        _value("id", TensorProto.INT64, ("rows",)),
        *_values(state, TensorProto.FLOAT, (1, "rows", config.hidden_size)),
        _value("uniforms", TensorProto.FLOAT, ("steps", "rows")),
        _value("forced", TensorProto.INT64, ("steps", "rows")),
        _value("temperature", TensorProto.FLOAT, ("rows", 1)),
        _value("greedy", TensorProto.BOOL, ("rows",)),
    ]
    outputs = [
        _value("id_end", TensorProto.INT64, ("rows",)),
        *_values(ends, TensorProto.FLOAT, (1, "rows", config.hidden_size)),
        _value("chosen", TensorProto.INT64, ("steps", "rows")),
    ]
    graph = helper.make_graph([scan], "decoder", inputs, outputs)
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)


def _value(name: str, kind: int, shape: tuple[int | str, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _values(names: list[str], kind: int, shape: tuple[int | str, ...]) -> list[onnx.ValueInfoProto]:
    return [_value(name, kind, shape) for name in names]


class _Body:
    """The scan's body: one character for every row."""

    def __init__(self, config: NetworkConfig, weights: Weights) -> None:
        self.config = config
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def graph(self, state: list[str]) -> onnx.GraphProto:
        values = self._input()
        for layer in range(self.config.num_layers):
            values = self._layer(layer, values)
        self._choice(self._logits(values))
        hidden = self.config.hidden_size
        inputs = [
            _value("id_in", TensorProto.INT64, ("rows",)),
            *_values([f"{s}_in" for s in state], TensorProto.FLOAT, (1, "rows", hidden)),
            _value("uniform", TensorProto.FLOAT, ("rows",)),
            _value("force", TensorProto.INT64, ("rows",)),
        ]
        outputs = [
            _value("id_out", TensorProto.INT64, ("rows",)),
            *_values([f"{s}_out" for s in state], TensorProto.FLOAT, (1, "rows", hidden)),
            _value("taken", TensorProto.INT64, ("rows",)),
        ]
        return helper.make_graph(self.nodes, "step", inputs, outputs, self.constants)

    def _add(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        name = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _input(self) -> str:
        """What the first layer reads, [1, rows, inputs]: 1-of-k or the embedding."""
        first = self._constant("axis_0", np.array([0], np.int64))
        if self.config.embedding_size:
            table = self._constant("embedding", self.weights["embedding.weight"])
            read = self._add("Gather", [table, "id_in"])
        else:
            depth = self._constant("depth", np.array(self.config.vocabulary_size, np.int64))
            off_on = self._constant("off_on", np.array([0, 1], np.float32))
            read = self._add("OneHot", ["id_in", depth, off_on])
        return self._add("Unsqueeze", [read, first])

    def _layer(self, layer: int, values: str) -> str:
        """One recurrent layer over one step; its new h, [1, rows, hidden], is what it gives."""
        kind, hidden = self.config.kind, self.config.hidden_size
        w, r, bias_w, bias_r = (
            _reorder(self.weights[f"layers.{layer}.{name}_l0"], kind)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        inputs = [
            values,
            self._constant(f"w{layer}", w[None]),
            self._constant(f"r{layer}", r[None]),
            self._constant(f"b{layer}", np.concatenate([bias_w, bias_r])[None]),
            "",
            f"h{layer}_in",
        ]
        outputs = ["", f"h{layer}_out"]
        attributes: dict[str, Any] = {"hidden_size": hidden}
        if kind == "lstm":
            inputs.append(f"c{layer}_in")
            outputs.append(f"c{layer}_out")
        if kind == "gru":
            # torch's variant: the reset gate after the product.
            attributes["linear_before_reset"] = 1
        self.nodes.append(helper.make_node(kind.upper(), inputs, outputs, **attributes))
        return f"h{layer}_out"

    def _logits(self, values: str) -> str:
        flat = self._add("Squeeze", [values, "axis_0"])
        weight = self._constant("output.weight", self.weights["output.weight"])
        bias = self._constant("output.bias", self.weights["output.bias"])
        return self._add("Gemm", [flat, weight, bias], transB=1)

    def _choice(self, logits: str) -> None:
        """The same as models.sampling.choose, for every row."""
        top = self._add("ReduceMax", [logits], axes=[1])
        scaled = self._add("Div", [self._add("Sub", [logits, top]), "temperature"])
        axis = self._constant("axis_1", np.array(1, np.int64))
        cumulative = self._add("CumSum", [self._add("Exp", [scaled]), axis])
        last = self._constant("last", np.array([-1], np.int64))
        total = self._add("Gather", [cumulative, last], axis=1)
        axes = self._constant("axes_1", np.array([1], np.int64))
        wanted = self._add("Mul", [self._add("Unsqueeze", ["uniform", axes]), total])
        below = self._add("LessOrEqual", [cumulative, wanted])
        counted = self._add("Cast", [below], to=TensorProto.FLOAT)
        count = self._add("ReduceSum", [counted, axes], keepdims=0)
        highest = np.array(self.config.vocabulary_size - 1, np.int64)
        sampled = self._add(
            "Min",
            [
                self._add("Cast", [count], to=TensorProto.INT64),
                self._constant("highest", highest),
            ],
        )
        best = self._add("ArgMax", [logits], axis=1, keepdims=0)
        chosen = self._add("Where", ["greedy", best, sampled])
        zero = self._constant("zero", np.array(0, np.int64))
        free = self._add("Less", ["force", zero])
        self._add("Where", [free, chosen, "force"], "id_out")
        broken = self._add("Squeeze", [self._add("IsNaN", [total]), axes])
        marker = self._constant("not_finite", np.array(NOT_FINITE, np.int64))
        self._add("Where", [broken, marker, "id_out"], "taken")


def _reorder(weight: Floats, kind: str) -> Floats:
    """Gate blocks from torch's order to ONNX's."""
    blocks = np.split(weight, GATES[kind])
    return np.concatenate([blocks[index] for index in _GATE_ORDER[kind]])
