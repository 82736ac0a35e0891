"""What options must be, in a query, in a form or in JSON: the ranges of ``models.options``."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from app.schemas.training import OPTIONS, ResumeRequest, TrainForm, TrainRequest
from models.options import MAX_SNAPSHOTS, TrainingOptions
from models.presets import PRESETS
from tests.serving import TEXT, serve, wrong_fields
from tests.uploads import LIMIT, on_disk, part, post_form


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx2.Client]:
    """Of a server whose Redis is away, which no test here may notice."""
    with serve(data, max_upload_bytes=LIMIT) as client:
        yield client


def test_an_empty_option_is_absent(client: httpx2.Client, name: str) -> None:
    response = client.post(f"/train?model={name}&dropout=&seed=&sample_at=", content=TEXT)
    options = response.json()["options"]
    assert "dropout" not in options
    assert options["seed"] == 0
    assert options["sample_at"][0] == 100


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("model", "../x", "lower-case letters"),
        ("model", "Linux", "lower-case letters"),
        ("model", "con\n", "lower-case letters"),
        ("model", "a" * 64, "63 at most"),
        ("model", "", "is missing"),
        ("preset", "gpt", f"{', '.join(list(PRESETS)[:-1])} or warpeace"),
        ("network", "transformer", "lstm, gru or rnn"),
        ("num_layers", "9", "a whole number from 1 to 8"),
        ("num_layers", "2.5", "a whole number from 1 to 8"),
        ("hidden_size", "9" * 5000, "a whole number from 8 to 4096"),
        ("dropout", "nan", "a number from 0 to 0.9"),
        ("learning_rate", "1e400", "a number from 0.000001 to 1"),
        ("max_seconds", "0", "above 0 and at most"),
        ("max_epochs", "-inf", "above 0 and at most"),
        ("sample_at", "1,x", "100,300,500"),
        ("sample_at", "0", "from 1 to"),
        ("sample_temperature", "0.001", "0.01 to 10"),
        ("sample_prime", "x" * 1001, "at most 1,000 characters"),
        ("seed", str(2**63), "from 0 to"),
        ("devices", "0", "from 1 to 64, or all"),
        ("devices", "65", "from 1 to 64, or all"),
        ("devices", "both", "from 1 to 64, or all"),
        ("layers", "2", "num_layers"),
    ],
)
def test_an_option_out_of_its_range(
    client: httpx2.Client, data: Path, name: str, option: str, value: str, words: str
) -> None:
    before = on_disk(data)
    options = {"model": name} | {option: value}
    wrong = wrong_fields(client.post("/train", params=options, content=TEXT))
    assert wrong.keys() == {option}
    assert words in wrong[option]
    parts = [part(k, v) for k, v in options.items()]
    assert wrong_fields(post_form(client, *parts, part("corpus", TEXT))).keys() == {option}
    assert on_disk(data) == before


def test_all_that_is_wrong_is_told_at_once(client: httpx2.Client) -> None:
    response = client.post("/train?num_layers=0&dropout=2", content=TEXT)
    assert wrong_fields(response).keys() == {"model", "num_layers", "dropout"}


def test_an_option_twice(client: httpx2.Client, name: str) -> None:
    response = client.post(f"/train?model={name}&seed=1&seed=2", content=TEXT)
    assert "once" in wrong_fields(response)["seed"]
    parts = part("model", name), part("seed", "1"), part("seed", "2"), part("corpus", TEXT)
    assert "once" in wrong_fields(post_form(client, *parts))["seed"]


# The schema itself


def test_a_query_and_json_have_the_options_of_a_training() -> None:
    form = TrainForm.model_json_schema()["properties"]
    as_json = TrainRequest.model_json_schema()["properties"]
    assert form.keys() == {"model", *OPTIONS}
    assert as_json == form | {"corpus_id": as_json["corpus_id"]}
    assert all(schema["description"] for schema in as_json.values())
    default = TrainForm(model="m").options()
    assert default == replace(TrainingOptions(), tokens="characters")


@pytest.mark.parametrize(
    "steps", ["300,100, 300", "100,300", [300, 100], ["100", 300], [100, 300, 300]]
)
def test_steps_may_be_text_or_a_list(steps: Any) -> None:
    form = TrainForm.model_validate({"model": "m", "sample_at": steps})
    assert form.options().sample_at == (100, 300)


@pytest.mark.parametrize(
    "steps",
    ["1,x", "1,", "0", "-1", "1.5", [1.5], [[1]], "1" * 30, ",".join(map(str, range(2000)))],
)
def test_steps_that_are_none(steps: Any) -> None:
    with pytest.raises(ValidationError, match="as in 100,300,500"):
        TrainForm.model_validate({"model": "m", "sample_at": steps})


def test_snapshots_are_few_since_each_is_a_model_on_disk() -> None:
    most = list(range(1, MAX_SNAPSHOTS + 1))
    kept = TrainForm.model_validate({"model": "m", "keep_snapshots": most})
    assert kept.options().keep_snapshots == tuple(most)
    with pytest.raises(ValidationError, match=f"at most {MAX_SNAPSHOTS} steps"):
        TrainForm.model_validate({"model": "m", "keep_snapshots": [*most, 1000]})


@pytest.mark.parametrize(("asked", "devices"), [("all", "all"), ("2", 2), (2, 2)])
def test_devices_are_a_number_or_all(asked: Any, devices: Any) -> None:
    assert TrainForm.model_validate({"model": "m", "devices": asked}).options().devices == devices


def test_a_resume_raises_limits_and_changes_devices_only() -> None:
    limits = {"max_epochs": 2.5, "max_steps": 7, "max_seconds": 60.0, "devices": "all"}
    assert ResumeRequest.model_validate(limits).model_dump() == limits
    with pytest.raises(ValidationError):
        ResumeRequest.model_validate({"dropout": 0.5})
