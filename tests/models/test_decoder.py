"""The decoder says what the slow, obvious way says, for every row and whoever is beside it."""

import numpy as np
import pytest
import torch

from models.config import NetworkConfig, NetworkKind
from models.decoding.batch import Batch, Piece, Stream, StreamState
from models.decoding.decoder import Choices, Decoder, fast_cost
from models.decoding.graph import NOT_FINITE, Precision
from models.decoding.sampling import SampleOptions, uniforms
from models.text.vocab import Vocabulary
from models.training.generate import generate
from models.training.network import CharNetwork

torch.set_num_threads(1)
VOCABULARY = Vocabulary("characters", [0x0A, *range(0x61, 0x7B), 0x3042])


def trained_like(config: NetworkConfig) -> CharNetwork:
    """A network with opinions: a fresh one's are too flat to tell temperatures apart."""
    torch.manual_seed(1)
    network = CharNetwork(config)
    with torch.no_grad():
        extent = 8 / config.hidden_size**0.5
        network.output.weight.uniform_(-extent, extent)
    return network


def decoder_of(network: CharNetwork, precision: Precision = "exact") -> Decoder:
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    return Decoder(network.config, weights, precision)


def warm(rows: int, top_k: int = 0, top_p: float = 0.0) -> Choices:
    return Choices(
        np.ones(rows, np.float32), np.full(rows, top_k), np.full(rows, top_p, np.float32)
    )


def pieces_of(decoder: Decoder, streams: list[Stream], steps: int) -> list[list[Piece]]:
    """Ticks until all have ended; what each said."""
    batch = Batch(decoder)
    said: dict[Stream, list[Piece]] = {stream: [] for stream in streams}
    while active := [stream for stream in streams if stream.finish_reason is None]:
        for stream, piece in zip(active, batch.tick(active, steps)[0], strict=True):
            said[stream].append(piece)
    return list(said.values())


def run(decoder: Decoder, streams: list[Stream], steps: int = 7) -> list[str]:
    """The text of each stream."""
    return ["".join(p.text for p in said) for said in pieces_of(decoder, streams, steps)]


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
        for one, piece in zip(active, batch.tick(active, 9)[0], strict=True):
            texts[one] += piece.text
    for one in texts:
        while one.finish_reason is None:
            texts[one] += batch.tick([one], 9)[0][0].text
    assert list(texts.values()) == alone


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

    def shares(precision: Precision) -> np.ndarray:
        decoder = decoder_of(network, precision)
        _, logits, _ = decoder.advance(decoder.start(start), text, numbers, warm(1))
        weights = np.exp(logits[:, 0] - logits[:, 0].max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

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


def test_stop_strings_are_never_said() -> None:
    """Not even their beginnings, wherever a tick cuts them; what only looks like one is said."""
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 1, 24))
    decoder = decoder_of(network)
    [whole] = run(decoder, [stream("", SampleOptions(8, 1.0, 400))])
    stops = (whole[200:207], "not to be found", whole[300:302])
    end = min(whole.find(stop) for stop in stops if stop in whole)
    for steps in (1, 3, 1000):
        one = stream("", SampleOptions(8, 1.0, 400, stop=stops))
        assert run(decoder, [one], steps) == [whole[:end]]
        assert one.finish_reason == "stop" and one.characters == end
    almost = stream("", SampleOptions(8, 1.0, 50, stop=(whole[40:50] + "\u3042\n",)))
    assert run(decoder, [almost], 7) == [whole[:50]] and almost.finish_reason == "length"


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("stop", [(), ("a",)])
def test_a_state_goes_on_where_the_text_stopped(
    precision: Precision, stop: tuple[str, ...]
) -> None:
    """With the same seed it is the text that one longer request would have given."""
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 2, 24))
    decoder = decoder_of(network, precision)
    [whole] = run(decoder, [stream("xy", SampleOptions(3, 0.9, 300))])
    text, state, length = "", None, 37
    while len(text) < 150:
        options = SampleOptions(3, 0.9, length, stop=stop if len(text) < 40 else ())
        prime = "xy" if state is None else ""
        one = Stream(VOCABULARY, VOCABULARY.encode(prime), options, keep_state=True, begin=state)
        text += run(decoder, [one, stream("q", options)], 11)[0]
        state = one.end_state
        assert isinstance(state, StreamState)
        if one.finish_reason == "stop":
            stop = ()
    assert whole.startswith(text)
    branch = Stream(VOCABULARY, VOCABULARY.encode(""), SampleOptions(4, 0.9, 50), begin=state)
    assert run(decoder, [branch])[0] != whole[len(text) : len(text) + 50]


def test_states_of_bytes_models_lose_no_byte() -> None:
    vocabulary = Vocabulary("bytes", [0x0A, 0x41, 0x81, 0x82, 0xE3])
    decoder = decoder_of(trained_like(NetworkConfig(len(vocabulary), "lstm", 1, 8)))
    nothing = vocabulary.encode("")
    [whole] = run(decoder, [Stream(vocabulary, nothing, SampleOptions(3, 3.0, 120))])
    text, state = "", None
    while len(text) < 120:
        options = SampleOptions(3, 3.0, 1 + len(text) % 4)
        one = Stream(vocabulary, nothing, options, keep_state=True, begin=state)
        text += run(decoder, [one], 5)[0]
        state = one.end_state
    assert text[:120] == whole


def test_probabilities_are_the_models_own() -> None:
    """Of each character that was said, at temperature 1 whatever it was drawn at."""
    network = trained_like(NetworkConfig(len(VOCABULARY), "lstm", 1, 24))
    options = SampleOptions(6, 0.5, 40)
    one = Stream(VOCABULARY, VOCABULARY.encode("ab"), options, probabilities=3)
    [said] = pieces_of(decoder_of(network), [one], 9)
    text = "".join(piece.text for piece in said)
    characters = [character for piece in said for character in piece.characters]
    assert text == run(decoder_of(network), [stream("ab", options)])[0]
    assert "".join(character.char for character in characters) == text
    ids = torch.from_numpy(VOCABULARY.encode("\nab" + text))
    with torch.no_grad():
        shares = network(ids[:-1, None])[0][2:, 0].softmax(-1)
    for index, character in enumerate(characters):
        expected = shares[index]
        assert character.probability == pytest.approx(float(expected[ids[index + 3]]), rel=1e-4)
        best = expected.topk(3)
        assert [char for char, _ in character.top] == [VOCABULARY.name(i) for i in best.indices]
        assert [p for _, p in character.top] == pytest.approx(best.values.tolist(), rel=1e-4)


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


def test_bytes_model_writes_whole_characters() -> None:
    """Random bytes: every piece is a sound string, and the length counts characters."""
    vocabulary = Vocabulary("bytes", [0x0A, 0x41, 0x81, 0x82, 0xE3])
    network = trained_like(NetworkConfig(len(vocabulary), "lstm", 1, 8))
    options = SampleOptions(3, 3.0, 200)
    one = Stream(vocabulary, vocabulary.encode(""), options)
    [text] = run(decoder_of(network), [one], 5)
    assert len(text) == 200
    assert "\u3042" in text and "\ufffd" in text
    again = Stream(vocabulary, vocabulary.encode(""), options)
    assert run(decoder_of(network), [again], 1000) == [text]


def test_uniforms_are_uniform_and_by_position() -> None:
    seeds = np.arange(50, dtype=np.uint64)
    numbers = uniforms(seeds, np.zeros(50, np.uint64), 2000)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.005
    later = uniforms(seeds, np.full(50, 700, np.uint64), 10)
    assert (later == numbers[700:710]).all()
    # Neighbouring seeds are strangers.
    assert abs(np.corrcoef(numbers[:, 0], numbers[:, 1])[0, 1]) < 0.1
