"""Looking inside: what a network expects of a text, and what its cells do while it reads.

A text is one stream, so its steps come one after the other; all else does not have to wait for
them. The input products of a block of characters are one large product, a ``Scan`` in ONNX Runtime
has only the recurrent one left, and while a layer reads a block the layer below reads the next one
in a thread of its own. The operator ``LSTM`` is of no use here: it hides c, which is what the
cells show. What the measured alternatives cost is in docs/log.md.

Knows no file, no client and no torch.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.checkpoint import Checkpoint, Weights
from models.config import NetworkConfig
from models.decoder import IR_VERSION, OPSET
from models.vocab import Vocabulary

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]

BLOCK = 512
"""Steps that a layer reads at once: products large enough, and layers that wait little."""

_LOGITS = 1 << 22
"""Logits that are held at once, whatever the vocabulary: 16 MiB of them."""

Seen = Callable[[int, int, Floats, Floats], None]
"""Is told of a layer, the first step of a block, its h, and what its cells show.

Both are [steps, rows, hidden]; ``tanh(c)`` for an LSTM, else h. Layers call from threads of their
own.
"""


@dataclass(frozen=True, slots=True)
class Trace:
    """A network reading a text, a character at a time.

    In a bytes model a character's loss is the sum of its bytes' (its probability their product),
    and what is told of the moment after a character is told of its last byte. Then ``top_ids`` are
    guesses for the next byte.

    Attributes:
        text: as it was read, normalised.
        losses: of each character before it was seen, in nats, [characters].
        top_ids: the likeliest to come next after each, best first, [characters, top].
        top: their probabilities, [characters, top].
        activations: of the chosen cells after each, in [−1, 1], [characters, cells].
    """

    text: str
    losses: Floats
    top_ids: Ids
    top: Floats
    activations: Floats

    @property
    def loss(self) -> float:
        """Mean, in nats per character."""
        return float(self.losses.mean(dtype=np.float64))


def trace(
    checkpoint: Checkpoint,
    text: str,
    *,
    top: int = 5,
    layer: int = -1,
    cells: Sequence[int] = (),
    threads: int = 1,
) -> Trace:
    """What a network expects of each character of a text, and what cells of a layer show.

    It starts as a stream does: from the zero state it reads ``start_id``, then the text.

    Args:
        checkpoint: of the network.
        text: not empty.
        top: how many guesses for the next character.
        layer: counted from 0, or from −1 down for the last.
        cells: of that layer.
        threads: as many layers read at once.

    Raises:
        UnknownCharacters: some are not in the vocabulary.
        FloatingPointError: the logits are not finite.
    """
    vocabulary, config = checkpoint.vocabulary, checkpoint.config
    text = vocabulary.normalise(text)
    ids = np.concatenate([[vocabulary.start_id], vocabulary.encode(text)])
    layer = range(config.num_layers)[layer]
    guesses = _Guesses(checkpoint, ids, min(top, len(vocabulary)))
    activations = np.empty((len(ids), len(cells)), np.float32)
    chosen = np.array(cells, dtype=np.intp)

    def seen(at: int, begin: int, h: Floats, shown: Floats) -> None:
        if at == layer:
            activations[begin : begin + len(shown)] = shown[:, 0, chosen]
        if at == config.num_layers - 1:
            guesses.take(begin, h[:, 0])

    Reader(config, checkpoint.weights, threads).read(ids[:, None], seen)
    if not np.isfinite(guesses.losses).all():
        raise FloatingPointError("the logits are not finite")
    # What was told after step t is told of the id that step read: id 0 is the start.
    ends = character_ends(vocabulary, text)
    starts = np.concatenate([[0], ends[:-1] + 1])
    return Trace(
        text,
        np.add.reduceat(guesses.losses[:-1], starts),
        guesses.top_ids[ends + 1],
        guesses.top[ends + 1],
        activations[ends + 1],
    )


def character_ends(vocabulary: Vocabulary, text: str) -> Ids:
    """The place of each character's last id among a text's ids, [characters].

    A lone surrogate stands for one byte that is no UTF-8, as ``surrogateescape`` decodes it.
    """
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    if vocabulary.tokens == "characters":
        return np.arange(len(points))
    surrogates = (points >= 0xD800) & (points < 0xE000)
    sizes = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
    return np.cumsum(np.where(surrogates, 1, sizes)) - 1


class Reader:
    """A network ready to read texts. It keeps nothing between calls; threads may share it.

    Args:
        config, weights: of the network.
        threads: as many layers read at once, each a block behind the one below.
    """

    def __init__(self, config: NetworkConfig, weights: Weights, threads: int = 1) -> None:
        self.config = config
        self.threads = min(threads, config.num_layers)
        self._weights = weights
        self._layers = [
            _session(_layer_graph(config, weights, layer)) for layer in range(config.num_layers)
        ]

    def read(self, ids: Ids, seen: Seen) -> None:
        """Reads rows of a text from the zero state, and tells ``seen`` of every layer and block.

        Args:
            ids: [steps, rows].
            seen: what it raises ends the reading.
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

        blocks = range(0, steps, BLOCK)
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
        """What the first layer reads of a block, by its first step."""
        if self.config.embedding_size:
            table: Floats = self._weights["embedding.weight"]
            return lambda begin: table[ids[begin : begin + BLOCK]]
        # 1-of-k times a matrix is one of its columns: only those of the text are touched.
        distinct, places = np.unique(ids, return_inverse=True)
        columns = self._weights["layers.0.weight_ih_l0"][:, distinct].T
        products: Floats = np.ascontiguousarray(columns) + _input_bias(
            self.config, self._weights, 0
        )
        places = places.reshape(ids.shape)
        return lambda begin: products[places[begin : begin + BLOCK]]

    def _advance(
        self, layer: int, values: Floats, state: dict[str, Floats]
    ) -> tuple[Floats, Floats]:
        """One layer over a block: its h and what its cells show; moves ``state`` on."""
        parts = "hc" if self.config.kind == "lstm" else "h"
        feeds: dict[str, Any] = {"inputs": values} | {part: state[part] for part in parts}
        h, *shown, h_end = self._layers[layer].run(["hs", *_SHOWN[parts], "h_end"], feeds)[:3]
        del h_end
        raise NotImplementedError(h, shown)
