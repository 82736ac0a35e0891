"""The shapes that a GPU's fastest recurrent kernel takes, and layers filled up to them.

cuDNN has a kernel that keeps a layer's weights in the multiprocessors from one character to the
next, where others read them again for each character. PyTorch uses it in fp16 for certain shapes
only (``get_algo`` in ``aten/src/ATen/native/cudnn/RNN.cpp``): inputs and cells in multiples of 128,
up to 1024 cells, rows in multiples of 8 up to 128. So other shapes are filled up with zeros.

Rows do not see each other, and what a row of zeros says is cut off. A cell without weights is 0 for
ever, in each kind of layer, so nothing is read from it, and its weights are not learned. They are
not even parameters: what is learned and saved has the network's own shapes.

Knows shapes and tensors; no network, no text and no optimiser.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.config import NetworkConfig
from models.options import NetworkKind

SMALL = 128
"""Cells up to which another kernel keeps the weights, whatever the shape and the type."""

_MULTIPLE, _MOST_CELLS = 128, 1024
_ROWS, _MOST_ROWS = 8, 128


@dataclass(frozen=True, slots=True)
class CudaCard:
    """A GPU, as far as the choice of a kernel depends on it."""

    major: int
    minor: int
    multiprocessors: int

    @classmethod
    def of(cls, device: torch.device) -> "CudaCard | None":
        """Returns that of a device; None if it is not a GPU of CUDA."""
        if device.type != "cuda":
            return None
        found = torch.cuda.get_device_properties(device)
        return cls(found.major, found.minor, found.multi_processor_count)

    def keeps_weights(self, kind: NetworkKind, cells: int, rows: int) -> bool:
        """Whether it has the kernel for layers of such a shape, which is of the right multiples."""
        if self.major < 8 or self.minor == 6 or self.multiprocessors < 98 or kind == "gru":
            return False
        if kind == "rnn" and rows >= 96 and cells >= 896:
            return False
        return cells <= _MOST_CELLS and rows <= _MOST_ROWS


@dataclass(frozen=True, slots=True)
class Padding:
    """What the sizes of layers are filled up to multiples of."""

    rows: int = _ROWS
    inputs: int = _MULTIPLE
    cells: int = _MULTIPLE

    def __str__(self) -> str:
        return f"rows ×{self.rows}, inputs ×{self.inputs}, cells ×{self.cells}"

    def weights(self, layer: nn.RNNBase, inputs: int) -> list[Tensor]:
        """Returns a layer's weights and biases, filled up.

        Args:
            layer: of one layer, whose parameters learn through what is returned.
            inputs: columns of its input, filled up.
        """
        hidden = layer.hidden_size
        more = filled(hidden, self.cells) - hidden
        found = []
        for name, columns in (("weight_ih_l0", inputs), ("weight_hh_l0", hidden + more)):
            blocks = getattr(layer, name).unflatten(0, (-1, hidden))
            missing = columns - blocks.shape[2]
            found.append(nn.functional.pad(blocks, (0, missing, 0, more)).flatten(0, 1))
        for name in ("bias_ih_l0", "bias_hh_l0"):
            blocks = getattr(layer, name).unflatten(0, (-1, hidden))
            found.append(nn.functional.pad(blocks, (0, more)).flatten())
        return found

    def state(self, part: Tensor) -> Tensor:
        """Returns a part of a state, [layers, rows, cells], filled up."""
        _, rows, cells = part.shape
        more = filled(cells, self.cells) - cells, filled(rows, self.rows) - rows
        return nn.functional.pad(part, (0, more[0], 0, more[1]))


def filled(size: int, multiple: int) -> int:
    """Returns the next multiple that is not smaller than a size."""
    return -(-size // multiple) * multiple


def padding_for(config: NetworkConfig, rows: int, card: CudaCard | None) -> Padding | None:
    """Returns the padding that gives a network the kernel in fp16; None if nothing does.

    Args:
        config: its sizes.
        rows: of a batch.
        card: that trains it; None without a GPU.
    """
    if card is None or config.hidden_size <= SMALL:
        return None
    padding = Padding()
    shape = filled(config.hidden_size, padding.cells), filled(rows, padding.rows)
    return padding if card.keeps_weights(config.kind, *shape) else None
