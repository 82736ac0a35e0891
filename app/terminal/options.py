"""What commands share: the options that say where the service is, and how many workers it has.

Knows no command.
"""

import getpass
import math
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from app.supervisor.errors import UserError
from app.supervisor.installation import data_directory
from app.terminal import connect

Data = Annotated[Path, typer.Option(envvar="CHARLOOM_DATA", help="Data directory.")]
Url = Annotated[
    str | None,
    typer.Option(
        envvar="CHARLOOM_URL",
        help="URL of a running service. Default: the one on the data directory; if none runs "
        "there, one is started for the command. CHARLOOM_API_KEY is its key.",
    ),
]
# Not the key itself: anyone on the machine can read a command line.
AskForKey = Annotated[
    bool, typer.Option("--key", help="Prompt for the API key, if it is not in CHARLOOM_API_KEY.")
]
DATA = data_directory()


def temperatures(given: str | None) -> list[float] | None:
    """Reads one temperature or several, with commas between them. Raises typer.BadParameter."""
    if given is None:
        return None
    try:
        found = [float(part) for part in given.split(",")]
    except ValueError:
        found = []
    if not found or not all(map(math.isfinite, found)):
        raise typer.BadParameter("must be a number, or several with commas between them")
    return found


def workers_of(value: str | int) -> int | Literal["auto"]:
    """A number of workers, or ``auto``."""
    if value == "auto":
        return "auto"
    try:
        count = int(value)
    except ValueError:
        count = -1
    if count < 0:
        raise typer.BadParameter(f"{value!r} is neither auto nor a whole number, at least 0")
    return count


Workers = Annotated[
    Any,
    typer.Option(
        parser=workers_of,
        metavar="N|auto",
        help="Number of jobs that train at the same time; auto is one for each GPU.",
    ),
]


def place(data: Path, url: str | None, ask_for_key: bool) -> connect.Place:
    """Returns where to look for the service, and prompts for its key if asked to."""
    return connect.Place(data.resolve(), url, _asked_key() if ask_for_key else None)


def _asked_key() -> str:
    with warnings.catch_warnings():
        # getpass would echo the key.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass("Key: ", sys.stderr)
        except (getpass.GetPassWarning, EOFError):
            raise UserError("--key needs a terminal; set CHARLOOM_API_KEY instead") from None
