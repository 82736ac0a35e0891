"""An attempt that ends badly is counted, until one gets further; errors are told apart."""

import errno

import pytest
from safetensors import SafetensorError

from tests.training import rest_at
from worker.jobs import Job
from worker.trainer import generations
from worker.trainer.failures import Failure, count_death, is_disk_full, is_out_of_memory


def test_deaths_count_until_the_job_gets_further(job: Job) -> None:
    assert [count_death(job) for _ in range(3)] == [1, 2, 3]
    generations.save(job.state_directory, {}, rest_at(5))
    assert [count_death(job) for _ in range(2)] == [1, 2]
    generations.save(job.state_directory, {}, rest_at(5))
    assert count_death(job) == 3


def test_a_state_that_is_lost_is_not_progress(job: Job) -> None:
    generations.save(job.state_directory, {}, rest_at(5))
    assert count_death(job) == 1
    generations.discard_newest(job.state_directory)
    assert count_death(job) == 2


@pytest.mark.parametrize("left", [b"", b"\0\0", b"[]", b"{}", b'{"step": null, "deaths": 2}'])
def test_a_count_that_cannot_be_read_begins_anew(job: Job, left: bytes) -> None:
    (job.directory / "attempts.json").write_bytes(left)
    assert [count_death(job), count_death(job)] == [1, 2]


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (SafetensorError("I/O error: No space left on device (os error 28)"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (SafetensorError("I/O error: Permission denied (os error 13)"), False),
        (ValueError("No space left on device"), False),
    ],
)
def test_a_full_disk_is_told_from_other_errors(error: Exception, is_full: bool) -> None:
    assert is_disk_full(error) is is_full


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
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


def test_a_failure_has_two_texts_for_clients() -> None:
    failure = Failure("Too much", "Take less.")
    assert failure.error == {"title": "Too much", "detail": "Take less."}
    assert str(failure) == "Too much"
