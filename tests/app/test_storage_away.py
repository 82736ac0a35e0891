"""While a bucket is away, a server says so where it must, and serves what it has."""

from collections.abc import Callable

import httpx2

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.buckets import S3Server
from tests.serving import TEXT, Query, eventually, problem, serve
from tests.toys import toy_checkpoint
from worker.data import DataDirectory


def train(client: httpx2.Client, model: str) -> httpx2.Response:
    headers = {"Idempotency-Key": model}
    return client.post("/train", params={"model": model}, content=TEXT, headers=headers)


def test_what_is_here_is_served_and_nothing_is_promised(
    host: Callable[[str], DataDirectory], bucket: S3Server
) -> None:
    elsewhere = host("elsewhere")
    models = Registry(elsewhere.models, elsewhere.storage)
    models.publish(Reference("toy"), toy_checkpoint())
    models.publish(Reference("other"), toy_checkpoint(seed=1))
    with serve(host("here")) as client:
        fields: Query = {"model": "toy", "seed": 3, "length": 100}
        text = client.get("/sample", params=fields).text
        kept = train(client, "kept").json()["id"]
        assert len(client.get("/models").json()["models"]) == 2
        bucket.failing = True
        refused = train(client, "refused")
        problem(refused, 503, "storage_away")
        assert refused.headers["Retry-After"] == "2"
        problem(client.post(f"/jobs/{kept}/cancel"), 503, "storage_away")
        problem(client.delete("/models/toy"), 503, "storage_away")
        # One that nobody has asked for yet is in the bucket only.
        problem(client.get("/sample", params={"model": "other"}), 503, "storage_away")
        # What is not here may be there.
        problem(client.get("/models/unknown"), 503, "storage_away")
        problem(client.get(f"/jobs/{'0' * 22}"), 503, "storage_away")
        away = problem(client.get("/readyz"), 503, "not_ready")
        assert away["models"] is None
        assert client.get("/sample", params=fields).text == text
        assert client.get(f"/jobs/{kept}").json()["status"] == "queued"
        assert {one["model"] for one in client.get("/models").json()["models"]} == {"toy", "other"}
        bucket.failing = False
        accepted = eventually(lambda: (one := train(client, "refused")).status_code == 202 and one)
        assert client.get("/sample", params={"model": "other", "length": 10}).status_code == 200
        jobs = {job["id"]: job["status"] for job in client.get("/jobs").json()["jobs"]}
        assert jobs == {kept: "queued", accepted.json()["id"]: "queued"}


def test_a_new_checkpoint_is_served_on_every_host(
    host: Callable[[str], DataDirectory],
) -> None:
    """And a deleted one on none."""
    elsewhere = host("elsewhere")
    models = Registry(elsewhere.models, elsewhere.storage)
    first = models.publish(Reference("toy"), toy_checkpoint())
    with serve(host("here")) as client:

        def digest() -> str:
            return str(client.get("/sample?model=toy&length=1").headers.get("x-model-digest"))

        assert digest() == first
        second = models.publish(Reference("toy"), toy_checkpoint(seed=1))
        eventually(lambda: digest() == second)
        models.delete_name("toy")
        eventually(lambda: client.get("/sample?model=toy").status_code == 404)
