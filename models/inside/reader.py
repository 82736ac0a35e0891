"""Looks inside: what a network expects of a text, and what its cells do while it reads.

A text is one stream, so its steps are sequential, but nothing else has to wait for them. The input
products of a block of characters are one large product, so only the recurrent one is left to a
``Scan`` in ONNX Runtime, and while a layer reads a block, the layer below reads the next one in its
own thread. The operator ``LSTM`` cannot be used here: it hides c, which the cells show. docs/log.md
has measurements of the alternatives.

Knows no file, no client and no torch.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnx

from models.arrays import Floats, Ids
from models.checkpoints.format import Checkpoint
from models.config import GATED, GATES, NetworkConfig, Weights, in_style
from models.ngram_table import NGramTable
from models.onnx_graph import FLOAT, INT64, GraphBuilder, OnnxSession, model_of, value, values
from models.styles import Mix
from models.text.vocab import Vocabulary

BLOCK = 512
"""Characters of all rows that a layer reads at once: enough for large products, few enough that
layers wait little for each other."""

_LOGITS = 1 << 20
"""Maximum number of logits in memory at once, whatever the vocabulary: 4 MiB. With four times as
many, most of the time of a large vocabulary goes into memory that is mapped anew for each block."""

Seen = Callable[[int, int, Floats, Floats], None]
"""Receives a layer, the first step of a block, h, and the activations of the cells.

Both are [steps, rows, hidden]; activations are ``tanh(c)`` for an LSTM, else h. Each layer calls
from its own thread.
"""


class Stopped(Exception):
    """The caller asked for the work to end."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A network's reading of a text, character by character.

    In a bytes model a character's loss is the sum of its bytes' losses (its probability is their
    product), and everything after a character is taken after its last byte. ``top_ids`` are then
    guesses for the next byte.

    Attributes:
        text: as it was read, normalised.
        losses: of each character before it was seen, in nats, [characters].
        top_ids: the likeliest next ids after each character, best first, [characters, top].
        top: their probabilities, [characters, top].
        activations: of the chosen cells after each character, in [−1, 1], [characters, cells].
        seams: where a part begins that was read from the zero state, but for the first.
    """

    text: str
    losses: Floats
    top_ids: Ids
    top: Floats
    activations: Floats
    seams: tuple[int, ...] = ()

    @property
    def loss(self) -> float:
        """The mean loss in nats per character."""
        return float(self.losses.mean(dtype=np.float64))


def trace(
    checkpoint: Checkpoint,
    text: str | Sequence[str],
    *,
    top: int = 5,
    layer: int = -1,
    cells: Sequence[int] = (),
    threads: int = 1,
    mix: Mix | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Trace:
    """Reads a text with a network, recording its expectations and the activations of cells.

    Starts like a stream: from the zero state the network reads ``start_id``, then the text.

    Args:
        checkpoint: of the network.
        text: not empty. Of several, each is read from the zero state, and all make one trace.
        top: number of guesses for the next character.
        layer: counted from 0, or backwards from −1 for the last.
        cells: indices of cells in that layer.
        threads: maximum number of layers that read at once.
        mix: of the network's styles, in which it reads; None reads without a style.
        stopped: called regularly; the reading ends when it returns true.

    Raises:
        UnknownCharacters: some characters are not in the vocabulary.
        Stopped: ``stopped`` returned true.
        FloatingPointError: the logits are not finite.
    """
    texts = [text] if isinstance(text, str) else list(text)
    reader = StateReader(checkpoint.config, checkpoint.weights, threads, mix)
    output = OnnxSession(_output_graph(checkpoint.weights))
    number = range(checkpoint.config.num_layers)[layer]

    def part(text: str) -> Trace:
        return _trace(checkpoint, reader, output, text, top, number, cells, stopped)

    traces = [part(one) for one in texts]
    ends = np.cumsum([len(one.text) for one in traces]).tolist()
    return Trace(
        "".join(one.text for one in traces),
        np.concatenate([one.losses for one in traces]),
        np.concatenate([one.top_ids for one in traces]),
        np.concatenate([one.top for one in traces]),
        np.concatenate([one.activations for one in traces]),
        tuple(ends[:-1]),
    )


def _trace(
    checkpoint: Checkpoint,
    reader: "StateReader",
    output: OnnxSession,
    text: str,
    top: int,
    layer: int,
    cells: Sequence[int],
    stopped: Callable[[], bool],
) -> Trace:
    """Reads one part of a text, from the zero state."""
    vocabulary = checkpoint.vocabulary
    text = vocabulary.normalise(text)
    ids = np.concatenate([[vocabulary.start_id], vocabulary.encode(text)])
    guesses = _Guesses(checkpoint, output, ids, min(top, len(vocabulary)))
    activations = np.empty((len(ids), len(cells)), np.float32)
    chosen = np.array(cells, dtype=np.intp)

    def seen(at: int, begin: int, h: Floats, shown: Floats) -> None:
        if stopped():
            raise Stopped
        if at == layer:
            activations[begin : begin + len(shown)] = shown[:, 0, chosen]
        if at == checkpoint.config.num_layers - 1:
            guesses.take(begin, h[:, 0])

    reader.read(ids[:, None], seen)
    if not np.isfinite(guesses.losses).all():
        raise FloatingPointError("the logits are not finite")
    # Step t reads id t, and id 0 is the start: the character's last id is one step later.
    ends = character_ends(vocabulary, text)
    starts = np.concatenate([[0], ends[:-1] + 1])
    return Trace(
        text,
        np.add.reduceat(guesses.losses[:-1], starts),
        guesses.top_ids[ends + 1],
        guesses.top[ends + 1],
        activations[ends + 1],
    )


def read_apart(
    checkpoint: Checkpoint,
    texts: Sequence[str],
    layer: int,
    cell: int,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Floats]:
    """Returns a cell's activation after each character of texts, each [characters].

    They are read side by side, each from the zero state, which takes a fraction of the time.

    Raises:
        UnknownCharacters, Stopped, FloatingPointError: as ``trace``.
    """
    vocabulary = checkpoint.vocabulary
    rows = [np.append(vocabulary.start_id, vocabulary.encode(text)) for text in texts]
    ids = np.full((max(map(len, rows), default=0), len(rows)), vocabulary.start_id)
    for row, own in enumerate(rows):
        ids[: len(own), row] = own
    found = np.empty(ids.shape, np.float32)

    def seen(at: int, begin: int, _: Floats, shown: Floats) -> None:
        if stopped():
            raise Stopped
        if at == layer:
            found[begin : begin + len(shown)] = shown[:, :, cell]

    if len(rows):
        StateReader(checkpoint.config, checkpoint.weights).read(ids, seen)
    if not np.isfinite(found).all():
        raise FloatingPointError("activations are not finite")
    ends = [character_ends(vocabulary, text) + 1 for text in texts]
    return [found[own, row] for row, own in enumerate(ends)]


def character_ends(vocabulary: Vocabulary, text: str) -> Ids:
    """Returns the index of each character's last id among a text's ids, [characters].

    A lone surrogate stands for one byte that is not UTF-8, as ``surrogateescape`` decodes it.
    """
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    if vocabulary.tokens == "characters":
        return np.arange(len(points))
    surrogates = (points >= 0xD800) & (points < 0xE000)
    sizes = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
    return np.cumsum(np.where(surrogates, 1, sizes)) - 1


class StateReader:
    """A network ready to read texts. It keeps no state between calls; threads may share it.

    Args:
        config, weights: of the network.
        threads: maximum number of layers that read at once, each one block behind the layer below.
        mix: of the network's styles, in which all is read; None reads without a style.
    """

    def __init__(
        self,
        config: NetworkConfig,
        weights: Weights,
        threads: int = 1,
        mix: Mix | None = None,
    ) -> None:
        config, weights = in_style(config, weights, mix)
        self.config = config
        self.threads = min(threads, config.num_layers)
        self._weights = weights
        self._layers = [
            OnnxSession(_layer_graph(config, weights, layer)) for layer in range(config.num_layers)
        ]

    def read(self, ids: Ids, seen: Seen) -> None:
        """Reads rows of a text from the zero state, calling ``seen`` for every layer and block.

        Args:
            ids: [steps, rows].
            seen: an exception that it raises ends the reading.
        """
        steps, rows = ids.shape
        inputs = self._inputs(ids)
        layers = self.config.num_layers
        zeros = np.zeros((rows, self.config.hidden_size), np.float32)
        states = [{"h": zeros, "c": zeros} for _ in range(layers)]
        handed: dict[int, Floats] = {}

        def advance(job: tuple[int, int]) -> Floats:
            layer, begin = job
            values = inputs(begin) if layer == 0 else handed[layer - 1]
            h, shown = self._advance(layer, values, states[layer])
            seen(layer, begin, h, shown)
            return h

        blocks = range(0, steps, _steps(rows))
        with ThreadPoolExecutor(self.threads) as pool:
            together = map if self.threads == 1 else pool.map
            for tick in range(len(blocks) + layers - 1):
                jobs = [
                    (layer, blocks[tick - layer])
                    for layer in range(layers)
                    if 0 <= tick - layer < len(blocks)
                ]
                results = list(together(advance, jobs))
                handed = {layer: h for (layer, _), h in zip(jobs, results, strict=True)}

    def _inputs(self, ids: Ids) -> Callable[[int], Floats]:
        """Returns a function from a block's first step to the first layer's input."""
        block = _steps(ids.shape[1])
        if self.config.embedding_size:
            table: Floats = self._weights["embedding.weight"]
            return lambda begin: table[ids[begin : begin + block]]
        # 1-of-k times a matrix is a column of it: only the text's columns are touched.
        distinct, places = np.unique(ids, return_inverse=True)
        columns = self._weights["layers.0.weight_ih_l0"][:, distinct].T
        # An imported model may overflow here: the caller sees it in the results.
        with np.errstate(over="ignore"):
            products = np.ascontiguousarray(columns) + _input_bias(self.config, self._weights, 0)
        places = places.reshape(ids.shape)
        return lambda begin: products[places[begin : begin + block]]

    def _advance(
        self, layer: int, inputs: Floats, state: dict[str, Floats]
    ) -> tuple[Floats, Floats]:
        """Runs one layer over a block; returns h and activations, and updates ``state``."""
        parts = _parts(self.config)
        found = self._layers[layer].run({part: state[part] for part in parts} | {"values": inputs})
        state.update({part: found[f"{part}_end"] for part in parts})
        return found["hs"], found["shown"]


class _Guesses:
    """Losses of a text's ids and the likeliest next ids, from the last layer's h.

    A network with an n-gram table also needs the row of what was read up to each id.
    """

    def __init__(self, checkpoint: Checkpoint, output: OnnxSession, ids: Ids, top: int) -> None:
        self.losses = np.empty(len(ids), np.float32)
        self.top_ids = np.empty((len(ids), top), np.int64)
        self.top = np.empty((len(ids), top), np.float32)
        # The id after the last step is unknown, and its loss is not used.
        self._next = np.append(ids[1:], 0)
        config = checkpoint.config
        self._table = NGramTable.in_weights(*config.table_sizes, checkpoint.weights)
        self._ids = ids
        self._session = output
        self._block = max(1, _LOGITS // config.vocabulary_size)

    def take(self, begin: int, h: Floats) -> None:
        """Records the guesses of the steps from ``begin`` on; ``h`` is [steps, hidden]."""
        count = self.top.shape[1]
        for first in range(0, len(h), self._block):
            part = h[first : first + self._block]
            place = slice(begin + first, begin + first + len(part))
            feeds = {
                "h": part,
                "next": self._next[place, None],
                # At least one; the rest is cut off below.
                "count": np.array([max(1, count)]),
            }
            if self._table:
                feeds["counted"] = self._counted(self._table, place)
            found = self._session.run(feeds)
            self.losses[place] = -found["of_next"][:, 0]
            self.top[place] = np.exp(found["best"][:, :count])
            self.top_ids[place] = found["order"][:, :count]

    def _counted(self, table: NGramTable, place: slice) -> Floats:
        """Returns what the table has for what was read up to each step, [steps, vocabulary]."""
        before = max(0, place.start - table.orders)
        keys = table.hashes(self._ids[before : place.stop])[place.start - before :]
        return table.log_probabilities(table.find(keys))


def _steps(rows: int) -> int:
    """Returns the number of steps in a block."""
    return max(1, BLOCK // rows)


def _parts(config: NetworkConfig) -> str:
    return "hc" if config.kind == "lstm" else "h"


def _input_bias(config: NetworkConfig, weights: Weights, layer: int) -> Floats:
    """Returns the bias added to a layer's input products before the scan, [gates × hidden]."""
    name = f"layers.{layer}.bias_"
    bias, recurrent = weights[f"{name}ih_l0"], weights[f"{name}hh_l0"]
    if config.kind != "gru":
        return bias + recurrent
    # The reset gate scales the candidate's recurrent product, including its bias.
    cut = 2 * config.hidden_size
    return np.concatenate([bias[:cut] + recurrent[:cut], bias[cut:]])


def _layer_graph(config: NetworkConfig, weights: Weights, layer: int) -> onnx.ModelProto:
    """Builds a layer over a block of steps.

    ``values`` are its inputs, [steps, rows, inputs], or their products for a first layer with
    1-of-k input; ``h`` and ``c`` are [rows, hidden]. The outputs are the final states, every h as
    ``hs`` and the activations as ``shown``, [steps, rows, hidden].
    """
    hidden, parts = config.hidden_size, _parts(config)
    builder = GraphBuilder()
    products, width = "values", GATES[config.kind] * hidden
    if layer or config.embedding_size:
        w = weights[f"layers.{layer}.weight_ih_l0"]
        width = w.shape[1]
        product = builder.add("MatMul", ["values", builder.constant("w", w.T)])
        bias = builder.constant("bias", _input_bias(config, weights, layer))
        products = builder.add("Add", [product, bias])
    builder.add(
        "Scan",
        [*parts, products],
        *(f"{part}_end" for part in parts),
        "hs",
        "shown",
        body=_step_graph(config, weights, layer),
        num_scan_inputs=1,
    )
    states = values(parts, FLOAT, "rows", hidden)
    ends = values([f"{part}_end" for part in parts], FLOAT, "rows", hidden)
    told = values(["hs", "shown"], FLOAT, "steps", "rows", hidden)
    read = value("values", FLOAT, "steps", "rows", width)
    return model_of(builder.graph("graph", [*states, read], [*ends, *told]))


def _step_graph(config: NetworkConfig, weights: Weights, layer: int) -> onnx.GraphProto:
    """Builds the scan's body: one step of a layer, by the equations of docs/how-it-works.md."""
    hidden, parts = config.hidden_size, _parts(config)
    gates = GATES[config.kind]
    builder = GraphBuilder()
    r = builder.constant("r", weights[f"layers.{layer}.weight_hh_l0"])
    sizes = "sizes"
    if gates > 1:
        builder.constant(sizes, np.full(gates, hidden, np.int64))
    if config.kind == "lstm":
        gated = builder.add("Gemm", ["h_in", r, "x"], transB=1)
        builder.add("Split", [gated, sizes], "i", "f", "g", "o", axis=1)
        kept = builder.add("Mul", [builder.add("Sigmoid", ["f"]), "c_in"])
        new = builder.add("Mul", [builder.add("Sigmoid", ["i"]), builder.add("Tanh", ["g"])])
        builder.add("Add", [kept, new], "c_out")
        builder.add("Tanh", ["c_out"], "show")
        builder.add("Mul", [builder.add("Sigmoid", ["o"]), "show"], "h_out")
    elif config.kind == "gru":
        bias = weights[f"layers.{layer}.bias_hh_l0"].copy()
        bias[: 2 * hidden] = 0
        gated = builder.add("Gemm", ["h_in", r, builder.constant("d", bias)], transB=1)
        builder.add("Split", [gated, sizes], "hr", "hz", "hn", axis=1)
        builder.add("Split", ["x", sizes], "xr", "xz", "xn", axis=1)
        reset = builder.add("Sigmoid", [builder.add("Add", ["xr", "hr"])])
        keep = builder.add("Sigmoid", [builder.add("Add", ["xz", "hz"])])
        candidate = builder.add("Add", ["xn", builder.add("Mul", [reset, "hn"])])
        new = builder.add("Tanh", [candidate])
        # (1 − z) n + z h, computed as n + z (h − n).
        change = builder.add("Mul", [keep, builder.add("Sub", ["h_in", new])])
        builder.add("Add", [new, change], "h_out")
        builder.add("Identity", ["h_out"], "show")
    else:
        builder.add("Tanh", [builder.add("Gemm", ["h_in", r, "x"], transB=1)], "h_out")
        builder.add("Identity", ["h_out"], "show")
    builder.add("Identity", ["h_out"], "told")
    inputs = values([f"{part}_in" for part in parts], FLOAT, "rows", hidden)
    outputs = values([f"{part}_out" for part in parts], FLOAT, "rows", hidden)
    told = values(["told", "show"], FLOAT, "rows", hidden)
    x = value("x", FLOAT, "rows", gates * hidden)
    return builder.graph("graph", [*inputs, x], [*outputs, *told])


def _output_graph(weights: Weights) -> onnx.ModelProto:
    """Builds h, [steps, hidden], to log-probabilities of ``next`` and of the likeliest ids.

    With an n-gram table there is one more input, ``counted``: its rows, [steps, vocabulary].
    """
    builder = GraphBuilder()
    size, hidden = weights["output.weight"].shape
    inputs = [
        value("h", FLOAT, "steps", hidden),
        value("next", INT64, "steps", 1),
        value("count", INT64, 1),
    ]
    logits = _product(builder, weights, "output")
    if "gates.weight" in weights:
        inputs.append(value("counted", FLOAT, "steps", size))
        each = builder.constant("each", np.ones(GATED, np.int64))
        builder.add("Split", [_product(builder, weights, "gates"), each], "own", "other", axis=1)
        parts = [builder.add("Mul", ["own", logits]), builder.add("Mul", ["other", "counted"])]
        logits = builder.add("Add", parts)
    logarithms = builder.add("LogSoftmax", [logits], axis=1)
    builder.add("GatherElements", [logarithms, "next"], "of_next", axis=1)
    builder.add("TopK", [logarithms, "count"], "best", "order", axis=1)
    outputs = [
        value("of_next", FLOAT, "steps", 1),
        value("best", FLOAT, "steps", "top"),
        value("order", INT64, "steps", "top"),
    ]
    return model_of(builder.graph("graph", inputs, outputs))


def _product(builder: GraphBuilder, weights: Weights, name: str) -> str:
    """Adds what a linear layer makes of h."""
    weight, bias = (
        builder.constant(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias")
    )
    return builder.add("Gemm", ["h", weight, bias], transB=1)
