"""Time to quality: the held-out loss of this product and of others after 30, 60 and 180 seconds.

    python -m bench.learn TEXT … [--seconds 180] [--against REVISION …] [--only SYSTEM …]
                          [--validation-fraction 0.1] [--repeats 1] [--svg docs/learn.svg]

Trains each system on each text, one after the other, so that each has the machine to itself;
repeats have other seeds and take the systems in another order. Prints a Markdown table of losses
in nats per character and, with ``--svg``, draws loss against seconds. Ctrl+C prints what is there.

The systems are ``ours``, a job with all defaults; ``ours@REVISION``, the same at an earlier commit,
from a temporary git worktree; the recipes of ``char-rnn``, ``makemore`` (lists only) and
``nanoGPT``; and the ``n-gram`` model, which is counted once. ``bench.learning`` has them. All have
the same split, the product's own: the end of a text is held out, of a list, lines drawn at random;
and all are judged on the same characters.

``--quick`` trains each for a second, to see that it runs.
"""

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.learning.picture import draw
from bench.learning.runs import RIVALS, Run, System, commit, product, rival, run
from bench.learning.table import table

QUICK = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="*", type=Path, metavar="TEXT")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--against", nargs="+", default=[], metavar="REVISION")
    parser.add_argument("--only", nargs="+", choices=["ours", *RIVALS], default=["ours", *RIVALS])
    parser.add_argument("--validation-fraction", type=float, default=0.1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    if not asked.texts:
        parser.error("name one or more text files to learn from")
    for text in asked.texts:
        if not text.is_file():
            parser.error(f"file not found: {text}")
    if asked.quick:
        asked.seconds = QUICK
    # Worktrees and processes go with this one, also where a shell lets it ignore Ctrl+C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    sys.exit(compare(asked))


def compare(asked: argparse.Namespace) -> int:
    """Trains, and prints and draws what came of it, even of a part; returns the exit status."""
    runs: list[Run] = []
    try:
        with ExitStack() as trees:
            systems = _systems(asked.only, asked.against, trees)
            for done in _all_runs(systems, asked):
                runs.append(done)
                if asked.svg:
                    _write(asked.svg, draw(runs, asked.seconds))
    except KeyboardInterrupt:
        return 130
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        if runs:
            print(table(runs, asked.seconds))
    return 0


def _systems(only: list[str], against: list[str], trees: ExitStack) -> list[System]:
    systems = [product("ours")] if "ours" in only else []
    for revision in against:
        systems.append(product(f"ours@{revision}", trees.enter_context(commit(revision))))
    return systems + [rival(name) for name in RIVALS if name in only]


def _all_runs(systems: list[System], asked: argparse.Namespace) -> Iterator[Run]:
    for repeat in range(asked.repeats):
        first = repeat % len(systems)
        for text in asked.texts:
            for system in systems[first:] + systems[:first]:
                done = run(system, text, asked.seconds, asked.validation_fraction, repeat)
                reached = done.declined or f"{done.end[1]:.4f} after {done.end[0]:.0f} s"
                print(f"{text.name}: {system.name}: {reached}", file=sys.stderr, flush=True)
                yield done


def _write(path: Path, picture: str) -> None:
    staged = path.with_name(f".{path.name}")
    staged.write_text(picture, encoding="utf-8")
    staged.replace(path)


if __name__ == "__main__":
    main()
