"""The nodes of a decoder's graph that look the n-gram table up. Knows no choice."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import Floats, Ids
from models.config import NetworkConfig, Weights
from models.ngram_table import (
    NGRAM_BOOSTS,
    NGRAM_FOLLOWERS,
    NGRAM_KEYS,
    NGRAM_ROWS,
    PLACES,
    STEP,
    hash_constants,
    lookup_constants,
)
from models.onnx_graph import FLOAT, INT64, GraphBuilder

HISTORY = "ngram"
"""Name of the state: the ids read before the last one, [rows, ids]; −1 where there are none."""


class NGramNodes:
    """Adds to a graph what ``models.ngram_table`` does after ``id_in`` was read."""

    def __init__(self, builder: GraphBuilder, config: NetworkConfig, weights: Weights) -> None:
        self._builder, self._add = builder, builder.add
        self._config, self._weights = config, weights

    def add(self) -> str:
        """Adds the look-up, and returns the name of what follows, [rows, vocabulary].

        It is in units of −``STEP`` nats. The state after it is ``ngram_out``.
        """
        known = self._known(self._keys())
        if not self._config.ngram_long_buckets:
            return self._row(known)
        by_length = PLACES * np.array([len(sizes) for sizes in self._config.table_sizes])
        parts = [f"{HISTORY}_known_rows", f"{HISTORY}_known_lists"]
        self._add("Split", [known, self._ints("parts", by_length)], *parts, axis=1)
        number = self._add("ReduceMax", [parts[1]], axes=[1], keepdims=0)
        # In the units of a row, where less is likelier. The graph casts: it holds copies of these.
        lowered = -self._weights[NGRAM_BOOSTS].astype(np.int16)
        followers = self._of(number, NGRAM_FOLLOWERS, self._weights[NGRAM_FOLLOWERS], INT64)
        inputs = [self._row(parts[0]), followers, self._of(number, NGRAM_BOOSTS, lowered, FLOAT)]
        return self._add("ScatterElements", inputs, axis=1, reduction="add")

    def _keys(self) -> str:
        """Adds the keys of the contexts of all lengths, each ``PLACES`` times."""
        longest = self._config.ngram_orders
        numbers, factors = hash_constants(self._config.vocabulary_size, longest)
        axis = self._ints("axis", np.array([1]))
        last = self._add("Unsqueeze", ["id_in", axis])
        ends = [axis, self._ints("end", np.array([longest]))]
        later = self._add("Slice", [f"{HISTORY}_in", *ends, axis])
        read = self._add("Concat", [later, last], f"{HISTORY}_out", axis=1)
        terms = self._add(
            "Mul",
            [
                self._add("Gather", [self._ints("numbers", numbers), read]),
                self._ints("factors", factors[::-1]),
            ],
        )
        column = self._builder.constant(f"{HISTORY}_column", np.array(1, np.int64))
        sums = self._add("CumSum", [terms, column], reverse=1)
        columns = np.repeat([longest - length for length in self._config.ngram_lengths], PLACES)
        return self._add("Gather", [sums, self._ints("columns", columns)], axis=1)

    def _known(self, keys: str) -> str:
        """Adds, for each place of each key, the row or list that stands there, else 0."""
        rows, lists = self._config.table_sizes
        multipliers, sizes, offsets = lookup_constants([*rows, *lists])
        places = self._add("Mul", [keys, self._ints("multipliers", multipliers)])
        places = self._add("Mod", [places, self._ints("sizes", sizes)])
        places = self._add("Add", [places, self._ints("offsets", offsets)])
        table = self._builder.constant(NGRAM_KEYS, self._weights[NGRAM_KEYS])
        found = self._add("Equal", [self._add("Gather", [table, places]), keys])
        if lists:
            before = np.repeat([0, sum(rows)], [PLACES * len(rows), PLACES * len(lists)])
            places = self._add("Sub", [places, self._ints("before", before)])
        nothing = self._builder.constant(f"{HISTORY}_nothing", np.array(0, np.int64))
        return self._add("Where", [found, places, nothing])

    def _row(self, known: str) -> str:
        number = self._add("ReduceMax", [known], axes=[1], keepdims=0)
        return self._of(number, NGRAM_ROWS, self._weights[NGRAM_ROWS], FLOAT)

    def _of(self, number: str, name: str, values: NDArray[Any], to: int) -> str:
        gathered = self._add("Gather", [self._builder.constant(name, values), number])
        return self._add("Cast", [gathered], to=to)

    def _ints(self, name: str, values: Ids) -> str:
        return self._builder.constant(f"{HISTORY}_{name}", values.astype(np.int64))


def output_with_gates(weights: Weights) -> tuple[Floats, Floats]:
    """Returns the output's weight and bias with those of the gates below.

    The second gate is for a row as the table has it: it is multiplied by a power of two, so the
    products are those of ``CharNetwork.mixed``.
    """
    scales = np.array([1, -STEP], np.float32)
    weight = np.concatenate([weights["output.weight"], weights["gates.weight"] * scales[:, None]])
    return weight, np.concatenate([weights["output.bias"], weights["gates.bias"] * scales])
