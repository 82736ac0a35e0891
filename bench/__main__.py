"""``./charloom bench``: all that is measured of one machine, in one run, as one report.

The parts are in ``bench.report``; what a single question needs, the other modules here measure by
themselves (``python -m bench.serve`` and so on).
"""

import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from app.supervisor.errors import UserError
from app.terminal.ending import reported, run

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

SECTIONS = ("serving", "training", "start", "ceilings", "growth")
OUT = Path("bench-report")


@cli.command()
def bench(
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for the report, its pictures and the samples. Default: bench-report."
        ),
    ] = OUT,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="At most three minutes on two quiet cores: shows that each part works, with too "
            "few repeats for figures.",
        ),
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SECTION", help=f"Measure only this section; repeatable: {', '.join(SECTIONS)}."
        ),
    ] = None,
    hidden: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=4096,
            help="Cells of each of the network's two layers. Default: 512, with --quick 256.",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="How often each thing is measured. Default: 5."),
    ] = None,
    text: Annotated[
        Path | None, typer.Option(help="Text to learn from. Default: this project's own.")
    ] = None,
) -> None:
    """Measure this machine: serving, training, start, ceilings and growth, beside the plain ways.

    Close what else runs: the report says how busy the machine was. All of it takes about 40
    minutes. LitServe is measured where it is installed (.venv/bin/pip install litserve).
    """
    with reported():
        if sys.platform != "linux":
            raise UserError("bench reads /proc, so it runs on Linux only")
        for name in only or ():
            if name not in SECTIONS:
                raise typer.BadParameter(f"--only must be one of {', '.join(SECTIONS)}")
        if text is not None and not text.is_file():
            raise UserError(f"file not found: {text}")
        raise typer.Exit(_measure(out, quick, only or SECTIONS, hidden, rounds, text))


def _measure(
    out: Path,
    quick: bool,
    only: list[str] | tuple[str, ...],
    hidden: int | None,
    rounds: int | None,
    text: Path | None,
) -> int:
    # Loads torch, which --help has no need of.
    from bench.report.plan import FULL, QUICK
    from bench.report.run import Report, measure, sections

    # Servers end with this process, also where a shell lets it ignore Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    asked: dict[str, Any] = {"hidden": hidden, "rounds": rounds}
    given = {name: value for name, value in asked.items() if value is not None}
    plan = replace(QUICK if quick else FULL, **given)
    report = Report(plan, shlex.join(["./charloom", "bench", *sys.argv[1:]]), out)
    chosen = {name: section for name, section in sections(text).items() if name in only}
    is_whole = measure(report, chosen, _progress)
    _progress("")
    print(report.path)
    return 0 if is_whole else 1


def _progress(line: str) -> None:
    """Shows on a terminal what is measured now, in one line."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{line[:78]}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(run(cli, "charloom bench"))
