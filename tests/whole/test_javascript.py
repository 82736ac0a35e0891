"""The pages' JavaScript: its unit tests in Node, its limits against the server's, its size."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from app.main import create_app
from app.routes.inside import MAX_ACTIVATIONS
from app.settings import ServerSettings
from models.text.intake.members import MAX_MEMBERS
from tests.serving import NOWHERE
from tests.support import ROOT, node

STATIC = ROOT / "app" / "static"
VENDOR = STATIC / "vendor"
SCRIPTS = [
    path
    for path in sorted([*STATIC.rglob("*.js"), *(ROOT / "tests").rglob("*.js")])
    if not path.is_relative_to(VENDOR)
]
ABCJS = "3290ef44c918d5e882029d3a47ad3dd63c16c8819da5abe921f3d1e642b4f4f0"
"""SHA-256 of ``dist/abcjs-basic-min.js`` in the package abcjs 6.7.2 of npm."""
HIGHLIGHT = {
    "core": "bfcca5550cb9d62482162e1d1fb90c822d2d35036b556544817441b795b7103c",
    "c": "e59b00b861c8aef367e69135fd38a0eb8199bbf176c8bdd47037f8c10f252f13",
    "latex": "a9bd7914df4b8c40f5b7e333124266b2d88deb0d666dd3adf8d1165cac12c3bd",
}
"""SHA-256 of ``es/core.min.js`` and ``es/languages/*.min.js`` of @highlightjs/cdn-assets 11.11."""


def test_the_unit_tests_pass() -> None:
    tests = sorted((ROOT / "tests" / "pages").glob("*.test.js"))
    assert tests
    node("--test", *tests)


@pytest.fixture(scope="module")
def limits() -> dict[str, Any]:
    """The constants of limits.js."""
    code = f'import * as limits from "{STATIC / "js" / "limits.js"}";'
    printed = node("--input-type=module", "--eval", f"{code} console.log(JSON.stringify(limits))")
    constants: dict[str, Any] = json.loads(printed)
    return constants


def test_the_limits_are_the_servers(limits: dict[str, Any], tmp_path: Path) -> None:
    api = create_app(ServerSettings(data=tmp_path, redis_url=NOWHERE)).openapi()["paths"]

    def body(path: str) -> dict[str, Any]:
        content = api[path]["post"]["requestBody"]["content"]["application/json"]
        return dict(content["schema"]["properties"])

    names = {one["name"]: one["schema"] for one in api["/names"]["get"]["parameters"]}
    model, _ = names["model"]["anyOf"]
    assert limits == {
        "MAX_PRIME": body("/sample")["prime"]["maxLength"],
        "MAX_LENGTH": body("/sample")["length"]["maximum"],
        "MAX_INSPECTED": body("/models/{model}/inspect")["text"]["maxLength"],
        "MAX_ACTIVATIONS": MAX_ACTIVATIONS,
        "MAX_FILES": MAX_MEMBERS,
        "MAX_NAMES": names["count"]["maximum"],
        "MAX_NAME_LENGTH": names["max_length"]["maximum"],
        "MODEL_NAME": for_inputs(body("/train")["model"]["pattern"]),
        "MODEL_REFERENCE": for_inputs(model["pattern"]),
    }


def for_inputs(pattern: str) -> str:
    """A pattern as inputs have it: without anchors, and with its hyphens escaped."""
    return pattern.strip("^$").replace("_-]", r"_\-]")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_module_and_no_class_is_long(path: Path) -> None:
    """Biome holds the limit of functions; it has formatted the files, so classes end with ``}``."""
    source = path.read_text()
    assert source.count("\n") <= 500
    classes = re.findall(r"^(?:export )?class .*?^\}", source, re.MULTILINE | re.DOTALL)
    assert max((text.count("\n") + 1 for text in classes), default=0) <= 300


def test_abcjs_is_as_it_was_published_but_for_inline_styles() -> None:
    """To have another version: ``npm pack abcjs``, the two changes undone here, its hash, its
    licence.
    """
    notice, _, changed = (VENDOR / "abcjs" / "abcjs-basic-min.js").read_text().partition("\n")
    assert notice.startswith("/*! Changed for charloom")
    published = changed.replace(".style.cssText=(", '.setAttribute("style",').replace(
        ".insertStyles=function(e){return;", ".insertStyles=function(e){"
    )
    assert hashlib.sha256(published.encode()).hexdigest() == ABCJS
    assert "Permission is hereby granted" in (VENDOR / "abcjs" / "LICENSE.txt").read_text()


def test_highlight_js_is_as_it_was_published() -> None:
    folder = VENDOR / "highlight"
    hashes = {
        name: hashlib.sha256((folder / f"{name}.min.js").read_bytes()).hexdigest()
        for name in HIGHLIGHT
    }
    assert hashes == HIGHLIGHT
    assert "Redistribution and use" in (folder / "LICENSE.txt").read_text()
