"""The array types that modules pass to each other."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

AnyIds = NDArray[np.unsignedinteger[Any]]
"""Ids in the smallest type that fits a vocabulary, as stored on disk."""

Hashes = NDArray[np.uint64]
"""Hashes of lines, or of windows of a text."""

AnyInts = NDArray[np.integer[Any]]
