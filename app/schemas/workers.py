"""Answers about workers. Knows no route."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_EXAMPLE: dict[str, Any] = {
    "workers": [
        {
            "host": "loom",
            "trouble": None,
            "gpus": [
                {
                    "id": "GPU-5a8e8f9c-2f1d-4c9a-9d0e-3b7c1f2a6e44",
                    "number": "0",
                    "name": "NVIDIA H200",
                    "memory_bytes": 150754820096,
                    "memory_used_bytes": 3221225472,
                    "utilisation": 0.97,
                    "temperature_celsius": 61,
                    "power_watts": 512.4,
                }
            ],
        }
    ]
}


class GpuView(BaseModel):
    """A GPU that a worker sees; what its driver does not tell is null."""

    id: str = Field(description="Its UUID.")
    number: str = Field(description="As nvidia-smi has it; a part made by MIG after a colon.")
    name: str = Field(description="Name of the product.")
    memory_bytes: int = Field(description="Memory that it has.")
    memory_used_bytes: int = Field(description="Memory in use, by anybody.")
    utilisation: float | None = Field(description="Share of the last moment, from 0 to 1.")
    temperature_celsius: float | None = Field(description="Temperature.")
    power_watts: float | None = Field(description="Power that it draws.")


class WorkerView(BaseModel):
    """A worker, as it told seconds ago."""

    host: str = Field(description="Host that it runs on.")
    trouble: str | None = Field(description="Why it takes no job; null where it does.")
    gpus: list[GpuView] = Field(description="GPUs that it sees.")


class WorkerList(BaseModel):
    """The workers, as each told within ten seconds."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    workers: list[WorkerView] | None = Field(
        description="Workers that live; null while Redis does not answer."
    )
