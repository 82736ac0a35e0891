"""What tries to break the API and what reads files: a moment of it always, minutes when asked.

``./charloom test -m fuzz --fuzz-seconds 600`` is ten minutes for each target.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.checkpoints.format import Checkpoint, read
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.files import CheckpointError
from models.text.cleaning import CorpusError
from models.text.corpus import encode, scan
from models.text.vocab import Tokens
from tests.forgery import a_counted_checkpoint, forged
from tests.serving import TEXT, serve
from tests.toys import toy_checkpoint

Example = TypeVar("Example")

BRIEFLY_OR_LONG = pytest.mark.parametrize(
    "long", [pytest.param(False, id="briefly"), pytest.param(True, marks=pytest.mark.fuzz)]
)


def hammer(
    claim: Callable[[Example], None],
    examples: st.SearchStrategy[Example],
    request: pytest.FixtureRequest,
    long: bool,
) -> None:
    """Tries a claim on examples: always the same few, or new ones for as long as was asked."""
    seconds = request.config.getoption("--fuzz-seconds") if long else 0.0
    ways = settings(
        max_examples=500 if long else 100,
        derandomize=not long,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    deadline = time.monotonic() + seconds
    while True:
        given(examples)(ways(lambda example: claim(example)))()
        if time.monotonic() >= deadline:
            return


# Checkpoints

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=10,
)
FILES = (
    *("config.json", "vocab.json", "card.json", "history.jsonl", "model.safetensors"),
    *("validation.txt", "lines.u64", "README.md", "manifest.json"),
)


@st.composite
def damage(draw: st.DrawFn, sound: dict[str, bytes]) -> tuple[str, bytes]:
    """A file of a checkpoint, and what is there instead."""
    name = draw(st.sampled_from(FILES))
    data = sound[name]
    kind = draw(st.sampled_from(["cut", "flipped", "inserted", "bytes", "json", "changed"]))
    at = draw(st.integers(0, len(data)))
    match kind:
        case "cut":
            data = data[:at]
        case "flipped":
            flipped = bytes([draw(st.integers(0, 255))])
            data = data[:at] + flipped + data[at + 1 :]
        case "inserted":
            data = data[:at] + draw(st.binary(max_size=50)) + data[at:]
        case "bytes":
            data = draw(st.binary(max_size=200))
        case "json":
            data = json.dumps(draw(JSON)).encode()
        case "changed" if name.endswith(".json"):
            # Sound JSON that holds one other value.
            value = json.loads(data)
            value[draw(st.sampled_from([*value, "another"]))] = draw(JSON)
            data = json.dumps(value).encode()
    return name, data


@BRIEFLY_OR_LONG
@pytest.mark.parametrize("make", [toy_checkpoint, a_counted_checkpoint])
def test_no_checkpoint_breaks_who_reads_it(
    make: Callable[[], Checkpoint], tmp_path: Path, request: pytest.FixtureRequest, long: bool
) -> None:
    """It is sound, or refused in words; and what is sound can be published again."""
    registry = Registry(tmp_path / "models")
    sound = tmp_path / "models" / "toy" / registry.publish(Reference("toy"), make())
    contents = {name: (sound / name).read_bytes() for name in FILES}

    def claim(damaged: tuple[str, bytes]) -> None:
        with tempfile.TemporaryDirectory(dir=tmp_path) as directory:
            try:
                found = read(forged(sound, Path(directory), *damaged))
            except CheckpointError as error:
                assert str(error)
                return
            shapes = {name: weight.shape for name, weight in found.weights.items()}
            assert shapes == found.config.shapes() | found.config.table_shapes()
            assert all(np.isfinite(weight).all() for weight in found.weights.values())
            Registry(Path(directory) / "models").publish(Reference("again"), found)

    hammer(claim, damage(contents), request, long)


# Corpora

TEXTS = st.binary(max_size=3000) | st.text(max_size=1500).map(str.encode)
ENCODED = st.builds(
    lambda text, encoding: text.encode(encoding, "replace"),
    st.text(min_size=100, max_size=1000),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252", "shift-jis"]),
)
PATCHED = st.builds(
    lambda head, patch, tail: TEXT.encode()[:head] + patch + TEXT.encode()[:tail],
    st.integers(0, 3000),
    st.binary(max_size=100) | st.text(max_size=50).map(str.encode),
    st.integers(0, 3000),
)


@BRIEFLY_OR_LONG
@pytest.mark.parametrize("tokens", ["characters", "bytes"])
def test_no_text_breaks_the_doctor(
    tmp_path: Path, request: pytest.FixtureRequest, tokens: Tokens, long: bool
) -> None:
    """It is read, reported in JSON and encoded; or refused in words."""
    path, ids = tmp_path / "text", tmp_path / "ids"

    def claim(text: bytes) -> None:
        path.write_bytes(text)
        try:
            found = scan(path, tokens)
        except CorpusError as error:
            assert str(error)
            return
        said: dict[str, Any] = json.loads(json.dumps(asdict(found.report), allow_nan=False))
        assert said["bytes"] == len(text)
        assert found.report.distinct == len(found.vocabulary)
        encode(path, found.vocabulary, ids)

    hammer(claim, TEXTS | ENCODED | PATCHED, request, long)


# The API


SCHEMATHESIS = """
[checks.positive_data_acceptance]
# Whether a request that is well formed can be done depends on what is there: a vocabulary, a list.
expected-statuses = ["2xx", 401, 403, 404, 406, 409, 422, 429]

[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 422, 429]
"""

HOOKS = """
import schemathesis
from hypothesis import strategies

schemathesis.openapi.media_type("application/zip", strategies.binary(max_size=1000))

def _is_empty(value):
    if isinstance(value, dict) and value:
        return any(map(_is_empty, value.values()))
    if isinstance(value, list) and value:
        return any(map(_is_empty, value))
    return value in ("", None, {}, [], [""])

@schemathesis.hook
def filter_case(context, case):
    # An empty value is absent by the contract, whatever its pattern.
    return not any(map(_is_empty, [*(case.query or {}).values(), case.body]))
"""


@pytest.mark.fuzz
def test_the_api_keeps_its_contract(
    tmp_path: Path, redis_url: str, request: pytest.FixtureRequest
) -> None:
    """Whatever is sent: no 5xx, only what /openapi.json says, and no way in without a key."""
    seconds = request.config.getoption("--fuzz-seconds")
    Registry(tmp_path / "data" / "models").publish(Reference("toy"), toy_checkpoint())
    (tmp_path / "schemathesis.toml").write_text(SCHEMATHESIS)
    (tmp_path / "hooks.py").write_text(HOOKS)
    with serve(tmp_path / "data", redis_url, api_keys="open-sesame:admin") as client:
        run = subprocess.run(
            [
                *(Path(sys.executable).with_name("st"), "run", f"{client.base_url}/openapi.json"),
                *("--checks", "all", "--phases", "examples,coverage,fuzzing"),
                *("--header", "Authorization: Bearer open-sesame", "--max-time", str(seconds)),
                *("--request-timeout", "30", "--warnings", "off", "--no-color"),
            ],
            cwd=tmp_path,
            env=os.environ | {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-5000:]
