"""A model on disk is whole or not there, and nothing wrong with one gets past the reader."""

import hashlib
import json
import math
import os
import shutil
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from models.checkpoints import format as checkpoint_format
from models.checkpoints.format import MAX_LINES, Checkpoint, read
from models.checkpoints.reference import NoNGram, NotANetwork, Reference, UnknownModel
from models.checkpoints.registry import Registry
from models.config import NetworkConfig
from models.files import CheckpointError
from models.text.vocab import Vocabulary
from tests.toys import PATHS

CONFIG = NetworkConfig(vocabulary_size=3, num_layers=1, hidden_size=2)
VOCABULARY = Vocabulary("characters", sorted(map(ord, "\naé")))
CARD = {
    "corpus": {"id": "0" * 64, "characters": 1234},
    "step": 500,
    "val_loss": 1.5,
    "job_id": "abc",
    "created_at": "2026-01-02T03:04:05Z",
    "device": "CPU",
    "options": {"seed": 0, "dropout": 0.5},
}


def a_checkpoint(step: int = 500, history: int = 2) -> Checkpoint:
    """Every weight says which step it is of."""
    return Checkpoint(
        config=CONFIG,
        vocabulary=VOCABULARY,
        weights={name: np.full(shape, step, np.float32) for name, shape in CONFIG.shapes().items()},
        card=CARD | {"step": step},
        history=[{"step": i, "train_loss": 2.0, "text": "a\u2028é\r\n"} for i in range(history)],
        validation="aé\n".encode(),
        lines=np.array([1, 2**63, 2**64 - 1], np.uint64),
    )


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def digests(registry: Registry, name: str = "linux") -> set[str]:
    return {path.name for path in (registry.root / name).iterdir() if len(path.name) == 64}


def hidden(registry: Registry, name: str = "linux") -> list[str]:
    """What a publication works with."""
    return [path.name for path in (registry.root / name).rglob(".*")]


# Publishing


def test_a_checkpoint_comes_back_as_it_was_published(registry: Registry) -> None:
    published = a_checkpoint()
    digest = registry.publish(Reference("linux"), published)
    assert registry.resolve(Reference("linux")) == digest
    found = registry.load("linux", digest)
    for name, weight in published.weights.items():
        assert found.weights[name].dtype == np.float32
        assert np.array_equal(found.weights[name], weight)
    assert (found.config, found.vocabulary) == (CONFIG, VOCABULARY)
    assert (found.card, found.history) == (published.card, published.history)
    assert found.validation == published.validation
    assert np.array_equal(found.lines, published.lines)
    assert registry.history(Reference("linux")) == published.history


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


def test_an_entry_tells_of_a_model_without_reading_its_weights(registry: Registry) -> None:
    digest = registry.publish(Reference("linux"), a_checkpoint())
    registry.tag(Reference("linux", "step-500"), digest)
    (registry.root / "linux" / digest / "model.safetensors").unlink()
    entry = registry.entry(Reference("linux"))
    assert (entry.reference, entry.digest) == (Reference("linux"), digest)
    assert entry.tags == ["latest", "step-500"]
    assert (entry.config, entry.card["val_loss"]) == (CONFIG, 1.5)


def test_entries_are_in_order_and_damaged_ones_left_out(registry: Registry) -> None:
    registry.publish(Reference("b", "step-1"), a_checkpoint(1))
    registry.publish(Reference("b"), a_checkpoint(2))
    registry.publish(Reference("a", "v1.0"), a_checkpoint(3))
    broken = registry.publish(Reference("c"), a_checkpoint(4))
    (registry.root / "c" / broken / "config.json").write_text("{}")
    assert [str(entry.reference) for entry in registry.entries()] == ["a:v1.0", "b", "b:step-1"]


def test_a_tag_moves_by_rename(registry: Registry) -> None:
    """Whoever reads it reads the old digest or the new one, whole."""
    old = registry.publish(Reference("linux"), a_checkpoint(1))
    with (registry.root / "linux" / "tags" / "latest").open() as tag:
        new = registry.publish(Reference("linux"), a_checkpoint(2))
        assert tag.read() == old
    assert registry.resolve(Reference("linux")) == new
    assert hidden(registry) == []


def test_the_one_before_is_kept_and_older_ones_go(registry: Registry) -> None:
    made = [registry.publish(Reference("linux"), a_checkpoint(step)) for step in range(4)]
    assert digests(registry) == set(made[2:])
    assert registry.load("linux", made[2]).card["step"] == 2
    assert hidden(registry) == []


def test_a_tag_keeps_its_checkpoint(registry: Registry) -> None:
    kept = registry.publish(Reference("linux", "step-0"), a_checkpoint(0))
    for step in range(1, 5):
        registry.publish(Reference("linux"), a_checkpoint(step))
    assert registry.resolve(Reference("linux", "step-0")) == kept
    assert len(digests(registry)) == 3


def test_publishing_the_same_again_changes_nothing(registry: Registry) -> None:
    first = registry.publish(Reference("linux"), a_checkpoint())
    assert registry.publish(Reference("linux"), a_checkpoint()) == first
    assert digests(registry) == {first}


def test_a_tag_that_names_nothing_sound_is_no_model(registry: Registry) -> None:
    registry.publish(Reference("linux"), a_checkpoint())
    tags = registry.root / "linux" / "tags"
    (tags / "short").write_text("abc")
    (tags / "binary").write_bytes(b"\xff" * 64)
    (tags / "directory").mkdir()
    for tag in ("short", "binary", "directory", "absent"):
        with pytest.raises(UnknownModel):
            registry.resolve(Reference("linux", tag))
    (tags / "gone").write_text("0" * 64)
    with pytest.raises(CheckpointError, match="gone"):
        registry.load("linux", registry.resolve(Reference("linux", "gone")))
    with pytest.raises(CheckpointError, match="gone"):
        registry.tag(Reference("linux", "more"), "0" * 64)
    assert [str(entry.reference) for entry in registry.entries()] == ["linux"]


@pytest.mark.parametrize("broken", ["os.fsync", "os.rename", "os.replace"])
def test_a_publication_that_fails_leaves_what_was_there(
    broken: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, say."""
    before = registry.publish(Reference("linux"), a_checkpoint(1))

    def fail(*_arguments: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(broken, fail)
    with pytest.raises(OSError, match="No space"):
        registry.publish(Reference("linux"), a_checkpoint(2))
    monkeypatch.undo()
    assert registry.load("linux", registry.resolve(Reference("linux"))).card["step"] == 1
    assert before in digests(registry)
    assert hidden(registry) == []


def test_what_killed_publications_left_behind_is_swept(registry: Registry) -> None:
    home = registry.root / "linux"
    for name in (".stage-old", ".stage-young", ".gone-half"):
        (home / name).mkdir(parents=True)
        (home / name / "model.safetensors").write_bytes(b"half")
    long_ago = time.time() - 7200
    for path in (home / ".stage-old" / "model.safetensors", home / ".stage-old"):
        os.utime(path, (long_ago, long_ago))
    registry.publish(Reference("linux"), a_checkpoint())
    # Somebody may still be writing the young one.
    assert hidden(registry) == [".stage-young"]


def test_a_reader_never_sees_a_torn_model(registry: Registry) -> None:
    """It gets the model of one step, whole; where that is gone already, a newer one is there."""
    registry.publish(Reference("linux"), a_checkpoint(0))
    done = threading.Event()
    torn: list[str] = []
    seen: set[int] = set()

    def watch() -> None:
        while not done.is_set():
            digest = registry.resolve(Reference("linux"))
            try:
                found = registry.load("linux", digest)
            except CheckpointError as error:
                if registry.resolve(Reference("linux")) == digest:
                    torn.append(str(error))
                continue
            step = found.card["step"]
            seen.add(step)
            if not all((weight == step).all() for weight in found.weights.values()):
                torn.append(f"a mixture at step {step}")

    readers = [threading.Thread(target=watch) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for step in range(1, 25):
            registry.publish(Reference("linux"), a_checkpoint(step))
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert torn == []
    assert len(seen) > 1


def test_publications_side_by_side_lose_nothing(registry: Registry) -> None:
    """One may not prune what another has just put there and not yet tagged."""
    failures: list[Exception] = []

    def publish(tag: int) -> None:
        try:
            for round_ in range(5):
                registry.publish(Reference("linux", f"t{tag}"), a_checkpoint(100 * tag + round_))
        except Exception as error:
            failures.append(error)

    writers = [threading.Thread(target=publish, args=(tag,)) for tag in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    for tag in range(3):
        digest = registry.resolve(Reference("linux", f"t{tag}"))
        assert registry.load("linux", digest).card["step"] == 100 * tag + 4


def test_deleting_a_tag_leaves_the_others(registry: Registry) -> None:
    registry.publish(Reference("linux"), a_checkpoint(1))
    kept = registry.publish(Reference("linux", "v1"), a_checkpoint(2))
    registry.delete(Reference("linux"))
    assert digests(registry) == {kept}
    with pytest.raises(UnknownModel):
        registry.delete(Reference("linux"))
    registry.delete_name("linux")
    assert registry.names() == []
    assert not (registry.root / "linux").exists()


def test_what_could_not_be_read_again_is_not_published(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_format, "MAX_HISTORY", 1000)
    with pytest.raises(CheckpointError, match=r"history\.jsonl would be too large"):
        registry.publish(Reference("linux"), a_checkpoint(history=100))
    assert registry.names() == hidden(registry) == []


def test_a_loss_that_is_no_number_is_not_published(registry: Registry) -> None:
    broken = a_checkpoint()
    broken.card["val_loss"] = math.nan
    with pytest.raises(ValueError, match="not JSON compliant"):
        registry.publish(Reference("linux"), broken)
    assert registry.names() == hidden(registry) == []


def test_validation_text_is_cut_at_a_whole_character(registry: Registry) -> None:
    long = Checkpoint(
        CONFIG, VOCABULARY, a_checkpoint().weights, {}, [], b"a" + "é".encode() * 60_000
    )
    found = registry.load("linux", registry.publish(Reference("linux"), long))
    assert 99_990 < len(found.validation) <= 100_000
    assert set(found.validation.decode()) == {"a", "é"}


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_no_name_or_digest_is_a_path(path: str, registry: Registry) -> None:
    digest = registry.publish(Reference("linux"), a_checkpoint())
    before = sorted(registry.root.parent.rglob("*"))
    with pytest.raises(ValueError, match="a model is"):
        registry.delete_name(path)
    with pytest.raises(ValueError, match="a model is"):
        registry.publish_ngram(path, b"counts")
    for name, part in ((path, digest), ("linux", path), ("linux", digest + "/../" + digest)):
        with pytest.raises(CheckpointError):
            registry.load(name, part)
    assert sorted(registry.root.parent.rglob("*")) == before


# Damage


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


def forged(sound: Path, tmp_path: Path, name: str, data: bytes) -> Path:
    """A checkpoint with another file, whose manifest and digest are right nevertheless."""
    target = tmp_path / "forged"
    shutil.copytree(sound, target)
    (target / name).write_bytes(data)
    if name != "manifest.json":
        manifest = json.loads((target / "manifest.json").read_bytes())
        manifest[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        (target / "manifest.json").write_text(json.dumps(manifest))
    digest = hashlib.sha256((target / "manifest.json").read_bytes()).hexdigest()
    return target.rename(tmp_path / digest)


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
    ("config.json", config(hidden_size=4), "safetensors does not hold"),
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
    ("card.json", b'{"val_loss": []}', "val_loss"),
    ("card.json", b'{"val_loss": true}', "val_loss"),
    ("card.json", b'{"precision": {"exact": "1"}}', "precision"),
    ("card.json", b'{"created_at": {"x": 1}}', "created_at"),
    ("card.json", b'{"options": [1]}', "options"),
    ("card.json", b'{"val_loss": 1e999}', "card"),
    ("card.json", b'{"val_loss": -Infinity}', "card"),
    ("card.json", b'{"text": "\\uD83d"}', "card"),
    ("card.json", b'{"a":' * 100_000, "card"),
    ("history.jsonl", b'{"step": 1}\n[]\n', "history"),
    ("history.jsonl", b'{"step": 1}{"step": 2}\n', "history"),
    ("validation.txt", b"a" * 100_001, "validation"),
    ("lines.u64", b"1234567", "lines.u64 is truncated"),
    ("lines.u64", struct.pack("<2Q", 2, 1), "do not increase"),
    ("lines.u64", struct.pack("<2Q", 2, 2), "do not increase"),
    ("lines.u64", bytes(8 * MAX_LINES + 8), "lines.u64 is larger"),
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


def test_a_forgery_of_sound_contents_is_a_checkpoint(sound: Path, tmp_path: Path) -> None:
    """The tests above refuse what they say, not the way it was made."""
    found = read(forged(sound, tmp_path, "card.json", b'{"text": "\\ud83d\\ude00"}'))
    assert found.card == {"text": "😀"}
    read(forged(sound, tmp_path, "model.safetensors", with_header(lambda h: h)))


# N-gram baselines


def with_ngram(step: int, digest: str) -> Checkpoint:
    checkpoint = a_checkpoint(step)
    checkpoint.card["ngram"] = digest
    return checkpoint


def test_a_name_has_the_n_gram_model_that_latest_names(registry: Registry) -> None:
    counted = registry.publish_ngram("linux", b"counts")
    digest = registry.publish(Reference("linux"), with_ngram(1, counted))
    assert registry.ngram("linux") == (counted, digest)
    assert registry.ngram_bytes("linux", counted) == b"counts"
    with pytest.raises(NotANetwork):
        registry.resolve(Reference("linux", "ngram"))
    registry.publish(Reference("linux"), a_checkpoint(2))
    with pytest.raises(NoNGram):
        registry.ngram("linux")


def test_an_n_gram_model_goes_with_the_last_checkpoint_that_names_it(registry: Registry) -> None:
    named, stale, fresh = (registry.publish_ngram("linux", data) for data in (b"a", b"b", b"c"))
    registry.publish(Reference("linux", "v1"), with_ngram(1, named))
    files = registry.root / "linux" / "ngrams"
    os.utime(files / stale, (0, 0))
    os.utime(files / named, (0, 0))
    registry.publish(Reference("linux"), a_checkpoint(2))
    assert {path.name for path in files.iterdir()} == {named, fresh}
    registry.delete(Reference("linux", "v1"))
    assert {path.name for path in files.iterdir()} == {fresh}
