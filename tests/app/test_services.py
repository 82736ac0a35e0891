"""The services of a server open on an empty directory, and need no Redis."""

import asyncio
from pathlib import Path

from app.routes.services import open_services
from app.settings import ServerSettings
from tests.serving import NOWHERE, problem, serve
from worker.data import DataDirectory


def test_they_open_without_redis(data: Path) -> None:
    settings = ServerSettings(data=DataDirectory(data), redis_url=NOWHERE, pretrained=None)

    async def opened() -> None:
        services = open_services(settings)
        assert services.jobs.ids() == []
        assert not services.queue.ping()
        assert services.streams.limit == settings.max_streams
        services.streams.stop()
        services.background.close()

    asyncio.run(opened())


def test_a_job_that_a_path_does_not_name_is_not_found(data: Path) -> None:
    with serve(data) as client:
        assert problem(client.get(f"/jobs/{'0' * 22}"), 404)["code"] == "unknown_job"
