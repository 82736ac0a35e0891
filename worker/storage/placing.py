"""A folder's files against its head: put into their places, and gathered for a new head.

Readers find a folder, or a directory in it, with all of its files or not at all. Knows no bucket.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from models.places import is_directory, names_in
from worker.storage import copies
from worker.storage.contents import Contents
from worker.storage.heads import LASTING, Grown, Head, Part


def apply(
    contents: Contents, folder: Path, head: Head, wanted: Iterable[str], *, is_whole: bool = True
) -> None:
    """Puts files of a head into their places.

    Args:
        contents: brings them.
        folder: the folder.
        head: its head.
        wanted: the paths of the files.
        is_whole: what is here and not in the head is removed, too.

    Raises:
        FileNotFoundError: an object is gone that the head names.
        StorageAway: one cannot be brought.
    """
    if head.is_gone:
        copies.drop(folder)
        return
    paths = sorted(wanted, key=copies.placing_order)
    if not is_directory(folder) and "" not in head.files:
        _place_whole(contents, folder, {path: folder / path for path in head.files}, head)
        return
    for path in (path for path in paths if path in head.files):
        target = copies.at(folder, path)
        if path and not is_directory(target.parent):
            beside = {p: folder / p for p in paths if (folder / p).parent == target.parent}
            _place_whole(contents, target.parent, beside, head)
        else:
            contents.place(target, path, head.files[path])
    for path in copies.paths(folder) if is_whole else paths:
        if path not in head.files:
            copies.drop(copies.at(folder, path))
            _drop_empty(folder, copies.at(folder, path).parent)


def _place_whole(contents: Contents, directory: Path, targets: dict[str, Path], head: Head) -> None:
    """Makes a directory with files of a head."""
    staged = copies.stage(directory)
    staged.mkdir()
    try:
        for path, target in targets.items():
            if path in head.files:
                contents.place(staged / target.relative_to(directory), path, head.files[path])
        staged.rename(directory)
    except OSError:
        # Another process of this host may have brought it meanwhile.
        if not is_directory(directory):
            raise
    finally:
        copies.drop(staged)


def _drop_empty(folder: Path, directory: Path) -> None:
    if directory != folder and folder in directory.parents and not names_in(directory):
        with suppress(OSError):
            directory.rmdir()


def gather(contents: Contents, folder: Path, before: Head, key: str) -> dict[str, Part]:
    """The files of a folder as a new head names them; what is new in them is sent.

    Args:
        contents: sends them.
        folder: the folder.
        before: its newest head.
        key: the beginning of keys for what is sent.
    """
    files: dict[str, Part] = {}
    for path in copies.paths(folder):
        target = copies.at(folder, path)
        part = contents.part(target, path, before.files.get(path), key)
        if part is not None:
            files[path] = part
    is_here = is_directory(folder)
    for path, part in before.files.items():
        # One that grows is here only where it is needed.
        is_absent = isinstance(part, Grown) and is_here
        if path not in files and (path == LASTING or is_absent):
            files[path] = part
    return {path: part for path, part in files.items() if _is_complete(path, files)}


def _is_complete(path: str, files: dict[str, Part]) -> bool:
    """False for half of a saved state, whose other half was removed while it was sent."""
    if not path.startswith("state/"):
        return True
    directory = path.rpartition("/")[0]
    return all(f"{directory}/{name}" in files for name in ("rest.json", "tensors.safetensors"))
