"""The instruction peak of this processor: multiply-adds a second that its units can do.

    python -m bench.report.peak [--seconds 0.2]

No library's product is measured but a loop of one instruction on registers, which loads and stores
nothing: twelve independent sums (six with AMX), more than its latency keeps waiting. The loop is
machine code that this module writes into memory and calls, so no compiler is needed, and it lets
go of the GIL, so a thread for each core shows what all of them reach together. The best of many
short runs counts: whatever else the machine does only makes one slower.

Prints JSON, ``{"int8, AVX-512 VNNI": [one core, all cores], …}``. x86-64 on Linux only; elsewhere,
and where the system lets no process write code, it prints why. Run it in a process of its own: an
instruction that a hypervisor forbids ends it.
"""

import argparse
import ctypes
import json
import mmap
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

SUMS, SUMS_OF_TILES = 12, 6
A, B, PARTS, ONES = 14, 15, 12, 13
"""Registers: of what is multiplied, and of AVX2's products between."""

PASSES, PASSES_OF_TILES = 20_000, 2_000
"""Of one run: less than a millisecond, which others on the machine often leave alone."""

_REPEATS = 4
"""Of the body in a pass of the loop, so that counting takes no time."""

_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18
"""Of Linux on x86-64: a process has to ask for AMX's registers."""

Loop = Callable[[int], float]
"""Runs a number of passes, and returns the seconds."""


def vex(opcode: int, space: int, to: int, first: int, second: int) -> bytes:
    """Returns an instruction on 256-bit registers 0 to 15, with the prefix 66.

    ``space`` is the opcode's map: 1 for 0F, 2 for 0F38.
    """
    extended = (0x80 if to < 8 else 0) | 0x40 | (0x20 if second < 8 else 0) | space
    operands = (~first & 15) << 3 | 0x04 | 0x01
    return bytes([0xC4, extended, operands, opcode, 0xC0 | (to & 7) << 3 | second & 7])


def evex(opcode: int, prefix: int, to: int, first: int, second: int) -> bytes:
    """Returns an instruction of the map 0F38 on 512-bit registers 0 to 15.

    ``prefix`` is 1 for 66, 2 for F3.
    """
    extended = (0x80 if to < 8 else 0) | 0x40 | (0x20 if second < 8 else 0) | 0x10 | 2
    operands = (~first & 15) << 3 | 0x04 | prefix
    return bytes([0x62, extended, operands, 0x48, opcode, 0xC0 | (to & 7) << 3 | second & 7])


def tiles(prefix: int, to: int) -> bytes:
    """Returns a product of tiles 6 and 7, added to one: int8 with prefix 1, bf16 with 2."""
    opcode = {1: 0x5E, 2: 0x5C}[prefix]
    return bytes([0xC4, 0xE2, 0x40 | prefix, opcode, 0xC0 | to << 3 | 6])


def _avx2_int8(to: int) -> bytes:
    """Bytes to sums of pairs, these to sums of fours, these to the sum: three instructions."""
    return (
        vex(0x04, 2, PARTS, A, B) + vex(0xF5, 1, PARTS, PARTS, ONES) + vex(0xFE, 1, to, to, PARTS)
    )


@dataclass(frozen=True, slots=True)
class Instruction:
    """One way to multiply and add.

    Attributes:
        flags: what ``/proc/cpuinfo`` has to list.
        products: multiply-adds in what ``code`` returns for one sum.
    """

    name: str
    flags: tuple[str, ...]
    products: int
    code: Callable[[int], bytes]
    has_tiles: bool = False


INSTRUCTIONS = (
    Instruction("int8, AVX2", ("avx2",), 32, _avx2_int8),
    Instruction("int8, AVX-VNNI", ("avx_vnni",), 32, lambda to: vex(0x50, 2, to, A, B)),
    Instruction("int8, AVX-512 VNNI", ("avx512_vnni",), 64, lambda to: evex(0x50, 1, to, A, B)),
    Instruction("int8, AMX", ("amx_int8",), 16 * 16 * 64, lambda to: tiles(1, to), True),
    Instruction("bf16, AVX-512", ("avx512_bf16",), 32, lambda to: evex(0x52, 2, to, A, B)),
    Instruction("bf16, AMX", ("amx_bf16",), 16 * 16 * 32, lambda to: tiles(2, to), True),
    Instruction("fp32, FMA", ("fma", "avx2"), 8, lambda to: vex(0xB8, 2, to, A, B)),
    Instruction("fp32, AVX-512", ("avx512f",), 16, lambda to: evex(0xB8, 1, to, A, B)),
)

_ZERO_ALL, _ZERO_UPPER = bytes([0xC5, 0xFC, 0x77]), bytes([0xC5, 0xF8, 0x77])
_LOAD_TILES = bytes([0xC4, 0xE2, 0x78, 0x49, 0x06])
_RELEASE_TILES = bytes([0xC4, 0xE2, 0x78, 0x49, 0xC0])
_COUNT_DOWN, _UNTIL_ZERO, _RETURN = bytes([0x48, 0xFF, 0xCF]), bytes([0x0F, 0x85]), b"\xc3"


def program(instruction: Instruction) -> bytes:
    """Returns a function of the number of passes and the address of AMX's configuration."""
    sums = SUMS_OF_TILES if instruction.has_tiles else SUMS
    body = b"".join(instruction.code(to) for to in range(sums)) * _REPEATS + _COUNT_DOWN
    back = (-len(body) - len(_UNTIL_ZERO) - 4).to_bytes(4, "little", signed=True)
    begin = _LOAD_TILES if instruction.has_tiles else _ZERO_ALL
    end = _RELEASE_TILES if instruction.has_tiles else _ZERO_UPPER
    return begin + body + _UNTIL_ZERO + back + end + _RETURN


def products_of(instruction: Instruction) -> int:
    """Returns the multiply-adds of one pass."""
    sums = SUMS_OF_TILES if instruction.has_tiles else SUMS
    return instruction.products * sums * _REPEATS


def _loop(instruction: Instruction) -> Loop:
    code = program(instruction)
    memory = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    held = ctypes.c_char.from_buffer(memory)
    function = ctypes.CFUNCTYPE(None, ctypes.c_uint64, ctypes.c_void_p)(ctypes.addressof(held))
    # Palette 1: eight tiles of 16 rows of 64 bytes.
    shape = bytes([1]) + bytes(15) + b"\x40\x00" * 8 + bytes(16) + bytes([16] * 8) + bytes(8)
    configuration = ctypes.create_string_buffer(shape, 64)

    def run(passes: int) -> float:
        began = time.perf_counter()
        function(passes, ctypes.addressof(configuration))
        return time.perf_counter() - began

    # The code goes with the last who holds it, and the function does not.
    run.code = held  # type: ignore[attr-defined]
    return run


def _best(loops: Sequence[Loop], instruction: Instruction, seconds: float) -> float:
    """Returns the most multiply-adds a second of loops in a thread each, all at the same time."""
    passes = PASSES_OF_TILES if instruction.has_tiles else PASSES

    def passes_a_second(loop: Loop, until: float) -> float:
        best = 0.0
        while True:
            best = max(best, passes / loop(passes))
            if time.perf_counter() >= until:
                return best

    with ThreadPoolExecutor(len(loops)) as pool:
        until = time.perf_counter() + seconds
        return products_of(instruction) * sum(
            pool.map(lambda loop: passes_a_second(loop, until), loops)
        )


def obstacle() -> str | None:
    """Returns why no peak can be measured here, if none can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"no loop for {platform.machine()} on {sys.platform} exists"
    try:
        mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except OSError:
        return "the system lets no process write code"
    return None


def usable() -> list[Instruction]:
    """Returns the instructions that this processor has, and AMX only if Linux allows it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    has_tiles = not ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA)
    return [
        one
        for one in INSTRUCTIONS
        if flags.issuperset(one.flags) and (has_tiles or not one.has_tiles)
    ]


def measure(seconds: float) -> dict[str, tuple[float, float]]:
    """Returns multiply-adds a second of one core and of all, of each instruction there is."""
    cores = len(os.sched_getaffinity(0))
    found = {}
    for instruction in usable():
        loops = [_loop(instruction) for _ in range(cores)]
        one = _best(loops[:1], instruction, seconds)
        found[instruction.name] = one, _best(loops, instruction, seconds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.2, help="for each measurement")
    asked = parser.parse_args()
    reason = obstacle()
    print(json.dumps({"declined": reason} if reason else measure(asked.seconds)))


if __name__ == "__main__":
    main()
