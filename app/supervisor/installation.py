"""Where charloom's code is: in a clone of its repository, or installed as a package.

Both have the same folders side by side. Says which one this is, and what follows from it: how its
command is called, and where data is kept unless somebody says otherwise. Knows no command.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Has ``app``, ``worker``, ``models`` and ``pretrained``; the processes' working directory."""

IS_CLONE = (ROOT / "charloom").is_file()
"""Whether the launcher is there, which is not part of a package."""

COMMAND = "./charloom" if IS_CLONE else "charloom"


def data_directory() -> Path:
    """Where data is kept: in a clone beside the code, else where the platform wants it.

    That is ``~/.local/share/charloom`` on Linux, unless ``XDG_DATA_HOME`` names another place, and
    ``~/Library/Application Support/charloom`` on macOS.
    """
    if IS_CLONE:
        return ROOT / "data"
    # Not needed in a clone, whose commands start sooner without it.
    import platformdirs

    return platformdirs.user_data_path("charloom", appauthor=False)
