"""What the terminal's commands have in common: where the service is, and how errors are told."""

import getpass
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from app.essay.fetch import FetchError
from app.supervisor.up import ROOT, Refusal
from app.terminal import connect, output
from app.terminal.client import ApiError

Data = Annotated[
    Path, typer.Option(envvar="CHARLOOM_DATA", help="The directory that keeps everything.")
]
Url = Annotated[
    str | None,
    typer.Option(
        envvar="CHARLOOM_URL",
        help="Of a running service; else the one on the data directory, else one is started. "
        "CHARLOOM_API_KEY is its key.",
    ),
]
# Not the key itself: everybody on the machine can read what a command was started with.
AskForKey = Annotated[
    bool, typer.Option("--key", help="Ask for the key, for want of CHARLOOM_API_KEY.")
]
DATA = ROOT / "data"


def place(data: Path, url: str | None, ask_for_key: bool) -> connect.Place:
    return connect.Place(data.resolve(), url, _asked_key() if ask_for_key else None)


def _asked_key() -> str:
    with warnings.catch_warnings():
        # It would take the key where everybody sees it.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass("Key: ", sys.stderr)
        except (getpass.GetPassWarning, EOFError):
            raise Refusal("--key asks in a terminal: set CHARLOOM_API_KEY instead") from None


@contextmanager
def reported() -> Iterator[None]:
    """What went wrong is one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal of another encoding shows what it can.
            stream.reconfigure(errors="replace")
    try:
        yield
    except (Refusal, ApiError, FetchError, output.Failed) as error:
        typer.echo(f"charloom: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(output.INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever read has enough. Python would complain once more as it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(128 + signal.SIGPIPE) from None
