"""A clone keeps its data beside its code, and an installed package where the platform wants it."""

import sys
from pathlib import Path

import pytest

from app.supervisor import installation
from tests.commands import ROOT


def test_a_clone_keeps_its_data() -> None:
    assert (installation.ROOT, installation.IS_CLONE) == (ROOT, True)
    assert installation.data_directory() == ROOT / "data"
    assert installation.COMMAND == "./charloom"


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms have other places")
def test_a_package_keeps_its_data_where_the_platform_wants_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(installation, "IS_CLONE", False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert installation.data_directory() == tmp_path / ".local" / "share" / "charloom"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "elsewhere"))
    assert installation.data_directory() == tmp_path / "elsewhere" / "charloom"
