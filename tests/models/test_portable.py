"""A packed network says the same in JavaScript as here, whatever its kind."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.engine.portable import SOURCES, PageFacts, portable_page
from models.checkpoints.format import Checkpoint
from models.config import NetworkConfig
from models.decoding.graph import Precision
from models.inside.reader import trace
from models.options import NetworkKind
from models.portable import base85, pack, rounded
from models.pretrained import unpack
from models.styles import Mix
from models.text.vocab import Vocabulary
from tests.support import ROOT, node
from tests.toys import ALPHABET, BYTES, in_styles, toy_checkpoint, with_table

KINDS: tuple[NetworkKind, ...] = ("lstm", "gru", "rnn")
TEXT = "the quick fox\njumps over あ lazy dog and runs away from it\n" * 3


def kinds() -> dict[str, Checkpoint]:
    """A network of each kind, with a table of each kind, of bytes, and with an embedding."""
    found = {}
    for kind, orders in itertools.product(KINDS, (0, 3, 6)):
        found[f"{kind} {orders}"] = toy_checkpoint(kind, orders=orders)
    found["bytes"] = toy_checkpoint(vocabulary=BYTES, orders=3)
    found["one layer"] = reshaped(NetworkConfig(len(ALPHABET), "lstm", 1, 21))
    found["three"] = reshaped(NetworkConfig(len(ALPHABET), "gru", 3, 30, embedding_size=7))
    return found


def reshaped(config: NetworkConfig) -> Checkpoint:
    rng = np.random.default_rng(3)
    weights = {
        name: rng.normal(0, 0.4, s).astype(np.float32) for name, s in config.shapes().items()
    }
    return replace(toy_checkpoint(), config=config, weights=weights)


def read(cases: list[tuple[Checkpoint, str]], style: Mix | None = None) -> list[dict[str, Any]]:
    """What the engine of the page says about texts, in a style if one is given."""
    given = []
    for checkpoint, text in cases:
        packed = pack(checkpoint)
        case = {"header": packed.header, "weights": packed.text, "text": text}
        given.append(case | ({"style": style} if style else {}))
    found: list[dict[str, Any]] = json.loads(
        node(Path("tests/models/reading.js"), given=json.dumps(given))
    )
    return found


def test_every_kind_of_network_says_the_same() -> None:
    checkpoints = kinds()
    texts = {name: "A\nAAあ\nA" * 9 if name == "bytes" else TEXT for name in checkpoints}
    cases = [(one, texts[name]) for name, one in checkpoints.items()]
    for (name, checkpoint), found in zip(checkpoints.items(), read(cases), strict=True):
        same = replace(checkpoint, weights=rounded(checkpoint.config, checkpoint.weights))
        whole = trace(same, texts[name], layer=0, cells=[0])
        # A byte has a probability of its own there, and here a character.
        shares = np.log(found["shares"])
        assert -shares.sum() == pytest.approx(whole.losses.sum(), rel=1e-4), name
        if name != "bytes":
            assert np.exp(shares) == pytest.approx(np.exp(-whole.losses), abs=1e-4), name
            close = pytest.approx(whole.activations[:, 0], abs=1 / 250)
            assert np.array(found["activations"]) == close, name
        assert found["again"] == pytest.approx(_first_after(same, texts[name]), abs=1e-4), name


@pytest.mark.parametrize("style", [None, (0.0, 1.0), (0.25, 0.75)])
def test_a_style_is_read_the_same(style: Mix | None) -> None:
    plain = [toy_checkpoint(), toy_checkpoint("gru", orders=3)]
    plain.append(reshaped(NetworkConfig(len(ALPHABET), "lstm", 2, 21, embedding_size=7)))
    checkpoints = [in_styles(one, "austen", "poe") for one in plain]
    for checkpoint, found in zip(
        checkpoints, read([(one, TEXT) for one in checkpoints], style), strict=True
    ):
        same = replace(checkpoint, weights=rounded(checkpoint.config, checkpoint.weights))
        whole = trace(same, TEXT, mix=style)
        assert found["shares"] == pytest.approx(np.exp(-whole.losses), abs=1e-4)


def _first_after(checkpoint: Checkpoint, text: str) -> float:
    """The probability of the first id after a text."""
    after = trace(checkpoint, text, top=len(checkpoint.vocabulary))
    at = after.top_ids[-1].tolist().index(0)
    return float(after.top[-1][at])


def test_a_table_is_what_the_engine_looks_up() -> None:
    """Else a test of both would be one of a table that nothing is found in."""
    with_one = toy_checkpoint(orders=6)
    without = with_table(toy_checkpoint(), 1)
    texts = "".join(ALPHABET.name(id_) for id_ in range(2, 28)) * 2
    one, other = read([(with_one, texts), (without, texts)])
    assert one["shares"] != other["shares"]


def test_weights_far_from_all_others_are_kept() -> None:
    checkpoint = toy_checkpoint()
    bias = np.zeros_like(checkpoint.weights["output.bias"])
    weights = checkpoint.weights | {"output.bias": bias}
    weights["layers.0.weight_hh_l0"] = weights["layers.0.weight_hh_l0"].copy()
    weights["layers.0.weight_hh_l0"][0, 0] = -1e20
    kept = rounded(checkpoint.config, weights)
    assert (kept["output.bias"] == 0).all()
    assert kept["layers.0.weight_hh_l0"][0, 0] == pytest.approx(-1e20, rel=1e-3)
    [found] = read([(replace(checkpoint, weights=weights), "the fox")])
    assert np.isfinite(found["shares"]).all()


def test_of_a_list_half_of_each_hash_goes_out() -> None:
    lines = np.array([5, 1 << 40, (1 << 40) + 7, (1 << 64) - 1], "u8")
    [found] = read([(replace(toy_checkpoint(), lines=lines), "a")])
    assert found["hashes"] == [0, 1 << 8, 1 << 8, (1 << 32) - 1]


def test_base_85_is_safe_in_html() -> None:
    data = bytes(range(256)) * 50 + b"\xff" * 9
    text = base85(data)
    assert len(text) == -(-len(data) // 4) * 5
    assert set(text) <= {chr(code) for code in range(40, 126)} - {"<"}


def test_what_is_too_large_for_a_page_is_said() -> None:
    config = NetworkConfig(100, "lstm", 2, 1536)
    with pytest.raises(ValueError, match=r"too large for a page, 87 MB .* as zip or onnx"):
        pack(replace(toy_checkpoint(), config=config, weights={}))


@pytest.mark.parametrize(("precision", "most"), [("fast", 1e-3), ("exact", 1e-4)])
def test_shipped_models_lose_nothing_that_counts(precision: Precision, most: float) -> None:
    """In any probability; the other models are in test_portable_page.py."""
    checkpoint = unpack(ROOT / "pretrained" / "names")
    text = "".join(point["text"] for point in checkpoint.history if "text" in point)[-1500:]
    weights = rounded(checkpoint.config, checkpoint.weights, precision)
    kept = replace(checkpoint, weights=weights)
    exact, found = (np.exp(-trace(one, text).losses) for one in (checkpoint, kept))
    assert 0 < np.abs(exact - found).max() < most


def test_a_file_is_small() -> None:
    """Of 2×128 cells; 2×384 is in test_portable_page.py."""
    config = NetworkConfig(65, "lstm", 2, 128)
    symbols = Vocabulary("characters", list(range(0x20, 0x61)))
    small = replace(reshaped(config), vocabulary=symbols)
    page = portable_page(small, PageFacts("small", "0" * 64, "1.0"))
    assert config.parameters() == 240_321 and len(page) <= 500_000


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.*")), ids=lambda path: path.name)
def test_no_source_of_a_page_ends_its_element(path: Path) -> None:
    source = path.read_text("utf-8")
    assert path.suffix == ".html" or not re.search("</|<!--", source)


def test_the_colours_are_those_of_the_other_pages() -> None:
    colours = re.findall(r"--[a-z-]+: light-dark\(.*?\);", (SOURCES / "page.css").read_text())
    others = (SOURCES.parent / "app.css").read_text()
    assert len(colours) > 10 and [one for one in colours if one not in others] == []
