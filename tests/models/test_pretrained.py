"""What ships: small, readable, published once, and what it says is in its style."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.schemas.inside import CellRanking
from models.checkpoints.history import HistoryPoint
from models.checkpoints.reference import Reference, UnknownModel
from models.checkpoints.registry import Registry
from models.decoding.batch import Batch
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream
from models.inside.results import read_cells
from models.pretrained import INSTALLED, install, pack, unpack
from tests.serving import serve
from tests.toys import toy_checkpoint, toy_decoder

ROOT = Path(__file__).resolve().parents[2] / "pretrained"


def test_packed_and_unpacked_it_is_the_same_in_half_precision(tmp_path: Path) -> None:
    history: list[HistoryPoint] = [{"step": 1, "train_loss": 2.0, "val_loss": None}]
    lines = np.array([3, 5], dtype=np.uint64)
    before = replace(toy_checkpoint(), history=history, lines=lines)
    pack(before, tmp_path / "toy")
    after = unpack(tmp_path / "toy")
    assert (after.config, after.vocabulary) == (before.config, before.vocabulary)
    assert after.history == history and np.array_equal(after.lines, lines)
    assert after.card["pretrained"] and after.card["val_loss"] == before.card["val_loss"]
    for name, weight in before.weights.items():
        assert np.array_equal(after.weights[name], weight.astype(np.float16).astype(np.float32))


def test_installed_once_and_never_over_somebodys_own(tmp_path: Path) -> None:
    for name in ("toy", "mine"):
        pack(toy_checkpoint(), tmp_path / "shipped" / name)
    # A file manager's.
    (tmp_path / "shipped" / ".DS_Store").write_bytes(b"")
    registry = Registry(tmp_path / "models")
    own = registry.publish(Reference("mine"), toy_checkpoint(seed=3))
    assert install(registry, tmp_path / "shipped") == ["toy"]
    assert registry.resolve(Reference("mine")) == own
    registry.delete_name("toy")
    assert install(registry, tmp_path / "shipped") == []
    with pytest.raises(UnknownModel):
        registry.resolve(Reference("toy"))
    assert registry.names() == ["mine"]


def test_one_trained_anew_takes_the_place_of_what_shipped_before_it(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")

    def ship(seed: int, name: str, date: str) -> list[str]:
        toy = toy_checkpoint(seed=seed)
        shutil.rmtree(tmp_path / "shipped", ignore_errors=True)
        pack(replace(toy, card=toy.card | {"created_at": date}), tmp_path / "shipped" / name)
        return install(registry, tmp_path / "shipped")

    assert ship(0, "toy", "2026-01-01T00:00:00.000Z") == ["toy"]
    first = registry.resolve(Reference("toy"))
    assert (
        ship(0, "toy", "2026-01-01T00:00:00.000Z")
        == ship(1, "toy", "2025-01-01T00:00:00.000Z")
        == []
    )
    # As earlier versions kept it.
    (registry.root / INSTALLED).write_text("toy\nother")
    assert ship(1, "toy", "2026-02-01T00:00:00.000Z") == ["toy"]
    second = registry.entry(Reference("toy"))
    assert second.digest != first and second.card["created_at"] == "2026-02-01T00:00:00.000Z"
    kept = [registry.entry(reference).digest for reference in registry.references()]
    assert sorted(kept) == sorted([first, second.digest])

    # Who goes back to the one before, or trains on, keeps that.
    registry.tag(Reference("toy"), first)
    assert ship(1, "toy", "2026-02-01T00:00:00.000Z") == []
    own = registry.publish(Reference("toy"), toy_checkpoint(seed=3))
    assert ship(4, "toy", "2026-03-01") == []
    assert registry.resolve(Reference("toy")) == own
    assert ship(5, "other", "2026-03-01") == []
    # One that is damaged is not touched.
    damaged = ship(6, "next", "2026-03-01") and registry.resolve(Reference("next"))
    (registry.root / "next" / str(damaged) / "card.json").write_text("{")
    assert ship(7, "next", "2026-04-01") == []
    assert (registry.root / "next" / str(damaged)).is_dir()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xff\xfe\x00",
        b"toy 2026-01-0\xb1",
        b"t\x6fy 9026-01-01",
        b"tox\n\n\x00",
        b"x" * 100_000,
    ],
)
def test_a_damaged_record_is_made_again(tmp_path: Path, damage: bytes) -> None:
    toy = toy_checkpoint()
    pack(replace(toy, card=toy.card | {"created_at": "2026-01-01"}), tmp_path / "shipped" / "toy")
    registry = Registry(tmp_path / "models")
    install(registry, tmp_path / "shipped")
    digest = registry.resolve(Reference("toy"))
    (registry.root / INSTALLED).write_bytes(damage)
    install(registry, tmp_path / "shipped")
    assert registry.resolve(Reference("toy")) == digest
    assert b"toy 2026-01-01" in (registry.root / INSTALLED).read_bytes().split(b"\n")
    assert install(registry, tmp_path / "shipped") == []


def test_what_a_later_release_found_is_told_of_what_is_installed(tmp_path: Path) -> None:
    pack(toy_checkpoint(job_id="one"), tmp_path / "shipped" / "toy")
    registry = Registry(tmp_path / "models")
    install(registry, tmp_path / "shipped")
    digest = registry.resolve(Reference("toy"))
    (tmp_path / "models" / "toy" / digest / "cells.json").write_text("{}")
    assert install(registry, tmp_path / "shipped") == []
    assert read_cells(registry, "toy", digest) == {
        **{"hypotheses": [], "share": None},
        "passages": [],
    }
    # But not of a model that somebody else made.
    other = registry.publish(Reference("toy"), toy_checkpoint(seed=1, job_id="other"))
    assert install(registry, tmp_path / "shipped") == []
    assert read_cells(registry, "toy", other) is None


def test_one_that_cannot_be_installed_takes_no_other_along(tmp_path: Path) -> None:
    for name in ("broken", "toy"):
        pack(toy_checkpoint(), tmp_path / "shipped" / name)
    (tmp_path / "shipped" / "broken" / "model.safetensors").unlink()
    registry = Registry(tmp_path / "models")
    lost: list[str] = []
    assert install(registry, tmp_path / "shipped", lambda name, _: lost.append(name)) == ["toy"]
    assert lost == ["broken"]
    assert registry.names() == ["toy"]
    with pytest.raises(OSError, match=r"model\.safetensors"):
        install(registry, tmp_path / "shipped")


def test_a_fresh_server_streams_from_all_that_ships(tmp_path: Path) -> None:
    with serve(tmp_path, pretrained=ROOT) as client:
        models = {model["model"]: model for model in client.get("/models").json()["models"]}
        assert set(models) >= {"linux", "names", "shakespeare"}
        for name, model in models.items():
            assert model["pretrained"] and model["val_loss"] and model["baseline"]["bpc"]
            # Found when it was packed: it brings no text to search.
            cells = client.get(f"/models/{name}/cells")
            assert cells.status_code == 200
            assert CellRanking.model_validate(cells.json()).hypotheses
            text = client.get("/sample", params={"model": name, "length": 300, "seed": 1}).text
            assert len(text) == 300


@pytest.mark.parametrize(
    ("name", "marks"),
    [("linux", ["{", "}", ";", "/*", "\n\t"]), ("shakespeare", [":\n", ",\n"])],
)
def test_it_writes_in_its_style(name: str, marks: list[str]) -> None:
    checkpoint = unpack(ROOT / name)
    stream = Stream(checkpoint.vocabulary, checkpoint.vocabulary.encode(""), SampleOptions(1, 0.7))
    batch, text = Batch(toy_decoder(checkpoint)), ""
    while stream.finish_reason is None:
        text += batch.tick([stream], 100)[0][0].text
    assert all(mark in text for mark in marks)
    assert sum(path.stat().st_size for path in (ROOT / name).iterdir()) < 6 << 20
