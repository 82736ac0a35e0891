"""The services of a server open on an empty directory, and need no Redis."""

import asyncio
from pathlib import Path

from app.routes.services import open_services
from app.settings import ServerSettings
from tests.serving import NOWHERE, problem, serve
from tests.support import ROOT
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
        problem(client.get(f"/jobs/{'0' * 22}"), 404, "unknown_job")


def test_only_routes_see_all_of_them() -> None:
    """What they call gets what it needs: a module that has no router imports no Services."""
    users = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "app").rglob("*.py")
        if "from app.routes.services import" in path.read_text(encoding="utf-8")
    }
    assert len(users) > 10
    for user in users - {"app/main.py", "app/__main__.py"}:
        assert "\nrouter = APIRouter(" in (ROOT / user).read_text(encoding="utf-8"), user
