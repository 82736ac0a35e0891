"""``charloom backup`` and ``restore``, in a terminal: progress, and how they ended.

They work on the disk, with or without a service. Knows nothing of what a backup holds.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from app import __version__
from app.supervisor.errors import UserError
from app.supervisor.lock import data_lock
from app.terminal.output import console, tell
from app.terminal.progress import LINE_SECONDS
from worker import backups
from worker.backups import Amount, BackupError, Tell
from worker.data import DataDirectory, DataError, open_data


def back_up(data: Path, target: Path) -> None:
    if bucket := os.environ.get("CHARLOOM_STORAGE"):
        raise UserError(
            f"{bucket} keeps everything (CHARLOOM_STORAGE): use the bucket's own means for "
            "backups, such as versioning or replication"
        )
    with _words(), _shown("saved") as show:
        amount = backups.back_up(DataDirectory(data), target, __version__, show)
    tell(f"{target}: {_said(amount)}")


def check(source: Path) -> None:
    with _words(), _shown("read") as show:
        amount = backups.verify(source, show)
    tell(f"{source} is whole: {_said(amount)}")


def restore(source: Path, data: Path) -> None:
    with _words():
        backups.check_vacant(data)
        # Before a directory is made for what is none.
        source.open("rb").close()
        open_data(data, tell)
        with data_lock(data, ""), _shown("restored") as show:
            amount = backups.restore(source, data, show)
    tell(f"{data}: {_said(amount)}")


@contextmanager
def _words() -> Iterator[None]:
    try:
        yield
    except (BackupError, DataError) as error:
        raise UserError(str(error)) from None


@contextmanager
def _shown(done: str) -> Iterator[Tell]:
    """Yields what shows how far it is: a bar in a terminal, elsewhere a line now and then."""
    screen = console(sys.stderr)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    following = time.monotonic() + LINE_SECONDS
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as progress:
        task = progress.add_task("", visible=False)

        def show(here: int, total: int) -> None:
            nonlocal following
            progress.update(task, completed=here, total=total, visible=True)
            if not screen.is_terminal and time.monotonic() >= following:
                following = time.monotonic() + LINE_SECONDS
                tell(f"{done} {_megabytes(here)} of {_megabytes(total)}")

        yield show


def _said(amount: Amount) -> str:
    return f"{amount.files:,} files, {_megabytes(amount.bytes)}"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
