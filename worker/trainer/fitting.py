"""Which sizes fit into a memory that was too small for others, in numbers and in words.

Only arithmetic. Knows no device and no job.
"""

from dataclasses import dataclass, replace

from models import sizing
from models.config import NetworkConfig

_ROOM = 0.9
"""The share of the memory that what is named may take: an estimate is not exact."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of a training that did not fit into so many bytes."""

    config: NetworkConfig
    batch_size: int
    sequence_length: int
    available: int

    def largest_batch(self) -> int | None:
        """The largest half, quarter … of the batch that fits; None if none does."""
        batch_size = self.batch_size // 2
        while batch_size and not self._fits(self.config, batch_size):
            batch_size //= 2
        return batch_size or None

    def largest_hidden_size(self) -> int | None:
        """The most cells a layer that fit with the batch as it is; None if none do."""
        smaller = (size for size in sizing.HIDDEN_SIZES if size < self.config.hidden_size)
        fitting = (size for size in smaller if self._fits(self._with(size), self.batch_size))
        return max(fitting, default=None)

    def advice(self, begin: str) -> str:
        """What would fit, as a sentence that begins so."""
        if batch_size := self.largest_batch():
            return f"{begin} batch_size={batch_size}, which should fit."
        if hidden_size := self.largest_hidden_size():
            return f"{begin} hidden_size={hidden_size}, which should fit."
        return f"{begin} a smaller sequence_length, or fewer layers."

    def _with(self, hidden_size: int) -> NetworkConfig:
        return replace(self.config, hidden_size=hidden_size)

    def _fits(self, config: NetworkConfig, batch_size: int) -> bool:
        needed = sizing.training_bytes(config, batch_size, self.sequence_length)
        return needed <= _ROOM * self.available
