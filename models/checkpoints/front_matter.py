"""A model card as the Hugging Face Hub reads it: metadata in YAML, then the words for people.

The Hub shows the metadata beside a repository and finds it by them. The card in a checkpoint has
none: its bytes are part of the digest. Knows no HTTP, and nothing of a repository.
"""

import io
from collections.abc import Iterator, Mapping
from typing import IO

from models.checkpoints.card import Card, parse_card
from models.checkpoints.format import parse_config, read_vocabulary
from models.config import NetworkConfig
from models.text.vocab import Tokens
from models.units import bits

README = "README.md"

_TASK, _TASK_NAME = "text-generation", "Text generation"

_USE = """
## Use

A model of charloom, which trains character-level LSTMs and serves them:

    charloom models NAME --pull OWNER/NAME      from the Hugging Face Hub
    charloom models NAME --import FILE.zip      from a download
    charloom sample --model NAME
"""


def with_metadata(files: Mapping[str, IO[bytes]]) -> dict[str, IO[bytes]]:
    """Returns a checkpoint's files, given by name, with a README.md that has metadata.

    Raises:
        CheckpointError: one of those that describe the model is damaged.
    """
    config = parse_config(_content(files["config.json"]))
    vocabulary = read_vocabulary(_content(files["vocab.json"]), config)
    card = parse_card(_content(files["card.json"]))
    words = _content(files[README]).decode("utf-8", "replace")
    text = f"{front_matter(config, vocabulary.tokens, card)}\n{words.rstrip()}\n{_USE}"
    return {**files, README: io.BytesIO(text.encode())}


def _content(file: IO[bytes]) -> bytes:
    """Returns what a file holds, and leaves it at its beginning."""
    data = file.read()
    file.seek(0)
    return data


def front_matter(config: NetworkConfig, tokens: Tokens, card: Card) -> str:
    """Returns the metadata of a model, with the lines around them.

    Nobody has said what the licence is, nor which language the text was in.
    """
    level = "byte-level" if tokens == "bytes" else "character-level"
    tags = ("charloom", "char-rnn", config.kind, level)
    lines = [
        "library_name: charloom",
        f"pipeline_tag: {_TASK}",
        "license: unknown",
        "tags:",
        *(f"- {tag}" for tag in tags),
        *_results(config, card),
    ]
    return "\n".join(["---", *lines, "---", ""])


def _results(config: NetworkConfig, card: Card) -> Iterator[str]:
    """Yields the lines of ``model-index``; none where no loss is known."""
    loss = card.get("val_loss")
    if loss is None:
        return
    yield "model-index:"
    yield f"- name: {config.kind}-{config.num_layers}x{config.hidden_size}"
    yield "  results:"
    yield f"  - task: {{type: {_TASK}, name: {_TASK_NAME}}}"
    yield "    dataset: {type: text, name: held-out end of the training text}"
    yield "    metrics:"
    figures = (
        ("loss", "validation loss in nats per character", loss),
        ("bpc", "bits per character", bits(loss)),
    )
    for kind, name, value in figures:
        # Never with an exponent: YAML takes 1e-06 for text.
        yield f"    - {{type: {kind}, name: {name}, value: {value:.6f}}}"
