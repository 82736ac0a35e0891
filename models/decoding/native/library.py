"""The compiled ``step.c``, loaded. Knows no compiler and no network."""

import ctypes
from pathlib import Path

from models.arrays import Floats

_POINTER, _LONG = ctypes.c_void_p, ctypes.c_int64


class Library:
    """Functions of ``step.c``. The interpreter lock is free while they run; threads may share it.

    ``tiles`` says whether the system lets this process use the matrix unit, if it has one.

    Raises:
        OSError: the file cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        loaded = ctypes.CDLL(str(path))
        self._advance = loaded.charloom_advance
        self._advance.argtypes = (_POINTER, _POINTER)
        self._fold = loaded.charloom_fold
        self._fold.argtypes = (_LONG, _LONG, _LONG, _POINTER, _POINTER, _POINTER, _POINTER)
        self._fold.restype = None
        self.tiles = bool(loaded.charloom_tiles())

    def advance(self, network: ctypes.Structure, call: ctypes.Structure) -> None:
        """Computes a ``struct call``, whose sizes and ids must be right. Raises MemoryError."""
        if self._advance(ctypes.addressof(network), ctypes.addressof(call)):
            raise MemoryError("no memory for the rows of a call")

    def fold(self, embedding: Floats, matrix: Floats, bias: Floats, to: Floats) -> None:
        """Computes ``embedding @ matrix + bias``, summed in one order on every machine.

        Args:
            embedding: [ids, size].
            matrix: [size, columns]; the columns are a multiple of 16.
            bias: [columns].
            to: [ids, columns]; all of these fp32 without gaps.
        """
        ids, size = embedding.shape
        arrays = (each.ctypes.data for each in (embedding, matrix, bias, to))
        self._fold(ids, size, bias.size, *arrays)
