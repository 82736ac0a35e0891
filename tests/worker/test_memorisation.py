"""What a model has by heart is looked up in its corpus."""

from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from tests.support import TOY, MakeJob
from tests.training import history, notices
from worker.settings import Settings
from worker.trainer import attempt


def test_what_a_model_has_by_heart_is_told_at_the_end(
    make_job: MakeJob, settings: Settings
) -> None:
    job = make_job(max_steps=300, evaluate_every=300, sample_at=[], sample_temperature=0.0)
    attempt.run(job.id)
    (notice,) = notices(job.events(), "memorisation")
    entry = Registry(settings.data.models).entry(Reference("toy"))
    found = entry.card["memorisation"]
    # Always the likeliest: long runs of bottles, whose words are the corpus's.
    assert found["longest"] > 20
    assert f"is {found['longest']:,} characters: “" in notice["text"]
    corpus = TOY.encode()
    assert corpus[found["longest_start"] :].decode()[:20].split()[0] in notice["text"]
    share = found["novel_line_share"]
    assert share is not None and 0 <= share <= 1
    assert "longest_text" not in found
    readme = (settings.data.models / "toy" / entry.digest / "README.md").read_text()
    assert f"word for word: {found['longest']}" in readme
    # The last checkpoint is the whole story.
    assert history(job)[-1]["step"] == 300
    assert job.events()[-2].data["digest"] == entry.digest
