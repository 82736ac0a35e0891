"""Takes the processor for a GPU, in processes that a test starts, and lets it fail.

In the directory of the driver (``tests.nvml``): while ``fails`` is there, a step fails as CUDA does
and the GPU is lost; while ``lost`` is there, CUDA finds none.
"""

from pathlib import Path
from typing import Any

import pynvml
import torch

from worker.trainer import device

HERE = Path(pynvml.__file__).parent


def _is_lost() -> bool:
    return (HERE / "lost").exists()


def _init() -> None:
    if _is_lost():
        raise RuntimeError("No CUDA GPUs are available")


def _backward(*arguments: Any, **named: Any) -> None:
    if (HERE / "fails").exists():
        (HERE / "fails").rename(HERE / "lost")
        raise RuntimeError(
            "CUDA error: unspecified launch failure\n"
            "CUDA kernel errors might be asynchronously reported at some other API call.\n"
        )
    _REAL_BACKWARD(*arguments, **named)


_CUDA: Any = torch.cuda
_DEVICE: Any = device
_REAL_BACKWARD: Any = torch.Tensor.backward
torch.Tensor.backward = _backward  # type: ignore[method-assign]
_CUDA.init = _init
_CUDA.is_available = lambda: not _is_lost()
_CUDA.device_count = lambda: int(not _is_lost())
_CUDA.set_device = lambda _: None
_DEVICE.gpu = lambda _: torch.device("cpu")
