"""Failures and deaths in words for clients; a lack of memory is told from other errors."""

import errno
import subprocess
import sys

import pytest

from worker.trainer.failures import Death, Failure, GpuGone, MemoryShort, is_out_of_memory


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("CUDA error: unspecified launch failure"), False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError("out of memory"), False),
    ],
)
def test_a_lack_of_memory_is_told_from_other_errors(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) is is_memory


def test_torchs_own_words_for_a_lack_of_memory_are_known() -> None:
    import torch

    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60)
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    ("error", "is_gpus"),
    [
        (GpuGone("No CUDA GPUs are available"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_INTERNAL_ERROR when calling cublas"), True),
        (RuntimeError("NCCL error: unhandled cuda error, NCCL version 2.27.5"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), False),
        (RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM"), False),
        (ValueError("CUDA error"), False),
        (MemoryError(), False),
    ],
)
def test_a_gpu_that_fails_is_told_from_other_errors(error: Exception, is_gpus: bool) -> None:
    death = Death.by_error(error)
    assert death.of_gpu is is_gpus
    assert (death.title == "The GPU failed") is is_gpus
    assert "kernel" not in death.said


def test_a_failure_has_two_texts_for_clients() -> None:
    failure = Failure("Too much", "Take less.")
    assert failure.error == {"title": "Too much", "detail": "Take less."}
    assert str(failure) == "Too much"


def died(code: str) -> Death:
    """Of a process that runs some code."""
    ended = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, check=False)
    status = -ended.returncode if ended.returncode < 0 else ended.returncode << 8
    return Death.of_process(status, ended.stderr)


@pytest.mark.parametrize(
    ("code", "title", "words"),
    [
        ("import os; os._exit(3)", "The training process died", "exited with code 3."),
        ("import os; os._exit(0)", "The training process died", "for no known reason."),
        ("import os; os.abort()", "The training process died", "was killed by SIGABRT."),
        ("import os; os.kill(os.getpid(), 9)", "The training process was killed", "by SIGKILL."),
        ("raise MemoryError", "Not enough memory", "Memory ran out."),
        (
            "import os; os.write(2, b'  what():  CUDA error: unknown error\\nTo debug, set'); "
            "os.abort()",
            "The GPU failed",
            "It said last: “what():  CUDA error: unknown error”.",
        ),
        ("import nothing_at_all", "The training process died", "No module named 'nothing_at_all'"),
    ],
)
def test_a_process_died_of_something(code: str, title: str, words: str) -> None:
    death = died(code)
    assert death.title == title
    assert words in death.sentence


def test_a_death_by_an_error_quotes_it() -> None:
    death = Death.by_error(ModuleNotFoundError("No module named 'torch'"))
    assert death.title == "Training cannot start"
    assert "It said last: “ModuleNotFoundError: No module named 'torch'”." in death.sentence
    assert Death.by_error(MemoryError()).title == "Not enough memory"
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", "/opt/python")
    death = Death.by_spawning(missing)
    assert death.said == "No such file or directory"


def test_a_lack_of_memory_may_come_with_advice() -> None:
    death = Death.by_error(MemoryShort("Memory ran out on a GPU", "Take less."))
    assert (death.title, death.cause, death.advice) == (
        "Not enough memory",
        "Memory ran out on a GPU",
        "Take less.",
    )
