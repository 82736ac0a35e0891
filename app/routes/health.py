"""Whether the process is alive, and whether it can work. Knows no other endpoint."""

import asyncio

from fastapi import APIRouter

from app.http.problems import RETRY_SECONDS, Problem, responses, shutting_down
from app.routes.probes import PROBE_SECONDS
from app.routes.services import ServicesDep
from app.schemas.common import Readiness

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Check that the process is alive")
async def healthz() -> dict[str, str]:
    """Answers as long as the process lives, whatever else is away."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Check that storage and Redis answer",
    responses=responses(503),
)
async def readyz(services: ServicesDep) -> Readiness:
    """503 with the same members while storage or Redis does not answer, or the server stops."""
    workers, models = await asyncio.gather(
        services.redis_probe.ask(PROBE_SECONDS), services.storage_probe.ask(PROBE_SECONDS)
    )
    readiness = Readiness(redis=workers is not None, workers=workers, models=models)
    if services.stopping.is_set():
        raise shutting_down(readiness.model_dump())
    if workers is None or models is None:
        raise Problem(
            503,
            "not_ready",
            services.queue.trouble_told if workers is None else "the storage does not answer",
            headers={"Retry-After": RETRY_SECONDS},
            more=readiness.model_dump(),
        )
    return readiness
