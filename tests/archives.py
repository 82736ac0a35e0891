"""Zips of checkpoints, and what somebody brings who means no good."""

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.checkpoints.archive import zipped
from models.checkpoints.format import MANIFEST, Checkpoint
from models.checkpoints.history import HistoryPoint
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.toys import toy_checkpoint

LIMIT = 1 << 20
JOB = "0123456789abcdef012345"


def full_checkpoint(seed: int = 0, **card: Any) -> Checkpoint:
    """One that has something of everything."""
    made: dict[str, Any] = {
        "job_id": JOB,
        "created_at": "2026-01-02T03:04:05.000Z",
        "step": 9,
    } | card
    history: list[HistoryPoint] = [
        {"step": 5, "train_loss": 2.5, "val_loss": None},
        {"step": 5, "text": "a b\n"},
    ]
    lines = np.array([1, 2**63], np.uint64)
    return replace(toy_checkpoint(seed=seed, **made), history=history, lines=lines)


Contents = dict[str, bytes]


def contents(archive: bytes) -> Contents:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def pack(files: Contents, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def sealed(files: Contents, **changed: bytes | dict[str, Any]) -> bytes:
    """A zip whose manifest is right, of a checkpoint with other contents: ``card`` is card.json."""
    files = dict(files)
    for stem, content in changed.items():
        (name,) = (name for name in files if name.partition(".")[0] == stem)
        files[name] = content if isinstance(content, bytes) else json.dumps(content).encode()
    files[MANIFEST] = json.dumps(
        {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
            if name != MANIFEST
        }
    ).encode()
    return pack(files)


def sound_archive(root: Path) -> bytes:
    """The zip of a sound checkpoint, published below a directory."""
    registry = Registry(root)
    digest = registry.publish(Reference("toy"), full_checkpoint())
    with registry.opened("toy", digest) as files:
        return b"".join(zipped(files))


def card_of(archive: bytes) -> dict[str, Any]:
    card: dict[str, Any] = json.loads(contents(archive)["card.json"])
    return card


def bomb(sound: bytes) -> bytes:
    """A thousand times as large, unpacked."""
    return pack(contents(sound) | {"history.jsonl": b"\n" * (LIMIT * 20)})


def bomb_that_lies(sound: bytes) -> bytes:
    """Its sizes say a byte each; the network is as large as any may be."""
    config = {"format": 1, "vocabulary_size": 28, "num_layers": 8, "hidden_size": 4096}
    archive = bytearray(sealed(contents(sound), config=config, model=b"\0" * (LIMIT * 4)))
    at = 0
    while (at := archive.find(b"PK\1\2", at + 1)) > 0:
        archive[at + 24 : at + 28] = struct.pack("<I", 1)
    return bytes(archive)


def directory_bomb(sound: bytes) -> bytes:
    """Nothing but entries."""
    entry = bytearray(sound[sound.find(b"PK\1\2") : sound.find(b"PK\1\2") + 46 + 11])
    count = LIMIT // len(entry) - 1000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, count * len(entry), 0, 0)
    return bytes(entry) * count + end


def directory_bomb_64(sound: bytes) -> bytes:
    """The same by the other of a zip's two ends."""
    entries = directory_bomb(sound)[:-22]
    end64 = struct.pack(
        "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1 << 20, 1 << 20, len(entries), 0
    )
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(entries), 1)
    return entries + end64 + locator + struct.pack("<4s4H2LH", b"PK\5\6", *[0] * 2, 9, 9, 9, 0, 0)


def twice(sound: bytes) -> bytes:
    out = io.BytesIO(sound)
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        zipfile.ZipFile(out, "a") as archive,
    ):
        archive.writestr("card.json", "{}")
    return out.getvalue()


def linked(sound: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in contents(sound).items():
            info = zipfile.ZipInfo(name)
            if name == "card.json":
                info.external_attr, content = 0o120777 << 16, b"/etc/passwd"
            archive.writestr(info, content)
    return out.getvalue()


def flagged(sound: bytes) -> bytes:
    """Each entry says that it is encrypted."""
    archive = bytearray(pack(contents(sound)))
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = -1
        while (at := archive.find(mark, at + 1)) >= 0:
            archive[at + offset] |= 1
    return bytes(archive)


def named(name: str) -> Callable[[bytes], bytes]:
    """With a file of another name too."""

    def attack(sound: bytes) -> bytes:
        info = zipfile.ZipInfo("x")
        info.filename = name
        out = io.BytesIO(sound)
        with zipfile.ZipFile(out, "a") as archive:
            archive.writestr(info, b"x")
        return out.getvalue()

    return attack


def by_a_mac(sound: bytes, folder: str = "Taken away/") -> bytes:
    """As macOS packs a folder again: one folder around, its settings, a resource fork each."""
    files: Contents = {folder: b"", f"{folder}.DS_Store": b"\0\0\0\1Bud1", "__MACOSX/": b""}
    for name, content in contents(sound).items():
        files[folder + name] = content
        files[f"__MACOSX/{folder}._{name}"] = b"\0\5\x16\7"
    return pack(files | {"__MACOSX/._Taken away": b"\0\5\x16\7"})


def bomb_in(name: str, size: int) -> Callable[[bytes], bytes]:
    """Nearly nothing, that unpacks to ``size`` bytes."""
    return lambda sound: pack(contents(sound) | {name: b"\0" * size})


def padded_bomb(sound: bytes) -> bytes:
    """Weights of nothing, of which the directory says that they were hardly compressed."""
    archive = bytearray(pack(contents(sound) | {"model.safetensors": b"\0" * (8 * LIMIT)}))
    at = -1
    while (at := archive.find(b"PK\1\2", at + 1)) >= 0:
        if archive[at + 46 :].startswith(b"model.safetensors"):
            archive[at + 20 : at + 24] = struct.pack("<I", 8 * LIMIT)
    return bytes(archive)


def changed(**files: Any) -> Callable[[bytes], bytes]:
    return lambda sound: sealed(contents(sound), **files)


def carded(**fields: Any) -> Callable[[bytes], bytes]:
    return lambda sound: sealed(contents(sound), card=card_of(sound) | fields)


def without(name: str) -> Callable[[bytes], bytes]:
    return lambda sound: pack({k: v for k, v in contents(sound).items() if k != name})


DEEP = b'{"options": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}"
ATTACKS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda _: b"", "not a zip"),
    "a text": (lambda _: b"never mind" * 10, "not a zip"),
    "truncated": (lambda sound: sound[:-30], "not a zip"),
    "cut in the middle": (lambda sound: sound[:5000] + sound[9000:], "damaged"),
    "something behind it": (lambda sound: sound + b"\0", "not a zip"),
    "a bomb": (bomb, "larger than"),
    "a bomb that lies": (bomb_that_lies, "damaged"),
    "a directory bomb": (directory_bomb, "more entries"),
    "a directory bomb of zip64": (directory_bomb_64, "more entries"),
    "twice": (twice, "twice"),
    "a link": (linked, "not a plain file"),
    "encrypted": (flagged, "encrypted"),
    "bzip2": (lambda sound: pack(contents(sound), zipfile.ZIP_BZIP2), "unsupported compression"),
    "up": (named("../../../etc/passwd"), "does not belong in a checkpoint"),
    "from the root": (named("/etc/passwd"), "does not belong in a checkpoint"),
    "backwards": (named("..\\card.json"), "does not belong in a checkpoint"),
    "in a folder": (named("toy/card.json"), "'card.json' that does not belong in a checkpoint"),
    "two folders around": (lambda s: by_a_mac(s, "a/b/"), "does not belong in a checkpoint"),
    "a mac's, twice": (lambda s: by_a_mac(by_a_mac(s)), "does not belong in a checkpoint"),
    "only what a mac adds": (lambda _: pack({"__MACOSX/._x": b""}), "is missing"),
    "a mac's with a secret": (
        lambda s: pack(contents(by_a_mac(s)) | {"Taken away/notes.txt": b"x"}),
        "'notes.txt' that does not belong",
    ),
    "a name that moves the cursor": (named("\x1b[2Jcard.json"), "a file that does not belong"),
    "a name and a NUL": (named("card.json\0.exe"), "does not belong in a checkpoint"),
    "a folder": (named("card.json/"), "does not belong in a checkpoint"),
    "a pickle": (named("model.pt"), "a file 'model.pt' that does not belong in a checkpoint"),
    "no manifest": (without("manifest.json"), "manifest.json is missing"),
    "no weights": (without("model.safetensors"), "model.safetensors is missing"),
    "the manifest of another": (lambda s: pack(contents(s) | {"card.json": b"{}"}), "sha256"),
    "JSON without end": (changed(card=b"[" * 100_000), "not valid JSON"),
    "JSON too deep to write": (changed(card=DEEP), "not valid JSON"),
    "a card of a megabyte": (
        changed(card={"options": {"a": "b" * 900_000}}),
        "is too large",
    ),
    "a date that is none": (carded(created_at="x"), "created_at is not a date"),
    "a date that no browser draws": (
        carded(created_at="+275761-01-01T00:00:00.000Z"),
        "created_at is not a date",
    ),
    "a config of 60,000 keys": (
        changed(config={f"k{n}": 0 for n in range(60_000)}),
        "config.json is too large",
    ),
    "a config of too many keys": (
        changed(config={"format": 1} | {f"k{n}": 0 for n in range(5_000)}),
        "config.json",
    ),
    "a key twice": (changed(card=b'{"step": 1, "step": 2}'), "not valid JSON"),
    "a line without end": (
        changed(history=b'{"step": 1, "text": "' + b"a" * 20_000 + b'"}'),
        "a line of more than 16 KiB",
    ),
    "half an order": (carded(baseline={"ngram_order": 5.5}), "ngram_order is not a whole number"),
    "a loss that is a word": (carded(val_loss="low"), "not a number"),
    "a loss beyond all": (carded(val_loss=10**400), "not a number"),
    "half a precision": (carded(precision={"exact": 1.0}), "lacks exact or fast"),
    "a corpus of words": (carded(corpus={"characters": "many"}), "corpus characters is not a"),
    "a corpus with a bell": (carded(corpus={"id": "\a"}), "corpus id is not a line of text"),
    "a share that is a word": (
        carded(memorisation={"novel_name_share": "all"}),
        "memorisation novel_name_share is not a number",
    ),
    "a corpus that is a list": (carded(corpus=[1]), "not an object"),
    "an n-gram model that is a list": (carded(ngram=["0" * 64]), "not a line"),
    "a job that moves the cursor": (carded(job_id="\x1b[2J"), "not a line"),
    "a history without steps": (changed(history=b'{"text": "a"}\n'), "not a number"),
    "a sample that is a number": (changed(history=b'{"step": 1, "text": 5}\n'), "not text"),
    "text of another alphabet": (changed(validation="é".encode()), "vocabulary"),
    "weights of another shape": (changed(model=b"\2" + b"\0" * 7 + b"{}"), "config.json describes"),
    "sizes without bound": (
        changed(config={"format": 1, "vocabulary_size": 28, "hidden_size": 1 << 40}),
        "hidden_size must be",
    ),
    "a config of another kind": (changed(config={"format": 1, "kind": ["lstm"]}), "config.json"),
    "lines in no order": (changed(lines=struct.pack("<2Q", 2, 1)), "increasing order"),
}
