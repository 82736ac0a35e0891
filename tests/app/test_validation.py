"""Each thing that can be wrong with a field is said in words, and nothing of it comes back."""

import re
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from app.http.problems import Problem
from app.http.validation import repeated_fields, unknown_fields, validated
from app.routes.dialects import ollama, requests
from app.schemas import inside, models, texts, training
from app.schemas.common import JobId, ModelName

WHOLE = "must be a whole number"
HEAT = "must be 0 (always the most likely character) or from 0.01 to 10"
STEPS = "must be steps from 1 to 1000000000, at most 1000 of them, as in 100,300,500"
SNAPSHOTS = "must be at most 100 steps: each is a model on disk"
SURROGATE = "must be text, without half a surrogate pair such as \\ud800"


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: ModelName = "x"
    job: JobId | None = None
    layers: int | None = Field(None, ge=1, le=8)
    share: float | None = Field(None, gt=0, le=1)
    kind: Literal["lstm", "gru"] = "lstm"
    text: str = Field("", max_length=1000)
    echo: bool = False


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("layers", 9, "must be a whole number from 1 to 8"),
        ("layers", "many", "must be a whole number from 1 to 8"),
        ("layers", 1.5, "must be a whole number from 1 to 8"),
        ("share", 0, "must be a number above 0 and at most 1"),
        ("share", float("nan"), "must be a number above 0 and at most 1"),
        ("kind", "rnn", "must be lstm or gru"),
        ("text", "x" * 1001, "must have at most 1,000 characters"),
        ("text", 3, "must be text"),
        ("echo", "perhaps", "must be true or false"),
        ("job", "x", "must be the id of a job; GET /jobs lists all jobs"),
        (
            "name",
            "No!",
            "must be lower-case letters, digits, '_' and '-', 63 at most, starting with a letter "
            "or digit",
        ),
        (
            "colour",
            "red",
            "is unknown; known fields are name, job, layers, share, kind, text, echo",
        ),
    ],
)
def test_a_field_that_is_wrong(field: str, value: Any, words: str) -> None:
    with pytest.raises(Problem) as refused:
        validated(Asked, {field: value})
    (error,) = refused.value.errors
    assert (error.field, error.message) == (field, words)
    assert (refused.value.status_code, refused.value.code) == (422, "invalid_fields")


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(Problem) as refused:
        validated(Asked, {"layers": 0, "share": 2})
    assert [error.field for error in refused.value.errors] == ["layers", "share"]
    assert refused.value.detail == (
        "layers must be a whole number from 1 to 8; share must be a number above 0 and at most 1"
    )


def test_a_sound_request_comes_through() -> None:
    assert validated(Asked, {"layers": 2}).layers == 2


def test_a_name_that_is_not_one_is_not_repeated() -> None:
    (error,) = unknown_fields(["<script>"], ["limit"]).errors
    assert error.field == "(invalid name)"
    (twice,) = repeated_fields(["limit"]).errors
    assert twice.message == "was sent more than once: send it once"


# Every field of every request

REQUESTS: list[type[BaseModel]] = [
    texts.SampleRequest,
    texts.NamesQuery,
    training.TrainForm,
    training.TrainRequest,
    training.ResumeRequest,
    training.JobQuery,
    training.CorpusQuery,
    models.ModelQuery,
    models.DownloadQuery,
    inside.InspectRequest,
    inside.ScoreRequest,
    requests.CompletionRequest,
    requests.ChatRequest,
    ollama.GenerateRequest,
    ollama.OllamaChat,
    ollama.OllamaOptions,
    ollama.Shown,
]
VALUES: list[Any] = [
    *(-1, 0, 1.5, 10**18, 2**63, 10**30, 10**400, -(10**400), 1e308),
    *(float("nan"), float("inf"), "1e400", "nan", "x", "9" * 5000, True, None, ""),
    *([], [1], ["x", 3], [None], [[1]], ["x"] * 30, ["x" * 300], [10**30], [1.5], {}, {"a": 1}),
    *("\ud800", "x" * 100_000, "1,2,x"),
]
FOREIGN = re.compile(
    "input|valid |valid$|dict|instance|item.? after|unable|pars|type|python|sys|class|None|"
    r"[Ii]nt\b|str\b|float|bool|e-?\d\d|\.0\b",
    re.IGNORECASE,
)
"""Words of pydantic's and Python's."""


@pytest.mark.parametrize("request_", REQUESTS)
def test_no_value_of_any_field_is_answered_in_the_words_of_a_library(
    request_: type[BaseModel],
) -> None:
    for name in request_.model_fields:
        for value in VALUES:
            try:
                validated(request_, {name: value})
            except Problem as problem:
                for error in problem.errors:
                    assert not FOREIGN.search(error.message), (name, str(value)[:40], error)


@pytest.mark.parametrize(
    ("request_", "field", "value", "words"),
    [
        (texts.SampleRequest, "stop", ["x"] * 5, "must have at most 4 items"),
        (texts.SampleRequest, "stop", "x", "must be a list"),
        (texts.SampleRequest, "stop", ["x", 3], "must be text"),
        (texts.SampleRequest, "prime", "\ud800", SURROGATE),
        (texts.SampleRequest, "seed", -1, "must be a whole number from 0 to 9223372036854775807"),
        (texts.SampleRequest, "seed", "9" * 5000, WHOLE + " from 0 to 9223372036854775807"),
        (
            texts.SampleRequest,
            "temperature",
            float("nan"),
            "must be a number, or a list of numbers",
        ),
        (texts.SampleRequest, "temperature", 11, HEAT),
        (texts.NamesQuery, "count", 10**30, "must be a whole number from 1 to 1000"),
        (inside.ScoreRequest, "models", [], "must have at least 1 item"),
        (inside.ScoreRequest, "models", ["x"] * 9, "must have at most 8 items"),
        (inside.ScoreRequest, "models", {"a": 1}, "must be a list"),
        (inside.InspectRequest, "cells", 3, "must be a list"),
        (inside.InspectRequest, "cells", [1.5], "must be a whole number"),
        (inside.InspectRequest, "cells", list(range(5000)), "must have at most 4096 items"),
        (training.TrainForm, "max_seconds", 1e9, "must be a number above 0 and at most 31622400"),
        (training.TrainForm, "learning_rate", 0, "must be a number from 0.000001 to 1"),
        (training.TrainForm, "sample_at", "9" * 5000, STEPS),
        (training.TrainForm, "keep_snapshots", list(range(1, 200)), SNAPSHOTS),
        (training.JobQuery, "limit", 0, "must be a whole number from 1 to 100"),
        (requests.CompletionRequest, "stream_options", 3, "must be a JSON object"),
        (requests.CompletionRequest, "stop", 3, "must be a string, or a list of strings"),
        (ollama.OllamaOptions, "num_predict", 10**7, "must be a whole number of at most 1000000"),
    ],
)
def test_the_words_of_an_error(
    request_: type[BaseModel], field: str, value: Any, words: str
) -> None:
    with pytest.raises(Problem) as refused:
        validated(request_, {field: value})
    said = {error.field.split(".")[0]: error.message for error in refused.value.errors}
    assert said[field] == words
