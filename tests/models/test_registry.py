"""A published model is whole or not there, and tags keep what they name."""

import math
import os
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.checkpoints import format as checkpoint_format
from models.checkpoints import published
from models.checkpoints.format import Checkpoint
from models.checkpoints.home import Home
from models.checkpoints.reference import (
    ModelBusy,
    NoNGram,
    NotANetwork,
    Reference,
    UnknownModel,
)
from models.checkpoints.registry import Registry
from models.files import CheckpointError
from models.locks import LockLost, locked
from tests.forgery import CONFIG, PATHS, VOCABULARY, a_checkpoint
from tests.toys import toy_checkpoint


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def digests(registry: Registry, name: str = "linux") -> set[str]:
    return {path.name for path in (registry.root / name).iterdir() if len(path.name) == 64}


def hidden(registry: Registry, name: str = "linux") -> list[str]:
    """What a publication works with."""
    return [path.name for path in (registry.root / name).rglob(".*")]


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


def test_an_entry_tells_of_a_model_without_reading_its_weights(registry: Registry) -> None:
    digest = registry.publish(Reference("linux"), a_checkpoint())
    registry.tag(Reference("linux", "step-500"), digest)
    weights = registry.root / "linux" / digest / "model.safetensors"
    weights.write_bytes(bytes(weights.stat().st_size))
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
    (tags / "gone").write_text("0" * 64)
    with pytest.raises(UnknownModel):
        registry.resolve(Reference("linux", "absent"))
    for tag in ("short", "binary", "directory", "gone"):
        with pytest.raises(CheckpointError, match="its tag cannot be read"):
            registry.resolve(Reference("linux", tag))
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


@pytest.mark.parametrize("step", ["before", "mend", "place", "prune"])
def test_who_froze_while_publishing_goes_no_further(
    step: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another publishes meanwhile: what that has done stays."""
    reference = Reference("linux")
    registry.publish(reference, a_checkpoint(step=1))
    monkeypatch.setattr(published, "locked", partial(locked, patience=0.05))
    newer = list[str]()

    def freeze() -> None:
        if not newer:
            newer.append("")
            newer[0] = registry.publish(reference, a_checkpoint(step=3))

    def freezing(*arguments: Any) -> Any:
        done = before(*arguments)
        freeze()
        return done

    if step != "before":
        before = getattr(Home, step)
        monkeypatch.setattr(Home, step, freezing)
    check = freeze if step == "before" else lambda: None
    with suppress(LockLost) if step == "prune" else pytest.raises(LockLost):
        registry.publish(reference, a_checkpoint(step=2), check=check)
    assert registry.resolve(reference) == newer[0]
    assert newer[0] in digests(registry)
    assert hidden(registry) == []


def test_a_model_that_is_being_published_keeps_its_name(registry: Registry) -> None:
    registry.publish(Reference("linux"), toy_checkpoint())
    staged = registry.root / "other" / ".stage-0123456789abcdef"
    staged.mkdir(parents=True)
    with pytest.raises(ModelBusy, match="of other is just being written"):
        registry.rename("linux", "other")
    registry.publish(Reference("other"), toy_checkpoint(seed=1))
    with pytest.raises(ModelBusy, match="of other is just being written"):
        registry.rename("other", "third")
    staged.rmdir()
    registry.rename("other", "third")
    assert registry.names() == ["linux", "third"]


@pytest.mark.parametrize("calls", range(4))
def test_a_rename_that_is_cut_short_leaves_the_model_whole_under_one_name(
    calls: int, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lies where it is to be, such as what a deletion left."""
    registry.publish(Reference("old"), toy_checkpoint())
    digest = registry.publish(Reference("old"), toy_checkpoint(seed=1))
    (registry.root / "new" / "tags").mkdir(parents=True)
    rename, left = Path.rename, calls

    def until_the_end(path: Path, target: Path) -> Path:
        nonlocal left
        if not left:
            raise RuntimeError("the process ends here")
        left -= 1
        return rename(path, target)

    with monkeypatch.context() as patched, suppress(RuntimeError):
        patched.setattr(Path, "rename", until_the_end)
        registry.rename("old", "new")
    (name,) = registry.names()
    assert name == ("old" if calls < 2 else "new")
    assert registry.resolve(Reference(name)) == digest
    assert registry.load(name, digest).config == toy_checkpoint().config
    if name == "old":
        registry.rename("old", "new")
        assert registry.names() == ["new"]


def test_a_model_keeps_its_name_if_it_is_given_again(registry: Registry) -> None:
    digest = registry.publish(Reference("old"), toy_checkpoint())
    registry.rename("old", "old")
    assert registry.resolve(Reference("old")) == digest
    for name in ("UP", "../x", ""):
        with pytest.raises(ValueError, match="lower-case"):
            registry.rename("old", name)


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
    monkeypatch.setitem(checkpoint_format._LIMITS, "history.jsonl", 1000)
    with pytest.raises(CheckpointError, match=r"history\.jsonl would be too large"):
        registry.publish(Reference("linux"), a_checkpoint(history=100))
    assert registry.names() == hidden(registry) == []


def test_a_loss_that_is_no_number_is_not_published(registry: Registry) -> None:
    broken = a_checkpoint()
    broken.card["val_loss"] = math.nan
    with pytest.raises(ValueError, match="not JSON compliant"):
        registry.publish(Reference("linux"), broken)
    assert registry.names() == hidden(registry) == []


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
