"""Each thing that can be wrong with a field is said in words, and nothing of it comes back."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from app.http.problems import Problem
from app.http.validation import repeated_fields, unknown_fields, validated
from app.schemas.common import JobId, ModelName


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
