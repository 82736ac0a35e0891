"""Reading a text shows what the network does, as torch computes it a character at a time."""

import dataclasses

import numpy as np
import pytest
import torch

from models.arrays import Floats, Ids
from models.checkpoints.format import Checkpoint
from models.config import NetworkConfig
from models.inside.reader import BLOCK, StateReader, character_ends, trace
from models.ngram_table import NGramTable, hashes
from models.options import NetworkKind
from models.text.vocab import UnknownCharacters, Vocabulary
from models.training.network import CharNetwork
from tests.networks import VOCABULARY, trained_like, weights_of
from tests.toys import wordy

BYTES = Vocabulary("bytes", list(range(256)))
HIDDEN = 24


def checkpoint_of(network: CharNetwork, vocabulary: Vocabulary = VOCABULARY) -> Checkpoint:
    return Checkpoint(network.config, vocabulary, weights_of(network), {}, [], b"")


def opinionated(
    kind: NetworkKind = "lstm",
    layers: int = 2,
    embedding_size: int = 0,
    vocabulary: Vocabulary = VOCABULARY,
    orders: int = 0,
) -> CharNetwork:
    config = NetworkConfig(len(vocabulary), kind, layers, HIDDEN, embedding_size)
    network = trained_like(config, orders).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "bias" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def text_of(length: int) -> str:
    points = np.random.default_rng(0).choice(VOCABULARY.symbols, length)
    return "".join(map(chr, points))


def text_with_words(length: int) -> str:
    """Half of it is what an n-gram table knows, and half is not."""
    ids = wordy(len(VOCABULARY), length // 2)
    return "".join(map(chr, VOCABULARY.symbols[ids])) + text_of(length - len(ids))


@torch.no_grad()
def slowly(network: CharNetwork, ids: Ids) -> tuple[Floats, Floats]:
    """After each id: log-probabilities [ids, vocabulary], activations [ids, layers, hidden]."""
    state, logarithms, shown = None, [], []
    read = ids.tolist()
    for at, id_ in enumerate(read):
        counted = None
        if network.table:
            row, number = longest(network.table, read[: at + 1])
            logs = network.table.rows[row] / np.float32(-16)
            followers, boosts = (values[number] for values in network.table.lists)
            np.add.at(logs, followers, boosts / np.float32(16))
            counted = torch.from_numpy(logs)[None, None]
        logits, state = network(torch.tensor([[id_]]), state, counted)
        logarithms.append(torch.log_softmax(logits[0, 0], 0))
        cells = torch.tanh(state[1]) if network.config.kind == "lstm" else state[0]
        shown.append(cells[:, 0])
    return torch.stack(logarithms).numpy(), torch.stack(shown).numpy()


def longest(table: NGramTable, read: list[int]) -> tuple[int, int]:
    """The row and the list of the longest contexts that the last ids are, by looking at all."""
    found = [0, 0]
    begin = 1
    for index, (length, size) in enumerate(
        zip(table.lengths, (*table.sizes, *table.long_sizes), strict=True)
    ):
        key = hashes(np.array([-1] * length + read)[-length:], [length], table.vocabulary_size)[-1]
        at = begin + np.flatnonzero(table.keys[begin : begin + size] == key.astype(np.int32))
        is_long = index >= len(table.sizes)
        found[is_long] = max(found[is_long], *at.tolist(), 0)
        begin += size
    return found[0], max(0, found[1] - sum(table.sizes))


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("embedding_size", [0, 5])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("orders", [0, 4, 8])
def test_equals_torch_step_by_step(
    kind: NetworkKind, embedding_size: int, layers: int, orders: int
) -> None:
    network = opinionated(kind, layers, embedding_size, orders=orders)
    text = text_with_words(BLOCK + 100)
    ids = VOCABULARY.encode(text)
    logarithms, shown = slowly(network, np.concatenate([[VOCABULARY.start_id], ids]))
    for layer in range(layers):
        found = trace(checkpoint_of(network), text, layer=layer, cells=range(HIDDEN), threads=2)
        np.testing.assert_allclose(found.activations, shown[1:, layer], atol=1e-5)
    before = np.take_along_axis(logarithms[:-1], ids[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(found.losses, -before, atol=1e-5)
    assert found.loss == pytest.approx(-before.mean(), abs=1e-5)
    best = np.sort(np.exp(logarithms[1:]), axis=1)[:, ::-1][:, :5]
    np.testing.assert_allclose(found.top, best, atol=1e-5)
    told = np.take_along_axis(np.exp(logarithms[1:]), found.top_ids, axis=1)
    np.testing.assert_allclose(told, found.top, atol=1e-5)


@pytest.mark.parametrize("orders", [0, 3])
def test_threads_change_nothing(orders: int) -> None:
    """Nor does how long the text goes on: what is told of a character needs none after it."""
    checkpoint = checkpoint_of(opinionated(layers=3, orders=orders))
    text = text_with_words(3 * BLOCK)
    alone = trace(checkpoint, text, cells=[0, 1])
    together = trace(checkpoint, text, cells=[0, 1], threads=3)
    shorter = trace(checkpoint, text[:700], cells=[0, 1])
    for name in ("losses", "top_ids", "top", "activations"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(together, name))
        np.testing.assert_allclose(getattr(alone, name)[:700], getattr(shorter, name), atol=1e-6)


def test_cells_are_told_in_the_order_asked() -> None:
    checkpoint, text = checkpoint_of(opinionated()), text_of(50)
    every = trace(checkpoint, text, layer=-2, cells=range(HIDDEN)).activations
    some = trace(checkpoint, text, layer=0, cells=[7, 3, 7]).activations
    np.testing.assert_array_equal(some, every[:, [7, 3, 7]])
    assert trace(checkpoint, text).activations.shape == (50, 0)


@pytest.mark.parametrize("top", [0, 1, 1000])
def test_as_many_guesses_as_there_are(top: int) -> None:
    found = trace(checkpoint_of(opinionated()), "abc", top=top)
    assert found.top.shape == found.top_ids.shape == (3, min(top, len(VOCABULARY)))


@pytest.mark.parametrize("length", range(1, 8))
def test_a_table_knows_the_beginning_of_a_text(length: int) -> None:
    """Nothing is before it, so the contexts are shorter than the longest in the table."""
    network = opinionated(orders=5)
    ids = wordy(len(VOCABULARY), length)
    logarithms, _ = slowly(network, np.concatenate([[VOCABULARY.start_id], ids]))
    text = "".join(map(chr, VOCABULARY.symbols[ids]))
    found = trace(checkpoint_of(network), text)
    before = np.take_along_axis(logarithms[:-1], ids[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(found.losses, -before, atol=1e-5)
    np.testing.assert_array_equal(found.top_ids[:, 0], logarithms[1:].argmax(axis=1))


def test_contexts_of_all_lengths_and_none() -> None:
    """The texts here say something about each of them."""
    table = opinionated(orders=4).table
    assert table
    ids = VOCABULARY.encode(text_with_words(BLOCK + 100)).tolist()
    found = {longest(table, ids[: end + 1]) for end in range(len(ids))}
    begins = np.cumsum((1, *table.sizes))
    rows = sorted(row for row, _ in found)
    assert set(np.searchsorted(begins, rows, side="right")) == {1, 2, 3, 4}


def test_a_table_that_knows_no_context() -> None:
    network = opinionated(orders=2)
    assert network.table
    network.table.keys[:] = -1
    text = text_of(50)
    ids = np.concatenate([[VOCABULARY.start_id], VOCABULARY.encode(text)])
    logarithms, _ = slowly(network, ids)
    before = np.take_along_axis(logarithms[:-1], ids[1:, None], axis=1)[:, 0]
    np.testing.assert_allclose(trace(checkpoint_of(network), text).losses, -before, atol=1e-5)


def test_a_large_vocabulary_costs_what_the_text_has_of_it() -> None:
    """Thirty thousand characters: a dense 1-of-k would be 1.2 GB for this text."""
    vocabulary = Vocabulary("characters", [0x0A, *range(0x4E00, 0x9FFF), *range(0xAC00, 0xD000)])
    text = "".join(map(chr, np.random.default_rng(0).choice(vocabulary.symbols, 10_000)))
    network = opinionated(layers=1, vocabulary=vocabulary, orders=2)
    found = trace(checkpoint_of(network, vocabulary), text, cells=[0])
    ids = np.concatenate([[vocabulary.start_id], vocabulary.encode(text[:100])])
    logarithms, shown = slowly(network, ids)
    np.testing.assert_allclose(found.activations[:100, 0], shown[1:, 0, 0], atol=1e-5)
    before = np.take_along_axis(logarithms[:-1], ids[1:, None], axis=1)[:, 0]
    np.testing.assert_allclose(found.losses[:100], -before, atol=1e-4)


@pytest.mark.parametrize("orders", [0, 4])
def test_bytes_are_told_by_character(orders: int) -> None:
    """The probability is the product; activations and guesses are those after the last byte."""
    network = opinionated(vocabulary=BYTES, orders=orders)
    words = wordy(256, 60).astype(np.uint8).tobytes().decode("utf-8", "replace")
    text = "a\r\né漢😀z" + words
    data = text.encode()
    logarithms, shown = slowly(network, np.array([BYTES.start_id, *data]))
    found = trace(checkpoint_of(network, BYTES), text, cells=range(HIDDEN))
    assert found.text == text
    at = 0
    for place, character in enumerate(text):
        size = len(character.encode())
        loss = -sum(logarithms[at + n, data[at + n]] for n in range(size))
        at += size
        assert found.losses[place] == pytest.approx(loss, abs=1e-4)
        np.testing.assert_allclose(found.activations[place], shown[at, -1], atol=1e-5)
        assert found.top_ids[place, 0] == logarithms[at].argmax()
    assert at == len(data)


def test_ends_of_bytes_that_are_no_text() -> None:
    data = "é".encode() + b"\xff\xe3a" + "漢".encode()
    text = data.decode("utf-8", "surrogateescape")
    assert character_ends(BYTES, text).tolist() == [1, 2, 3, 4, 7]
    assert character_ends(VOCABULARY, "abc").tolist() == [0, 1, 2]


def test_the_text_is_normalised_as_the_corpus_was() -> None:
    found = trace(checkpoint_of(opinionated()), "ab\r\ncd\re")
    assert found.text == "ab\ncd\ne"
    assert len(found.losses) == 7


def test_unknown_characters_are_named() -> None:
    with pytest.raises(UnknownCharacters, match=r"'Ü'"):
        trace(checkpoint_of(opinionated()), "abÜc")


@pytest.mark.parametrize("name", ["output", "gates"])
def test_numbers_that_are_none_are_no_answer(name: str) -> None:
    checkpoint = checkpoint_of(opinionated(orders=2))
    huge = {
        part: np.full_like(weight, 3e38)
        for part, weight in checkpoint.weights.items()
        if part.startswith(name)
    }
    weights = checkpoint.weights | huge
    with pytest.raises(FloatingPointError):
        trace(dataclasses.replace(checkpoint, weights=weights), "abc")


def test_rows_side_by_side_are_read_each_for_itself() -> None:
    network = opinionated("gru")
    config = network.config
    ids = np.random.default_rng(0).integers(len(VOCABULARY), size=(90, 5))
    shown = np.empty((config.num_layers, 90, 5, HIDDEN), np.float32)

    def seen(layer: int, begin: int, _: Floats, cells: Floats) -> None:
        shown[layer, begin : begin + len(cells)] = cells

    StateReader(config, checkpoint_of(network).weights).read(ids, seen)
    for row in range(5):
        _, expected = slowly(network, ids[:, row])
        np.testing.assert_allclose(shown[:, :, row].swapaxes(0, 1), expected, atol=1e-5)
