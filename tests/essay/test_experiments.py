"""The table of experiments is sound."""

from app.essay.corpora import PUBLIC_CORPORA
from app.essay.experiments import EXPERIMENTS
from app.essay.reproduce import CHECKS
from app.schemas.training import TrainForm


def test_the_table_is_sound() -> None:
    for one in EXPERIMENTS.values():
        assert one.corpus is None or one.corpus in PUBLIC_CORPORA
        assert set(one.checks) <= CHECKS.keys()
        for options in (one.options, one.reduced):
            TrainForm.model_validate({"model": "x", **options})
