"""A trainer's work reaches the bucket after it, in an order that is harmless, and only while it has
its job."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from models.checkpoints.reference import LATEST, Reference
from models.checkpoints.registry import Registry
from tests.buckets import S3Server
from tests.serving import eventually
from tests.toys import toy_checkpoint
from worker.data import DataDirectory
from worker.events import JobEvent
from worker.fence import Fenced
from worker.jobs import Job, JobStore
from worker.storage.mirror import Mirror
from worker.storage.shipping import Shipping

Host = Callable[[str], DataDirectory]


@dataclass
class Heard:
    """Those who follow a job."""

    events: list[int] = field(default_factory=list)

    def publish(self, _job_id: str, event: JobEvent) -> None:
        self.events.append(event.id)


@dataclass
class Turn:
    """A turn at a job on some host."""

    data: DataDirectory
    job_id: str
    epoch: int

    def __post_init__(self) -> None:
        assert isinstance(self.data.storage, Mirror)
        job = JobStore(self.data.jobs, self.data.storage).get(self.job_id)
        job.begin_turn(self.epoch, self.data.root.parents[1].name)
        self.heard: Any = Heard()
        self.shipping = Shipping(
            self.data.storage, job.directory, self.data.models / job.model, self.heard
        )
        self.job: Job = job.on(self.shipping)
        self.models = Registry(self.data.models, self.shipping)

    def tell(self, code: str) -> None:
        event = self.job.event_log().append("notice", {"code": code, "text": ""})
        self.shipping.publish(self.job_id, event)


@pytest.fixture
def job_id(host: Host) -> str:
    data = host("server")
    return JobStore(data.jobs, data.storage).create("toy", "c" * 64, {}, None)[0].id


def server_job(host: Host, job_id: str) -> Job:
    data = host("server")
    job = JobStore(data.jobs, data.storage).get(job_id)
    job.refresh(is_needed=True)
    return job


def test_others_see_what_was_done_and_who_follows_hears_it_then(host: Host, job_id: str) -> None:
    turn = Turn(host("worker"), job_id, 1)
    with turn.shipping:
        turn.job.set_running({"device": "a processor"})
        turn.tell("one")
        eventually(lambda: server_job(host, job_id).running())
        eventually(lambda: turn.heard.events == [1])
        assert [event.data["code"] for event in server_job(host, job_id).events()] == ["one"]
        server = host("server")
        models = Registry(server.models, server.storage)
        digest = turn.models.publish(Reference("toy"), toy_checkpoint(), check=turn.job.check)
        eventually(lambda: LATEST in models.naming("toy"))
        assert models.resolve(Reference("toy")) == digest
        server_job(host, job_id).request_cancel()
        eventually(turn.job.cancel_requested)
        turn.shipping.publish(job_id, turn.job.finish("cancelled"))
    assert turn.heard.events == [1, 2]
    assert server_job(host, job_id).status() == "cancelled"


def test_a_bucket_that_is_away_holds_up_nobody_and_loses_nothing(
    host: Host, job_id: str, bucket: S3Server
) -> None:
    turn = Turn(host("worker"), job_id, 1)
    with turn.shipping:
        bucket.failing = True
        for number in range(20):
            turn.tell(str(number))
        eventually(lambda: bucket.requests_failed > 4)
        assert turn.heard.events == []
        bucket.failing = False
    assert turn.heard.events == list(range(1, 21))
    assert len(server_job(host, job_id).events()) == 20


def test_who_has_lost_a_job_sends_nothing_more(host: Host, job_id: str) -> None:
    first = Turn(host("first"), job_id, 1)
    with first.shipping:
        first.tell("one")
        eventually(lambda: first.heard.events == [1])
        second = Turn(host("second"), job_id, 2)
        with second.shipping:
            second.tell("two")
            # Before it has looked: its disk does not know yet.
            with pytest.raises(Fenced):
                eventually(lambda: first.tell("late"), 30)
            first.job.directory.joinpath("running.json").write_text("{}")
            second.job.finish("finished")
    assert (first.heard.events, second.heard.events) == ([1], [2, 3])
    job = server_job(host, job_id)
    assert [event.data.get("code") for event in job.events()] == ["one", "two", None]
    assert job.status() == "finished"


def test_a_frozen_publisher_moves_no_tag(host: Host, job_id: str) -> None:
    """It has looked, and found that the job is its own; then another took it, and published."""
    first = Turn(host("first"), job_id, 1)
    first.shipping._begin()
    old = first.models.publish(Reference("toy"), toy_checkpoint(seed=1), check=first.job.check)
    first.models.publish(Reference("toy", "step-5"), toy_checkpoint(seed=3), check=first.job.check)
    second = Turn(host("second"), job_id, 2)
    with second.shipping:
        new = second.models.publish(Reference("toy"), toy_checkpoint(seed=2))
    assert old != new
    first.shipping._send()
    data = host("server")
    models = Registry(data.models, data.storage)
    assert models.resolve(Reference("toy")) == new
    assert [one.full for one in models.references()] == ["toy:latest"]
    with pytest.raises(Fenced):
        first.job.check()
    assert first.models.resolve(Reference("toy")) == new


def test_who_could_not_heed_a_loss_does_so_later(
    host: Host, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head was read, but what it names was gone, or the bucket away."""
    first = Turn(host("first"), job_id, 1)
    first.shipping._begin()
    first.tell("one")
    first.shipping._send()
    second = Turn(host("second"), job_id, 2)
    with second.shipping:
        second.tell("two")
    first.tell("late")
    mirror = first.data.storage

    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError

    with monkeypatch.context() as broken:
        broken.setattr(mirror, "_pull", fail)
        with pytest.raises(FileNotFoundError):
            first.shipping._send()
    first.shipping._is_lost = False
    first.shipping._send()
    assert first.shipping._is_lost
    told = [event.data["code"] for event in server_job(host, job_id).events()]
    assert told == ["one", "two"]
    with pytest.raises(Fenced):
        first.job.check()


def test_the_rest_is_changed_as_by_anybody(host: Host, job_id: str) -> None:
    turn = Turn(host("worker"), job_id, 1)
    with turn.shipping:
        other = Registry(turn.data.models, turn.shipping)
        digest = other.publish(Reference("other"), toy_checkpoint())
        data = host("server")
        assert Registry(data.models, data.storage).resolve(Reference("other")) == digest
        assert other.load("other", digest).config == toy_checkpoint().config
