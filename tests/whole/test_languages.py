"""Each language's file has every sentence of the pages, and nothing else."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pydantic import BaseModel

from app.http.error_page import WORDS
from app.http.language import ENGLISH, LANGUAGES, SENTENCES
from app.http.problems import Problem, title_of
from app.http.static_files import STATIC
from app.http.validation import validated
from app.main import create_app
from app.routes.pages import PREVIEWS
from app.schemas.inside import InspectRequest
from app.schemas.texts import NamesQuery, SampleRequest
from app.schemas.training import ResumeRequest, TrainRequest
from app.settings import ServerSettings
from models.inside.hypotheses import HYPOTHESES
from tests.serving import NOWHERE
from tests.support import node

ELSEWHERE = {"corpus_id", "max_seconds", "model", "styles"}
"""Options that Train has no field for whose hint is the server's."""

PROBLEMS = (400, 403, 404, 409, 413, 414, 416, 422, 429, 500, 503)
"""Statuses of problems that a browser may meet, which an error page has as its title."""

OTHERS = sorted(set(LANGUAGES) - {ENGLISH})

TEXT = r'"((?:[^"\\]|\\.)*)"'
SAID = re.compile(rf"\b(?:t|woven)\(\s*{TEXT}")
COUNTED = re.compile(rf"\bcounted\((?:[^()]|\([^()]*\))*?{TEXT},\s*{TEXT}")
"""Of a number's two sentences, the second."""
SERVER_WORDS = STATIC / "js" / "server_words.js"
OF_THE_SERVER = re.compile(r"""^  (["'])(.*)\1,$""", re.MULTILINE)
"""The server's own sentences, which the pages know, one a line."""


def reported() -> list[str]:
    """What the server says of texts, trainings and GPUs."""
    return _of_the_server("sentences.js")


def problems() -> list[str]:
    """What the server says where it refuses a request."""
    return _of_the_server("problems.js")


def _of_the_server(name: str) -> list[str]:
    script = (STATIC / "js" / "reported" / name).read_text()
    return [
        json.loads(f'"{sentence}"') if quote == '"' else sentence
        for quote, sentence in OF_THE_SERVER.findall(script)
    ]


def said_in(file: Path) -> Iterator[str]:
    """Each sentence of a script."""
    script = file.read_text()
    for sentence in SAID.findall(script):
        yield json.loads(f'"{sentence}"')
    for _, many in COUNTED.findall(script):
        yield json.loads(f'"{many}"')


def of_the_server() -> set[str]:
    """What a page says only where the server says something."""
    return {*problems(), *reported(), *said_in(SERVER_WORDS)} - set(english())


def english() -> Iterator[str]:
    """Each sentence that a page or the server can say otherwise."""
    for file in STATIC.rglob("*.js"):
        if file != SERVER_WORDS and not {"vendor", "widget", "portable"} & set(file.parts):
            yield from said_in(file)
    for file in STATIC.glob("*.html"):
        yield from re.findall(r"\{\{([^{}]+)\}\}", file.read_text())
    yield from (hypothesis.title for hypothesis in HYPOTHESES)
    yield from hints()
    yield from map(title_of, PROBLEMS)
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


def sentences(name: str) -> dict[str, str]:
    """What is in a file of a language."""
    found: dict[str, str] = json.loads((SENTENCES / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_is_translated_and_none_is_left_over(language: str) -> None:
    for name, wanted in {
        language: set(english()),
        f"{language}.server": of_the_server(),
    }.items():
        translated = sentences(name)
        assert sorted(wanted - translated.keys()) == []
        assert sorted(translated.keys() - wanted) == []
        assert list(translated) == sorted(translated)


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_has_the_places_of_its_sentence(language: str) -> None:
    servers = {*reported(), *problems()}
    both = sentences(language) | sentences(f"{language}.server")
    for sentence, translation in both.items():
        own, its = (set(re.findall(r"\{\w+\}", one)) for one in (sentence, translation))
        # Of the server's, what only its API has may be left out.
        assert its <= own if sentence in servers else its == own, sentence
        assert translation.strip(), sentence


WRONG: tuple[object, ...] = (
    "",
    "x" * 2_000_000,
    "no such word",
    -1,
    0,
    1e99,
    2**80,
    None,
    True,
    [],
    ["x"] * 500,
    {},
)
"""Values that one field or another does not take."""

ASKED = (SampleRequest, NamesQuery, TrainRequest, ResumeRequest, InspectRequest)
"""Requests that people fill in on the pages."""


@pytest.mark.parametrize("language", OTHERS)
def test_what_is_wrong_with_a_field_is_said_in_every_language(language: str) -> None:
    said = set()
    for model in ASKED:
        for name in model.model_fields:
            for value in WRONG:
                said |= messages(model, {name: value})
    assert len(said) > 30
    code = f"""
        import {{ readFileSync }} from "node:fs";
        globalThis.document = {{ documentElement: {{ lang: "{language}" }} }};
        globalThis.fetch = async (url) => new Response(readFileSync(url, "utf8"));
        const {{ atField, understand }} = await import("{STATIC / "js" / "words.js"}");
        await understand();
        const said = {json.dumps(sorted(said))};
        console.log(JSON.stringify(said.filter((one) => atField(one).startsWith("\\n"))));
    """
    assert json.loads(node("--input-type=module", "--eval", code)) == []


def messages(model: type[BaseModel], values: Mapping[str, object]) -> set[str]:
    """What is said of the fields of a request, if it is refused."""
    try:
        validated(model, values)
    except Problem as refused:
        return {error.message for error in refused.errors}
    return set()
