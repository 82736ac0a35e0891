"""The ONNX file is the network, and says what it is."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from models.checkpoints.format import Checkpoint
from models.decoding.export import onnx_file
from models.decoding.rows import Choices
from models.options import NetworkKind
from models.text.vocab import Vocabulary
from tests.toys import ALPHABET, BYTES, in_styles, toy_checkpoint, toy_decoder

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "onnx.md"


def onnx_of(checkpoint: Checkpoint) -> bytes:
    config, weights, vocabulary = checkpoint.config, checkpoint.weights, checkpoint.vocabulary
    return onnx_file(config, weights, vocabulary, "toy", "0" * 64)


@pytest.mark.parametrize("orders", [0, 3])
@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_an_onnx_file_is_of_standard_operators_and_says_what_it_is(
    kind: NetworkKind, orders: int
) -> None:
    checkpoint = toy_checkpoint(kind, orders=orders)
    model = onnx.load_from_string(onnx_of(checkpoint))
    onnx.checker.check_model(model)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    values = {value.name: value.doc_string for value in (*model.graph.input, *model.graph.output)}
    assert all(values.values())
    # The document shows those of the first layer.
    shown = {name for name in values if re.fullmatch("h0.*|[a-z]{2,}.*", name)}
    assert all(f"`{name}`" in DOCUMENT.read_text() for name in shown)
    about = {prop.key: prop.value for prop in model.metadata_props}
    assert Vocabulary.from_json(json.loads(about["vocabulary"])) == checkpoint.vocabulary
    assert about["start_id"] == str(checkpoint.vocabulary.start_id)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize(
    ("vocabulary", "orders", "styles"),
    [(ALPHABET, 0, ()), (BYTES, 0, ()), (ALPHABET, 3, ()), (ALPHABET, 0, ("austen", "poe"))],
    ids=["characters", "bytes", "counted", "styled"],
)
def test_the_documents_own_program_writes_a_text(
    tmp_path: Path, kind: NetworkKind, vocabulary: Vocabulary, orders: int, styles: tuple[str, ...]
) -> None:
    checkpoint = toy_checkpoint(kind, vocabulary=vocabulary, orders=orders)
    if styles:
        checkpoint = in_styles(checkpoint, *styles)
    (tmp_path / "toy.onnx").write_bytes(onnx_of(checkpoint))
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "toy.onnx"],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        check=True,
    )
    # The service's own text, given the same uniform numbers.
    uniforms = np.random.default_rng(0).random((500, 1), dtype=np.float32)
    decoder = toy_decoder(checkpoint)
    rows = decoder.start(np.array([checkpoint.vocabulary.start_id]))
    choices = Choices(np.array([0.8], np.float32), np.array([0]), np.array([0], np.float32))
    chosen, _, _ = decoder.advance(rows, np.full((500, 1), -1), uniforms, choices)
    expected = checkpoint.vocabulary.decoder().decode(chosen[:, 0], final=True)
    assert done.stdout == expected + "\n"


def test_an_onnx_file_of_several_texts_names_them() -> None:
    model = onnx.load_from_string(onnx_of(in_styles(toy_checkpoint(), "austen", "poe")))
    onnx.checker.check_model(model)
    (style,) = (value for value in model.graph.input if value.name == "style")
    assert style.doc_string and "`style`" in DOCUMENT.read_text()
    about = {prop.key: prop.value for prop in model.metadata_props}
    assert json.loads(about["styles"]) == ["austen", "poe"]
    plain = onnx.load_from_string(onnx_of(toy_checkpoint()))
    assert "styles" not in {prop.key for prop in plain.metadata_props}


def test_a_network_beyond_onnx_is_refused_before_it_is_made() -> None:
    checkpoint = toy_checkpoint()
    giant = replace(checkpoint.config, num_layers=8, hidden_size=4096)
    with pytest.raises(ValueError, match="2 GiB"):
        onnx_of(replace(checkpoint, config=giant))
