"""The essay's public texts: their URLs, sizes, licences and checksums.

One table. Knows no network: ``app.essay.fetch`` downloads them.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class PublicCorpus:
    """A text that anyone can download.

    Attributes:
        title: one line about it.
        url: of the file to download.
        bytes: of that file, as its publisher states; None if it changes.
        licence: of the text.
        kind: whether the file is the text itself, a zip with it, or a tar archive of sources.
        members: patterns, as of ``fnmatch``, of the files in an archive that make the text.
        sha256: of the file; None if it is not known.
        text_sha256: of the extracted text, if that is not the file itself.
    """

    title: str
    url: str
    bytes: int | None
    licence: str
    kind: Literal["text", "zip", "tar"] = "text"
    members: tuple[str, ...] = ()
    sha256: str | None = None
    text_sha256: str | None = None


_GITHUB = "https://raw.githubusercontent.com/karpathy"
_STANFORD = "https://cs.stanford.edu/people/karpathy/char-rnn"

PUBLIC_CORPORA = {
    "tinyshakespeare": PublicCorpus(
        "a megabyte of Shakespeare, char-rnn's own example",
        f"{_GITHUB}/char-rnn/master/data/tinyshakespeare/input.txt",
        1_115_394,
        "public domain",
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
    "shakespeare": PublicCorpus(
        "all of Shakespeare, as in the essay",
        f"{_STANFORD}/shakespeare_input.txt",
        4_573_338,
        "public domain",
        sha256="59a0ad62833b2e15ec811c548618876359e902717431236e52699a0e2bc253ca",
    ),
    "warpeace": PublicCorpus(
        "War and Peace, as in arXiv 1506.02078",
        f"{_STANFORD}/warpeace_input.txt",
        3_258_246,
        "public domain",
        sha256="fb66ba999dafe24017cdd59e04c56d385a9c8466993d374fd4c6f08b2142985e",
    ),
    "names": PublicCorpus(
        "32,033 given names of the US Social Security, makemore's",
        f"{_GITHUB}/makemore/master/names.txt",
        228_145,
        "MIT",
        sha256="0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
    ),
    "enwik8": PublicCorpus(
        "the first 100 MB of Wikipedia, the Hutter prize's",
        "https://mattmahoney.net/dc/enwik8.zip",
        36_445_475,
        "CC BY-SA, GFDL",
        kind="zip",
        members=("enwik8",),
        text_sha256="2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
    ),
    "linux": PublicCorpus(
        "kernel/ of Linux 4.1, C sources and headers, shuffled",
        "https://cdn.kernel.org/pub/linux/kernel/v4.x/linux-4.1.tar.xz",
        None,
        "GPL-2.0",
        kind="tar",
        members=("linux-4.1/kernel/*.c", "linux-4.1/kernel/*.h"),
        sha256="caf51f085aac1e1cea4d00dbbf3093ead07b551fc07b31b2a989c05f8ea72d9f",
    ),
    "latex": PublicCorpus(
        "the Stacks project's algebraic geometry in LaTeX, as it is today",
        "https://github.com/stacks/stacks-project/archive/refs/heads/master.tar.gz",
        None,
        "GFDL",
        kind="tar",
        members=("stacks-project-master/*.tex",),
    ),
}

OWN = "charloom"
"""One more name: this project's own sources, which need no network."""
