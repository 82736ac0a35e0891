"""What a process finds at its start: a cache of its own, and what all share."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from models.storage import ONE_DISK
from tests.buckets import URL, S3Server
from tests.serving import eventually
from tests.support import NOWHERE, ROOT
from worker.data import DataDirectory
from worker.settings import WorkerSettings
from worker.storage import opening
from worker.storage.bucket import StorageRefused
from worker.storage.opening import CACHE, open_storage, opened


def test_without_a_bucket_the_directory_is_the_storage(settings: WorkerSettings) -> None:
    assert opened(settings) == settings
    assert opened(settings).data.storage is ONE_DISK


def test_each_process_has_a_cache_of_its_own(
    host: Callable[[str], DataDirectory], tmp_path: Path
) -> None:
    first = host("one")
    code = (
        "from pathlib import Path; from worker.data import DataDirectory;"
        "from worker.storage.opening import open_storage;"
        f"print(open_storage(DataDirectory(Path({str(tmp_path / 'one')!r})), {URL!r}, 1).root)"
    )
    roots = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    # The cache of a process that has ended is the next one's.
    assert roots == [str(first.root.with_name("1"))] * 2
    child = open_storage(DataDirectory(tmp_path / "one"), URL, 2, {CACHE: str(first.root)})
    assert child.root == first.root


def test_an_operator_may_choose_the_stores_id_once(
    host: Callable[[str], DataDirectory], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "store-id").write_text(f"chosen-{name}\n")
    assert host("one").store_id() == host("two").store_id() == "chosen-one"


@pytest.mark.parametrize("program", ["app", "worker"])
def test_a_start_that_cannot_be_says_so_in_one_line(
    program: str, bucket: S3Server, tmp_path: Path
) -> None:
    """Wrong credentials are not waited for."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CHARLOOM_")}
    ended = subprocess.run(
        [sys.executable, "-m", program],
        cwd=ROOT,
        env=clean
        | bucket.environment
        | {
            "AWS_ACCESS_KEY_ID": "another",
            "CHARLOOM_STORAGE": URL,
            "CHARLOOM_DATA": str(tmp_path / "data"),
            "CHARLOOM_REDIS_URL": NOWHERE,
            "CHARLOOM_PORT": "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == os.EX_CONFIG
    assert "refuses the credentials" in ended.stderr
    assert ended.stdout == "" and len(ended.stderr.splitlines()) == 1


def test_what_all_share_must_be_sound(
    host: Callable[[str], DataDirectory], bucket: S3Server
) -> None:
    host("one")
    store = bucket.objects["fleet/store"]
    for value, words in (
        (b"{", "damaged or not charloom's"),
        (json.dumps({"format": 99, "id": "abcd", "secret": "00"}).encode(), "upgrade this one"),
    ):
        store.data = value
        with pytest.raises(StorageRefused, match=words):
            host(f"two {words}")


def test_a_start_waits_for_a_bucket_unless_the_cache_knows_enough(
    host: Callable[[str], DataDirectory], bucket: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = host("one")
    bucket.failing = True
    opening._opened.cache_clear()
    again = open_storage(known, URL, 3, {CACHE: str(known.root)})
    assert again.store_id() == known.store_id()

    def is_back(_: float) -> None:
        bucket.failing = False

    monkeypatch.setattr(time, "sleep", is_back)
    assert host("two").store_id() == known.store_id()
    eventually(lambda: not bucket.failing)
