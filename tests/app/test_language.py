"""Which language a visitor reads, and what is said in it."""

import pytest
from starlette.requests import HTTPConnection

from app.http.language import COOKIE, LANGUAGES, in_language, language_of, next_language


@pytest.mark.parametrize(
    ("asked", "chosen", "language"),
    [
        ("", None, "en"),
        ("*", None, "en"),
        ("ja", None, "ja"),
        ("ja-JP,ja;q=0.9,en;q=0.8", None, "ja"),
        ("fr-FR, JA-jp;q=0.5", None, "ja"),
        ("en-GB, ja;q=0.9", None, "en"),
        ("ja;q=0", None, "en"),
        ("ja;q=0.5, en;q=0.5", None, "en"),
        ("fr", None, "en"),
        ("en", "ja", "ja"),
        ("ja", "en", "en"),
        ("ja", "tlh", "ja"),
        ("", "../ja", "en"),
    ],
)
def test_the_visitor_chooses_else_the_browser(
    asked: str, chosen: str | None, language: str
) -> None:
    headers = [(b"accept-language", asked.encode())]
    if chosen:
        headers.append((b"cookie", f"{COOKIE}={chosen}".encode()))
    assert language_of(HTTPConnection({"type": "http", "headers": headers})) == language


def test_a_sentence_without_a_translation_stays_as_it_is() -> None:
    assert in_language("ja", "Write") == "書く"
    assert in_language("ja", "nobody says this") == "nobody says this"
    assert in_language("en", "Write") == "Write"


def test_the_switch_leads_through_all_languages_and_back() -> None:
    language, seen = "en", set()
    while language not in seen:
        seen.add(language)
        language = next_language(language)
    assert language == "en" and seen == set(LANGUAGES)
