"""The commands around the essay: its texts, and its experiments.

Knows the command line. What a command does is in modules of their own.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from app.essay import fetch
from app.essay.corpora import OWN, PUBLIC_CORPORA
from app.essay.experiments import EXPERIMENTS, Experiment
from app.essay.reproduce import Request, run
from app.supervisor.up import ROOT
from app.terminal import connect
from app.terminal.options import DATA, AskForKey, Data, Url, place, reported
from app.terminal.output import Failed

OWN_SOURCES = ("*.md", "docs/*.md", "app/**/*.js", "[abmtw]*/**/*.py")

corpus = typer.Typer(no_args_is_help=True, help="Texts to train on.")


@corpus.command("list")
def list_corpora(data: Data = DATA) -> None:
    """List the essay's public texts."""
    with reported():
        typer.echo(f"{'NAME':<17}{'DOWNLOAD':>12}  {'HERE':<6}{'LICENCE':<16}IS")
        for name, public in PUBLIC_CORPORA.items():
            size = "?" if public.bytes is None else f"{public.bytes:,}"
            here = "yes" if text_file(data, name).exists() else "no"
            typer.echo(f"{name:<17}{size:>12}  {here:<6}{public.licence:<16}{public.title}")
        here = "yes" if text_file(data, OWN).exists() else "no"
        typer.echo(f"{OWN:<17}{'none':>12}  {here:<6}{'its own':<16}this project's own sources")


@corpus.command("fetch")
def fetch_corpus(
    name: Annotated[str, typer.Argument(help="One of the list.")],
    to: Annotated[Path | None, typer.Option(help="A file; else it is kept with the data.")] = None,
    data: Data = DATA,
) -> None:
    """Get a text, and print where it is. A download that broke off is gone on with."""
    with reported():
        target = to or text_file(data, name)
        try:
            if name == OWN:
                _write_packed(fetch.pack_files(OWN_SOURCES, ROOT), target)
            elif name not in PUBLIC_CORPORA:
                names = ", ".join((*PUBLIC_CORPORA, OWN))
                raise Failed(f"there is no such text; there are {names}")
            else:
                fetch.fetch(PUBLIC_CORPORA[name], target, _tell, _Moving())
        except OSError as error:
            raise Failed(f"cannot write {target}: {error.strerror or error}") from None
        typer.echo(target)


@corpus.command("pack")
def pack_corpus(
    patterns: Annotated[
        list[str], typer.Argument(help="Folders, or patterns, quoted, as in 'src/**/*.c'.")
    ],
    to: Annotated[Path, typer.Option(help="The file that is written.")] = Path("packed.txt"),
) -> None:
    """Make one text of many files, in an order that is drawn, as the essay did of Linux."""
    with reported():
        try:
            _write_packed(fetch.pack_files(patterns, Path.cwd(), besides=to), to)
        except OSError as error:
            raise Failed(f"cannot pack: {error.strerror}: {error.filename}") from None


experiment = typer.Typer(no_args_is_help=True, help="The essay's experiments.")


@experiment.command("list")
def list_experiments(data: Data = DATA) -> None:
    """List the experiments, and whether their texts are here."""
    with reported():
        typer.echo(f"{'NAME':<14}{'TEXT':<13}{'HERE':<6}IS")
        for name, one in EXPERIMENTS.items():
            fetched = one.corpus and text_file(data, one.corpus).exists()
            # One that ships will do where there is no text.
            here = "yes" if fetched else "model" if one.model else "no"
            typer.echo(f"{name:<14}{one.corpus or '--corpus':<13}{here:<6}{one.title}")


@experiment.command("run")
def run_experiment(
    name: Annotated[str, typer.Argument(help="One of the list.")],
    minutes: Annotated[
        float | None,
        typer.Option(min=0.1, help="Train so long, with what suits it; else as the essay did."),
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="The text, for want of a fetched one.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="One that is there, instead of training one.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="A directory for the report; else it is kept with the data.")
    ] = None,
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """Run an experiment, and write a report of it as Markdown and as a page."""
    with reported():
        one = EXPERIMENTS.get(name)
        if one is None:
            raise Failed(f"there is no such experiment; there are {', '.join(EXPERIMENTS)}")
        if minutes is not None and model is not None:
            raise Failed("--minutes is for training, which --model spares: leave out one of them")
        if minutes is None and corpus is None:
            model = model or one.model
        text = _text_of(one, corpus, data, needed=model is None)
        command = " ".join(["./charloom", "experiment", "run", *_said(name, minutes, text, model)])
        request = Request(name, one, text, model, minutes, command)
        needs = connect.everything if model is None else connect.server
        directory = to or data.resolve() / "experiments" / name
        try:
            with needs(place(data, url, key)) as reached:
                written = run(reached, request, directory)
        except OSError as error:
            raise Failed(f"cannot run it: {error}") from None
        for path in written:
            typer.echo(path)


def _text_of(one: Experiment, corpus: Path | None, data: Path, *, needed: bool) -> Path | None:
    """The text of an experiment. Raises Failed: it is needed, and not here."""
    if corpus is not None:
        if not corpus.is_file():
            raise Failed(f"there is no file {corpus}")
        return corpus
    if one.corpus and (fetched := text_file(data, one.corpus)).exists():
        return fetched
    if not needed:
        return None
    if one.corpus is None:
        raise Failed("nobody may hand this text out: --corpus FILE names one that you have")
    raise Failed(
        f"its text is not here: ./charloom corpus fetch {one.corpus} gets it, "
        "or --corpus FILE names one"
    )


def _said(name: str, minutes: float | None, text: Path | None, model: str | None) -> Iterator[str]:
    """The command line again, in full."""
    yield name
    if minutes is not None and model is None:
        yield f"--minutes {minutes:g}"
    if model is not None:
        yield f"--model {model}"
    if text is not None:
        yield f"--corpus {text.name}"


def text_file(data: Path, name: str) -> Path:
    """Where a fetched text is kept."""
    return data.resolve() / "texts" / f"{name}.txt"


def _write_packed(packed: fetch.Packed, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(packed.text)
    _tell(f"{target}: {packed}")


def _tell(line: str) -> None:
    typer.echo(line, err=True)


class _Moving:
    """How far a download is, in a terminal alone."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, here: int, total: int | None) -> None:
        if not sys.stderr.isatty() or (time.monotonic() < self._next and here != total):
            return
        self._next = time.monotonic() + 0.2
        share = f"{here / total:4.0%} of {total:,}" if total else f"{here:,}"
        sys.stderr.write(f"\r{share} bytes{'' if here != total else chr(10)}")
        sys.stderr.flush()
