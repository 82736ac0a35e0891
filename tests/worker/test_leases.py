"""A lease is one worker's, as long as it is renewed."""

import threading

import pytest
import redis

from tests.serving import eventually
from tests.support import NOWHERE
from worker.connection import connect
from worker.leases import Holder, Leases, Renewal
from worker.machine import Process

THEIRS = Process("another machine", 1)
FIRST, SECOND = Holder("first", 1, THEIRS), Holder("second", 2, THEIRS)


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return connect(redis_url)


def test_one_has_it_until_it_is_given_up(client: redis.Redis) -> None:
    leases = Leases(client, 60)
    assert leases.claim("job", FIRST)
    assert not leases.claim("job", SECOND)
    assert leases.holder("job") == FIRST
    assert leases.is_free("job", "first") and not leases.is_free("job", "second")
    assert leases.renew("job", FIRST) and not leases.renew("job", SECOND)
    leases.release("job", "second")
    assert leases.holder("job") == FIRST
    leases.release("job", "first")
    assert leases.is_given_up("job") is leases.is_free("job") is True


def test_it_runs_out_unless_it_is_renewed(client: redis.Redis) -> None:
    leases = Leases(client, 0.5)
    lost: list[bool] = []
    with Renewal(leases, "kept", FIRST, lambda: lost.append(True)):
        assert eventually(lambda: leases.holder("kept"), 60) == FIRST
        assert leases.claim("left", FIRST)
        eventually(lambda: leases.holder("left") is None, 60)
        assert leases.holder("kept") == FIRST
    assert leases.holder("kept") is None
    assert lost == []


def test_what_redis_forgot_is_set_again(client: redis.Redis) -> None:
    leases = Leases(client, 2)
    with Renewal(leases, "job", FIRST, pytest.fail):
        eventually(lambda: leases.holder("job"), 60)
        client.flushall()
        assert eventually(lambda: leases.holder("job"), 60) == FIRST


def test_its_loss_is_told_once(client: redis.Redis) -> None:
    leases = Leases(client, 60)
    lost = threading.Event()
    leases.replace("job", SECOND)
    with Renewal(leases, "job", FIRST, lost.set):
        assert lost.wait(60)
    assert leases.holder("job") == SECOND


def test_without_redis_nobody_loses_it() -> None:
    leases = Leases(connect(NOWHERE), 60)
    with Renewal(leases, "job", FIRST, pytest.fail):
        pass
    with pytest.raises(redis.ConnectionError):
        leases.is_free("job")


@pytest.mark.parametrize("value", ["", "no", "a:b:c:d", "a:1:m:x", b"\xff".decode("latin1")])
def test_what_is_no_lease_is_nobodys(client: redis.Redis, value: str) -> None:
    client.set("charloom:lease:job", value)
    assert Leases(client).holder("job") is None
