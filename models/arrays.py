"""The array types that modules hand to each other."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

AnyIds = NDArray[np.unsignedinteger[Any]]
"""Ids in the smallest type that holds a vocabulary, as they lie on disk."""

Hashes = NDArray[np.uint64]
"""Of lines, or of windows of a text."""

AnyInts = NDArray[np.integer[Any]]
