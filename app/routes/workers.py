"""The workers, their GPUs, and why one takes no job. Knows no other endpoint and no job."""

from dataclasses import asdict

from fastapi import APIRouter, Depends

from app.http.queries import known_query
from app.routes.probes import PROBE_SECONDS
from app.routes.services import ServicesDep
from app.schemas.workers import WorkerList, WorkerView

router = APIRouter(tags=["training"], dependencies=[Depends(known_query)])


@router.get("/workers", summary="List the workers and their GPUs")
async def list_workers(services: ServicesDep) -> WorkerList:
    """`workers` is null while Redis does not answer."""
    found = await services.vitals_probe.ask(PROBE_SECONDS)
    if found is None:
        return WorkerList(workers=None)
    return WorkerList(workers=[WorkerView.model_validate(asdict(vitals)) for vitals in found])
