"""The instruction peak is measured with the instructions that it names."""

import json
import subprocess
import sys

import pytest

from bench.report import peak
from bench.report.peak import INSTRUCTIONS, Instruction, products_of, program
from tests.support import ROOT

# As the GNU assembler 2.40 writes them, for the sums 0 and 9, or tiles 0 and 5.
ASSEMBLED = {
    "int8, AVX-VNNI": ("c4c20d50c7", "c4420d50cf"),
    "int8, AVX-512 VNNI": ("62d20d4850c7", "62520d4850cf"),
    "int8, AMX": ("c4e2415ec6", "c4e2415eee"),
    "bf16, AVX-512": ("62d20e4852c7", "62520e4852cf"),
    "bf16, AMX": ("c4e2425cc6", "c4e2425cee"),
    "fp32, FMA": ("c4c20db8c7", "c4420db8cf"),
    "fp32, AVX-512": ("62d20d48b8c7", "62520d48b8cf"),
    "int8, AVX2": ("c4420d04e7c4411df5e5c4c17dfec4", "c4420d04e7c4411df5e5c44135fecc"),
}


@pytest.mark.parametrize("instruction", INSTRUCTIONS, ids=lambda one: one.name)
def test_the_machine_code_is_the_assemblers(instruction: Instruction) -> None:
    first, last = ASSEMBLED[instruction.name]
    assert instruction.code(0).hex() == first
    assert instruction.code(5 if instruction.has_tiles else 9).hex() == last


@pytest.mark.parametrize("instruction", INSTRUCTIONS, ids=lambda one: one.name)
def test_the_loop_goes_back_to_its_first_sum_and_counts_them_all(instruction: Instruction) -> None:
    code, first = program(instruction), instruction.code(0)
    jump = code.index(b"\x48\xff\xcf\x0f\x85") + 5
    back = int.from_bytes(code[jump : jump + 4], "little", signed=True)
    assert code[jump + 4 + back :].startswith(first)
    assert products_of(instruction) % instruction.products == 0
    sums = products_of(instruction) // instruction.products
    assert jump - 5 - code.index(first) == sums * len(first)


@pytest.mark.skipif(peak.obstacle() is not None, reason="no loop for this machine")
def test_each_instruction_of_this_processor_has_a_peak() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.report.peak", "--seconds", "0.01"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == {one.name for one in peak.usable()} and found
    assert all(one > 1e8 and every > 1e8 for one, every in found.values())
