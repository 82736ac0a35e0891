"""Nothing stays in a bucket that nobody needs, and nothing goes that somebody does."""

from collections.abc import Callable

from tests.buckets import S3Server
from worker.data import DataDirectory
from worker.jobs import JobStore
from worker.storage.bucket import Bucket
from worker.storage.sweeping import sweep


def test_what_no_head_names_goes_once_it_is_old(
    host: Callable[[str], DataDirectory], bucket: S3Server
) -> None:
    data = host("one")
    store = JobStore(data.jobs, data.storage)
    jobs = [store.create(f"m{n}", "c" * 64, {"text": "x" * 5000}, None)[0] for n in range(2)]
    jobs[0].request_cancel()
    store.delete(jobs[0].id)
    ours = Bucket(bucket.url)
    before = bucket.keys()
    ours.add(f"data/jobs/{jobs[1].id}/left", b"by a process that was killed")
    ours.add(f"data/models/gone/{'0' * 16}-x", b"of a model that never was")
    sweep(ours)
    assert len(bucket.keys()) == len(before) + 2
    sweep(ours, -60.0)
    assert bucket.keys() == [key for key in before if key != f"heads/jobs/{jobs[0].id}"]
    bucket.objects[f"fleet/heads/jobs/{jobs[1].id}"].data = b"damaged"
    sweep(ours, -60.0)
    assert bucket.keys("heads/jobs") == [f"heads/jobs/{jobs[1].id}"]
    assert bucket.keys(f"data/jobs/{jobs[1].id}")
