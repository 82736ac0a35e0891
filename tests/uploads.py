"""What tests of uploads share: forms by hand, names that no other test has, and what is on disk."""

import os
from itertools import count
from pathlib import Path

import httpx2

LIMIT = 256 << 10
"""Bytes of a text, to the servers of these tests."""

FORM = "multipart/form-data; boundary=B"

names = (f"m{n}" for n in count())
"""Names for models, each one once."""


def part(name: str, content: str, more: str = "") -> str:
    return f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n{more}\r\n{content}\r\n'


def form(*parts: str) -> str:
    return "".join(parts) + "--B--\r\n"


def post_form(client: httpx2.Client, *parts: str) -> httpx2.Response:
    return client.post("/train", content=form(*parts), headers={"Content-Type": FORM})


def on_disk(data: Path) -> set[Path]:
    """Everything that the server keeps, half written things too."""
    # Path.rglob fails on what is removed meanwhile.
    walk = os.walk(data)
    found = {Path(folder, name) for folder, folders, files in walk for name in folders + files}
    return {path for path in found if path.suffix != ".json"} - {
        data / "corpora" / ".deleting",
        data / "jobs" / ".create",
    }
