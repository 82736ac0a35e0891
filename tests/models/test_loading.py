"""Only a native step that computes what it must is used."""

from pathlib import Path

import pytest

from models.decoding.native import building, loading
from models.decoding.native.building import NoNativeStep, processors_here
from models.decoding.native.library import Library
from tests.compiled import native_step


@pytest.fixture(scope="module")
def library() -> Library:
    return native_step()


@pytest.mark.usefixtures("library")
def test_one_that_computes_other_numbers_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "step.c"
    source = building.SOURCE.read_text()
    assert source.count("0.693147004f") == 1
    changed.write_text(source.replace("0.693147004f", "0.693147123f"))
    monkeypatch.setattr(building, "SOURCE", changed)
    with pytest.raises(NoNativeStep, match="computes other numbers than elsewhere"):
        loading.load(tmp_path / "cache")


@pytest.mark.usefixtures("library")
def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    damaged = cache / processors_here()[0].file_name
    damaged.write_bytes(b"\x7fELF half of it")
    assert loading.answer(loading.load(cache)) == loading.ANSWER
    assert damaged.stat().st_size > 10_000


@pytest.mark.usefixtures("library")
def test_what_is_no_library_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes_nothing = tmp_path / "cc"
    writes_nothing.write_text("#!/bin/sh\n")
    writes_nothing.chmod(0o755)
    monkeypatch.setattr(building, "COMPILERS", (str(writes_nothing),))
    with pytest.raises(NoNativeStep, match="cannot be loaded"):
        loading.load(tmp_path / "cache")
