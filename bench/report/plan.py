"""How much ``./charloom bench`` measures: sizes, repeats, seconds. Measures nothing."""

from dataclasses import dataclass

from bench.learning.runs import RIVALS


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes, and for how long each is measured.

    Attributes:
        rounds: how often everything is measured; in each round each thing once, in turn.
        seconds: of each measurement of a speed, after ``warm_up`` seconds that do not count; these
            begin when all streams have text, or after ``patience`` seconds.
        hidden: cells of a layer of the network that is served; it has two layers.
        streams: how many are open at the same time.
        hidden_sizes, layers, vocabularies, primes, models: the points of the growth curves.
        growing_hidden: cells of a layer where it is not they that grow.
        growing_streams: how many streams a point of a curve is measured with.
        learn_seconds: of training, for each of ``systems``, ``learn_rounds`` times.
        text_bytes: of this project's own text, from its beginning, that are learned from.
        steps: training steps of each way, of ``batch`` rows of ``length`` characters.
        with_litserve: whether it is measured where it is installed.
    """

    rounds: int = 5
    seconds: float = 3.0
    warm_up: float = 1.0
    patience: float = 10.0
    hidden: int = 512
    streams: tuple[int, ...] = (1, 8, 32, 128, 512)
    hidden_sizes: tuple[int, ...] = (128, 256, 512, 1024, 2048)
    growing_hidden: int = 256
    growing_streams: tuple[int, ...] = (1, 32)
    layers: tuple[int, ...] = (1, 2, 4, 8)
    vocabularies: tuple[int, ...] = (100, 300, 1000, 5000)
    primes: tuple[int, ...] = (1, 64, 512, 4000, 16000)
    models: tuple[int, ...] = (1, 2, 5, 10, 20)
    learn_seconds: float = 60.0
    learn_rounds: int = 2
    systems: tuple[str, ...] = ("ours", *RIVALS)
    text_bytes: int = 4_000_000
    batch: int = 100
    length: int = 100
    steps: int = 20
    with_litserve: bool = True


FULL = Plan()

QUICK = Plan(
    rounds=2,
    seconds=0.4,
    warm_up=0.2,
    patience=4.0,
    hidden=256,
    streams=(1, 32, 512),
    hidden_sizes=(128, 512, 2048),
    growing_hidden=128,
    layers=(1, 2, 4),
    vocabularies=(100, 1000, 5000),
    growing_streams=(1,),
    primes=(1, 512, 4000),
    models=(1, 3, 10),
    learn_seconds=3.0,
    learn_rounds=1,
    systems=("ours", "nanoGPT", "n-gram"),
    text_bytes=200_000,
    batch=32,
    length=32,
    steps=6,
    with_litserve=False,
)
"""That each part works, in at most three minutes on two quiet cores."""
