"""What a search for cells found is kept beside its checkpoint, as long as it is of use."""

from pathlib import Path

import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.files import CheckpointError
from models.inside import results
from models.inside.cells import find_cells
from models.inside.results import keep_cells, read_cells
from tests.planted import made, planted, quoting_text


def test_a_search_is_kept_and_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(tmp_path)
    digest = registry.publish(Reference("planted"), made(planted(), quoting_text(5000)))
    found = results.analyse(registry, "planted", digest)
    assert found["hypotheses"] == find_cells(registry.load("planted", digest))["hypotheses"]
    monkeypatch.setattr(results, "find_cells", None)
    assert results.analyse(registry, "planted", digest) == found


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"share": 1, "made_by": "?"}'])
def test_an_analysis_that_is_damaged_or_of_other_hypotheses_is_made_again(
    tmp_path: Path, content: bytes
) -> None:
    registry = Registry(tmp_path)
    digest = registry.publish(Reference("planted"), made(planted(), quoting_text(5000)))
    (tmp_path / "planted" / digest / "cells.json").write_bytes(content)
    assert read_cells(registry, "planted", digest) is None
    found = results.analyse(registry, "planted", digest)
    assert read_cells(registry, "planted", digest) == found


def test_a_model_deleted_meanwhile_is_no_trouble(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    digest = registry.publish(Reference("planted"), made(planted(), quoting_text(5000)))
    registry.delete_name("planted")
    keep_cells(registry, "planted", digest, {"hypotheses": [], "share": 0.0})
    assert not (tmp_path / "planted").exists()
    with pytest.raises(CheckpointError):
        results.analyse(registry, "planted", digest)
