"""The search finds the cells that track something, and nothing in networks that learned nothing."""

import dataclasses
import itertools

import numpy as np
import pytest

from models.checkpoints.format import Checkpoint
from models.config import NetworkConfig
from models.inside import cells
from models.inside.cells import Findings, find_cells
from models.inside.hypotheses import quotes
from models.inside.passages import ENOUGH, EXAMPLES, LONGEST, SHORTEST
from models.inside.reader import Stopped, trace
from models.options import NetworkKind
from models.text.vocab import Vocabulary
from models.training.beginning import new_network
from tests.planted import COLUMN, HIDDEN, QUOTES, VOCABULARY, made, planted, quoting_text
from tests.toys import with_table


@pytest.mark.parametrize("upside_down", [False, True])
def test_finds_what_was_planted_and_names_it(upside_down: bool) -> None:
    text = quoting_text(20_000)
    found = find_cells(made(planted(upside_down), text))
    by_name = {hypothesis["name"]: hypothesis for hypothesis in found["hypotheses"]}
    spoken = by_name["quotes"]
    assert spoken["title"] == "inside quotes"
    assert spoken["metric"] == "auc"
    best = spoken["cells"][0]
    assert (best["layer"], best["cell"], best["sign"]) == (0, QUOTES, -1 if upside_down else 1)
    assert best["score"] > 0.99
    assert '"' in spoken["excerpt"]
    assert spoken["excerpt"] in text
    # What the cell shows there, as it had read what comes before.
    assert len(spoken["activations"]) == len(spoken["excerpt"])
    shown = trace(made(planted(upside_down), b""), text, layer=0, cells=[QUOTES]).activations[:, 0]
    begin = text.index(spoken["excerpt"])
    end = begin + len(spoken["excerpt"])
    assert spoken["activations"] == pytest.approx(shown[begin:end].tolist(), abs=0.01)
    column = by_name["column"]
    assert column["metric"] == "correlation"
    best = column["cells"][0]
    assert (best["layer"], best["cell"], best["sign"]) == (0, COLUMN, 1)
    assert best["score"] > 0.98
    assert found["share"] is not None
    assert 2 / HIDDEN <= found["share"] <= 4 / HIDDEN


def test_a_table_beside_the_network_changes_nothing() -> None:
    """Cells are the network's, and so is chance."""
    checkpoint = made(planted(), quoting_text(20_000))
    assert find_cells(with_table(checkpoint)) == find_cells(checkpoint)


def test_the_same_network_gives_the_same_ranking() -> None:
    """Chance is drawn the same, in whatever order the weights come from the disk."""
    weights = planted()
    config = NetworkConfig(len(VOCABULARY), "lstm", 1, HIDDEN)
    one = cells._shuffled(config, weights)
    other = cells._shuffled(config, dict(reversed(weights.items())))
    for name, weight in weights.items():
        assert np.array_equal(one[name], other[name])
        assert name.startswith("output") or not np.array_equal(one[name], weight)


def test_names_the_layer_too() -> None:
    """The same network below another one: layer 0 it is, and a layer of noise above."""
    config = NetworkConfig(len(VOCABULARY), "lstm", 2, HIDDEN)
    rng = np.random.default_rng(1)
    weights = {k: rng.normal(0, 0.3, s).astype(np.float32) for k, s in config.shapes().items()}
    weights |= planted()
    weights["layers.1.weight_ih_l0"][:, [QUOTES, COLUMN]] = 0
    found = find_cells(made(weights, quoting_text(20_000), config))
    [spoken] = [h for h in found["hypotheses"] if h["name"] == "quotes"]
    assert (spoken["cells"][0]["layer"], spoken["cells"][0]["cell"]) == (0, QUOTES)


def test_a_cell_that_agrees_with_one_half_alone_does_not_count() -> None:
    """Half the text has its quotes taken out of the planted cell's hearing."""
    text = quoting_text(20_000)
    checkpoint = made(planted(), text)
    half = len(text) // 2
    other = text[half:].replace('"', "k")
    found = find_cells(made(planted(), text[:half] + other))
    assert "quotes" not in {h["name"] for h in found["hypotheses"]}
    assert "quotes" in {h["name"] for h in find_cells(checkpoint)["hypotheses"]}


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_a_network_that_learned_nothing_tracks_next_to_nothing(kind: NetworkKind) -> None:
    config = NetworkConfig(len(VOCABULARY), kind, 2, 64)
    shares = []
    for seed in range(3):
        state = new_network(config, seed).state_dict()
        weights = {name: tensor.numpy() for name, tensor in state.items()}
        share = find_cells(made(weights, quoting_text(12_000), config))["share"]
        assert share is not None
        shares.append(share)
    assert np.mean(shares) < 0.01


def test_too_little_text_tells_nothing() -> None:
    nothing: Findings = {"hypotheses": [], "share": None, "passages": []}
    assert find_cells(made(planted(), quoting_text(1000))) == nothing
    assert find_cells(made(planted(), b"")) == nothing


def test_a_text_with_nothing_to_track_has_no_cells() -> None:
    found = find_cells(made(planted(), "a" * 5000))
    assert (found["hypotheses"], found["share"]) == ([], 0.0)
    assert {one["text"] for one in found["passages"]} == {"a" * LONGEST, "a" * (2500 % LONGEST)}


def test_a_text_may_be_of_another_model() -> None:
    """What the vocabulary doesn't know is left out, as are bytes that are no text."""
    text = quoting_text(20_000)
    foreign = text.replace("a", "aÜ漢").encode().replace(b"b", b"b\xff")
    found = find_cells(made(planted(), foreign))
    assert found == find_cells(made(planted(), text))


def test_bytes_are_looked_at_by_character() -> None:
    """The planted cells in a bytes model, over a text of characters with three bytes."""
    vocabulary = Vocabulary("bytes", list(range(256)))
    config = NetworkConfig(256, "lstm", 1, HIDDEN)
    weights = planted()
    w = np.zeros((4 * HIDDEN, 256), np.float32)
    w[:, VOCABULARY.symbols] = weights["layers.0.weight_ih_l0"]
    weights |= {
        "layers.0.weight_ih_l0": w,
        "output.weight": np.zeros((256, HIDDEN), np.float32),
        "output.bias": np.zeros(256, np.float32),
    }
    text = quoting_text(20_000).translate({0x61 + n: 0x3042 + n for n in range(10)})
    checkpoint = Checkpoint(config, vocabulary, weights, {}, [], text.encode())
    by_name = {h["name"]: h for h in find_cells(checkpoint)["hypotheses"]}
    assert by_name["quotes"]["cells"][0]["cell"] == QUOTES
    assert by_name["column"]["cells"][0]["cell"] == COLUMN
    assert by_name["quotes"]["excerpt"] in text


def test_a_search_can_be_ended() -> None:
    answers = itertools.chain([False] * 5, itertools.repeat(True))
    with pytest.raises(Stopped):
        find_cells(made(planted(), quoting_text(20_000)), lambda: next(answers))


def test_numbers_that_are_none_are_no_findings() -> None:
    weights = planted()
    weights["layers.0.weight_ih_l0"] = np.full_like(weights["layers.0.weight_ih_l0"], 3e38)
    weights["layers.0.weight_hh_l0"] = np.full_like(weights["layers.0.weight_hh_l0"], -3e38)
    weights["layers.0.bias_ih_l0"] = np.full_like(weights["layers.0.bias_ih_l0"], 3e38)
    with pytest.raises(FloatingPointError):
        find_cells(made(weights, quoting_text(20_000)))


def test_large_networks_get_less_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held grows with cells times characters."""
    monkeypatch.setattr(cells, "_MEMORY", 2 * HIDDEN * 5000)
    text = quoting_text(20_000)
    shorter = dataclasses.replace(made(planted(), text), validation=text.encode()[:5000])
    assert find_cells(made(planted(), text)) == find_cells(shorter)


def test_and_large_networks_are_read_less_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """So much work and no more: what is left decides, and with too little nothing is told."""
    checkpoint = made(planted(), quoting_text(20_000))
    parameters = checkpoint.config.parameters()
    monkeypatch.setattr(cells, "MAX_WORK", 10_000 * parameters)
    assert find_cells(checkpoint) == find_cells(made(planted(), quoting_text(20_000)[:10_000]))
    monkeypatch.setattr(cells, "MAX_WORK", (cells.MIN_CHARACTERS - 1) * parameters)
    assert find_cells(checkpoint)["share"] is None


def test_what_a_cell_says_is_counted() -> None:
    """Where the planted cell is above its threshold it says that a quote is open."""
    text = quoting_text(20_000)
    for upside_down in (False, True):
        checkpoint = made(planted(upside_down), text)
        found = {one["name"]: one for one in find_cells(checkpoint)["hypotheses"]}
        best = found["quotes"]["cells"][0]
        shown = trace(checkpoint, text, layer=0, cells=[QUOTES]).activations[:, 0]
        half = len(text) // 2
        assert best["threshold"] is not None
        says = (best["sign"] * shown > best["sign"] * best["threshold"])[half:]
        truth = quotes(text)[half:] == 1
        right, wrong = best["true_positive_rate"], best["false_positive_rate"]
        assert right is not None and wrong is not None
        assert right == pytest.approx(says[truth].mean(), abs=0.01)
        assert wrong == pytest.approx(says[~truth].mean(), abs=0.01)
        assert right > 0.95
        assert wrong < 0.05
        # A position is a number, without a threshold.
        assert found["column"]["cells"][0]["threshold"] is None


def test_examples_are_whole_passages_that_have_the_thing() -> None:
    text = quoting_text(20_000)
    found = find_cells(made(planted(), text))
    passages = [one["text"] for one in found["passages"]]
    assert len(passages) == len(set(passages)) <= ENOUGH
    for passage in passages:
        assert SHORTEST <= len(passage) <= LONGEST
        # From the half that cells are scored on, from line to line.
        begin = text.index(passage, len(text) // 2)
        assert text[begin - 1] == "\n"
        assert passage.endswith("\n") or begin + len(passage) == len(text)
    [of_quotes] = [one for one in found["hypotheses"] if one["name"] == "quotes"]
    assert len(of_quotes["examples"]) == EXAMPLES
    for number in of_quotes["examples"]:
        assert 0.2 < quotes(passages[number]).mean() < 0.8
