"""A download's README.md has what the Hugging Face Hub reads, and the card's words."""

import io
from pathlib import Path
from typing import Any, cast

import pytest
from huggingface_hub import ModelCard

from models.checkpoints.archive import unzipped, zipped
from models.checkpoints.card import Card
from models.checkpoints.format import FILES, MANIFEST
from models.checkpoints.front_matter import front_matter, with_metadata
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Registry
from models.config import NetworkConfig
from models.files import CheckpointError
from models.text.vocab import Tokens
from tests.archives import LIMIT, contents, full_checkpoint

CONFIG = NetworkConfig(vocabulary_size=30, num_layers=2, hidden_size=512)


def metadata(tokens: Tokens = "characters", **card: Any) -> dict[str, Any]:
    """What the Hub reads in the metadata of a model."""
    data: Any = ModelCard(front_matter(CONFIG, tokens, cast(Card, card))).data
    found: dict[str, Any] = data.to_dict()
    return found


def test_the_hub_reads_what_it_is_and_how_good() -> None:
    found = metadata(val_loss=1.25)
    assert (found["library_name"], found["pipeline_tag"]) == ("charloom", "text-generation")
    assert found["license"] == "unknown"
    assert {"char-rnn", "lstm", "character-level"} <= set(found["tags"])
    (model,) = found["model-index"]
    assert model["name"] == "lstm-2x512"
    (result,) = model["results"]
    assert result["task"]["type"] == "text-generation"
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values == {"loss": 1.25, "bpc": pytest.approx(1.803369)}


def test_without_a_loss_there_are_no_results() -> None:
    assert "model-index" not in metadata()
    assert "byte-level" in metadata("bytes")["tags"]


@pytest.mark.parametrize("loss", [1e-9, 123456789.5, 3])
def test_each_loss_is_a_number(loss: float) -> None:
    (model,) = metadata(val_loss=loss)["model-index"]
    value = model["results"][0]["metrics"][0]["value"]
    assert isinstance(value, float) and value == pytest.approx(loss, abs=1e-6)


def test_the_files_are_the_checkpoints_and_it_comes_back(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    digest = registry.publish(Reference("toy"), full_checkpoint(val_loss=1.5))
    with registry.opened("toy", digest) as files:
        before = contents(b"".join(zipped(files)))
    with registry.opened("toy", digest) as files:
        described = with_metadata(files)
        assert set(described) == {*FILES, MANIFEST}
        archive = b"".join(zipped(described))
    after = contents(archive)
    assert after | {"README.md": b""} == before | {"README.md": b""}
    card = ModelCard(after["README.md"].decode())
    assert before["README.md"].decode().rstrip() in card.text and "--pull OWNER/NAME" in card.text
    again = registry.publish(Reference("again"), unzipped(io.BytesIO(archive), LIMIT))
    assert again == digest


def test_a_damaged_card_is_said_to_be(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    digest = registry.publish(Reference("toy"), full_checkpoint())
    with (
        registry.opened("toy", digest) as files,
        pytest.raises(CheckpointError, match=r"card\.json"),
    ):
        with_metadata({**files, "card.json": io.BytesIO(b"[")})
