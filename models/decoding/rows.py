"""What a decoder advances: rows, and how each of them chooses. Knows only numbers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.arrays import Floats, Ids


@dataclass(frozen=True, slots=True)
class Rows:
    """The positions of rows: their last ids [rows] and state parts, [layers, rows, hidden] each.

    The last part of a network with an n-gram table has the ids before the last one, [1, rows,
    orders], −1 where there are none.
    """

    ids: Ids
    state: tuple[Floats, ...]


@dataclass(frozen=True, slots=True)
class Choices:
    """How each row chooses; each shape [rows].

    A temperature of 0 is argmax; temperatures that change have the shape [steps, rows]. ``top_k``
    and ``top_p`` restrict the choice to the likeliest ids, 0 is off. ``tell`` says which rows need
    logits of forced ids too; None leaves them out. A network has them anyway. ``styles`` are the
    weights of the network's styles, [rows, styles]; None leaves every row without a style.
    """

    temperatures: Floats
    top_k: Ids
    top_p: Floats
    tell: NDArray[np.bool_] | None = None
    styles: Floats | None = None


def ids_before(rows: Rows, chosen: Ids) -> Floats:
    """Returns the ids before the last one after a call, [1, rows, orders].

    Args:
        rows: before it, of a network with an n-gram table.
        chosen: in it, [steps, rows].
    """
    before = rows.state[-1][0]
    read = np.concatenate([before, rows.ids[:, None], chosen[:-1].T], axis=1)
    latest: Floats = read[None, :, -before.shape[1] :].astype(np.float32)
    return latest
