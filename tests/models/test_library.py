"""What is compiled touches no memory but its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.decoding.native.building import compile_for, processors_here
from models.decoding.native.library import Library
from tests.compiled import native_step

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def library() -> Library:
    return native_step()


@pytest.mark.usefixtures("library")
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    """Of addresses and of undefined behaviour, in another process, as they must come first."""
    runtime = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=False
    ).stdout.strip()
    if not Path(runtime).is_file():
        pytest.skip("no sanitizers here")
    watched = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    path = compile_for(processors_here()[0], tmp_path, *watched)
    done = subprocess.run(
        [sys.executable, "-m", "tests.compiled", str(path)],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "nothing found\n"), done.stderr[-2000:]


def test_embeddings_are_multiplied_out(library: Library) -> None:
    rng = np.random.default_rng(0)
    embedding, matrix, bias = (
        rng.normal(size=shape).astype(np.float32) for shape in ((7, 5), (5, 32), (32,))
    )
    to = np.empty((7, 32), np.float32)
    library.fold(embedding, matrix, bias, to)
    np.testing.assert_allclose(to, embedding @ matrix + bias, atol=1e-5)
