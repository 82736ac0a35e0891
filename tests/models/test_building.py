"""The native step is compiled once, and only by and from what is ours."""

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
def test_it_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    made = building.built(cache)
    assert [path.name for path in cache.iterdir()] == [made.name]
    assert cache.stat().st_mode & 0o077 == 0
    monkeypatch.setattr(building, "COMPILERS", ())
    assert building.built(cache) == made
    loading.load(cache)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_what_others_may_write_to_is_not_loaded(mode: int, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(mode)
    with pytest.raises(NoNativeStep, match="others may write to"):
        building.built(cache)
    assert list(cache.iterdir()) == []


def script(folder: Path, text: str) -> str:
    path = folder / "cc"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(not processors_here(), reason="not for this processor")
def test_without_a_working_compiler_it_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr(building, "COMPILERS", ("not-a-compiler",))
    with pytest.raises(NoNativeStep, match="no C compiler was found"):
        loading.load(cache)
    failing = script(tmp_path, "echo 'step.c:1: error: not today' >&2; exit 1")
    monkeypatch.setattr(building, "COMPILERS", (failing,))
    with pytest.raises(NoNativeStep, match="error: not today"):
        loading.load(cache)
    monkeypatch.setattr(building, "COMPILERS", (script(tmp_path, "sleep 60"),))
    monkeypatch.setattr(building, "_SECONDS", 0.05)
    with pytest.raises(NoNativeStep, match="took more than"):
        loading.load(cache)
    assert list(cache.iterdir()) == []


def test_a_processor_without_the_instructions_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_features", frozenset)
    with pytest.raises(NoNativeStep, match="this processor has no instructions"):
        loading.load(tmp_path)
