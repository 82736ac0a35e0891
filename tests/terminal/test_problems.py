"""What the service refuses is told in commands and options."""

import re
from typing import Any

import pytest

from app.http.problems import CODES
from app.terminal.problems import WORDS, explained


def problem(code: str, detail: str = "GET /models", **fields: str) -> dict[str, Any]:
    errors = [{"field": field, "message": message} for field, message in fields.items()]
    return {"code": code, "detail": detail} | ({"errors": errors} if errors else {})


def test_words_are_for_codes_that_there_are_and_speak_no_http() -> None:
    assert WORDS.keys() <= CODES.keys()
    for words in WORDS.values():
        assert not re.search(r"\b(GET|POST|DELETE) /|endpoint|Bearer|header", words)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (problem("unknown_model"), "model not found; ./charloom models lists all models"),
        (problem("unknown_job"), "job not found; ./charloom jobs lists all jobs"),
        (
            problem("no_models", model="is missing: train one with POST /train"),
            "there are no models yet; ./charloom train FILE --model NAME trains one",
        ),
        (
            problem("unknown_model", init_from="is unknown; GET /models lists all models"),
            "--init-from: model not found; ./charloom models lists all models",
        ),
        (
            problem("job_ended", "resume it with POST /jobs/018f/resume."),
            "resume it with ./charloom jobs 018f --resume.",
        ),
        (
            problem("missing_key"),
            "the service needs an API key; set CHARLOOM_API_KEY, or enter it with --key",
        ),
        (
            problem("invalid_fields", num_layers="must be a number", top_k="must be another"),
            "--num-layers must be a number; --top-k must be another",
        ),
        (
            problem("invalid_fields", cells="must be whole numbers from 0 to 7"),
            "--cell must be a whole number from 0 to 7",
        ),
        (
            problem("invalid_fields", stop="must have at most 4 items"),
            "--stop may be given at most 4 times",
        ),
        (
            problem("invalid_corpus", corpus="the text has 9 characters"),
            "the text has 9 characters",
        ),
        (problem("invalid_fields", text="is missing"), "the text is missing"),
        (
            problem("invalid_fields", model="is missing: choose one"),
            "--model is missing: choose one",
        ),
        (
            problem("invalid_fields", min_length="must not be more than max_length"),
            "--min-length must not be more than --max-length",
        ),
        (
            problem("unknown_characters", sample_prime="has characters that the text lacks"),
            "--sample-prime has characters that the text lacks",
        ),
        (problem("invalid_fields", body="is not a checkpoint"), "the file is not a checkpoint"),
        (
            problem("unknown_characters", prime="has 'é'. Remove them, or set unknown=skip"),
            "prime has 'é'. Remove them, or set --unknown skip",
        ),
        (
            problem("rate_limited", "rate limit exceeded: 60 requests per minute"),
            "rate limit exceeded: 60 requests per minute",
        ),
        (problem("of_the_future", "in its own words"), "in its own words"),
        ({"detail": "of another server"}, "of another server"),
    ],
)
def test_a_problem_is_one_sentence(told: dict[str, Any], words: str) -> None:
    assert explained(told) == words


@pytest.mark.parametrize("body", [{}, {"error": "x"}, [], "text", None])
def test_what_is_not_a_problem_is_not_told(body: Any) -> None:
    with pytest.raises((KeyError, TypeError)):
        explained(body)
