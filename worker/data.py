"""Where things lie below the data directory, and how it is opened. Knows no file's content."""

import os
import re
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from models.errors import Invalid
from models.files import CheckpointError, is_disk_full, read_bounded, write_durably
from models.places import make_directory, set_aside
from models.storage import ONE_DISK, Storage

FORMAT = 1
"""Of what lies there; raised where a release before could not read it any more.

A file ``format-1`` says it, by its name, which no damage to its content can change. It contains the
version that wrote it. Releases up to 0.1.0 left none.
"""


STORE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{3,63}", re.ASCII)
"""An operator may choose one, before the first start."""


class DataError(Invalid):
    """The data directory cannot be used; the message is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """One directory for server, workers, Redis and experiments.

    ``storage`` says what makes true what stores write there (``worker.storage.opening``).
    """

    root: Path
    storage: Storage = field(default=ONE_DISK, repr=False, compare=False)

    @property
    def jobs(self) -> Path:
        """``worker.jobs.JobStore``."""
        return self.root / "jobs"

    @property
    def corpora(self) -> Path:
        """``worker.corpora.CorpusStore``."""
        return self.root / "corpora"

    @property
    def models(self) -> Path:
        """``models.checkpoints.registry.Registry``."""
        return self.root / "models"

    @property
    def owners(self) -> Path:
        """``worker.owners.Owners``, and below ``models`` ``worker.model_owners.ModelOwners``."""
        return self.root / "owners"

    @property
    def devices(self) -> Path:
        """``worker.devices.DeviceStore``."""
        return self.root / "devices"

    @property
    def redis(self) -> Path:
        """The embedded Valkey's data."""
        return self.root / "redis"

    @property
    def secret(self) -> Path:
        """The file of the key that the server signs states with."""
        return self.root / "secret"

    @property
    def lock(self) -> Path:
        """The file that a running service holds."""
        return self.root / "charloom.lock"

    @property
    def hosts(self) -> Path:
        """``worker.hosts``: a locked file for each process that works here, on any host."""
        return self.root / "hosts"

    @property
    def has_store_id(self) -> bool:
        return _read_store_id(self.root / "store-id") is not None

    def store_id(self) -> str:
        """What tells this directory from others, wherever it is mounted; made at the first call.

        Raises:
            OSError: it cannot be made.
        """
        path = self.root / "store-id"
        while True:
            before = _inode(path)
            if (found := _read_store_id(path)) is not None:
                return found
            # One that another process has made meanwhile is sound: it is there whole or not at all.
            if before is not None and before == _inode(path):
                set_aside(path)
            make_directory(self.root)
            _make_store_id(path)

    def text(self, name: str) -> Path:
        """The file of a fetched text."""
        return self.root / "texts" / f"{name}.txt"

    def experiment(self, name: str) -> Path:
        """The directory of an experiment's report."""
        return self.root / "experiments" / name


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except OSError:
        return None


def _make_store_id(path: Path) -> None:
    """Writes an id, unless another process has written one."""
    made = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    found = secrets.token_hex(8)
    try:
        write_durably(made, f"{found}\n".encode())
        # Unlike a rename, a link replaces nothing: all processes get the first one's.
        os.link(made, path)
    except FileExistsError:
        pass
    except OSError as error:
        if is_disk_full(error):
            # A symbolic link holds its target without a block of its own.
            with suppress(FileExistsError):
                path.symlink_to(found)
        else:
            # A file system without links.
            made.replace(path)
    finally:
        made.unlink(missing_ok=True)


def _read_store_id(path: Path) -> str | None:
    if path.is_symlink():
        found = str(path.readlink())
        return found if STORE_ID.fullmatch(found) else None
    try:
        found = read_bounded(path, 100).decode("ascii").strip()
    except (CheckpointError, UnicodeDecodeError):
        return None
    return found if STORE_ID.fullmatch(found) else None


def open_data(root: Path, tell: Callable[[str], None], version: str | None = None) -> None:
    """Makes a data directory ready for a process that works there.

    Only its owner may enter one that is made here, and others may enter none. What this process
    makes from now on is for whom the directory is for: its group, too, if it may enter.

    Args:
        tell: is given a line for people where access was taken away.
        version: what to write down as the writer; None leaves that to another process.

    Raises:
        DataError: it cannot be used, or was written by a later release.
    """
    if root.exists() and not root.is_dir():
        raise DataError(f"cannot keep data in {root}: it is not a directory")
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot keep data in {root}: {error.strerror}") from None
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        is_read_only = os.statvfs(root).f_flag & os.ST_RDONLY
        reason = "the file system is read-only" if is_read_only else "permission denied"
        raise DataError(f"cannot keep data in {root}: {reason}")
    _check_format(root)
    _keep_others_out(root, tell)
    os.umask(0o777 & ~root.stat().st_mode)
    if version is not None and not (mark := root / f"format-{FORMAT}").exists():
        # A full disk need not keep anybody from reading.
        with suppress(OSError):
            mark.write_text(f"{version}\n", encoding="utf-8")


def _check_format(root: Path) -> None:
    for path in root.glob("format-*"):
        number = path.name.removeprefix("format-")
        if number.isdecimal() and int(number[:9]) > FORMAT:
            try:
                version = path.read_bytes()[:40].decode("ascii", "replace").strip()
            except OSError:
                version = ""
            writer = (
                f"charloom {version}" if version.isprintable() and version else "a later charloom"
            )
            raise DataError(
                f"the data directory {root} was written by {writer}, in a format that this release "
                "cannot read: upgrade charloom"
            )


def _keep_others_out(root: Path, tell: Callable[[str], None]) -> None:
    """Takes a directory from others, if it is for charloom only."""
    mode = root.stat().st_mode
    names = {path.name for path in root.iterdir()}
    marks = {path.name for path in (DataDirectory(root).lock, *root.glob("format-*"))}
    is_ours = bool(names & marks) or names <= {"texts", "experiments"}
    # A sticky one is everybody's, such as /tmp.
    if not mode & stat.S_IRWXO or mode & stat.S_ISVTX or not is_ours:
        return
    with suppress(OSError):
        root.chmod(0o700)
        if names:
            tell(f"other users could read {root}: it is now its owner's only (chmod 700)")
