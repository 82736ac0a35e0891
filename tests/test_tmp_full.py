import os, time
from conftest import *
import pytest
@pytest.fixture
def data():
    import shutil
    d = Path("/tmp/small/data"); shutil.rmtree(d, ignore_errors=True); d.mkdir(); return d
def sh(c): print(subprocess.run(c, shell=True, capture_output=True, text=True).stdout)
def test_full(make_job, start_worker, queue, data, tmp_path):
    job = make_job(max_steps=6000, evaluate_every=100, sample_at=[])
    queue.enqueue(job.id)
    w = start_worker()
    e = events_until(queue, job, lambda e: e.event=="evaluation" and e.data["step"]>=200)
    filler = data/"filler"
    fd = os.open(filler, os.O_CREAT|os.O_WRONLY)
    try:
        while True: os.write(fd, b"x"*4096)
    except OSError as err: print(err)
    os.close(fd)
    sh("df /tmp/small")
    t=time.time()
    while job.status() != "paused" and time.time()-t<20: time.sleep(.01)
    print("paused after", time.time()-t, job.status(), job.view()["error"], job.running().get("needs_bytes"))
    time.sleep(12)
    print(job.status()); sh("df /tmp/small")
    filler.unlink()
    t=time.time()
    ev = events_until(queue, job, lambda e: e.event=="progress", after=job.events()[-1].id)
    print("back after", time.time()-t, ev[-1])
    job_events = all_events(queue, job)
    print(job.status(), job.view()["error"], len(job_events), [e.id for e in job.events()] == list(range(1, len(job.events())+1)))
    print(w.said())
    sh(f"ls -la {job.directory} {data}/models/toy")
