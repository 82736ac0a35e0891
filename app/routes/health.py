"""Whether the process is alive, and whether it can work. Knows no other endpoint."""

from fastapi import APIRouter
from redis import RedisError

from app.http.problems import RETRY_SECONDS, Problem, responses
from app.routes.services import ServicesDep
from app.schemas.common import Readiness
from models.checkpoints.registry import Registry
from worker import logs
from worker.corpora import CorpusStore
from worker.jobs import JobStore
from worker.queue import Queue

router = APIRouter(tags=["health"])

log = logs.logger(__name__)


@router.get("/healthz", summary="Check that the process is alive")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Check that storage and Redis answer",
    responses=responses(503),
)
def readyz(services: ServicesDep) -> Readiness:
    """503 with the same members while storage or Redis does not answer."""
    workers = _workers(services.queue)
    models = _models(services.jobs, services.corpora, services.models)
    readiness = Readiness(redis=workers is not None, workers=workers, models=models)
    if workers is None or models is None:
        silent = "Redis" if workers is None else "the storage"
        raise Problem(
            503,
            "not_ready",
            f"{silent} does not answer",
            headers={"Retry-After": RETRY_SECONDS},
            more=readiness.model_dump(),
        )
    return readiness


def _workers(queue: Queue) -> int | None:
    try:
        return queue.workers()
    except RedisError:
        return None


def _models(jobs: JobStore, corpora: CorpusStore, models: Registry) -> int | None:
    """The number of models; None if a store does not answer."""
    try:
        jobs.ids()
        corpora.ids()
        return sum(1 for _ in models.references())
    except OSError as error:
        log.error("the storage does not answer: %s", error)
        return None
