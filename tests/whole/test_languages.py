"""Each language's file has every sentence of the pages, and nothing else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from app.http.error_page import TITLES, WORDS
from app.http.language import ENGLISH, LANGUAGES, SENTENCES
from app.http.static_files import STATIC
from app.main import create_app
from app.routes.pages import PREVIEWS
from app.settings import ServerSettings
from models.inside.hypotheses import HYPOTHESES
from tests.serving import NOWHERE

ELSEWHERE = {"corpus_id", "max_seconds", "model", "styles"}
"""Options that Train has no field for whose hint is the server's."""

OTHERS = sorted(set(LANGUAGES) - {ENGLISH})

TEXT = r'"((?:[^"\\]|\\.)*)"'
SAID = re.compile(rf"\b(?:t|woven)\(\s*{TEXT}")
COUNTED = re.compile(rf"\bcounted\((?:[^()]|\([^()]*\))*?{TEXT},\s*{TEXT}")
"""Of a number's two sentences, the second."""
OF_THE_SERVER = re.compile(rf"^  {TEXT},$", re.MULTILINE)
"""The server's own sentences, which the pages know."""


def english() -> Iterator[str]:
    """Each sentence that a page or the server can say."""
    for file in STATIC.rglob("*.js"):
        if not {"vendor", "widget", "portable"} & set(file.parts):
            script = file.read_text()
            for sentence in SAID.findall(script):
                yield json.loads(f'"{sentence}"')
            for _, many in COUNTED.findall(script):
                yield json.loads(f'"{many}"')
    for file in STATIC.glob("*.html"):
        yield from re.findall(r"\{\{([^{}]+)\}\}", file.read_text())
    yield from (hypothesis.title for hypothesis in HYPOTHESES)
    words_of_the_server = (STATIC / "js" / "server_words.js").read_text()
    for sentence in OF_THE_SERVER.findall(words_of_the_server.partition("\n];")[0]):
        yield json.loads(f'"{sentence}"')
    yield from hints()
    yield from TITLES.values()
    for words in WORDS.values():
        yield from (words.title, words.text, words.label)
    for preview in PREVIEWS.values():
        yield from filter(None, (preview.title, preview.description, preview.of))


def hints() -> Iterator[str]:
    """What the server says of each option of a training that Train has a field for."""
    with TemporaryDirectory() as data:
        api = create_app(ServerSettings(data=Path(data), redis_url=NOWHERE)).openapi()
    body = api["paths"]["/train"]["post"]["requestBody"]["content"]["application/json"]
    for name, option in body["schema"]["properties"].items():
        if name not in ELSEWHERE:
            yield option["description"]


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_is_translated_and_none_is_left_over(language: str) -> None:
    sentences = json.loads((SENTENCES / f"{language}.json").read_text())
    said = set(english())
    assert sorted(said - sentences.keys()) == []
    assert sorted(sentences.keys() - said) == []
    assert list(sentences) == sorted(sentences)


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_has_the_places_of_its_sentence(language: str) -> None:
    sentences = json.loads((SENTENCES / f"{language}.json").read_text())
    for sentence, translation in sentences.items():
        places = [sorted(re.findall(r"\{\w+\}", one)) for one in (sentence, translation)]
        assert places[0] == places[1], sentence
        assert translation.strip(), sentence
