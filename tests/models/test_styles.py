"""Styles: their names, mixes of them, and networks that write in one of them or in a mix."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.config import NetworkConfig, in_style
from models.decoding.graph import Precision
from models.decoding.rows import Choices
from models.decoding.sampling import SampleOptions
from models.options import NetworkKind
from models.styles import Mix, WrongStyle, check_styles, parse_mix, styles_of_files
from models.training.network import CharNetwork, with_styles
from tests.networks import VOCABULARY, decoder_of, run, slowly, stream, trained_like, warm

NAMES = ("austen", "lovecraft", "poe")


@pytest.mark.parametrize(
    ("text", "mix"),
    [
        ("poe", (0, 0, 1)),
        ("austen:0.7,lovecraft:0.3", (0.7, 0.3, 0)),
        (" austen : 2 , poe ", (2 / 3, 0, 1 / 3)),
        ("austen:0,poe:1e-3", (0, 0, 1)),
    ],
)
def test_a_mix_is_a_weight_for_each_style(text: str, mix: Mix) -> None:
    found = parse_mix(text, NAMES)
    assert found == pytest.approx(mix)
    assert sum(found) == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kafka", "must be one of austen, lovecraft, poe, or a mix such as austen:0.7,lov"),
        ("", "must be one of"),
        ("austen,", "must be one of"),
        ("austen:-1", "must have weights that are numbers from 0 to 1,000,000"),
        ("austen:nan", "must have weights"),
        ("austen:inf", "must have weights"),
        ("austen:1e7", "must have weights"),
        ("austen:1_0", "must have weights"),
        ("austen:", "must have weights"),
        ("austen:1:2", "must have weights"),
        ("austen:0,poe:0", "a weight above 0, as in austen:0.7,lovecraft:0.3"),
        ("austen,austen:2", "names austen twice"),
        ("a" * 100_000, "must have at most"),
    ],
)
def test_what_is_no_mix_says_what_would_be(text: str, words: str) -> None:
    with pytest.raises(WrongStyle) as caught:
        parse_mix(text, NAMES)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_model_of_one_text_has_no_styles() -> None:
    with pytest.raises(WrongStyle, match="trained on one text and has no styles"):
        parse_mix("austen", ())


@pytest.mark.parametrize(
    ("files", "styles"),
    [
        (["Austen.txt", "H. P. Lovecraft.txt"], ["austen", "h-p-lovecraft"]),
        (["austen/emma.txt", "austen/x.txt", "poe/x.txt"], ["austen", "austen", "poe"]),
        (["all/Jane Austen/a/x.txt", "all/poe.txt"], ["jane-austen", "poe"]),
        (["texts.zip/a.txt", "texts.zip/b.tar.gz"], ["a", "b"]),
        (["a.zip/x.txt", "b.tar.gz/x.txt", "b.tar.gz/y/z.txt"], ["a", "b", "b"]),
        (["c:\\texts\\poe\\raven.txt", "c:\\texts\\b.txt"], ["poe", "b"]),
        (["/tmp/../a_b-.txt", "日本.txt"], ["tmp", ""]),
        (["x" * 40, ".txt", "pg1342", "a.1"], ["x" * 32, "txt", "pg1342", "a-1"]),
        (["one/two/only.txt"], ["only"]),
        ([""], [""]),
    ],
)
def test_a_style_is_named_after_its_folder_or_file(files: list[str], styles: list[str]) -> None:
    assert styles_of_files(files) == styles
    for style in filter(None, styles):
        check_styles([style, "another"])


@pytest.mark.parametrize(
    "names", [["a"], ["a", "a"], ["a", "B"], ["a", 1], ["a", ""], ["a", "b,c"], list("ab") * 40]
)
def test_what_cannot_be_the_styles_of_a_network_is_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match="styles must"):
        NetworkConfig(10, styles=tuple(names))


def styled(kind: NetworkKind = "lstm", embedding_size: int = 0, orders: int = 0) -> CharNetwork:
    config = NetworkConfig(len(VOCABULARY), kind, 2, 24, embedding_size, styles=NAMES)
    return trained_like(config, orders)


MIXES: list[Mix] = [(), (1, 0, 0), (0, 0, 1), (0.25, 0.75, 0)]


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize(("embedding_size", "orders"), [(0, 0), (5, 3)])
def test_the_decoder_writes_in_a_style_as_the_network_does_that_has_only_this(
    kind: NetworkKind, embedding_size: int, orders: int
) -> None:
    network = styled(kind, embedding_size, orders)
    texts = set()
    for mix in MIXES:
        options = SampleOptions(seed=5, length=120, style=mix)
        for prime in ("", "abc\nthe"):
            [text] = run(decoder_of(network), [stream(prime, options)])
            assert text == slowly(network, prime, options)
            texts.add(text)
    assert len(texts) == 2 * len(MIXES)


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize(("hidden_size", "embedding_size"), [(48, 0), (9, 1), (1, 0), (48, 5)])
def test_rows_in_other_styles_leave_every_bit_alone(
    precision: Precision, filtered: bool, hidden_size: int, embedding_size: int
) -> None:
    config = NetworkConfig(len(VOCABULARY), "lstm", 2, hidden_size, embedding_size, styles=NAMES)
    decoder = decoder_of(trained_like(config), precision)
    rng = np.random.default_rng(0)
    count, steps = 40, 12
    numbers = rng.random((steps, count), dtype=np.float32)
    free = np.full((steps, count), -1, np.int64)
    ids = rng.integers(len(VOCABULARY), size=count)
    mixes = rng.dirichlet(np.ones(3), count).astype(np.float32)
    mixes[::4], mixes[1::4] = 0, (0, 1, 0)

    def choices(rows: list[int]) -> Choices:
        some = warm(len(rows), 5, 0.9) if filtered else warm(len(rows))
        return replace(some, styles=mixes[rows])

    _, logits, ends = decoder.advance(
        decoder.start(ids), free, numbers, choices(list(range(count)))
    )
    for rows in ([0], [1], [39], [3, 17], list(range(39, -1, -1))):
        _, theirs, their_ends = decoder.advance(
            decoder.start(ids[rows]), free[:, rows], numbers[:, rows], choices(rows)
        )
        assert theirs.tobytes() == logits[:, rows].tobytes()
        for mine, everyones in zip(their_ends.state, ends.state, strict=True):
            assert mine.tobytes() == everyones[:, rows].tobytes()


def test_fast_is_close_to_exact_in_each_style() -> None:
    network = styled()
    ids = np.arange(4)
    free = np.full((20, 4), -1, np.int64)
    mixes = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.3, 0.3, 0.4]], np.float32)
    free[:] = np.random.default_rng(1).integers(len(VOCABULARY), size=(20, 4))
    exact, fast = (
        decoder.advance(
            decoder.start(ids), free, np.zeros((20, 4), np.float32), replace(warm(4), styles=mixes)
        )[1]
        for decoder in (decoder_of(network), decoder_of(network, "fast"))
    )
    spread = np.abs(exact[:, 0] - exact[:, 1]).mean()
    assert np.abs(exact - fast).mean() < 0.1 * spread


@pytest.mark.parametrize("embedding_size", [0, 5])
@pytest.mark.parametrize("vocabulary", [40, 200])
def test_training_reads_a_style_as_the_network_that_has_only_this(
    vocabulary: int, embedding_size: int
) -> None:
    """With few symbols and with many, which a CPU reads in another way."""
    network = trained_like(NetworkConfig(vocabulary, "lstm", 2, 16, embedding_size, styles=NAMES))
    ids = np.random.default_rng(0).integers(vocabulary, size=(7, 4))
    styles = np.broadcast_to(np.array([-1, 0, 1, 2]), ids.shape)
    logits, _ = network(torch.from_numpy(with_styles(ids, styles, vocabulary)))
    for row in range(4):
        mix = None if row == 0 else tuple(float(style == row - 1) for style in range(3))
        alone = CharNetwork.of(*in_style(network.config, network.export(), mix))
        expected, _ = alone(torch.from_numpy(ids[:, row : row + 1]))
        torch.testing.assert_close(logits[:, row : row + 1], expected)
    plain, _ = network(torch.from_numpy(ids[:, :1]))
    torch.testing.assert_close(plain, logits[:, :1])
