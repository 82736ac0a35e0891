"""A job of several texts: what it trains on, says and publishes."""

import pytest

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.support import TOY, MakeJob
from worker.settings import WorkerSettings
from worker.trainer import attempt

HALF = TOY.index("\n", len(TOY) // 2) + 1
PARTS = f"high:{HALF},low:{len(TOY) - HALF}"


def test_a_job_of_two_texts_publishes_a_network_with_their_styles(
    make_job: MakeJob, settings: WorkerSettings
) -> None:
    job = make_job("bottles", styles=PARTS, max_steps=60, sample_at=[20, 40], sample_every=30)
    attempt.run(job.id)
    assert job.status() == "finished", job.view()
    assert job.view()["options"]["styles"] == PARTS
    samples = [event.data for event in job.events() if event.event == "sample"]
    assert [(one["step"], one["style"]) for one in samples] == [
        (0, "high"),
        (20, "low"),
        (30, "high"),
        (40, "low"),
        (60, "high"),
    ]
    registry = Registry(settings.data.models)
    checkpoint = registry.load("bottles", registry.resolve(Reference("bottles")))
    assert checkpoint.config.styles == ("high", "low")
    # A tenth of each, the end.
    held = [TOY[:HALF], TOY[HALF:]]
    ends = [text[len(text) - round(0.1 * len(text)) :] for text in held]
    assert checkpoint.validation.decode() == "".join(ends)
    parts = [[style, len(end)] for style, end in zip(("high", "low"), ends, strict=True)]
    assert checkpoint.card.get("held_out") == parts
    kept = [line["style"] for line in checkpoint.history if "text" in line]
    assert kept == ["high", "low", "high", "low", "high"]
    assert checkpoint.card["memorisation"]["characters"] > 1000


def test_a_job_goes_on_with_the_styles_that_a_model_has(
    make_job: MakeJob, settings: WorkerSettings
) -> None:
    """And with those of a text that are new to it, in the plan that is made for it."""
    attempt.run(make_job("bottles", styles=PARTS).id)
    more = f"low:{HALF},new:{len(TOY) - HALF}"
    job = make_job("more", styles=more, init_from="bottles", hidden_size=16, max_steps=20)
    (job.directory / "plan.json").unlink()
    attempt.run(job.id)
    assert job.status() == "finished", job.view()
    registry = Registry(settings.data.models)
    assert registry.entry(Reference("more")).config.styles == ("low", "new")


@pytest.mark.usefixtures("settings")
def test_parts_of_another_text_end_a_job(make_job: MakeJob) -> None:
    job = make_job(styles="a:100,b:200")
    attempt.run(job.id)
    error = job.view()["error"]
    assert error and "cannot be trained on" in error["title"]
    assert f"{len(TOY):,} bytes" in error["detail"]
