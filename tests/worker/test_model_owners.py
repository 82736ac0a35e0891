"""Whose each tag of a model is, whoever trains or imports under its name."""

from pathlib import Path

import pytest

from worker.model_owners import ModelOwners, Shares


@pytest.fixture
def owners(tmp_path: Path) -> ModelOwners:
    return ModelOwners(tmp_path / "models")


def whose(owners: ModelOwners, *tags: str) -> list[str]:
    return [owners.shares("x").owner_of(tag) for tag in tags]


def test_what_comes_of_training_is_whoevers_the_newest_job_is(owners: ModelOwners) -> None:
    assert whose(owners, "latest") == [""]
    owners.train("a", "x", lambda: ["old"])
    assert whose(owners, "old", "latest", "step-5") == ["", "a", "a"]
    owners.train("b", "x", lambda: ["old", "latest"])
    assert whose(owners, "old", "latest", "step-5") == ["", "a", "b"]
    owners.train("", "x", lambda: ["latest", "step-5"])
    assert whose(owners, "latest", "step-5", "step-6") == ["a", "b", ""]


def test_an_import_is_its_owners_and_what_it_moves_stays_whose_it_was(owners: ModelOwners) -> None:
    owners.train("a", "x", list)
    tags = ["latest"]
    with owners.importing("b", "x", "v1", lambda: tags):
        tags.append("v1")
    assert whose(owners, "latest", "v1", "v2") == ["a", "b", "a"]
    for mover, kept in (("b", "job-1"), ("c", "job-2")):
        with owners.importing(mover, "x", "latest", lambda: tags):
            tags.append(kept)
    assert whose(owners, "latest", "job-1", "job-2") == ["c", "a", "b"]


def test_an_import_under_nobodys_name_moves_what_was_imported_before(owners: ModelOwners) -> None:
    tags: list[str] = []
    for kept in ("latest", "job-1", "job-2"):
        with owners.importing("a", "x", "latest", lambda: tags):
            tags.append(kept)
    assert whose(owners, "latest", "job-1", "job-2", "job-3") == ["a", "a", "a", ""]


def test_whose_a_model_is_goes_with_its_name(owners: ModelOwners) -> None:
    owners.train("a", "old", list)
    with owners.importing("b", "old", "v1", lambda: ["latest"]):
        pass
    owners.rename("old", "x")
    assert whose(owners, "latest", "v1") == ["a", "b"]
    assert owners.shares("old") == Shares()


def test_a_failed_import_changes_nobodys(owners: ModelOwners) -> None:
    owners.train("a", "x", list)
    with (
        pytest.raises(OSError, match="full"),
        owners.importing("b", "x", "latest", lambda: ["latest"]),
    ):
        raise OSError("full")
    assert whose(owners, "latest") == ["a"]


@pytest.mark.parametrize("is_trained", [False, True])
def test_what_was_deleted_is_forgotten_but_for_a_job_that_trains(
    owners: ModelOwners, is_trained: bool
) -> None:
    owners.train("a", "x", list)
    with owners.importing("b", "x", "v1", lambda: ["latest", "v1"]):
        pass
    owners.clean("x", ["latest"], is_trained=is_trained)
    assert whose(owners, "latest", "v1") == ["a", "a"]
    owners.clean("x", [], is_trained=is_trained)
    assert whose(owners, "latest") == ["a" if is_trained else ""]


def test_nobodys_need_no_record(owners: ModelOwners, tmp_path: Path) -> None:
    owners.train("", "x", lambda: ["latest"])
    with owners.importing("", "x", "v1", lambda: ["latest", "v1"]):
        pass
    assert not (tmp_path / "models" / "x").exists()


def test_a_damaged_record_is_nobodys(owners: ModelOwners, tmp_path: Path) -> None:
    owners.train("a", "x", list)
    (tmp_path / "models" / "x").write_bytes(b"[]")
    assert owners.shares("x") == Shares()
    owners.train("b", "x", lambda: ["latest"])
    assert whose(owners, "latest", "v1") == ["", "b"]
