"""A text in one piece is the JSON that is documented, with or without probabilities."""

import json

import httpx2
import pytest

from app.schemas.texts import SampleResult
from tests.serving import Query


@pytest.mark.parametrize("probabilities", [0, 3])
def test_an_answer_is_a_sample_result(client: httpx2.Client, probabilities: int) -> None:
    fields: Query = {"model": "toy", "prime": "ab", "echo": True, "length": 600}
    fields |= {"probabilities": probabilities}
    answer = client.get("/sample", params=fields, headers={"Accept": "application/json"})
    result = SampleResult.model_validate_json(answer.content)
    assert len(result.text) == 602 and result.text.startswith("ab")
    told = "".join(one.char for one in result.probabilities or ())
    assert told == (result.text[2:] if probabilities else "")
    assert ("probabilities" in json.loads(answer.content)) == bool(probabilities)
