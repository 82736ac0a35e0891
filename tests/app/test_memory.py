"""What is loaded takes what is counted for it, and goes back to the system."""

import subprocess
import sys

from app.engine.memory import GROWTH_BYTES, Memory, resident_bytes
from tests.support import ROOT


class Large:
    pass


def test_memory_goes_back_once_a_watched_object_is_gone() -> None:
    memory = Memory()
    large = Large()
    memory.watch(large)
    assert not memory.give_back()
    del large
    assert memory.give_back()
    assert not memory.give_back()


def test_a_process_that_has_grown_gives_back_too() -> None:
    memory = Memory()
    before = resident_bytes()
    grown = b"x" * (GROWTH_BYTES * 2)
    assert resident_bytes() - before > GROWTH_BYTES
    assert memory.give_back()
    assert not memory.give_back()
    assert len(grown)


MEASURE = """
from bench.memory import measure
from models.config import NetworkConfig

measure(NetworkConfig(70, "lstm", 1, 16), ("exact", "fast"), 5, 1)
for count, layers, hidden in ((20, 1, 64), (2, 2, 300)):
    config = NetworkConfig(70, "lstm", layers, hidden)
    for top_k in (0, 5):
        taken, estimated, left = measure(config, ("exact", "fast"), top_k, count)
        assert 0.8 < estimated / taken < 1.25, (config, top_k, estimated, taken)
        assert left < 0.05 * taken, (config, top_k, left, taken)
"""


def test_a_model_takes_what_is_counted_for_it_and_leaves_nothing() -> None:
    """In a process of its own, where nobody else allocates."""
    run = subprocess.run(
        [sys.executable, "-c", MEASURE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


SCATTER = """
import sys
import numpy as np
from app.engine.memory import configure_allocator, resident_bytes

configure_allocator()
# glibc would take this as a hint to keep blocks of that size.
del [np.ones(3 << 20)][:]
before = resident_bytes()
blocks, between = [], []
for _ in range(20):
    blocks.append(np.ones(1 << 20))
    between.append(bytearray(1000))
del blocks
sys.exit(resident_bytes() - before > 16 << 20)
"""


def test_large_blocks_go_back_whatever_lies_between() -> None:
    run = subprocess.run([sys.executable, "-c", SCATTER], cwd=ROOT, check=False)
    assert run.returncode == 0


FAULTS = """
import resource
import numpy as np
from app.engine.memory import configure_allocator

configure_allocator()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for _ in range(2):
    before = faults()
    for _ in range(100):
        # At the heap's end: the pages are new unless the allocator kept the freed ones.
        del [np.ones(1 << 17) for _ in range(2)][:]
    found = faults() - before
assert found < 100, found
"""


def test_what_a_tick_frees_stays_for_the_next() -> None:
    run = subprocess.run(
        [sys.executable, "-c", FAULTS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
