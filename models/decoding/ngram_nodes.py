"""The nodes of a decoder's graph that look a row of the n-gram table up. Knows no choice."""

import numpy as np

from models.arrays import Floats
from models.config import NetworkConfig, Weights
from models.ngram_table import NGRAM_KEYS, NGRAM_ROWS, STEP, lookup_constants
from models.onnx_graph import FLOAT, GraphBuilder

CODE = "ngram"
"""Name of the state: the ids read before, packed by ``models.ngram_table.codes``, [rows]."""


def add_lookup(builder: GraphBuilder, config: NetworkConfig, weights: Weights) -> str:
    """Adds what ``NGramTable.find`` does after ``id_in`` was read, and returns the row's name.

    The row is [rows, vocabulary], in units of −``STEP`` nats. The state after it is ``ngram_out``.
    """
    add, constant = builder.add, builder.constant

    def number(name: str, value: int) -> str:
        return constant(name, np.array(value, np.int64))

    base = config.vocabulary_size + 1
    shifted = add("Mul", [f"{CODE}_in", number("ngram_base", base)])
    digit = add("Add", ["id_in", number("ngram_one", 1)])
    longest = number("ngram_longest", base**config.ngram_orders)
    code = add("Mod", [add("Add", [shifted, digit]), longest], f"{CODE}_out")
    names = ("ngram_moduli", "ngram_multipliers", "ngram_sizes", "ngram_offsets")
    values = lookup_constants(config.vocabulary_size, config.ngram_buckets)
    moduli, multipliers, sizes, offsets = map(constant, names, values)
    axis = constant("axis_1", np.array([1], np.int64))
    keys = add("Mod", [add("Unsqueeze", [code, axis]), moduli])
    places = add("Mod", [add("Mul", [keys, multipliers]), sizes])
    buckets = add("Add", [places, offsets])
    found = add(
        "Equal", [add("Gather", [constant(NGRAM_KEYS, weights[NGRAM_KEYS]), buckets]), keys]
    )
    known = add("Where", [found, buckets, number("ngram_root", 0)])
    bucket = add("ReduceMax", [known], axes=[1], keepdims=0)
    row = add("Gather", [constant(NGRAM_ROWS, weights[NGRAM_ROWS]), bucket])
    return add("Cast", [row], to=FLOAT)


def output_with_gates(weights: Weights) -> tuple[Floats, Floats]:
    """Returns the output's weight and bias with those of the gates below.

    The second gate is for a row as the table has it: it is multiplied by a power of two, so the
    products are those of ``CharNetwork.mixed``.
    """
    scales = np.array([1, -STEP], np.float32)
    weight = np.concatenate([weights["output.weight"], weights["gates.weight"] * scales[:, None]])
    return weight, np.concatenate([weights["output.bias"], weights["gates.bias"] * scales])
