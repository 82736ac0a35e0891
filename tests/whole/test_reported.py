"""The pages know what the server says in sentences of its own, and nothing that it does not say."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.whole.test_languages import reported

ROOT = Path(__file__).parents[2]

SPEAKERS = [
    ROOT / path
    for path in (
        "models/sizing.py",
        "models/text/cleaning.py",
        "models/text/corpus.py",
        "models/text/doctor.py",
        "models/text/encodings.py",
        "models/text/intake/documents.py",
        "models/text/intake/members.py",
        "models/text/intake/taking.py",
        "models/text/intake/unpacking.py",
        "models/text/kinds.py",
        "models/training/planning.py",
        "models/training/trainer.py",
        "worker/job_files.py",
        "worker/records.py",
        "worker/trainer/device.py",
        "worker/trainer/failures.py",
        "worker/trainer/fitting.py",
        "worker/trainer/memorisation.py",
        "worker/trainer/plan.py",
        "worker/trainer/probe.py",
        "worker/trainer/publisher.py",
        "worker/trainer/session.py",
        "worker/trainer/shrinking.py",
        "worker/trainer/tally.py",
    )
]
"""Those whose words reach people: notices, warnings, and why a job failed."""

WORDS = re.compile(r"[A-Za-z]+ [a-z]+")


def spoken(file: Path) -> Iterator[str]:
    """Each text of a module of more than a word, with an ellipsis for its values."""
    yield from _texts(ast.parse(file.read_text()))


def _texts(node: ast.AST) -> Iterator[str]:
    match node:
        # A docstring, what only a log tells, and what is looked for in others' words.
        case ast.Expr(ast.Constant()) | ast.Call(ast.Attribute(ast.Name("log"))) | ast.Compare():
            return
        case ast.Assign([ast.Name(name)]) if name.endswith("_WORDS"):
            return
        case ast.JoinedStr(parts):
            found = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts
            )
            if WORDS.search(found):
                yield found
        case ast.Constant(str(found)) if WORDS.search(found):
            yield found
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _texts(child)


def pattern(sentence: str) -> str:
    return ".*".join(map(re.escape, re.split(r"\{\w+\}", sentence)))


@cache
def known() -> re.Pattern[str]:
    return re.compile("|".join(map(pattern, reported())))


@pytest.mark.parametrize("file", SPEAKERS, ids=lambda file: str(file.relative_to(ROOT)))
def test_whatever_is_said_is_known(file: Path) -> None:
    assert [text for text in spoken(file) if not known().fullmatch(text)] == []


def test_nothing_is_known_that_is_not_said() -> None:
    said = "\n".join(text for file in SPEAKERS for text in spoken(file))
    for sentence in reported():
        for part in re.split(r"\{\w+\}", sentence):
            if WORDS.search(part):
                assert part.strip().removesuffix(".") in said
