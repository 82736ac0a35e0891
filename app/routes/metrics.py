"""``/metrics``: figures for operators, in Prometheus' text format.

Figures are read on request, from where they are kept anyway. Those that only Redis knows are left
out while Redis is away. Over several servers they add up, but for those that ``SHARED`` ends: they
are of the data directory and of Redis, and each server tells the same. Damaged checkpoints are of
the data directory too, but each server only knows those that it met. Knows no other endpoint.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import get_args

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from redis import RedisError

from app.engine.loaded import LoadedModels
from app.engine.streams import Streams, Tally
from app.http.queries import known_query
from app.routes.services import ServicesDep
from worker.gpus import Gpu
from worker.jobs import Status
from worker.queue import Queue
from worker.statuses import Statuses
from worker.vitals import Vitals

SHARED = "; every server tells the same."

_OF_GPUS: tuple[tuple[str, str, Callable[[Gpu], float | None]], ...] = (
    ("memory_bytes", "Memory of a GPU", lambda gpu: gpu.memory_bytes),
    ("memory_used_bytes", "Memory of a GPU that is in use", lambda gpu: gpu.memory_used_bytes),
    ("utilisation_ratio", "Share of time in which a GPU computes", lambda gpu: gpu.utilisation),
    ("temperature_celsius", "Temperature of a GPU", lambda gpu: gpu.temperature_celsius),
    ("power_watts", "Power that a GPU takes", lambda gpu: gpu.power_watts),
)
"""The end of a name, the words, and the figure; None is what the driver does not tell."""

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    summary="Get metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    dependencies=[Depends(known_query)],
)
def metrics(request: Request, services: ServicesDep) -> Response:
    """Metrics of streams, models, jobs, the queue and the process."""
    registry = CollectorRegistry()
    registry.register(
        ServerCollector(services.streams, services.loaded, services.statuses, services.queue)
    )
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), headers={"Content-Type": media_type})


class ServerCollector(Collector):
    """The figures of one server."""

    def __init__(
        self, streams: Streams, loaded: LoadedModels, statuses: Statuses, queue: Queue
    ) -> None:
        self._streams = streams
        self._loaded = loaded
        self._statuses = statuses
        self._queue = queue

    def collect(self) -> Iterator[Metric]:
        yield from self._stream_figures()
        yield from self._model_figures()
        yield self._job_figures()
        yield from self._queue_figures()

    def _stream_figures(self) -> Iterator[Metric]:
        streams = self._streams
        lanes = streams.lanes
        yield _gauge("streams_open", "Texts that are being written.", streams.running)
        yield _gauge("streams_limit", "Most texts that may be written at once.", streams.limit)
        ticking = sum(lane.ticking for lane in lanes)
        yield _gauge("rows_ticking", "Rows that advance now; others wait.", ticking)
        refused = "Texts refused with 503 because the limit was reached."
        yield _counter("streams_refused", refused, streams.refused)
        yield _counter(
            "streams_gave_way",
            "Texts that ended unread to make room, because their readers were too slow.",
            streams.gave_way,
        )
        failed = sum(lane.failures for lane in lanes)
        yield _counter("streams_failed", "Texts that ended with an error while written.", failed)
        written = sum(lane.characters for lane in lanes)
        yield _counter("characters", "Characters written.", written)
        yield _histogram(
            "tick_seconds",
            "Time to advance all rows of a model once.",
            [lane.ticks for lane in lanes],
        )
        yield _histogram(
            "first_character_seconds",
            "Time from the opening of a text, with its model loaded, to its first characters.",
            [lane.first_texts for lane in lanes],
        )

    def _model_figures(self) -> Iterator[Metric]:
        loaded = self._loaded.models
        held = sum(model.bytes for model in loaded)
        yield _gauge("models_loaded", "Checkpoints in memory.", len(loaded))
        yield _gauge("models_loaded_bytes", "Estimated memory of the checkpoints in memory.", held)
        primes = self._loaded.prime_states
        yield _gauge("primes_bytes", "Estimated memory of the states of primes.", primes.bytes)
        lookups = CounterMetricFamily(
            "charloom_prime_lookups",
            "Primes of texts, by how much of them was known.",
            labels=["known"],
        )
        for known, count in primes.lookups.items():
            lookups.add_metric([known], count)
        yield lookups
        native = self._loaded.native
        text = "Whether fast models are computed by the native step, not by ONNX Runtime."
        yield _gauge("native", text, bool(native and native.is_used))
        damaged = len(self._loaded.registry.damaged)
        yield _gauge("models_damaged", "Checkpoints that this server found damaged.", damaged)

    def _job_figures(self) -> Metric:
        counts = self._statuses.count()
        metric = GaugeMetricFamily("charloom_jobs", f"Jobs on disk{SHARED}", labels=["status"])
        for status in get_args(Status):
            metric.add_metric([status], counts[status])
        return metric

    def _queue_figures(self) -> Iterator[Metric]:
        queue = self._queue
        try:
            waiting, workers, vitals = len(queue.waiting()), queue.workers(), queue.vitals.all()
        except RedisError:
            yield _gauge("redis_up", "Whether Redis answers.", 0)
            return
        yield _gauge("redis_up", "Whether Redis answers.", 1)
        yield _gauge("queue_length", f"Jobs that wait for a worker{SHARED}", waiting)
        yield _gauge("workers", f"Workers with a recent sign of life{SHARED}", workers)
        troubled = sum(one.trouble is not None for one in vitals)
        text = f"Workers that take no job because a GPU does not compute{SHARED}"
        yield _gauge("workers_without_gpu", text, troubled)
        yield from _gpu_figures(vitals)


def _gpu_figures(vitals: Iterable[Vitals]) -> Iterator[Metric]:
    """Of each GPU that a worker sees, once, also where several see it."""
    seen = {(one.host, gpu.number): gpu for one in vitals for gpu in one.gpus}
    for name, text, figure in _OF_GPUS:
        labels = ["host", "gpu", "name"]
        metric = GaugeMetricFamily(f"charloom_gpu_{name}", f"{text}{SHARED}", labels=labels)
        for (host, number), gpu in seen.items():
            if (value := figure(gpu)) is not None:
                metric.add_metric([host, number, gpu.name], value)
        if metric.samples:
            yield metric


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"charloom_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"charloom_{name}", text, value=value)


def _histogram(name: str, text: str, tallies: Iterable[Tally]) -> Metric:
    """Adds up tallies of the same bounds."""
    tallies = list(tallies)
    bounds = [*(f"{bound:g}" for bound in tallies[0].bounds), "+Inf"]
    counts = accumulate(map(sum, zip(*(tally.counts for tally in tallies), strict=True)))
    return HistogramMetricFamily(
        f"charloom_{name}",
        text,
        buckets=list(zip(bounds, counts, strict=True)),
        sum_value=sum(tally.seconds for tally in tallies),
    )
