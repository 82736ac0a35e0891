"""Units of a loss."""

import math


def bits(loss: float) -> float:
    """Converts a loss from nats to bits."""
    return loss / math.log(2)
