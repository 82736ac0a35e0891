"""Fields that several schemas share: empty ones are absent, patterns and pages as documented."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from app.schemas.common import CorpusId, Fields, JobId, ModelName, ModelReference, Temperature, page


class Query(Fields):
    model: ModelName | None = None
    limit: int = 50


def test_an_empty_field_is_absent() -> None:
    assert Query.model_validate({"model": "", "limit": None}) == Query()


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Query.model_validate({"colour": "red"})


@pytest.mark.parametrize(
    ("kind", "sound", "unsound"),
    [
        (ModelName, ["a", "linux-2_b", "9" * 63], ["", "A", "-a", "a" * 64, "a:b", "a\n", "é"]),
        (ModelReference, ["a", "a:v1.2", "a:latest"], ["a:", ":a", "a:B", "a:b:c", "a:b\n"]),
        (CorpusId, ["0" * 64], ["0" * 63, "G" * 64, "0" * 64 + "\n"]),
        (JobId, ["0" * 22], ["0" * 21, "x" * 22]),
        (Temperature, [0, 0.01, 10], [-1, 0.001, 10.1, float("nan"), float("inf")]),
    ],
)
def test_what_a_field_takes(kind: Any, sound: list[Any], unsound: list[Any]) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    for value in sound:
        assert adapter.validate_python(value) == value
    for value in unsound:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


def test_a_pattern_is_in_the_schema() -> None:
    schema = TypeAdapter(ModelName).json_schema()
    assert schema["pattern"] == "^[a-z0-9][a-z0-9_-]{0,62}$"


def test_a_page_names_where_the_next_one_starts() -> None:
    assert page(["a", "b", "c"], 2, str.upper) == (["a", "b"], "B")
    assert page(["a", "b"], 2, str.upper) == (["a", "b"], None)
    assert page([], 2, str.upper) == ([], None)
