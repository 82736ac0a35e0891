"""What a search for cells found is kept beside its checkpoint, as long as it is of use."""

import json
from pathlib import Path

import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.files import CheckpointError
from models.inside import results
from models.inside.cells import find_cells
from models.inside.reader import Stopped
from models.inside.results import keep_cells, read_cells
from tests.planted import made, planted, quoting_text


def test_a_search_is_kept_and_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(tmp_path)
    digest = registry.publish(Reference("planted"), made(planted(), quoting_text(5000)))
    found = results.analyse(registry, "planted", digest)
    assert found
    assert found["hypotheses"] == find_cells(registry.load("planted", digest))["hypotheses"]
    monkeypatch.setattr(results, "find_cells", None)
    assert results.analyse(registry, "planted", digest) == found


CONTENTS = [
    *(b"", b"{", b"[]", b"\xff", b"[" * 100_000),
    b'{"share": 1, "made_by": "?"}',
]


@pytest.mark.parametrize("content", CONTENTS)
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
    keep_cells(registry, "planted", digest, {"hypotheses": [], "share": 0.0, "passages": []})
    assert not (tmp_path / "planted").exists()
    assert results.analyse(registry, "planted", digest) is None


def test_the_search_of_a_model_that_is_deleted_ends(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    digest = registry.publish(Reference("planted"), made(planted(), quoting_text(20_000)))
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            registry.delete_name("planted")
        return False

    assert results.analyse(registry, "planted", digest, stopped) is None
    assert asked == 1


def test_a_search_that_is_stopped_or_of_a_damaged_model_says_so(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    digest = registry.publish(Reference("planted"), made(planted(), quoting_text(5000)))
    with pytest.raises(Stopped):
        results.analyse(registry, "planted", digest, lambda: True)
    (tmp_path / "planted" / digest / "card.json").write_bytes(b"{")
    with pytest.raises(CheckpointError):
        results.analyse(registry, "planted", digest)


def test_findings_of_the_version_before_stay_where_no_text_is_left_to_search(
    tmp_path: Path,
) -> None:
    """Those of the models that ship: excerpts are their passages."""
    registry = Registry(tmp_path)
    cell = {"layer": 0, "cell": 3, "score": 0.9, "sign": 1}
    old = {
        "hypotheses": [
            {"name": "quotes", "title": "inside quotes", "metric": "auc", "cells": [cell]}
            | {"excerpt": 'a "b"', "activations": [0.0] * 5}
        ],
        "share": 0.1,
    }
    kept = json.dumps({"made_by": results._made_by(results._BEFORE)} | old)
    for name, text in (("without", ""), ("with", quoting_text(5000))):
        digest = registry.publish(Reference(name), made(planted(), text))
        (tmp_path / name / digest / "cells.json").write_text(kept)
        assert read_cells(registry, name, digest) is None
        found = results.analyse(registry, name, digest)
        assert found == read_cells(registry, name, digest)
        assert found
        if text:
            assert found == find_cells(registry.load(name, digest))
            continue
        assert found["share"] == 0.1
        assert found["passages"] == [{"text": 'a "b"', "style": None}]
        [quotes] = found["hypotheses"]
        assert quotes["examples"] == [0]
        [told] = quotes["cells"]
        assert told.items() >= cell.items()
        assert told["threshold"] is None
