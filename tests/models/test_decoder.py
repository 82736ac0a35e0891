"""The decoder says what the slow, obvious way says, for every row and whoever is beside it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.arrays import Floats
from models.config import NetworkConfig
from models.decoding.decoder import Decoder, fast_cost
from models.decoding.graph import LARGEST_H, NOT_FINITE, Precision
from models.decoding.rows import Choices, Rows
from models.decoding.sampling import SampleOptions, choose
from models.options import NetworkKind
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
from tests.toys import ALPHABET, toy_checkpoint, toy_decoder, wordy


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize(("embedding_size", "orders"), [(0, 0), (5, 0), (0, 3), (5, 6)])
def test_equals_the_slow_way(kind: NetworkKind, embedding_size: int, orders: int) -> None:
    network = trained_like(NetworkConfig(len(VOCABULARY), kind, 2, 24, embedding_size), orders)
    for temperature in (0.0, 0.5, 1.0, 2.0):
        options = SampleOptions(seed=5, temperature=temperature, length=120)
        for prime in ("", "abc\nthe"):
            [text] = run(decoder_of(network), [stream(prime, options)])
            assert text == slowly(network, prime, options)


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize(
    ("hidden_size", "embedding_size", "orders"),
    [(48, 0, 0), (48, 5, 0), (9, 1, 0), (1, 0, 0), (48, 0, 4), (9, 5, 2)],
)
def test_batch_size_leaves_every_bit_alone(
    precision: Precision, filtered: bool, hidden_size: int, embedding_size: int, orders: int
) -> None:
    """States and logits, not only the characters chosen from them."""
    config = NetworkConfig(len(VOCABULARY), "lstm", 2, hidden_size, embedding_size)
    network = trained_like(config, orders)
    decoder = decoder_of(network, precision)
    rng = np.random.default_rng(0)
    count, steps = 130, 12
    numbers = rng.random((steps, count), dtype=np.float32)
    free = np.full((steps, count), -1, np.int64)
    ids = rng.integers(len(VOCABULARY), size=count)

    temperatures = rng.choice(np.array([0, 0.5, 1], np.float32), count)

    def choices(rows: list[int]) -> Choices:
        some = warm(len(rows), 5, 0.9) if filtered else warm(len(rows))
        return replace(some, temperatures=temperatures[rows])

    everyone = choices(list(range(count)))
    chosen, logits, ends = decoder.advance(decoder.start(ids), free, numbers, everyone)
    for rows in ([0], [129], [3, 77], list(range(20, 97)), list(range(129, -1, -1))):
        some, their_logits, their_ends = decoder.advance(
            decoder.start(ids[rows]), free[:, rows], numbers[:, rows], choices(rows)
        )
        assert (some == chosen[:, rows]).all()
        assert their_logits.tobytes() == logits[:, rows].tobytes()
        for mine, everyones in zip(their_ends.state, ends.state, strict=True):
            assert mine.tobytes() == everyones[:, rows].tobytes()


@pytest.mark.parametrize("orders", [0, 1, 5])
@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_the_length_of_a_tick_leaves_every_bit_alone(precision: Precision, orders: int) -> None:
    """Shorter ones than the contexts of an n-gram table too."""
    config = NetworkConfig(len(VOCABULARY), "lstm", 2, 48)
    decoder = decoder_of(trained_like(config, orders), precision)
    numbers = np.random.default_rng(0).random((24, 3), dtype=np.float32)
    free = np.full((24, 3), -1, np.int64)
    begin = decoder.start(np.arange(3))
    _, logits, ends = decoder.advance(begin, free, numbers, warm(3))
    found, rows = [], begin
    for cut in (slice(1), slice(1, 8), slice(8, 24)):
        _, some, rows = decoder.advance(rows, free[cut], numbers[cut], warm(3))
        found.append(some)
    assert np.concatenate(found).tobytes() == logits.tobytes()
    assert [part.tobytes() for part in rows.state] == [part.tobytes() for part in ends.state]


@pytest.mark.parametrize("value", [LARGEST_H, -LARGEST_H])
def test_the_largest_h_leaves_other_rows_alone(value: float) -> None:
    """int8 activations share a scale, and ONNX Runtime's tanh exceeds 1 a little."""
    decoder = decoder_of(trained_like(NetworkConfig(len(VOCABULARY), "lstm", 2, 48)), "fast")
    one, two = decoder.start(np.array([3])), decoder.start(np.array([3, 4]))
    one.state[0][:] = two.state[0][:] = np.linspace(-0.9, 0.9, 48)
    two.state[0][:, 1] = value
    decoder.check(two)
    free, numbers = np.full((8, 2), -1, np.int64), np.full((8, 2), 0.5, np.float32)
    _, alone, _ = decoder.advance(one, free[:, :1], numbers[:, :1], warm(1))
    _, beside, _ = decoder.advance(two, free, numbers, warm(2))
    assert beside[:, :1].tobytes() == alone.tobytes()


def test_a_character_is_exact_in_int8() -> None:
    """From the zero state, only weights are rounded: 1-of-k and zeros are not."""
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 1, 32))
    with torch.no_grad():
        weight = network.get_parameter("layers.0.weight_ih_l0")
        scale = weight.abs().amax(dim=1, keepdim=True) / 127
        weight.copy_((weight / scale).round() * scale)
    ids, zeros = np.arange(len(VOCABULARY)), np.zeros((1, len(VOCABULARY)), np.float32)
    free = np.full((1, len(ids)), -1, np.int64)
    exact, fast = (
        decoder.advance(decoder.start(ids), free, zeros, warm(len(ids)))[2].state
        for decoder in (decoder_of(network, "exact"), decoder_of(network, "fast"))
    )
    np.testing.assert_allclose(fast, exact, atol=2e-6)


def of_logits(logits: Floats) -> Decoder:
    """A decoder whose logits are always these."""
    config = NetworkConfig(len(logits), "lstm", 1, 4)
    weights = {name: np.zeros(shape, np.float32) for name, shape in config.shapes().items()}
    return Decoder(config, weights | {"output.bias": logits})


EXTREME_LOGITS = {
    "ties": [0, 2, 2, 1, 2],
    "small differences": [1, 1 + 2**-23, 1, 1 + 2**-23],
    "tiny": [0, 1e-30, 2e-30, 2e-30],
    "large": [-1e35, 1e34, 1e35, 1e35, 0],
    "negative": [-1e30, -5, -5, -6],
    "far apart": [0, 500, -500, 499.5],
    "one": [7],
    "many": list(np.linspace(-3, 3, 1000)),
}


@pytest.mark.parametrize("name", EXTREME_LOGITS)
def test_extreme_logits_are_chosen_from_as_in_the_slow_way(name: str) -> None:
    """At both ends of the random numbers, whatever the temperature; greedy takes the first."""
    logits = np.array(EXTREME_LOGITS[name], np.float32)
    uniforms = np.array([0, 2**-24, 0.25, 0.5, 0.75, 1 - 2**-24], np.float32)
    temperatures = np.array([0, 0.01, 1, 10], np.float32)
    count = len(temperatures)
    for top_k, top_p in ((0, 0.0), (2, 0.9)):
        choices = replace(warm(count, top_k, top_p), temperatures=temperatures)
        decoder = of_logits(logits)
        chosen, _, _ = decoder.advance(
            decoder.start(np.zeros(count, np.int64)),
            np.full((len(uniforms), count), -1),
            uniforms[:, None].repeat(count, axis=1),
            choices,
        )
        expected = [
            [choose(logits, float(t), float(uniform), top_k, top_p) for t in temperatures]
            for uniform in uniforms
        ]
        assert chosen.tolist() == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("greedy", [False, True])
def test_logits_that_are_not_finite_are_said_to_be(value: float, greedy: bool) -> None:
    """Also for a forced id; the row continues with an id of the vocabulary."""
    decoder = of_logits(np.array([1, value, 0], np.float32))
    forced = np.array([[-1], [2], [-1]])
    choices = replace(warm(1), temperatures=np.full(1, not greedy, np.float32))
    numbers = np.full((3, 1), 0.9, np.float32)
    chosen, _, rows = decoder.advance(decoder.start(np.array([0])), forced, numbers, choices)
    assert (chosen == NOT_FINITE).all()
    decoder.check(rows)


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
    weights = network.export()
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
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 1, 24), orders=2)
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


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_row_leaves_others_alone_in_fast(layer: int, value: float) -> None:
    """Though the scale of int8 activations is made from all rows."""
    decoder = decoder_of(trained_like(NetworkConfig(len(VOCABULARY), "lstm", 2, 48)), "fast")
    free, numbers = np.full((8, 3), -1, np.int64), np.full((8, 3), 0.5, np.float32)
    healthy, broken = decoder.start(np.arange(3)), decoder.start(np.arange(3))
    broken.state[1][layer, 1] = value
    _, expected, _ = decoder.advance(healthy, free, numbers, warm(3))
    _, found, _ = decoder.advance(broken, free, numbers, warm(3))
    assert found[:, [0, 2]].tobytes() == expected[:, [0, 2]].tobytes()


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


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_an_n_gram_table_counts_what_was_read_before(kind: NetworkKind) -> None:
    """Each id moves the logits, after a state from elsewhere too, and ids it does not know do not
    end up as others."""
    network = trained_like(NetworkConfig(len(VOCABULARY), kind, 1, 8), orders=3)
    decoder = decoder_of(network)
    begin = decoder.start(np.array([5]))
    read = wordy(len(VOCABULARY), 8)[:, None]
    _, _, rows = decoder.advance(begin, read, np.zeros((8, 1), np.float32), warm(1))
    assert rows.state[-1].tolist() == [[read[-4:-1, 0].tolist()]]
    free, number = np.full((1, 1), -1), np.full((1, 1), 0.5, np.float32)
    state = (*rows.state[:-1], decoder.start(rows.ids).state[-1])
    _, with_history, _ = decoder.advance(rows, free, number, warm(1))
    _, without, _ = decoder.advance(Rows(rows.ids, state), free, number, warm(1))
    assert (with_history != without).any()


def test_a_history_of_other_than_ids_is_refused() -> None:
    decoder = decoder_of(trained_like(NetworkConfig(len(VOCABULARY), "lstm", 1, 8), orders=3))
    rows = decoder.start(np.array([3]))
    for value in (-1, 0, len(VOCABULARY) - 1):
        decoder.check(changed(rows, -1, value))
    for wrong in (-2, 0.5, len(VOCABULARY), math.nan):
        with pytest.raises(ValueError, match="a state"):
            decoder.check(changed(rows, -1, wrong))


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
