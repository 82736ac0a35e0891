"""Whether torch computes with oneDNN. Knows no network."""

import torch


def use_onednn(on: bool) -> None:
    # torch's own types call it read-only.
    torch.backends.mkldnn.enabled = on  # type: ignore[assignment]
