"""The nodes of a decoder's graph that look the n-gram table up. Knows no choice."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.arrays import AnyInts, Floats
from models.config import NetworkConfig, Weights
from models.ngram_table import (
    CHOICES,
    EMPTY,
    NGRAM_BOOSTS,
    NGRAM_FOLLOWERS,
    NGRAM_KEYS,
    NGRAM_ROWS,
    STEP,
    Keys,
    hash_constants,
    lookup_constants,
)
from models.onnx_graph import FLOAT, GraphBuilder

HISTORY = "ngram"
"""Name of the state: the ids read before the last one, [rows, ids]; −1 where there are none."""


class NGramNodes:
    """Adds to a graph what ``models.ngram_table`` does after ``id_in`` was read.

    A stream pays for each node whatever it computes, so there are few, and what does not change is
    computed here: a key is compared as the product that gives its place, one of as many as there
    are places, and a matrix makes all products of the ids.
    """

    def __init__(self, builder: GraphBuilder, config: NetworkConfig, weights: Weights) -> None:
        self._builder, self._add = builder, builder.add
        self._config, self._weights = config, weights
        self._rows, self._lists = config.table_sizes

    def add(self) -> str:
        """Adds the look-up, and returns the name of what follows, [1, rows, vocabulary].

        It is in units of −``STEP`` nats. The state after it is ``ngram_out``.
        """
        # The longest context found is the last: its number is the largest.
        number = self._add("ReduceMax", [self._known()], axes=[1, 2], keepdims=0)
        if not self._lists:
            return self._row(number)
        row, of_list = f"{HISTORY}_row", f"{HISTORY}_list"
        self._add("Split", [number], row, of_list, axis=0)
        # Lists are read as they are used, in four times the memory: a cast costs a stream as much
        # as all of the list. A boost is in the units of a row, where less is likelier.
        followers = self._weights[NGRAM_FOLLOWERS].astype(np.int32)
        lowered = -self._weights[NGRAM_BOOSTS].astype(np.float32)
        inputs = [
            self._row(row),
            self._of(of_list, NGRAM_FOLLOWERS, followers),
            self._of(of_list, NGRAM_BOOSTS, lowered),
        ]
        return self._add("ScatterElements", inputs, axis=2, reduction="add")

    def _known(self) -> str:
        """Adds the number of what stands at each place, [kinds, WINDOW, choices, rows].

        The kinds are rows and, if there are any, lists, which are numbered from the end: the last
        is −1. What is unknown has the number of no context, the first.
        """
        multipliers, moduli, offsets = lookup_constants([*self._rows, *self._lists])
        longest = self._config.ngram_orders
        numbers, factors = hash_constants(self._config.vocabulary_size, longest)
        ages = np.arange(longest)[::-1]
        lengths = np.repeat(self._config.ngram_lengths, CHOICES)
        # In 32 bits, as the keys are.
        factors = np.where(ages < lengths[:, None], factors[ages], 0).astype(np.int32)
        matrix = factors * multipliers[:, None]
        ids = self._add("Gather", [self._ints("numbers", numbers.astype(np.int32)), self._read()])
        products = self._add("MatMul", [self._ints("matrix", self._by_kind(matrix[:, None])), ids])
        moduli = self._by_kind(moduli[:, None, None])
        places = self._add("Mod", [products, self._ints("moduli", moduli)])
        offsets = self._by_kind(offsets[:, :, None])
        nothing = np.zeros((len(offsets), 1, 1, 1), np.int32)
        if self._lists:
            nothing[1] = -1 - sum(self._lists)
            offsets[1] += nothing[1] - sum(self._rows)
        places = self._add("Add", [places, self._ints("offsets", offsets)])
        table = self._builder.constant(NGRAM_KEYS, self._products())
        found = self._add("Equal", [self._add("Gather", [table, places]), products])
        return self._add("Where", [found, places, self._ints("nothing", nothing)])

    def _read(self) -> str:
        """Adds the ids read last, the newest last, [ids, rows]."""
        axis, second, every = (
            self._ints(name, np.array([at]))
            for name, at in (("axis", 0), ("second", 1), ("all", self._config.ngram_orders))
        )
        later = self._add("Slice", [f"{HISTORY}_in", second, every, axis])
        return self._add("Concat", [later, "id_in"], f"{HISTORY}_out", axis=0)

    def _products(self) -> Keys:
        """Returns each key times that multiplier which gives its place.

        No other key has this product, since multipliers are odd.
        """
        keys: Keys = self._weights[NGRAM_KEYS].copy()
        standing = np.flatnonzero(keys != EMPTY)
        own = keys[standing]
        sizes = [*self._rows, *self._lists]
        length = np.searchsorted(1 + np.cumsum(sizes), standing, side="right")
        multipliers, moduli, offsets = (
            each.reshape(len(sizes), CHOICES, -1)[length] for each in lookup_constants(sizes)
        )
        products = own[:, None] * multipliers[..., 0]
        places = (products % moduli[..., 0])[..., None] + offsets
        stands = (places == standing[:, None, None]).any(axis=2)
        keys[standing] = products[np.arange(len(own)), stands.argmax(axis=1)]
        return keys

    def _by_kind(self, values: Keys) -> Keys:
        """Returns what there is for each choice of each length, [kinds, WINDOW or 1, choices, …].

        The kind with fewer choices has its last one several times.

        Args:
            values: [choices, WINDOW or 1, …].
        """
        split = CHOICES * len(self._rows)
        kinds = [values[:split], values[split:]] if self._lists else [values]
        most = max(map(len, kinds))
        padded = [kind[np.minimum(np.arange(most), len(kind) - 1)] for kind in kinds]
        return np.stack(padded).swapaxes(1, 2)

    def _row(self, number: str) -> str:
        # The graph holds several copies of it, so it casts what it uses.
        row = self._of(number, NGRAM_ROWS, self._weights[NGRAM_ROWS])
        return self._add("Cast", [row], to=FLOAT)

    def _of(self, number: str, name: str, values: NDArray[Any]) -> str:
        return self._add("Gather", [self._builder.constant(name, values), number])

    def _ints(self, name: str, values: AnyInts) -> str:
        return self._builder.constant(f"{HISTORY}_{name}", values)


def output_with_gates(weights: Weights) -> tuple[Floats, Floats]:
    """Returns the output's weight and bias with those of the gates below.

    The second gate is for a row as the table has it: it is multiplied by a power of two, so the
    products are those of ``CharNetwork.mixed``.
    """
    scales = np.array([1, -STEP], np.float32)
    weight = np.concatenate([weights["output.weight"], weights["gates.weight"] * scales[:, None]])
    return weight, np.concatenate([weights["output.bias"], weights["gates.bias"] * scales])
