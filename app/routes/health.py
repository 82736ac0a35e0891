"""Whether the process lives, and whether it can do its work."""

import logging
from typing import Any

from fastapi import APIRouter
from redis import RedisError

from app.http.problems import Problem, responses
from app.routes.services import Services, ServicesDep
from app.schemas.common import Readiness

router = APIRouter(tags=["health"])

log = logging.getLogger(__name__)


@router.get("/healthz", summary="The process lives")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Storage and Redis answer",
    response_model=Readiness,
    responses=responses(503),
)
def readyz(services: ServicesDep) -> dict[str, Any]:
    """503 with the same members while storage or Redis don't answer."""
    workers, models = _workers(services), _models(services)
    state = {"redis": workers is not None, "workers": workers, "models": models}
    if workers is None or models is None:
        silent = "Redis" if workers is None else "the storage"
        raise Problem(
            503, "not_ready", f"{silent} does not answer", headers={"Retry-After": "2"}, more=state
        )
    return state


def _workers(services: Services) -> int | None:
    try:
        return services.queue.workers()
    except RedisError:
        return None


def _models(services: Services) -> int | None:
    try:
        services.jobs.ids()
        services.corpora.ids()
        return sum(1 for _ in services.models.references())
    except OSError as error:
        log.error("the storage does not answer: %s", error)
        return None
