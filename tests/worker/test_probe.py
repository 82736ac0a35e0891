"""A process of its own finds out whether the GPUs compute."""

import pytest
import torch

from worker.trainer import probe


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is one that computes")
def test_without_a_gpu_the_last_words_say_so() -> None:
    assert "CUDA" in (probe.trouble() or "")


def test_one_that_hangs_does_not_answer() -> None:
    assert probe.trouble(0.01) == "it does not answer within 0.01 s"
