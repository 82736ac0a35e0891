"""How near the decoder is to what the processor can do at all."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.alone import Alone
from bench.naive import network_of
from bench.report import samples
from bench.report.plan import Plan
from bench.report.section import Section, Table
from bench.servers import ROOT
from models.config import NetworkConfig

ROWS = (1, 128)
PEAK_SECONDS = 0.1
"""Of each of its loops, on one core and on all."""

COMMAND = "./charloom bench --only ceilings"


@dataclass(slots=True)
class Found:
    """Each round's figures.

    Attributes:
        peaks: multiply-adds a second by instruction, of one core and of all.
        rates: characters a second by the number of rows.
        declined: why there are no peaks.
    """

    peaks: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    rates: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    declined: str = ""

    def add_peaks(self) -> None:
        command = [sys.executable, "-m", "bench.report.peak", "--seconds", str(PEAK_SECONDS)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if ended.returncode:
            self.declined = f"its process ended with {ended.returncode}"
            return
        said = json.loads(ended.stdout)
        self.declined = said.pop("declined", "")
        for name, (one, every) in said.items():
            self.peaks[name].append((one, every))


def measure(plan: Plan, tell: Callable[[str], None]) -> Section:
    """Measures the peak and the decoder in turn, at one row and at many."""
    network = network_of(plan.hidden)
    alone, found = Alone(network), Found()
    for _ in range(plan.rounds):
        tell("instruction peak")
        found.add_peaks()
        for rows in ROWS:
            tell(f"decoder without HTTP, {rows} rows")
            found.rates[rows].append(alone.rate(rows, plan.seconds))
    tables = [_decoder_table(plan, network.config, found)]
    if found.peaks:
        tables.append(_peaks_table(found.peaks))
    drawn = {f"{rows} rows, characters/s": rates for rows, rates in found.rates.items()}
    for name, pairs in found.peaks.items():
        drawn[f"{name}, all cores, GMAC/s"] = [every / 1e9 for _, every in pairs]
    return Section("ceilings", "Ceilings", tables, samples=drawn)


def multiplications(config: NetworkConfig) -> int:
    """Returns the multiply-adds of a character: all weights of all products, 1-of-k's too."""
    return sum(a * b for a, b in (s for s in config.shapes().values() if len(s) == 2))


def _decoder_table(plan: Plan, config: NetworkConfig, found: Found) -> Table:
    each = multiplications(config)
    rows = []
    for count, rates in found.rates.items():
        row = {
            "rows": samples.whole(count),
            "characters/s": samples.spread(rates, samples.whole),
            "GMAC/s": samples.billions(each * median(rates)),
        }
        for name, pairs in found.peaks.items():
            if name.startswith("int8"):
                # A single row is one thread's.
                peaks = [pair[0] if count == 1 else pair[1] for pair in pairs]
                shares = samples.ratios([each * rate for rate in rates], peaks)
                row[f"of {name}"] = samples.percent(median(shares))
        rows.append(row)
    notes = [f"The instruction peak was not measured: {found.declined}."] if found.declined else []
    return Table(
        f"The decoder without HTTP, 2×{plan.hidden}, fast",
        f"A row is a stream; one row has one core, more are shared out among all cores. A "
        f"character takes {each:,} multiply-adds (MAC). *of …*: the share of that instruction's "
        "peak, measured below on the same cores in the same round. More is better.",
        f"{COMMAND} --hidden {plan.hidden}",
        rows,
        notes,
    )


def _peaks_table(peaks: Mapping[str, Sequence[tuple[float, float]]]) -> Table:
    rows = [
        {
            "instruction": name,
            "one core, GMAC/s": samples.spread([one for one, _ in pairs], samples.billions),
            "all cores, GMAC/s": samples.spread([every for _, every in pairs], samples.billions),
        }
        for name, pairs in peaks.items()
    ]
    return Table(
        "Instruction peak",
        "Multiply-adds a second, in billions, of a loop of one instruction on registers that "
        "neither loads nor stores: no matrix product can be faster. The loop is machine code that "
        "`bench/report/peak.py` writes into memory and calls; the best of its short runs in a "
        "round counts. More is better.",
        ".venv/bin/python -m bench.report.peak",
        rows,
    )
