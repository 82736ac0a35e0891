"""The network as an ONNX graph that reads, chooses and writes several characters per call.

Knows rows of numbers and the network's sizes; no text and no torch.
"""

from typing import Any, Literal

import numpy as np
import onnx

from models.arrays import Floats
from models.config import GATES, NetworkConfig, Weights
from models.decoding.ngram_nodes import HISTORY, NGramNodes, output_with_gates
from models.onnx_graph import BOOL, FLOAT, INT64, MICROSOFT, GraphBuilder, model_of, value, values

Precision = Literal["exact", "fast"]

NOT_FINITE = -1
"""The id chosen where a row's logits are not finite."""

LARGEST_H = 1.000001
"""ONNX Runtime's tanh exceeds 1 by up to 2.4e-7."""

COLDEST, SURE = float(np.finfo(np.float32).tiny), 2.0**-30
"""The temperature and the uniform number of a greedy row: at this temperature the weight of the
likeliest ids is 1 and of all others 0, and this number picks the first of them, whatever the size
of the vocabulary."""

NEVER = 2.0
"""In place of the uniform number where an id is forced: no part of a total is larger, so id 0 is
chosen, and the larger of it and the forced one is taken."""

_LOOKED_UP = 256
"""Size up to which a vocabulary's 1-of-k rows are looked up: a node less than to make them, but as
many numbers as the square of the size."""

# Row blocks of torch's gates in the order that ONNX expects: (i, f, g, o) to (i, o, f, c),
# (r, z, n) to (z, r, h).
_GATE_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}


def build_graph(
    config: NetworkConfig,
    weights: Weights,
    precision: Precision = "exact",
    *,
    filtering: bool = False,
    changing: bool = False,
) -> onnx.ModelProto:
    """Builds the network as ONNX: state and one id per row in, chosen ids and state out.

    A network with styles takes their weights in each row, which are all 0 for none of them.
    With ``changing`` it takes a temperature for each step. With ``filtering`` it takes that, top-k
    and top-p; rows that use none of them get the same results.

    In ``fast``, outputs have some more rows at the end, which pin the scale of int8 activations:
    cut them off (an array's slice is no copy, the graph's would be).
    """
    builder = GraphBuilder()
    step = _StepGraph(config, weights, precision, filtering, changing, builder)
    _loop(builder, step)
    _mark_broken(builder)
    rows = "rows_and_pins" if step.pins else "rows"
    inputs = [
        *_carried(config),
        value("uniforms", FLOAT, "steps", "rows"),
        value("forced", INT64, "steps", "rows"),
        *_options(step),
        *_style(config),
    ]
    outputs = [
        *_carried(config, "_end", rows),
        value("chosen", INT64, "steps", rows),
        value("logits", FLOAT, "steps", rows, config.vocabulary_size),
    ]
    return model_of(builder.graph("decoder", inputs, outputs), microsoft=precision == "fast")


def _loop(builder: GraphBuilder, step: "_StepGraph") -> None:
    """Adds the scan, and before it what does not change from character to character."""
    add, config = builder.add, step.config
    axis_0, axis_1 = (builder.constant(f"axis_{n}", np.array([n], np.int64)) for n in range(2))
    divisors = _divisors(builder, step)
    if step.filtering:
        kept, step.top_p = (step.with_pins(name, 0, 2) for name in ("last_kept", "top_p"))
        step.last_kept = add("Unsqueeze", [kept, axis_0])
    if config.styles:
        step.style = add("Unsqueeze", [step.with_pins("style", 0, 2), axis_0])
    first = step.with_pins("id", 0, 1, config.vocabulary_size)
    history = [step.with_pins(name, 0, 2) for name in _history(config)]
    add(
        "Scan",
        [
            add("Unsqueeze", [first, axis_0]),
            *(step.with_pins(name, 1, 3) for name in _state(config)),
            *(add("Transpose", [name]) for name in history),
            step.with_pins(add("Unsqueeze", [_draws(builder), axis_1]), 2, 3),
            step.with_pins("forced", 1, 2, config.vocabulary_size),
            *divisors,
        ],
        "id_last",
        *(f"{name}_end" for name in _state(config)),
        *(f"{name}_last" for name in _history(config)),
        "taken_ids",
        "all_scores",
        body=step.graph(),
        num_scan_inputs=2 + len(divisors),
    )
    add("Squeeze", ["id_last", axis_0], "id_end")
    for name in _history(config):
        add("Transpose", [f"{name}_last"], f"{name}_end")
    add("Squeeze", ["all_scores", axis_1], "logits")


def _draws(builder: GraphBuilder) -> str:
    """Adds the numbers by which the ids are chosen, [steps, rows]."""
    add, constant = builder.add, builder.constant
    draws = add("Where", ["greedy", constant("sure", np.array(SURE, np.float32)), "uniforms"])
    is_free = add("Less", ["forced", constant("zero", np.array(0, np.int64))])
    return add("Where", [is_free, draws, constant("never", np.array(NEVER, np.float32))])


def _divisors(builder: GraphBuilder, step: "_StepGraph") -> list[str]:
    """Adds what logits are divided by: for each step, which is returned, or the same for all."""
    coldest = builder.constant("coldest", np.array(COLDEST, np.float32))
    if step.changing:
        each = builder.add("Where", ["greedy", coldest, "temperature"])
        axis = builder.constant("axis_2", np.array([2]))
        return [step.with_pins(builder.add("Unsqueeze", [each, axis]), 1, 3)]
    cold = builder.add("Unsqueeze", ["greedy", "axis_1"])
    step.divisor = step.with_pins(builder.add("Where", [cold, coldest, "temperature"]), 0, 2)
    return []


def _options(step: "_StepGraph") -> list[onnx.ValueInfoProto]:
    """Describes how rows choose."""
    found = [value("temperature", FLOAT, "rows", 1), value("greedy", BOOL, "rows")]
    if step.changing:
        found = [
            value("temperature", FLOAT, "steps", "rows"),
            value("greedy", BOOL, "steps", "rows"),
        ]
    if step.filtering:
        found += [value("last_kept", INT64, "rows", 1), value("top_p", FLOAT, "rows", 1)]
    return found


def _style(config: NetworkConfig) -> list[onnx.ValueInfoProto]:
    """Describes the weights of the styles, if there are any."""
    return [value("style", FLOAT, "rows", len(config.styles))] if config.styles else []


def _mark_broken(builder: GraphBuilder) -> None:
    """Adds the ids taken, or ``NOT_FINITE`` where any of the logits is not finite."""
    add = builder.add
    # A sum less itself is 0, or not a number if anything in it is infinite or not a number.
    axis = builder.constant("axis_2", np.array([2]))
    total = add("ReduceSum", ["logits", axis], keepdims=0)
    broken = add("IsNaN", [add("Sub", [total, total])])
    marker = builder.constant("not_finite", np.array(NOT_FINITE, np.int64))
    add("Where", [broken, marker, "taken_ids"], "chosen")


def _state(config: NetworkConfig) -> list[str]:
    parts = "hc" if config.kind == "lstm" else "h"
    return [f"{part}{layer}" for layer in range(config.num_layers) for part in parts]


def _history(config: NetworkConfig) -> list[str]:
    return [HISTORY] if config.ngram_buckets else []


def _carried(
    config: NetworkConfig, suffix: str = "", rows: str = "rows"
) -> list[onnx.ValueInfoProto]:
    """Describes what goes from character to character: the id read next, and the state."""
    state = [f"{name}{suffix}" for name in _state(config)]
    return [
        value(f"id{suffix}", INT64, rows),
        *values(state, FLOAT, 1, rows, config.hidden_size),
        *values([f"{n}{suffix}" for n in _history(config)], INT64, rows, config.ngram_orders),
    ]


class _StepGraph:
    """The scan's body: one character for every row.

    A single stream pays for each node of it, whatever the node computes. Ids are [1, rows] and the
    ids read before them [ids, rows], so that neither need be put into another shape.

    In ``fast``, ONNX Runtime scales the activations of a batch by the largest, so rows would affect
    each other. The h of the last rows is therefore overwritten after each layer with numbers that
    reach both ends of an h's range, so the scale is always the same. 1-of-k rows need no such pin:
    each spans [0, 1], as the weights of styles do. Nor does c, which is not quantised.
    """

    def __init__(
        self,
        config: NetworkConfig,
        weights: Weights,
        precision: Precision,
        filtering: bool,
        changing: bool,
        around: GraphBuilder,
    ) -> None:
        self.config = config
        self.weights = weights
        self.precision = precision
        self.filtering = filtering
        self.changing = changing or filtering
        # One row cannot reach both ends of a range with one number.
        self.pins = 0 if precision == "exact" else 2 if config.hidden_size == 1 else 1
        # What of the graph around is read in each step.
        self.divisor, self.last_kept, self.top_p, self.style = "divisor", "", "", ""
        self._around = around
        self._builder = GraphBuilder(around)
        self._add, self._constant = self._builder.add, self._builder.constant

    def with_pins(self, name: str, axis: int, rank: int, number: int = 0) -> str:
        """Adds the rows that pin scales, if any, to an input; returns the name of both.

        Their ids are of no character; what else they have decides nothing.
        """
        if not self.pins:
            return name
        ends = np.array([0] * rank + [self.pins * (at == axis) for at in range(rank)])
        inputs = [name, self._around.constant(f"pins_{axis}_{rank}", ends)]
        if number:
            inputs.append(self._around.constant(f"number_{number}", np.array(number)))
        extended = self._around.add("Pad", inputs)
        return self._pinned(self._around, extended) if name[0] == "h" else extended

    def graph(self) -> onnx.GraphProto:
        read = self._input()
        if self.style:
            read = self._add("Concat", [read, self.style], axis=2)
        for layer in range(self.config.num_layers):
            read = self._layer(layer, read)
        self._choice(self._logits(read))
        inputs = [
            *self._carried("_in"),
            value("uniform", FLOAT, 1, "rows"),
            value("force", INT64, "rows"),
        ]
        if self.changing:
            inputs.append(value(self.divisor, FLOAT, "rows", 1))
        outputs = [
            *self._carried("_out"),
            value("taken", INT64, "rows"),
            value("scores", FLOAT, 1, "rows", self.config.vocabulary_size),
        ]
        return self._builder.graph("step", inputs, outputs)

    def _carried(self, suffix: str) -> list[onnx.ValueInfoProto]:
        """Describes what goes from character to character, as ``_carried`` does, but ids."""
        state = [f"{name}{suffix}" for name in _state(self.config)]
        return [
            value(f"id{suffix}", INT64, 1, "rows"),
            *values(state, FLOAT, 1, "rows", self.config.hidden_size),
            *values(
                [f"{n}{suffix}" for n in _history(self.config)],
                INT64,
                self.config.ngram_orders,
                "rows",
            ),
        ]

    def _input(self) -> str:
        """Adds the first layer's input, [1, rows, inputs]: 1-of-k or the embedding.

        In ``fast``, the id after the vocabulary reads what pins the embedding's scale, or nothing.
        """
        vocabulary = self.config.vocabulary_size
        if self.config.embedding_size:
            table = self._embedding()
        elif vocabulary <= _LOOKED_UP:
            table = np.eye(vocabulary + self.pins, vocabulary, dtype=np.float32)
        else:
            depth = self._constant("depth", np.array(vocabulary, np.int64))
            off_on = self._constant("off_on", np.array([0, 1], np.float32))
            return self._add("OneHot", ["id_in", depth, off_on])
        return self._add("Gather", [self._constant("inputs", table), "id_in"])

    def _embedding(self) -> Floats:
        table = self.weights["embedding.weight"]
        if not self.pins:
            return table
        # Scaled into the range that int8 activations are pinned to.
        table = _wide((table / self._embedding_scale()).astype(np.float32))
        return np.concatenate([table, _span(1, table.shape[1])])

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
        """Adds an LSTM layer with int8 weights."""
        w, r, bias = self._layer_weights(layer)
        if layer == 0 and self.config.embedding_size:
            of_character, of_style = np.split(w, [self.config.embedding_size], axis=1)
            scaled = _wide(of_character * self._embedding_scale())
            w = np.concatenate([scaled, of_style], axis=1)
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
            read,
            w_name,
            r_name,
            self._constant(f"b{layer}", bias[None]),
            "",
            f"h{layer}_in",
            f"c{layer}_in",
            "",
            w_scale,
            w_zero,
            r_scale,
            r_zero,
        ]
        new = self._add(
            "DynamicQuantizeLSTM",
            inputs,
            "",
            f"h{layer}_new",
            f"c{layer}_out",
            domain=MICROSOFT,
            hidden_size=self.config.hidden_size,
        )
        return self._pinned(self._builder, new, f"h{layer}_out")

    def _pinned(self, builder: GraphBuilder, h: str, *name: str) -> str:
        """Overwrites the last rows of an h, [1, rows, hidden], with what pins the scale.

        The last, because ONNX Runtime forgets the largest so far where it meets NaN.
        """
        last = builder.constant("last_rows", np.array([[0, row] for row in range(-self.pins, 0)]))
        span = builder.constant("span", _span(self.pins, self.config.hidden_size))
        return builder.add("ScatterND", [h, last, span], *name)

    def _embedding_scale(self) -> np.float32:
        largest = np.abs(self.weights["embedding.weight"]).max()
        return np.float32(max(largest, np.float32(1e-12)))

    def _logits(self, hidden: str) -> str:
        if not self.config.ngram_buckets:
            weight, bias = self.weights["output.weight"], self.weights["output.bias"]
            return self._output(hidden, "output", weight, bias, "scores")
        both = self._output(hidden, "mixed", *output_with_gates(self.weights))
        sizes = self._constant("mixed_sizes", np.array([self.config.vocabulary_size, 1, 1]))
        self._add("Split", [both, sizes], "own", "gate_own", "gate_counted", axis=2)
        counted = NGramNodes(self._builder, self.config, self.weights).add()
        products = [
            self._add("Mul", ["gate_own", "own"]),
            self._add("Mul", ["gate_counted", counted]),
        ]
        return self._add("Add", products, "scores")

    def _output(self, hidden: str, name: str, weight: Floats, bias: Floats, *result: str) -> str:
        product = self._add("MatMul", [hidden, self._constant(f"{name}.weight", weight.T)])
        return self._add("Add", [product, self._constant(f"{name}.bias", bias)], *result)

    def _choice(self, logits: str) -> None:
        """Adds what ``models.decoding.sampling.choose`` does, for every row.

        The id is the first whose cumulative weight exceeds the uniform number's part of the total.
        There is one: the total is at least 1 (of the likeliest), and a float32 below 1 is at most
        1 - 2**-24, so in float32, too, its part of a total is less than that total.
        """
        top = self._add("ReduceMax", [logits], axes=[2])
        scaled = self._add("Div", [self._add("Sub", [logits, top]), self.divisor])
        weights = self._add("Exp", [scaled])
        if self.filtering:
            weights = self._filtered(weights)
        # Of many rows ONNX Runtime adds columns up in an eighth of the time.
        columns = self._add("Transpose", [weights], perm=[2, 0, 1])
        cumulative = self._add("CumSum", [columns, self._constant("first_axis", np.array(0))])
        last = self._constant("last", np.array([-1], np.int64))
        total = self._add("Gather", [cumulative, last])
        above = self._add("Greater", [cumulative, self._add("Mul", ["uniform", total])])
        # Where a logit is not finite, or an id is forced, no comparison is true: it is the first.
        first = self._add("ArgMax", [self._add("Cast", [above], to=FLOAT)], axis=0, keepdims=0)
        taken = self._add("Max", [first, "force"], "id_out")
        self._add("Squeeze", [taken, self._constant("axis_0", np.array([0]))], "taken")

    def _filtered(self, weights: str) -> str:
        """Zeroes all but each row's likeliest ids, as ``keep_likeliest`` does."""
        size = self._constant("size", np.array([self.config.vocabulary_size], np.int64))
        axis = self._constant("axis", np.array(2, np.int64))
        axes = self._constant("axes", np.array([2], np.int64))
        self._add("TopK", [weights, size], "descending", "order", axis=2)
        cumulative = self._add("CumSum", ["descending", axis])
        mass = self._add("GatherElements", [cumulative, self.last_kept], axis=2)
        before = self._add("Sub", [cumulative, "descending"])
        within = self._add("Less", [before, self._add("Mul", [mass, self.top_p])])
        counted = self._add("Cast", [within], to=INT64)
        count = self._add("ReduceSum", [counted, axes], keepdims=1)
        one = self._constant("one", np.array(1, np.int64))
        last = self._add("Min", [self._add("Sub", [count, one]), self.last_kept])
        zero = self._constant("zero", np.array(0, np.int64))
        last = self._add("Max", [last, zero])
        threshold = self._add("GatherElements", ["descending", last], axis=2)
        kept = self._add("GreaterOrEqual", [weights, threshold])
        nothing = self._constant("nothing", np.array(0, np.float32))
        return self._add("Where", [kept, weights, nothing])


def _wide(matrix: Floats) -> Floats:
    """Returns a matrix with at least 2 columns, so that one row can reach both ends of a range."""
    return np.pad(matrix, ((0, 0), (0, max(0, 2 - matrix.shape[1]))))


def _span(rows: int, size: int) -> Floats:
    """Returns rows, [rows, size], that reach both ends of an h's range."""
    odd = np.add.outer(np.arange(rows), np.arange(size)) % 2
    return np.where(odd, -LARGEST_H, LARGEST_H).astype(np.float32)


def _reorder(weight: Floats, kind: str) -> Floats:
    """Converts gate blocks from torch's order to ONNX's."""
    blocks = np.split(weight, GATES[kind])
    return np.concatenate([blocks[index] for index in _GATE_ORDER[kind]])
