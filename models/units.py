"""Units of a loss."""

import math


def bits(loss: float) -> float:
    """Bits for the nats of a loss."""
    return loss / math.log(2)
