"""A checkpoint comes back as it was written, and nothing wrong with one gets past the reader."""

import hashlib
import json
import math
import os
import shutil
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from models.checkpoints.format import MAX_LINES, Checkpoint, read
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.files import CheckpointError
from models.ngram_table import CHOICES, NGramTable, lookup_constants
from tests.forgery import CONFIG, VOCABULARY, a_checkpoint, a_counted_checkpoint, forged


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def test_the_format_stays_as_it_is(registry: Registry) -> None:
    """Every byte of these contents: a checkpoint of today is read, and named the same, tomorrow."""
    digest = registry.publish(Reference("linux"), a_checkpoint())
    assert digest == "59ec363c41d89972ebfb466bc927eea6a0bef3669fac0f681a0fcc10950880f4"
    directory = registry.root / "linux" / digest
    assert sorted(path.name for path in directory.iterdir()) == [
        "README.md",
        "card.json",
        "config.json",
        "history.jsonl",
        "lines.u64",
        "manifest.json",
        "model.safetensors",
        "validation.txt",
        "vocab.json",
    ]
    assert hashlib.sha256((directory / "manifest.json").read_bytes()).hexdigest() == digest
    assert json.loads((directory / "config.json").read_text()) == {
        "format": 1,
        "vocabulary_size": 3,
        "kind": "lstm",
        "num_layers": 1,
        "hidden_size": 2,
        "embedding_size": 0,
        "dropout": 0.0,
    }
    assert "1.5000 nats per character (2.1640 bits)" in (directory / "README.md").read_text()


def test_validation_text_is_cut_at_a_whole_character(registry: Registry) -> None:
    long = Checkpoint(
        CONFIG, VOCABULARY, a_checkpoint().weights, {}, [], b"a" + "é".encode() * 60_000
    )
    found = registry.load("linux", registry.publish(Reference("linux"), long))
    assert 99_990 < len(found.validation) <= 100_000
    assert set(found.validation.decode()) == {"a", "é"}


FILES = (
    "config.json",
    "vocab.json",
    "model.safetensors",
    "card.json",
    "README.md",
    "history.jsonl",
    "validation.txt",
    "lines.u64",
    "manifest.json",
)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def link(path: Path) -> None:
    elsewhere = path.parent.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "a bit flipped": flip,
    "bytes appended": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "endless": lambda path: os.truncate(path, 1 << 40),
    "missing": Path.unlink,
    "a link": link,
    "a pipe": pipe,
    "a directory": directory,
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a checkpoint; not to be changed."""
    registry = Registry(tmp_path_factory.mktemp("sound"))
    return registry.root / "linux" / registry.publish(Reference("linux"), a_checkpoint())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused_in_words(name: str, damage: str, sound: Path, tmp_path: Path) -> None:
    damaged = tmp_path / sound.name
    shutil.copytree(sound, damaged)
    DAMAGE[damage](damaged / name)
    with pytest.raises(CheckpointError) as refusal:
        read(damaged)
    assert name.split(".")[0] in str(refusal.value)
    # People read it: no path of this machine.
    assert str(tmp_path) not in str(refusal.value)


def weights(**changed: Any) -> bytes:
    tensors = a_checkpoint().weights | changed
    return save({name: tensor for name, tensor in tensors.items() if tensor is not None})


def with_header(change: Callable[[dict[str, Any]], Any]) -> bytes:
    """Sound weights under a header that says something else."""
    data = weights()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    changed = json.dumps(change(header) or header).encode()
    return struct.pack("<Q", len(changed)) + changed + data[8 + length :]


NAN = np.array([0, np.nan, 0], np.float32)
HOSTILE_WEIGHTS = {
    "nan": weights(**{"output.bias": NAN}),
    "infinity": weights(**{"output.bias": NAN + np.inf}),
    "half precision": weights(**{"output.bias": NAN.astype(np.float16)}),
    "double precision": weights(**{"output.bias": NAN.astype(np.float64)}),
    "another shape": weights(**{"output.bias": np.zeros(4, np.float32)}),
    "turned around": weights(**{"output.weight": np.zeros((2, 3), np.float32)}),
    "one missing": weights(**{"output.bias": None}),
    "one more": weights(more=NAN),
    "empty": b"",
    "short": b"\0" * 7,
    "no header": struct.pack("<Q", 0),
    "header of 2**63 bytes": struct.pack("<Q", 1 << 63) + weights()[8:],
    "header of everything": struct.pack("<Q", len(weights()) - 8) + weights()[8:],
    "header no object": struct.pack("<Q", 2) + b"[]",
    "header too deep": struct.pack("<Q", 200_000) + b"[" * 200_000,
    "bytes at the end": weights() + b"\0",
    "bytes missing": weights()[:-1],
    "shape no list": with_header(lambda h: h["output.bias"].update(shape=3)),
    "shape nested": with_header(lambda h: h["output.bias"].update(shape=[[3]])),
    "no shape": with_header(lambda h: h["output.bias"].pop("shape") and None),
    "offsets outside": with_header(lambda h: h["output.bias"].update(data_offsets=[0, 1 << 40])),
    "offsets overlapping": with_header(lambda h: h["output.bias"].update(data_offsets=[0, 12])),
    "entry no object": with_header(lambda h: h.update(more=5)),
}


@pytest.mark.parametrize("kind", HOSTILE_WEIGHTS)
def test_hostile_weights_are_refused(kind: str, sound: Path, tmp_path: Path) -> None:
    hostile = forged(sound, tmp_path, "model.safetensors", HOSTILE_WEIGHTS[kind])
    with pytest.raises(CheckpointError, match=r"model\.safetensors|a weight is not finite"):
        read(hostile)


def config(**changed: Any) -> bytes:
    sizes = {"format": 1, "vocabulary_size": 3, "num_layers": 1, "hidden_size": 2}
    return json.dumps(sizes | changed).encode()


HOSTILE_JSON = [
    ("config.json", b"", "config"),
    ("config.json", b"[]", "config"),
    ("config.json", b'{"format": 1}', "config"),
    ("config.json", config(format=2), "format"),
    ("config.json", config(hidden_size=1 << 40), "hidden_size"),
    ("config.json", config(hidden_size="2"), "hidden_size"),
    ("config.json", config(num_layers=True), "num_layers"),
    ("config.json", config(dropout="much"), "config"),
    ("config.json", config(dropout=math.nan), "config"),
    ("config.json", config(kind=[]), "config"),
    ("config.json", config(more=1), "config"),
    ("config.json", config(hidden_size=4), "safetensors does not contain"),
    ("config.json", config(vocabulary_size=4), "disagree"),
    ("config.json", b'{"format": ' + b"[" * 100_000, "config"),
    ("config.json", b'{"format": ' + b"1" * 10_000 + b"}", "config"),
    ("config.json", '{"format": 1}'.encode("utf-16"), "config"),
    ("vocab.json", b'{"tokens": "characters", "symbols": ["a", "b"]}', "disagree"),
    ("vocab.json", b'{"tokens": "characters", "symbols": ["b", "a", "c"]}', "vocab"),
    ("vocab.json", b'{"tokens": "characters", "symbols": ["a", "b", "\\ud800"]}', "vocab"),
    ("vocab.json", b'{"tokens": {}, "symbols": [1, 2, 3]}', "vocab"),
    ("card.json", b'"card"', "card"),
    ("card.json", b'{"val_loss": NaN}', "card"),
    ("card.json", b'{"val_loss": 1e999}', "card"),
    ("card.json", b'{"val_loss": -Infinity}', "card"),
    ("card.json", b'{"text": "\\uD83d"}', "card"),
    ("card.json", b'{"a":' * 100_000, "card"),
    ("history.jsonl", b'{"step": 1}\n[]\n', "history"),
    ("history.jsonl", b'{"step": 1}{"step": 2}\n', "history"),
    ("validation.txt", b"a" * 100_001, "validation"),
    ("lines.u64", b"1234567", "lines.u64 is truncated"),
    ("lines.u64", struct.pack("<2Q", 2, 1), "increasing order"),
    ("lines.u64", struct.pack("<2Q", 2, 2), "increasing order"),
    ("lines.u64", bytes(8 * MAX_LINES + 8), "lines.u64 is too large"),
    ("manifest.json", b"[]", "manifest"),
    ("manifest.json", b"{}", "manifest"),
    ("manifest.json", json.dumps({name: [] for name in FILES}).encode(), "manifest"),
    ("manifest.json", json.dumps({name: {"sha256": None} for name in FILES}).encode(), "manifest"),
]


@pytest.mark.parametrize(
    ("name", "data", "reason"), HOSTILE_JSON, ids=[f"{n} {d[:50]!r}" for n, d, _ in HOSTILE_JSON]
)
def test_hostile_contents_are_refused(
    name: str, data: bytes, reason: str, sound: Path, tmp_path: Path
) -> None:
    """Their sha256 is right: a checkpoint may come from anywhere."""
    with pytest.raises(CheckpointError, match=reason):
        read(forged(sound, tmp_path, name, data))


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a checkpoint with an n-gram table; not to be changed."""
    registry = Registry(tmp_path_factory.mktemp("counted"))
    return registry.root / "linux" / registry.publish(Reference("linux"), a_counted_checkpoint())


def test_a_table_comes_back(counted: Path) -> None:
    found, written = read(counted), a_counted_checkpoint()
    assert found.config == written.config
    assert found.config.ngram_lengths == (1, 2, 3)
    assert found.weights.keys() == written.weights.keys()
    for name, tensor in written.weights.items():
        assert found.weights[name].dtype == tensor.dtype
        assert np.array_equal(found.weights[name], tensor)
    sizes = json.loads((counted / "config.json").read_text())
    assert sizes["ngram_buckets"] == list(written.config.ngram_buckets)


def counted_weights(**changed: Any) -> bytes:
    tensors = a_counted_checkpoint().weights | changed
    return save({name: tensor for name, tensor in tensors.items() if tensor is not None})


TABLE = a_counted_checkpoint()
BOOSTS = TABLE.weights["ngram.boosts"]
KEYS, ROWS, LISTS = (TABLE.weights[f"ngram.{name}"] for name in ("hashes", "rows", "followers"))


def with_key(bucket: int, key: int) -> bytes:
    keys = KEYS.copy()
    keys[bucket] = key
    return counted_weights(**{"ngram.hashes": keys})


IN_PLACE = int(np.flatnonzero(KEYS != -1)[0])


def elsewhere() -> int:
    """The first key that may not stand there."""
    multipliers, moduli, offsets = lookup_constants(TABLE.config.ngram_buckets)
    return next(
        key
        for key in range(1000)
        if IN_PLACE not in (((np.int32(key) * multipliers) % moduli)[:, None] + offsets)[:CHOICES]
    )


def followers(id_: int) -> bytes:
    lists = LISTS.copy()
    lists[-1, -1] = id_
    return counted_weights(**{"ngram.followers": lists})


HOSTILE_TABLES = {
    "no keys": counted_weights(**{"ngram.hashes": None}),
    "no rows": counted_weights(**{"ngram.rows": None}),
    "no gates": counted_weights(**{"gates.weight": None}),
    "no biases of the gates": counted_weights(**{"gates.bias": None}),
    "one gate": counted_weights(**{"gates.bias": np.ones(1, np.float32)}),
    "gates not finite": counted_weights(**{"gates.bias": np.array([1, np.nan], np.float32)}),
    "keys of 16 bits": counted_weights(**{"ngram.hashes": KEYS.astype(np.int16)}),
    "keys of 64 bits, but not followers of 16": counted_weights(
        **{"ngram.hashes": KEYS.astype(np.int64)}
    ),
    "keys without sign": counted_weights(**{"ngram.hashes": KEYS.astype(np.uint32)}),
    "keys in fp64": counted_weights(**{"ngram.hashes": KEYS.astype(np.float64)}),
    "rows with a sign": counted_weights(**{"ngram.rows": ROWS.astype(np.int8)}),
    "rows in fp32": counted_weights(**{"ngram.rows": ROWS.astype(np.float32)}),
    "rows too short": counted_weights(**{"ngram.rows": ROWS[:, :2].copy()}),
    "rows too long": counted_weights(**{"ngram.rows": np.hstack([ROWS, ROWS])}),
    "a row missing": counted_weights(**{"ngram.rows": ROWS[:-1]}),
    "a row more": counted_weights(**{"ngram.rows": np.vstack([ROWS, ROWS[:1]])}),
    "a key missing": counted_weights(**{"ngram.hashes": KEYS[:-1]}),
    "keys in a column": counted_weights(**{"ngram.hashes": KEYS[:, None]}),
    "a key for no context": with_key(0, 1),
    "a key out of place": with_key(IN_PLACE, elsewhere()),
    "a follower that is no id": followers(3),
    "a follower that is far from one": followers(255),
    "boosts for no context": counted_weights(**{"ngram.boosts": np.full_like(BOOSTS, 1)}),
    "followers of 32 bits": counted_weights(**{"ngram.followers": LISTS.astype(np.uint32)}),
    "followers with a sign": counted_weights(**{"ngram.followers": LISTS.astype(np.int8)}),
    "boosts with a sign": counted_weights(**{"ngram.boosts": LISTS.astype(np.int8)}),
    "boosts too long": counted_weights(**{"ngram.boosts": np.hstack([LISTS] * 2).astype("u1")}),
    "a list missing": counted_weights(**{"ngram.followers": LISTS[:-1]}),
    "keys turned around": counted_weights(**{"ngram.hashes": KEYS[::-1].copy()}),
    "a table without a config": counted_weights(),
    "a config without a table": weights(),
}


@pytest.mark.parametrize("kind", HOSTILE_TABLES)
def test_hostile_tables_are_refused(kind: str, sound: Path, counted: Path, tmp_path: Path) -> None:
    of = sound if kind == "a table without a config" else counted
    hostile = forged(of, tmp_path, "model.safetensors", HOSTILE_TABLES[kind])
    with pytest.raises(CheckpointError, match=r"model\.safetensors|a weight is not finite"):
        read(hostile)


def test_a_table_with_keys_of_64_bits_is_read_as_one_of_32(counted: Path, tmp_path: Path) -> None:
    """As models had it that were trained before keys were halved; they stood in other places."""
    own = NGramTable.in_weights(*TABLE.config.table_sizes, TABLE.weights)
    assert own
    order = [0]
    for size in (*own.sizes, *own.long_sizes):
        order += [len(order) + at for at in reversed(range(size))]
    hashes = KEYS.astype(np.int64) + np.where(KEYS == -1, 0, 7 << 32)
    count = len(ROWS)
    old = counted_weights(
        **{
            "ngram.hashes": hashes[order],
            "ngram.rows": ROWS[order[:count]],
            "ngram.followers": LISTS.astype(np.uint16)[[0, *np.array(order[count:]) - count + 1]],
            "ngram.boosts": BOOSTS[[0, *np.array(order[count:]) - count + 1]],
        }
    )
    checkpoint = read(forged(counted, tmp_path, "model.safetensors", old))
    table = NGramTable.in_weights(*checkpoint.config.table_sizes, checkpoint.weights)
    assert table and table.is_sound()
    assert set(table.keys.tolist()) == set(KEYS.tolist())
    begin = 1
    for index, size in enumerate((*own.sizes, *own.long_sizes)):
        keys = KEYS[begin : begin + size]
        keys = keys[keys != -1]
        pairs = [np.zeros((2, len(keys)), np.int64) for _ in range(2)]
        for found, each in zip(pairs, (own, table), strict=True):
            found[int(index >= len(own.sizes))] = each.numbers(index, keys)
        told = [
            each.log_probabilities(found.T) for found, each in zip(pairs, (own, table), strict=True)
        ]
        np.testing.assert_array_equal(told[0], told[1])
        begin += size


@pytest.mark.parametrize(
    "sizes",
    [
        (1 << 22,),
        (1 << 22, 1),
        (-1,),
        (1.5,),
        (True,),
        ([1],),
        (1 << 200,),
        (1,) * 100,
        None,
        3,
        "33",
        {"3": 3},
        *([3 + more, 3] for more in (-2, 1)),
        [],
    ],
    ids=lambda sizes: str(sizes)[:40],
)
def test_a_config_that_lies_about_its_table_is_refused(
    sizes: Any, counted: Path, tmp_path: Path
) -> None:
    """Before anything is allocated that is as large as it says."""
    hostile = forged(counted, tmp_path, "config.json", config(ngram_buckets=sizes))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"ngram_buckets|does not contain|out of place"):
            read(hostile)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_forgery_of_sound_contents_is_a_checkpoint(sound: Path, tmp_path: Path) -> None:
    """The tests above refuse what they say, not the way it was made."""
    found = read(forged(sound, tmp_path, "card.json", b'{"text": "\\ud83d\\ude00"}'))
    assert found.card == {"text": "😀"}
    read(forged(sound, tmp_path, "model.safetensors", with_header(lambda h: h)))
