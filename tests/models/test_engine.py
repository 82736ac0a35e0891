"""The native step computes the same bits on every processor, in every batch and tick."""

import math
from dataclasses import replace

import numpy as np
import pytest

from models.arrays import Floats, Ids
from models.config import NetworkConfig, Weights
from models.decoding.decoder import Decoder
from models.decoding.graph import NOT_FINITE
from models.decoding.native import building, loading
from models.decoding.native.building import compile_for, processors_here
from models.decoding.native.engine import NativeEngine
from models.decoding.native.library import Library
from models.decoding.rows import Choices, Rows
from models.decoding.sampling import SampleOptions, choose
from models.decoding.stream import Stream
from models.ngram_table import NGRAM_FOLLOWERS
from tests.compiled import PLAIN_FLAGS, native_step
from tests.networks import run, trained_like, warm, weights_of
from tests.toys import ALPHABET, in_styles, toy_checkpoint, toy_decoder, with_table


@pytest.fixture(scope="module")
def library() -> Library:
    return native_step()


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Library]:
    """Compiled for every kind of processor that this one is, and for any."""
    native_step()
    folder = tmp_path_factory.mktemp("compiled")
    found = {kind.name: Library(compile_for(kind, folder)) for kind in processors_here()}
    found["plain"] = Library(compile_for(building.PLAIN, folder, *PLAIN_FLAGS))
    for name, one in list(found.items()):
        if one.tiles:
            found[f"{name} without tiles"] = without = Library(
                folder / processors_here()[0].file_name
            )
            without.tiles = False
    return found


def network(
    hidden_size: int, embedding_size: int = 0, orders: int = 0, vocabulary_size: int = 28
) -> tuple[NetworkConfig, Weights]:
    config = NetworkConfig(vocabulary_size, "lstm", 2, hidden_size, embedding_size)
    made = trained_like(config, orders)
    return made.config, weights_of(made)


NETWORKS = {
    "odd": network(37),
    "one cell": network(1),
    "embedding": network(48, 5),
    "table": network(48, 0, 3),
    "lists": network(20, 5, 6),
    "large vocabulary": network(24, 3, 3, 300),
    "many inputs": network(130),
}


def in_turn(count: int, steps: int = 12) -> tuple[Ids, Floats, Choices]:
    """What rows read and how they choose: each option in some row."""
    rng = np.random.default_rng(0)
    every = np.arange(count)
    forced = np.where(rng.random((steps, count)) < 0.2, rng.integers(20, size=(steps, count)), -1)
    choices = Choices(
        rng.choice(np.array([0, 0.5, 1], np.float32), (steps, count)),
        np.where(every % 3 == 1, 5, 0),
        np.where(every % 4 == 1, np.float32(0.9), np.float32(0)),
    )
    return forced, rng.random((steps, count), dtype=np.float32), choices


def some_of(choices: Choices, rows: list[int]) -> Choices:
    return Choices(
        choices.temperatures[..., rows],
        choices.top_k[rows],
        choices.top_p[rows],
        styles=None if choices.styles is None else choices.styles[rows],
    )


def bits(result: tuple[Ids, Floats, Rows], rows: list[int] | None = None) -> list[bytes]:
    ids, logits, end = result
    cut = slice(None) if rows is None else rows
    parts = [ids[:, cut], logits[:, cut], end.ids[cut], *(part[:, cut] for part in end.state)]
    return [np.ascontiguousarray(part).tobytes() for part in parts]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_processor_computes_the_same_bits(name: str, libraries: dict[str, Library]) -> None:
    config, weights = NETWORKS[name]
    count = 41
    forced, numbers, choices = in_turn(count)
    begin = Decoder(config, weights, "fast").start(np.arange(count) % config.vocabulary_size)
    found = {
        kind: bits(NativeEngine(one, config, weights).advance(begin, forced, numbers, choices))
        for kind, one in libraries.items()
    }
    assert len(found) >= 2
    for kind, own in found.items():
        assert own == found["plain"], kind


@pytest.mark.parametrize("name", NETWORKS)
def test_batch_size_and_ticks_leave_every_bit_alone(name: str, library: Library) -> None:
    config, weights = NETWORKS[name]
    decoder = Decoder(config, weights, "fast", library)
    count, steps = 70, 12
    forced, numbers, choices = in_turn(count, steps)
    ids = np.arange(count) % config.vocabulary_size
    together = decoder.advance(decoder.start(ids), forced, numbers, choices)
    for rows in ([0], [69], [3, 50], list(range(20, 41)), list(range(69, -1, -1))):
        alone = decoder.advance(
            decoder.start(ids[rows]), forced[:, rows], numbers[:, rows], some_of(choices, rows)
        )
        assert bits(alone) == bits(together, rows)
    reached, chosen, logits = decoder.start(ids), [], []
    for cut in (slice(1), slice(1, 8), slice(8, steps)):
        now = replace(choices, temperatures=choices.temperatures[cut])
        some, their, reached = decoder.advance(reached, forced[cut], numbers[cut], now)
        chosen.append(some)
        logits.append(their)
    in_parts = np.concatenate(chosen), np.concatenate(logits), reached
    assert bits(in_parts) == bits(together)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_as_close_to_exact_as_onnx_runtime(name: str, library: Library) -> None:
    config, weights = NETWORKS[name]
    rng = np.random.default_rng(2)
    text = rng.integers(config.vocabulary_size, size=(200, 2))
    begin = np.array([0, 1]) % config.vocabulary_size

    def logits(decoder: Decoder) -> Floats:
        numbers = np.zeros(text.shape, np.float32)
        return decoder.advance(decoder.start(begin), text, numbers, warm(2))[1]

    exact = logits(Decoder(config, weights))
    native, graph = (
        float(np.abs(logits(Decoder(config, weights, "fast", one)) - exact).mean())
        for one in (library, None)
    )
    assert 0 < native <= 1.25 * graph + 1e-6


def test_ids_are_chosen_as_in_the_slow_way(library: Library) -> None:
    """From the logits that it returns, with every option, and temperatures that change."""
    for config, weights in NETWORKS.values():
        count = 24
        forced, numbers, choices = in_turn(count)
        decoder = Decoder(config, weights, "fast", library)
        ids = np.arange(count) % config.vocabulary_size
        chosen, logits, _ = decoder.advance(decoder.start(ids), forced, numbers, choices)
        for step, row in np.ndindex(forced.shape):
            expected = int(forced[step, row])
            if expected < 0:
                expected = choose(
                    logits[step, row],
                    float(choices.temperatures[step, row]),
                    float(numbers[step, row]),
                    int(choices.top_k[row]),
                    float(choices.top_p[row]),
                )
            assert chosen[step, row] == expected


def of_logits(logits: list[float], library: Library) -> Decoder:
    """A decoder whose logits are always these."""
    config = NetworkConfig(len(logits), "lstm", 1, 4)
    weights = {name: np.zeros(shape, np.float32) for name, shape in config.shapes().items()}
    output = {"output.bias": np.array(logits, np.float32)}
    return Decoder(config, weights | output, "fast", library)


@pytest.mark.parametrize(
    "logits",
    [
        [0, 2, 2, 1, 2],
        [1, 1 + 2**-23, 1, 1 + 2**-23],
        [-1e35, 1e34, 1e35, 1e35, 0],
        [-1e30, -5, -5, -6],
        [0, 500, -500, 499.5],
        [7],
        # Below e to the power of -87, weights are 0.
        list(np.linspace(-0.4, 0.4, 1000)),
    ],
)
def test_extreme_logits_are_chosen_from_as_in_the_slow_way(
    logits: list[float], library: Library
) -> None:
    numbers = np.array([0, 2**-24, 0.25, 0.5, 0.75, 1 - 2**-24], np.float32)
    temperatures = np.array([0, 0.01, 1, 10], np.float32)
    decoder = of_logits(logits, library)
    for top_k, top_p in ((0, 0.0), (2, 0.9), (3, 0.0), (0, 0.5)):
        choices = replace(warm(4, top_k, top_p), temperatures=temperatures)
        chosen, _, _ = decoder.advance(
            decoder.start(np.zeros(4, np.int64)),
            np.full((len(numbers), 4), -1),
            numbers[:, None].repeat(4, axis=1),
            choices,
        )
        given = np.array(logits, np.float32)
        expected = [
            [choose(given, float(t), float(number), top_k, top_p) for t in temperatures]
            for number in numbers
        ]
        assert chosen.tolist() == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_are_said_to_be(
    value: float, temperature: float, library: Library
) -> None:
    decoder = of_logits([1, value, 0], library)
    choices = replace(warm(1), temperatures=np.array([temperature], np.float32))
    forced, numbers = np.array([[-1], [2], [-1]]), np.full((3, 1), 0.9, np.float32)
    chosen, _, rows = decoder.advance(decoder.start(np.array([0])), forced, numbers, choices)
    assert (chosen == NOT_FINITE).all()
    decoder.check(rows)


def test_what_would_be_read_from_elsewhere_is_refused(library: Library) -> None:
    config, weights = network(20, 0, 6)
    decoder = Decoder(config, weights, "fast", library)
    begin = decoder.start(np.zeros(2, np.int64))
    free, numbers = np.full((2, 2), -1), np.zeros((2, 2), np.float32)
    short = Rows(begin.ids, (begin.state[0][:, :1], *begin.state[1:]))
    unread = begin.state[2].copy()
    unread[0, 0, 0] = config.vocabulary_size
    for rows, forced, draws in (
        (replace(begin, ids=np.array([0, 28])), free, numbers),
        (replace(begin, ids=np.array([-1, 0])), free, numbers),
        (begin, free + 29, numbers),
        (begin, free - 1, numbers),
        (begin, free, numbers[:1]),
        (short, free, numbers),
        (replace(begin, state=(*begin.state[:2], unread)), free, numbers),
    ):
        with pytest.raises(ValueError, match=r"ids must be|shape must be"):
            decoder.advance(rows, forced, draws, warm(2))
    for name in ("layers.1.weight_hh_l0", "output.weight", NGRAM_FOLLOWERS):
        with pytest.raises(ValueError, match=name):
            Decoder(config, weights | {name: weights[name][1:]}, "fast", library)
    beyond = np.full_like(weights[NGRAM_FOLLOWERS], config.vocabulary_size)
    with pytest.raises(ValueError, match="a follower must be an id"):
        Decoder(config, weights | {NGRAM_FOLLOWERS: beyond}, "fast", library)


def test_styles_count_as_in_onnx_runtime(library: Library) -> None:
    styled = in_styles(toy_checkpoint(), "austen", "verne")
    native, graph = (Decoder(styled.config, styled.weights, "fast", one) for one in (library, None))
    mixes = np.array([[1, 0], [0, 1], [0.5, 0.5], [0, 0]], np.float32)
    begin, text = np.zeros(4, np.int64), np.arange(20)[:, None].repeat(4, axis=1)
    numbers = np.zeros(text.shape, np.float32)

    def logits(decoder: Decoder, styles: Floats | None) -> Floats:
        choices = replace(warm(4), styles=styles)
        return decoder.advance(decoder.start(begin), text, numbers, choices)[1]

    found = logits(native, mixes)
    assert np.abs(found - logits(graph, mixes)).mean() < 0.05
    assert np.abs(found - found[:, ::-1]).mean() > 0.5
    assert (logits(native, None) == found[:, 3:]).all()


@pytest.mark.parametrize("orders", [0, 5])
def test_a_text_continues_from_its_state_as_if_it_had_not_stopped(
    orders: int, library: Library
) -> None:
    checkpoint = with_table(toy_checkpoint(), orders) if orders else toy_checkpoint()
    decoder = Decoder(checkpoint.config, checkpoint.weights, "fast", library)
    prime = ALPHABET.encode("the ")
    options = SampleOptions(seed=9, length=90)
    [whole] = run(decoder, [Stream(ALPHABET, prime, options)], steps=50)
    first = Stream(ALPHABET, prime, replace(options, length=40), keep_state=True)
    [begin] = run(decoder, [first], steps=64)
    rest = Stream(ALPHABET, prime[:0], replace(options, length=50), begin=first.end_state)
    assert begin + run(decoder, [rest], steps=7)[0] == whole


def test_a_state_of_onnx_runtime_is_continued(library: Library) -> None:
    """Hosts of a fleet that compute differently accept each other's states."""
    checkpoint = with_table(toy_checkpoint(), 3)
    native = Decoder(checkpoint.config, checkpoint.weights, "fast", library)
    graph = toy_decoder(checkpoint, "fast")
    for one, other in ((native, graph), (graph, native)):
        stopped = Stream(ALPHABET, ALPHABET.encode("a"), SampleOptions(length=30), keep_state=True)
        run(one, [stopped])
        assert stopped.end_state
        other.check(stopped.end_state.rows)
        goes_on = Stream(
            ALPHABET, ALPHABET.encode(""), SampleOptions(length=30), begin=stopped.end_state
        )
        [text] = run(other, [goes_on])
        assert len(text) == 30


def test_what_it_must_compute_is_known(libraries: dict[str, Library]) -> None:
    for kind, one in libraries.items():
        assert loading.answer(one) == loading.ANSWER, kind
