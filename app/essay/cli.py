"""The commands around the essay: its texts, and its experiments.

Knows the command line; what a command does is in modules of their own. Those that read texts are
imported by the command that needs them, so that every other one starts sooner.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from app.essay import fetch
from app.essay.corpora import OWN, PUBLIC_CORPORA
from app.essay.experiments import EXPERIMENTS, Experiment
from app.supervisor.errors import UserError
from app.supervisor.installation import COMMAND, IS_CLONE, ROOT
from app.terminal import connect
from app.terminal.ending import reported
from app.terminal.options import DATA, AskForKey, Data, Url, place
from app.terminal.output import console, table, tell, write
from worker.data import DataDirectory

PACKAGES = ("app", "models", "worker")

OWN_SOURCES = (
    "app/**/*.js",
    *(f"{folder}/**/*.py" for folder in PACKAGES),
    # Beside an installed package, these would be others'.
    *(("*.md", "docs/*.md", "bench/**/*.py", "tests/**/*.py") if IS_CLONE else ()),
)

corpus = typer.Typer(no_args_is_help=True, help="List, fetch or pack texts to train on.")


@corpus.command("list")
def list_corpora(data: Data = DATA) -> None:
    """List the essay's public texts."""
    with reported():
        rows = [
            (
                name,
                "?" if public.bytes is None else f"{public.bytes:,}",
                _is_here(data, name),
                public.licence,
                public.title,
            )
            for name, public in PUBLIC_CORPORA.items()
        ]
        rows.append((OWN, "none", _is_here(data, OWN), "its own", "this project's own sources"))
        table(("NAME", "DOWNLOAD", "HERE", "LICENCE", "TITLE"), rows, "no texts")


def _is_here(data: Path, name: str) -> str:
    return "yes" if _kept(data).text(name).exists() else "no"


@corpus.command("fetch")
def fetch_corpus(
    name: Annotated[str, typer.Argument(help=f"A name from {COMMAND} corpus list.")],
    to: Annotated[
        Path | None, typer.Option(help="File to write. Default: one in the data directory.")
    ] = None,
    data: Data = DATA,
) -> None:
    """Download a text and print its path. An interrupted download resumes."""
    with reported():
        target = to or _kept(data).text(name)
        try:
            if name == OWN:
                _write_packed(fetch.pack_files(OWN_SOURCES, ROOT), target)
            elif name not in PUBLIC_CORPORA:
                names = ", ".join((*PUBLIC_CORPORA, OWN))
                raise UserError(f"no text is named so; choose one of {names}")
            else:
                with _shown() as show:
                    fetch.fetch(PUBLIC_CORPORA[name], target, tell, show)
        except OSError as error:
            raise UserError(f"cannot write {target}: {error.strerror or error}") from None
        write(f"{target}\n")


@contextmanager
def _shown() -> Iterator[fetch.Show]:
    """Yields what shows how far a download is, in a terminal."""
    screen = console(sys.stderr)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as progress:
        task = progress.add_task("", visible=False)
        yield lambda here, total: progress.update(task, completed=here, total=total, visible=True)


@corpus.command("pack")
def pack_corpus(
    patterns: Annotated[
        list[str], typer.Argument(help="Folders, or quoted patterns such as 'src/**/*.c'.")
    ],
    to: Annotated[Path, typer.Option(help="File to write.")] = Path("packed.txt"),
) -> None:
    """Pack many files into one text, shuffled, as the essay did with Linux."""
    with reported():
        try:
            _write_packed(fetch.pack_files(patterns, Path.cwd(), to=to), to)
        except OSError as error:
            place = error.filename or to
            raise UserError(f"cannot pack: {error.strerror}: {place}") from None


experiment = typer.Typer(no_args_is_help=True, help="List or run the essay's experiments.")


@experiment.command("list")
def list_experiments(data: Data = DATA) -> None:
    """List the experiments, and whether their texts are downloaded."""
    with reported():
        rows = []
        for name, one in EXPERIMENTS.items():
            fetched = one.corpus and _kept(data).text(one.corpus).exists()
            # A model that ships can stand in for the text.
            here = "yes" if fetched else "model" if one.model else "no"
            rows.append((name, one.corpus or "--corpus", here, one.title))
        table(("NAME", "TEXT", "HERE", "TITLE"), rows, "no experiments")


@experiment.command("run")
def run_experiment(
    name: Annotated[str, typer.Argument(help=f"A name from {COMMAND} experiment list.")],
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Training time, with options that suit it. Default: the essay's options, however "
            "long they take.",
        ),
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="File with the text. Default: the downloaded one.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model to use instead of training one.")] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="Directory for the report. Default: one in the data directory."),
    ] = None,
    data: Data = DATA,
    url: Url = None,
    key: AskForKey = False,
) -> None:
    """Run an experiment and write a report, as Markdown and as a page."""
    from app.essay.reproduce import Request, run

    with reported():
        one = EXPERIMENTS.get(name)
        if one is None:
            raise UserError(f"no experiment is named so; choose one of {', '.join(EXPERIMENTS)}")
        if minutes is not None and model is not None:
            raise UserError("--minutes sets how long to train, but --model skips training")
        if minutes is None and corpus is None:
            model = model or one.model
        text = _text_of(one, corpus, data, needed=model is None)
        command = " ".join([COMMAND, "experiment", "run", *_said(name, minutes, text, model)])
        request = Request(name, one, text, model, minutes, command)
        needs = connect.everything if model is None else connect.server
        directory = to or _kept(data).experiment(name)
        try:
            with needs(place(data, url, key)) as reached:
                written = run(reached, request, directory)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(f"cannot run it: {reason}: {error.filename or directory}") from None
        for path in written:
            write(f"{path}\n")


def _text_of(one: Experiment, corpus: Path | None, data: Path, *, needed: bool) -> Path | None:
    """Returns the text of an experiment. Raises UserError: it is needed, and missing."""
    if corpus is not None:
        if not corpus.is_file():
            raise UserError(f"there is no file {corpus}")
        return corpus
    if one.corpus and (fetched := _kept(data).text(one.corpus)).exists():
        return fetched
    if not needed:
        return None
    if one.corpus is None:
        raise UserError("this text cannot be redistributed; pass your own copy with --corpus FILE")
    raise UserError(
        f"its text is not here; download it with {COMMAND} corpus fetch {one.corpus}, or pass "
        "your own copy with --corpus FILE"
    )


def _said(name: str, minutes: float | None, text: Path | None, model: str | None) -> Iterator[str]:
    """Yields the arguments again, defaults included."""
    yield name
    if minutes is not None and model is None:
        yield f"--minutes {minutes:g}"
    if model is not None:
        yield f"--model {model}"
    if text is not None:
        yield f"--corpus {text.name}"


def _kept(data: Path) -> DataDirectory:
    return DataDirectory(data.resolve())


def _write_packed(packed: fetch.Packed, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(packed.text)
    tell(f"{target}: {packed}")
