"""The decoder says what the slow, obvious way says, for every row and whoever is beside it."""

import numpy as np
import pytest
import torch

from models.batch import Batch, Stream
from models.config import NetworkConfig, NetworkKind
from models.decoder import NOT_FINITE, Decoder
from models.network import CharNetwork
from models.sampling import SampleOptions, generate, uniforms
from models.vocab import Vocabulary

torch.set_num_threads(1)
VOCABULARY = Vocabulary("characters", [0x0A, *range(0x61, 0x7B), 0x3042])


def trained_like(config: NetworkConfig) -> CharNetwork:
    """A network with opinions: a fresh one's are too flat to tell temperatures apart."""
    torch.manual_seed(1)
    network = CharNetwork(config)
    with torch.no_grad():
        network.output.weight.mul_(8)
    return network


def decoder_of(network: CharNetwork) -> Decoder:
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    return Decoder(network.config, weights)


def run(decoder: Decoder, streams: list[Stream], steps: int = 7) -> list[str]:
    """Ticks until all have ended."""
    batch = Batch(decoder)
    texts = dict.fromkeys(streams, "")
    while active := [stream for stream in streams if stream.finish_reason is None]:
        for stream, text in zip(active, batch.tick(active, steps)[0], strict=True):
            texts[stream] += text
    return list(texts.values())


def slowly(network: CharNetwork, prime: str, options: SampleOptions) -> str:
    ids = generate(network, VOCABULARY.start_id, VOCABULARY.encode(prime), options)
    return VOCABULARY.decoder().decode(np.fromiter(ids, np.int64))


def stream(prime: str, options: SampleOptions) -> Stream:
    return Stream(VOCABULARY, VOCABULARY.encode(prime), options)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("embedding_size", [0, 5])
def test_equals_the_slow_way(kind: NetworkKind, embedding_size: int) -> None:
    network = trained_like(NetworkConfig(len(VOCABULARY), kind, 2, 24, embedding_size))
    for temperature in (0.0, 0.5, 1.0, 2.0):
        options = SampleOptions(seed=5, temperature=temperature, length=120)
        for prime in ("", "abc\nthe"):
            [text] = run(decoder_of(network), [stream(prime, options)])
            assert text == slowly(network, prime, options)


def test_neighbours_and_ticks_do_not_matter() -> None:
    """Alone, among forty others, in ticks of 1, 3 or 50 characters: the same text."""
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 2, 32))
    decoder = decoder_of(network)
    primes = ["", "a", "hello world".replace(" ", "\n"), "x" * 60]
    options = [SampleOptions(seed, 0.3 + seed % 5, 20 + 13 * seed) for seed in range(40)]

    def streams() -> list[Stream]:
        return [stream(primes[i % 4], option) for i, option in enumerate(options)]

    alone = [run(decoder, [one])[0] for one in streams()]
    for steps in (1, 3, 50):
        assert run(decoder, streams(), steps) == alone
    assert [len(text) for text in alone] == [option.length for option in options]


def test_a_stream_may_join_late_and_pause() -> None:
    network = trained_like(NetworkConfig(len(VOCABULARY), "gru", 1, 16))
    decoder = decoder_of(network)
    options = [SampleOptions(seed, 1.0, 40) for seed in range(3)]
    alone = [run(decoder, [stream("ab", option)])[0] for option in options]
    first, paused, late = (stream("ab", option) for option in options)
    batch = Batch(decoder)
    texts = {first: "", paused: "", late: ""}
    for active in ([first, paused], [first], [late, first], [late], [paused, late], [first]):
        for one, text in zip(active, batch.tick(active, 9)[0], strict=True):
            texts[one] += text
    for one in texts:
        while one.finish_reason is None:
            texts[one] += batch.tick([one], 9)[0][0]
    assert list(texts.values()) == alone


def test_batch_size_leaves_every_bit_alone() -> None:
    """States, not only the characters chosen from them."""
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 2, 48))
    decoder = decoder_of(network)
    rng = np.random.default_rng(0)
    rows, steps = 65, 12
    numbers = rng.random((steps, rows), dtype=np.float32)
    free = np.full((steps, rows), -1, np.int64)
    warm = np.ones(rows, np.float32)
    ids = rng.integers(len(VOCABULARY), size=rows)
    chosen, together = decoder.advance(decoder.start(ids), free, numbers, warm)
    for row in (0, 1, 31, 64):
        cut = slice(row, row + 1)
        one, alone = decoder.advance(
            decoder.start(ids[cut]), free[:, cut], numbers[:, cut], warm[cut]
        )
        assert (one[:, 0] == chosen[:, row]).all()
        for mine, all_rows in zip(alone.state, together.state, strict=True):
            assert mine.tobytes() == all_rows[:, cut].tobytes()


def test_a_broken_row_ends_alone() -> None:
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 1, 16))
    decoder = decoder_of(network)
    rows = decoder.start(np.array([0, 0]))
    rows.state[1][:, 0] = np.nan
    free = np.full((4, 2), -1, np.int64)
    numbers = np.full((4, 2), 0.5, np.float32)
    chosen, _ = decoder.advance(rows, free, numbers, np.ones(2, np.float32))
    assert (chosen[:, 0] == NOT_FINITE).all()
    assert (chosen[:, 1] >= 0).all()
    healthy, broken = (stream("", SampleOptions(1, 1.0, 10)) for _ in range(2))
    broken.rows = decoder.start(np.array([0]))
    broken.rows.state[1][:] = np.nan
    healthy_text, broken_text = run(decoder, [healthy, broken])
    assert (broken_text, broken.finish_reason) == ("", "error")
    assert healthy_text == run(decoder, [stream("", SampleOptions(1, 1.0, 10))])[0]


def test_bytes_model_writes_whole_characters() -> None:
    """Random bytes: every piece is a sound string, and the length counts characters."""
    vocabulary = Vocabulary("bytes", [0x0A, 0x41, 0x81, 0x82, 0xE3])
    network = trained_like(NetworkConfig(len(vocabulary), "lstm", 1, 8))
    options = SampleOptions(3, 3.0, 200)
    one = Stream(vocabulary, vocabulary.encode(""), options)
    batch, pieces = Batch(decoder_of(network)), []
    while one.finish_reason is None:
        pieces += batch.tick([one], 5)[0]
    assert sum(map(len, pieces)) == 200
    assert "「" not in "".join(pieces) and "\ufffd" in "".join(pieces)
    [at_once] = run(decoder_of(network), [Stream(vocabulary, one._prime, options)], 1000)
    assert at_once == "".join(pieces)


def test_uniforms_are_uniform_and_by_position() -> None:
    seeds = np.arange(50, dtype=np.uint64)
    numbers = uniforms(seeds, np.zeros(50, np.uint64), 2000)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.005
    later = uniforms(seeds, np.full(50, 700, np.uint64), 10)
    assert (later == numbers[700:710]).all()
    # Neighbouring seeds are strangers.
    assert abs(np.corrcoef(numbers[:, 0], numbers[:, 1])[0, 1]) < 0.1
