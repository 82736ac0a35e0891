"""Training in process: ours against ``nn.Embedding`` + ``nn.LSTM`` in fp32, the same network.

    python -m bench.train [--hidden 512] [--layers 2] [--batch 100] [--length 100] [--steps 40]
                          [--text FILE] [--peaks]

Both start from the same weights and read the same batches, a step each in turn, so that whatever
else the machine does slows both. Prints seconds a step (the median), the ratio of characters a
second, and both losses after the same characters: the mean of the last quarter of the steps, and
on held-out text. The defaults are the batch that took a TITAN Z 0.46 s in the essay.

``--peaks`` measures what the device's matrix products reach, and prints the share of it that
training achieves, counting 6 operations for each weight and character. Without ``--text`` the
text is this project's own.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bench.onednn import use_onednn
from models.config import NetworkConfig
from models.options import ComputeType, Hyperparameters
from models.text.corpus import Corpus, encode, scan
from models.training.accelerated import Compute
from models.training.batches import Batches
from models.training.beginning import new_network
from models.training.held_out import evaluate
from models.training.network import CharNetwork, State
from models.training.planning import faster_precision, half_on, step_timer

ROOT = Path(__file__).resolve().parent.parent
ESSAY_SECONDS = 0.46
"""Karpathy 2015: "about 0.46 seconds per batch on a TITAN Z GPU", 2×512, batches of 100×100."""

Step = Callable[[Tensor, Tensor], Tensor]


class Plain(nn.Module):
    """The network as a tutorial writes it: an embedding that is 1-of-k, and torch's own layers."""

    def __init__(self, like: CharNetwork) -> None:
        super().__init__()
        config = like.config
        size = config.vocabulary_size
        self.embedding = nn.Embedding(size, size, _weight=torch.eye(size), _freeze=True)
        self.lstm = nn.LSTM(config.vocabulary_size, config.hidden_size, config.num_layers)
        self.output = nn.Linear(config.hidden_size, config.vocabulary_size)
        self.output.load_state_dict(like.output.state_dict())
        weights = like.layers.state_dict()
        self.lstm.load_state_dict(
            {f"{name[2:-1]}{name[0]}": weight for name, weight in weights.items()}
        )

    def forward(self, ids: Tensor, state: State | None) -> tuple[Tensor, State]:
        hidden, state = self.lstm(self.embedding(ids), state)
        return self.output(hidden), state


def ours(network: CharNetwork, options: Hyperparameters) -> Step:
    device = next(network.parameters()).device
    steps = Compute.on(device, network.config, options).steps(network.train(), options)
    state: State | None = None

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal state
        loss, state = steps(inputs, targets, state)
        return loss

    return step


def plain(network: Plain, options: Hyperparameters, *, with_onednn: bool = True) -> Step:
    rate, decay = options.learning_rate, options.weight_decay
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, rate, betas=(0.9, 0.99), weight_decay=decay)
    state: State | None = None

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal state
        if state is not None:
            state = tuple(part.detach() for part in state)
        use_onednn(with_onednn)
        logits, state = network(inputs, state)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        use_onednn(True)
        nn.utils.clip_grad_norm_(weights, options.grad_clip)
        optimizer.step()
        return loss.detach()

    return step


def is_faster_with_onednn(network: CharNetwork, options: Hyperparameters) -> bool:
    """Whether the plain way is: it gets its better one."""
    ids = torch.randint(
        network.config.vocabulary_size, (options.sequence_length, options.batch_size)
    )
    seconds = {}
    for with_onednn in (True, False):
        step = plain(Plain(network), options, with_onednn=with_onednn)
        step(ids, ids)
        began = time.perf_counter()
        step(ids, ids)
        seconds[with_onednn] = time.perf_counter() - began
    return seconds[True] <= seconds[False]


def own_text() -> bytes:
    """This project's code and documents."""
    files = sorted(path for kind in ("py", "md") for path in ROOT.glob(f"[a-z]*/*.{kind}"))
    return b"\n".join(path.read_bytes() for path in files)


def open_text(text: bytes, directory: Path, held_out: float = 0.1) -> Corpus:
    path = directory / "text"
    path.write_bytes(text)
    vocabulary = scan(path).vocabulary
    encode(path, vocabulary, directory / "ids")
    return Corpus.open(directory / "ids", vocabulary, held_out)


def peak(precision: ComputeType, device: torch.device, size: int = 2048) -> float:
    """Operations a second of a large product: the best of some."""
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    kind = kinds[precision]
    a, b = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    best = 0.0
    for _ in range(8):
        began = time.perf_counter()
        for _ in range(3):
            product = a @ b
        float(product[0, 0])
        best = max(best, 3 * 2 * size**3 / (time.perf_counter() - began))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--length", type=int, default=100)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--peaks", action="store_true")
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as directory:
        text = asked.text.read_bytes() if asked.text else own_text()
        corpus = open_text(text, Path(directory))
        sizes, batch = (asked.layers, asked.hidden), (asked.batch, asked.length)
        tell(compare(corpus, device, sizes, batch, asked.steps, asked.rate), device, asked.peaks)


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of training both ways.

    Attributes:
        options: of the training, with the precision that ours computes in.
        seconds: of each step, by way.
        losses: of each step, by way.
        held_out: the loss on held-out text at the end, by way.
    """

    config: NetworkConfig
    options: Hyperparameters
    seconds: dict[str, list[float]]
    losses: dict[str, list[float]]
    held_out: dict[str, float]

    @property
    def per_step(self) -> int:
        """Characters of a step."""
        return self.options.batch_size * self.options.sequence_length

    def rates(self, way: str) -> list[float]:
        """Returns the characters a second of each step but the first, which also prepares."""
        return [self.per_step / seconds for seconds in self.seconds[way][1:]]

    def rate(self, way: str) -> float:
        """Returns the characters a second of the median step."""
        return float(np.median(self.rates(way)))


def compare(
    corpus: Corpus,
    device: torch.device,
    sizes: tuple[int, int],
    batch: tuple[int, int],
    steps: int,
    learning_rate: float = 2e-3,
) -> Compared:
    """Trains both ways, a step each in turn.

    Args:
        sizes: layers and hidden size.
        batch: rows and their length.
    """
    config = NetworkConfig(len(corpus.vocabulary), "lstm", *sizes)
    precision = faster_precision(config, *batch, step_timer(device), half_on(device))
    options = Hyperparameters(*batch, steps, learning_rate=learning_rate, precision=precision)
    network = new_network(config, 0)
    with_onednn = device.type != "cpu" or is_faster_with_onednn(network, options)
    tutorial = Plain(network).to(device)
    network = network.to(device)
    ways = {
        "ours": ours(network, options),
        "plain": plain(tutorial, options, with_onednn=with_onednn),
    }
    seconds, losses = run_both(ways, corpus, options, device)
    trained = {"ours": network, "plain": as_ours(tutorial, config, device)}
    held_out = {name: evaluate(one, corpus.validation) for name, one in trained.items()}
    return Compared(config, options, seconds, losses, held_out)


def tell(found: Compared, device: torch.device, with_peaks: bool) -> None:
    config, options = found.config, found.options
    precision, seconds = (
        options.precision,
        {w: float(np.median(s)) for w, s in found.seconds.items()},
    )
    print(
        f"{config.num_layers}×{config.hidden_size}, V={config.vocabulary_size}, "
        f"{config.parameters():,} parameters, batches of "
        f"{options.batch_size}×{options.sequence_length}, "
        f"{options.max_steps} steps on {device}, {torch.get_num_threads()} threads"
    )
    tail = max(1, len(found.losses["ours"]) // 4)
    for name, kind in (("ours", precision), ("plain", "fp32")):
        print(
            f"{name:6} {kind}  {seconds[name]:8.3f} s a step  {found.rate(name):12,.0f} "
            f"characters/s  loss {np.mean(found.losses[name][-tail:]):.4f}, "
            f"held out {found.held_out[name]:.4f}"
        )
    print(f"ratio {seconds['plain'] / seconds['ours']:.2f}×")
    if (config.hidden_size, config.num_layers, found.per_step) == (512, 2, 10_000):
        print(f"the essay's TITAN Z took {ESSAY_SECONDS} s: {ESSAY_SECONDS / seconds['ours']:.2f}×")
    if with_peaks:
        work = 6 * config.parameters() * found.rate("ours")
        reachable = peak(precision, device)
        print(
            f"{work / 1e12:.3f} of {reachable / 1e12:.3f} TFLOP/s, the {precision} peak measured "
            f"here: {work / reachable:.0%}"
        )


def run_both(
    ways: dict[str, Step], corpus: Corpus, options: Hyperparameters, device: torch.device
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """The seconds and the loss of each step."""
    batches = Batches(corpus.train, options.batch_size, options.sequence_length)
    times: dict[str, list[float]] = {name: [] for name in ways}
    losses: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.max_steps):
        inputs, targets = (torch.from_numpy(a).to(device) for a in batches.batch(number))
        for name, step in ways.items():
            began = time.perf_counter()
            losses[name].append(float(step(inputs, targets)))
            times[name].append(time.perf_counter() - began)
    return times, losses


def as_ours(network: Plain, config: NetworkConfig, device: torch.device) -> CharNetwork:
    """A plain network's weights in ours, to be evaluated alike."""
    copy = CharNetwork(config)
    weights = {
        f"layers.{name[-1]}.{name[:-1]}0": weight
        for name, weight in network.lstm.state_dict().items()
    }
    weights |= {f"output.{name}": weight for name, weight in network.output.state_dict().items()}
    copy.load_state_dict(weights)
    return copy.to(device)


if __name__ == "__main__":
    main()
