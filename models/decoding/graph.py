"""The network as an ONNX graph that reads, chooses and writes several characters per call.

Knows rows of numbers and the network's sizes; no text and no torch.
"""

from typing import Any, Literal

import numpy as np
import onnx

from models.arrays import Floats
from models.config import GATES, NetworkConfig, Weights
from models.onnx_graph import BOOL, FLOAT, INT64, MICROSOFT, GraphBuilder, model_of, value, values

Precision = Literal["exact", "fast"]

NOT_FINITE = -1
"""The id chosen where a row's logits are not finite."""

# Row blocks of torch's gates in the order that ONNX expects: (i, f, g, o) to (i, o, f, c),
# (r, z, n) to (z, r, h).
_GATE_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}


def build_graph(
    config: NetworkConfig,
    weights: Weights,
    precision: Precision = "exact",
    *,
    filtering: bool = False,
) -> onnx.ModelProto:
    """Builds the network as ONNX: state and one id per row in, chosen ids and state out.

    With ``filtering`` it also takes top-k and top-p; rows that use neither get the same results.
    """
    layers = range(config.num_layers)
    parts = "hc" if config.kind == "lstm" else "h"
    state = [f"{part}{layer}" for layer in layers for part in parts]
    ends = [f"{name}_end" for name in state]
    builder = GraphBuilder()
    builder.add(
        "Scan",
        ["id", *state, "uniforms", "forced"],
        "id_end",
        *ends,
        "chosen",
        "logits",
        body=_StepGraph(config, weights, precision, filtering, builder).graph(state),
        num_scan_inputs=2,
    )
    inputs = [
        value("id", INT64, "rows"),
        *values(state, FLOAT, 1, "rows", config.hidden_size),
        value("uniforms", FLOAT, "steps", "rows"),
        value("forced", INT64, "steps", "rows"),
        value("temperature", FLOAT, "rows", 1),
        value("greedy", BOOL, "rows"),
    ]
    if filtering:
        inputs += [value("last_kept", INT64, "rows", 1), value("top_p", FLOAT, "rows", 1)]
    outputs = [
        value("id_end", INT64, "rows"),
        *values(ends, FLOAT, 1, "rows", config.hidden_size),
        value("chosen", INT64, "steps", "rows"),
        value("logits", FLOAT, "steps", "rows", config.vocabulary_size),
    ]
    return model_of(builder.graph("decoder", inputs, outputs), microsoft=precision == "fast")


class _StepGraph:
    """The scan's body: one character for every row."""

    def __init__(
        self,
        config: NetworkConfig,
        weights: Weights,
        precision: Precision,
        filtering: bool,
        around: GraphBuilder,
    ) -> None:
        self.config = config
        self.weights = weights
        self.precision = precision
        self.filtering = filtering
        self._builder = GraphBuilder(around)
        self._add, self._constant = self._builder.add, self._builder.constant

    def graph(self, state: list[str]) -> onnx.GraphProto:
        read = self._input()
        for layer in range(self.config.num_layers):
            read = self._layer(layer, read)
        self._choice(self._logits(read))
        hidden = self.config.hidden_size
        inputs = [
            value("id_in", INT64, "rows"),
            *values([f"{name}_in" for name in state], FLOAT, 1, "rows", hidden),
            value("uniform", FLOAT, "rows"),
            value("force", INT64, "rows"),
        ]
        outputs = [
            value("id_out", INT64, "rows"),
            *values([f"{name}_out" for name in state], FLOAT, 1, "rows", hidden),
            value("taken", INT64, "rows"),
            value("scores", FLOAT, "rows", self.config.vocabulary_size),
        ]
        return self._builder.graph("step", inputs, outputs)

    def _input(self) -> str:
        """Adds the first layer's input, [1, rows, inputs]: 1-of-k or the embedding."""
        first = self._constant("axis_0", np.array([0], np.int64))
        if self.config.embedding_size:
            table = self.weights["embedding.weight"]
            if self.precision == "fast":
                # Scaled into the range that int8 activations are pinned to.
                table = table / self._embedding_scale()
            read = self._add("Gather", [self._constant("embedding", table), "id_in"])
        else:
            depth = self._constant("depth", np.array(self.config.vocabulary_size, np.int64))
            off_on = self._constant("off_on", np.array([0, 1], np.float32))
            read = self._add("OneHot", ["id_in", depth, off_on])
        return self._add("Unsqueeze", [read, first])

    def _layer(self, layer: int, read: str) -> str:
        """Adds one step of a recurrent layer and returns its new h, [1, rows, hidden]."""
        if self.precision == "fast":
            return self._fast_layer(layer, read)
        kind = self.config.kind
        w, r, bias = self._layer_weights(layer)
        inputs = [
            read,
            self._constant(f"w{layer}", w[None]),
            self._constant(f"r{layer}", r[None]),
            self._constant(f"b{layer}", bias[None]),
            "",
            f"h{layer}_in",
        ]
        outputs = ["", f"h{layer}_out"]
        attributes: dict[str, Any] = {"hidden_size": self.config.hidden_size}
        if kind == "lstm":
            inputs.append(f"c{layer}_in")
            outputs.append(f"c{layer}_out")
        if kind == "gru":
            # As in torch, the reset gate is applied after the product.
            attributes["linear_before_reset"] = 1
        return self._add(kind.upper(), inputs, *outputs, **attributes)

    def _layer_weights(self, layer: int) -> tuple[Floats, Floats, Floats]:
        """Returns input weights, recurrent weights and both biases in ONNX's order."""
        w, r, bias_w, bias_r = (
            _reorder(self.weights[f"layers.{layer}.{name}_l0"], self.config.kind)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        return w, r, np.concatenate([bias_w, bias_r])

    def _fast_layer(self, layer: int, read: str) -> str:
        """Adds an LSTM layer with int8 weights.

        ONNX Runtime scales the activations of a batch by the largest, so rows would affect each
        other. An additional row that always spans [−1, 1] pins the scale; it is cut off afterwards.
        """
        w, r, bias = self._layer_weights(layer)
        if layer == 0 and self.config.embedding_size:
            w = w * self._embedding_scale()
        quantised = []
        for name, matrix in (("w", w), ("r", r)):
            scale = np.maximum(np.abs(matrix).max(axis=1), 1e-12) / 127
            rounded = np.round(matrix / scale[:, None]).astype(np.int8)
            quantised += [
                self._constant(f"{name}{layer}", rounded.T[None]),
                self._constant(f"{name}{layer}_scale", scale.astype(np.float32)[None]),
                self._constant(f"{name}{layer}_zero", np.zeros((1, len(scale)), np.int8)),
            ]
        w_name, w_scale, w_zero, r_name, r_scale, r_zero = quantised
        inputs = [
            self._pinned(read, w.shape[1]),
            w_name,
            r_name,
            self._constant(f"b{layer}", bias[None]),
            "",
            self._pinned(f"h{layer}_in", self.config.hidden_size),
            self._pinned(f"c{layer}_in", self.config.hidden_size),
            "",
            w_scale,
            w_zero,
            r_scale,
            r_zero,
        ]
        outputs = ["", f"h{layer}_pinned", f"c{layer}_pinned"]
        self._add(
            "DynamicQuantizeLSTM",
            inputs,
            *outputs,
            domain=MICROSOFT,
            hidden_size=self.config.hidden_size,
        )
        bounds = [
            self._constant(name, np.array([value], np.int64))
            for name, value in (("slice_from", 0), ("slice_to", -1), ("slice_axis", 1))
        ]
        for part in "hc":
            self._add("Slice", [f"{part}{layer}_pinned", *bounds], f"{part}{layer}_out")
        return f"h{layer}_out"

    def _pinned(self, state: str, size: int) -> str:
        alternating = np.where(np.arange(size) % 2, np.float32(-1), np.float32(1))
        row = self._constant(f"pinned_{size}", alternating[None, None])
        return self._add("Concat", [state, row], axis=1)

    def _embedding_scale(self) -> np.float32:
        largest = np.abs(self.weights["embedding.weight"]).max()
        return np.float32(max(largest, np.float32(1e-12)))

    def _logits(self, hidden: str) -> str:
        flat = self._add("Squeeze", [hidden, "axis_0"])
        weight = self._constant("output.weight", self.weights["output.weight"])
        bias = self._constant("output.bias", self.weights["output.bias"])
        return self._add("Gemm", [flat, weight, bias], "scores", transB=1)

    def _choice(self, logits: str) -> None:
        """Adds what ``models.decoding.sampling.choose`` does, for every row."""
        top = self._add("ReduceMax", [logits], axes=[1])
        scaled = self._add("Div", [self._add("Sub", [logits, top]), "temperature"])
        weights = self._add("Exp", [scaled])
        if self.filtering:
            weights = self._filtered(weights)
        axis = self._constant("axis_1", np.array(1, np.int64))
        cumulative = self._add("CumSum", [weights, axis])
        last = self._constant("last", np.array([-1], np.int64))
        total = self._add("Gather", [cumulative, last], axis=1)
        axes = self._constant("axes_1", np.array([1], np.int64))
        wanted = self._add("Mul", [self._add("Unsqueeze", ["uniform", axes]), total])
        below = self._add("LessOrEqual", [cumulative, wanted])
        counted = self._add("Cast", [below], to=FLOAT)
        count = self._add("ReduceSum", [counted, axes], keepdims=0)
        highest = np.array(self.config.vocabulary_size - 1, np.int64)
        sampled = self._add(
            "Min",
            [
                self._add("Cast", [count], to=INT64),
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

    def _filtered(self, weights: str) -> str:
        """Zeroes all but each row's likeliest ids, as ``keep_likeliest`` does."""
        size = self._constant("size", np.array([self.config.vocabulary_size], np.int64))
        axis = self._constant("axis_1", np.array(1, np.int64))
        axes = self._constant("axes_1", np.array([1], np.int64))
        self._add("TopK", [weights, size], "descending", "order", axis=1)
        cumulative = self._add("CumSum", ["descending", axis])
        mass = self._add("GatherElements", [cumulative, "last_kept"], axis=1)
        before = self._add("Sub", [cumulative, "descending"])
        within = self._add("Less", [before, self._add("Mul", [mass, "top_p"])])
        counted = self._add("Cast", [within], to=INT64)
        count = self._add("ReduceSum", [counted, axes], keepdims=1)
        one = self._constant("one", np.array(1, np.int64))
        last = self._add("Min", [self._add("Sub", [count, one]), "last_kept"])
        zero = self._constant("zero", np.array(0, np.int64))
        last = self._add("Max", [last, zero])
        threshold = self._add("GatherElements", ["descending", last], axis=1)
        kept = self._add("GreaterOrEqual", [weights, threshold])
        nothing = self._constant("nothing", np.array(0, np.float32))
        return self._add("Where", [kept, weights, nothing])


def _reorder(weight: Floats, kind: str) -> Floats:
    """Converts gate blocks from torch's order to ONNX's."""
    blocks = np.split(weight, GATES[kind])
    return np.concatenate([blocks[index] for index in _GATE_ORDER[kind]])
