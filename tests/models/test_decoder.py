"""The decoder says what the slow, obvious way says, for every row and whoever is beside it."""

import math

import numpy as np
import pytest
import torch

from models.arrays import Floats
from models.config import NetworkConfig, NetworkKind
from models.decoding.decoder import Choices, Decoder, Rows, fast_cost
from models.decoding.graph import NOT_FINITE, Precision
from models.decoding.sampling import SampleOptions
from models.training.network import CharNetwork
from tests.networks import (
    VOCABULARY,
    decoder_of,
    run,
    slowly,
    stream,
    trained_like,
    warm,
)
from tests.toys import ALPHABET, toy_checkpoint, toy_decoder

torch.set_num_threads(1)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("embedding_size", [0, 5])
def test_equals_the_slow_way(kind: NetworkKind, embedding_size: int) -> None:
    network = trained_like(NetworkConfig(len(VOCABULARY), kind, 2, 24, embedding_size))
    for temperature in (0.0, 0.5, 1.0, 2.0):
        options = SampleOptions(seed=5, temperature=temperature, length=120)
        for prime in ("", "abc\nthe"):
            [text] = run(decoder_of(network), [stream(prime, options)])
            assert text == slowly(network, prime, options)


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_batch_size_leaves_every_bit_alone(precision: Precision, filtered: bool) -> None:
    """States and logits, not only the characters chosen from them."""
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 2, 48))
    decoder = decoder_of(network, precision)
    rng = np.random.default_rng(0)
    count, steps = 130, 12
    numbers = rng.random((steps, count), dtype=np.float32)
    free = np.full((steps, count), -1, np.int64)
    ids = rng.integers(len(VOCABULARY), size=count)

    def choices(rows: int) -> Choices:
        return warm(rows, 5, 0.9) if filtered else warm(rows)

    chosen, logits, ends = decoder.advance(decoder.start(ids), free, numbers, choices(count))
    for rows in ([0], [129], [3, 77], list(range(20, 97)), list(range(129, -1, -1))):
        some, their_logits, their_ends = decoder.advance(
            decoder.start(ids[rows]), free[:, rows], numbers[:, rows], choices(len(rows))
        )
        assert (some == chosen[:, rows]).all()
        assert their_logits.tobytes() == logits[:, rows].tobytes()
        for mine, everyones in zip(their_ends.state, ends.state, strict=True):
            assert mine.tobytes() == everyones[:, rows].tobytes()


@pytest.mark.parametrize("embedding_size", [0, 5])
def test_fast_is_close_to_exact(embedding_size: int) -> None:
    """int8 moves each character's probability a little, and it is not fp32 in disguise."""
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 2, 64, embedding_size))
    if network.embedding is not None:
        with torch.no_grad():
            network.embedding.weight.mul_(7)
    rng = np.random.default_rng(2)
    text = rng.integers(len(VOCABULARY), size=(300, 1))
    numbers = np.zeros((300, 1), np.float32)
    start = np.array([VOCABULARY.start_id])

    def shares(precision: Precision) -> Floats:
        decoder = decoder_of(network, precision)
        _, logits, _ = decoder.advance(decoder.start(start), text, numbers, warm(1))
        weights = np.exp(logits[:, 0] - logits[:, 0].max(axis=1, keepdims=True))
        found: Floats = weights / weights.sum(axis=1, keepdims=True)
        return found

    difference = np.abs(shares("exact") - shares("fast"))
    assert 0 < difference.mean() < 0.005


def test_the_cost_of_fast_is_its_loss_less_the_exact_one() -> None:
    """Over a text's rows, each from the zero state, as torch computes the exact one."""
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 2, 64))
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    ids = np.random.default_rng(4).integers(len(VOCABULARY), size=129)
    cost = fast_cost(network.config, weights, ids)
    losses = []
    for precision in ("exact", "fast"):
        decoder = Decoder(network.config, weights, precision)
        rows, text = decoder.start(ids[[0, 64]]), ids[1:].reshape(2, 64).T
        _, logits, _ = decoder.advance(rows, text, np.zeros((64, 2), np.float32), warm(2))
        logits_, targets = torch.from_numpy(logits).flatten(0, 1), torch.from_numpy(text.copy())
        losses.append(float(torch.nn.functional.cross_entropy(logits_, targets.flatten())))
    assert cost == pytest.approx(losses[1] - losses[0], abs=1e-5)
    assert cost != 0
    assert fast_cost(network.config, weights, ids[:50]) is None


@pytest.mark.parametrize("kind", ["gru", "rnn"])
def test_only_an_lstm_is_fast(kind: NetworkKind) -> None:
    with pytest.raises(ValueError, match="LSTM"):
        decoder_of(CharNetwork(NetworkConfig(9, kind, 1, 8)), "fast")


@pytest.mark.parametrize(("top_k", "top_p"), [(1, 0), (3, 0), (0, 0.5), (4, 0.8), (99, 1.0)])
def test_top_k_and_top_p_equal_the_slow_way(top_k: int, top_p: float) -> None:
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 1, 24))
    options = SampleOptions(9, 1.5, 150, top_k, top_p)
    [text] = run(decoder_of(network), [stream("ab", options)])
    assert text == slowly(network, "ab", options)


def test_a_filter_is_its_own_rows_affair() -> None:
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 1, 24))
    decoder = decoder_of(network)
    plain, narrow = SampleOptions(4, 1.0, 80), SampleOptions(4, 1.0, 80, top_k=2)
    alone = run(decoder, [stream("", plain)])
    together = run(decoder, [stream("", plain), stream("", narrow)])
    assert together[0] == alone[0] != together[1]


def test_a_broken_row_ends_alone() -> None:
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 1, 16))
    decoder = decoder_of(network)
    rows = decoder.start(np.array([0, 0]))
    rows.state[1][:, 0] = np.nan
    free = np.full((4, 2), -1, np.int64)
    numbers = np.full((4, 2), 0.5, np.float32)
    chosen, _, _ = decoder.advance(rows, free, numbers, warm(2))
    assert (chosen[:, 0] == NOT_FINITE).all()
    assert (chosen[:, 1] >= 0).all()
    healthy, broken = (stream("", SampleOptions(1, 1.0, 10)) for _ in range(2))
    broken.rows = decoder.start(np.array([0]))
    broken.rows.state[1][:] = np.nan
    healthy_text, broken_text = run(decoder, [healthy, broken])
    assert (broken_text, broken.finish_reason) == ("", "error")
    assert healthy_text == run(decoder, [stream("", SampleOptions(1, 1.0, 10))])[0]


def changed(rows: Rows, part: int = 0, value: float = 0.0) -> Rows:
    state = tuple(values.copy() for values in rows.state)
    state[part][0, 0, 0] = value
    return Rows(rows.ids, state)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_rows_that_it_cannot_have_reached_are_refused(kind: NetworkKind) -> None:
    """They could touch other rows: int8 activations share a scale, and shapes shift neighbours."""
    decoder = toy_decoder(toy_checkpoint(kind))
    rows = decoder.start(np.array([3]))
    decoder.check(rows)
    decoder.check(changed(rows, value=-1.0))
    other = toy_decoder(toy_checkpoint(kind, hidden_size=25)).start(np.array([3]))
    wrong = [
        changed(rows, value=1.001),
        changed(rows, value=math.nan),
        changed(rows, -1, math.inf),
        other,
        Rows(rows.ids, ()),
        Rows(rows.ids, tuple(part.astype(np.float64) for part in rows.state)),
        Rows(rows.ids, tuple(part.repeat(2, axis=1) for part in rows.state)),
        Rows(np.array([-1]), rows.state),
        Rows(np.array([len(ALPHABET)]), rows.state),
        Rows(np.array([1.0]), rows.state),
        Rows(np.array([[1]]), rows.state),
    ]
    for one in wrong:
        with pytest.raises(ValueError, match="a state"):
            decoder.check(one)
