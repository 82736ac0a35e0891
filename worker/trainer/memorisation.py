"""Memorisation: text of a trained model is looked up in its corpus.

Draws the text, and puts the figures of ``models.text.novelty`` into words. Knows no job.
"""

import time

import numpy as np

from models.arrays import Floats
from models.checkpoints.format import Checkpoint
from models.decoding.decoder import Decoder
from models.decoding.rows import Choices
from models.decoding.sampling import uniforms
from models.text.corpus import Corpus
from models.text.novelty import MemorisationReport, report

ROWS, LENGTH = 16, 2048
"""Texts that are drawn, and characters of each; fewer where that takes longer than ``_SECONDS``."""

_SECONDS = 10.0
_STEPS = 64
_EXCERPT = 60


def examine(
    checkpoint: Checkpoint, corpus: Corpus, temperature: float, seed: int
) -> MemorisationReport:
    """Draws text, each row from the beginning of a line, and compares it with the training text.

    Raises:
        FloatingPointError: the network's output is not finite.
    """
    drawn = _draw(checkpoint, temperature, seed)
    if (drawn < 0).any():
        raise FloatingPointError("the network's output is not finite")
    rows = [_whole_lines(row, corpus.vocabulary.newline_id) for row in drawn.T]
    return report(np.concatenate(rows), corpus.train, corpus.vocabulary)


def _draw(checkpoint: Checkpoint, temperature: float, seed: int) -> np.ndarray:
    """Ids, [characters, rows]; −1 where the network fails."""
    decoder = Decoder(checkpoint.config, checkpoint.weights)
    choices = Choices(
        np.full(ROWS, temperature, np.float32),
        np.zeros(ROWS, np.int64),
        np.zeros(ROWS, np.float32),
        styles=_in_turn(len(checkpoint.config.styles)),
    )
    seeds = np.array([(seed + row) % (1 << 63) for row in range(ROWS)], dtype=np.uint64)
    rows = decoder.start(np.full(ROWS, checkpoint.vocabulary.start_id, np.int64))
    free = np.full((_STEPS, ROWS), -1, np.int64)
    pieces = []
    began = time.monotonic()
    for position in range(0, LENGTH, _STEPS):
        places = np.full(ROWS, position, dtype=np.uint64)
        ids, _, rows = decoder.advance(rows, free, uniforms(seeds, places, _STEPS), choices)
        pieces.append(ids)
        if time.monotonic() - began > _SECONDS:
            break
    return np.concatenate(pieces)


def _in_turn(styles: int) -> Floats | None:
    """The weights with which texts are in one style after another, if there are any."""
    if not styles:
        return None
    return np.eye(styles, dtype=np.float32)[np.arange(ROWS) % styles]


def _whole_lines(row: np.ndarray, newline: int) -> np.ndarray:
    """A text without its last, unfinished line, if it has others."""
    ends = np.flatnonzero(row == newline)
    return row[: ends[-1] + 1] if len(ends) else row


def in_words(found: MemorisationReport) -> str:
    """A report as a sentence for people."""
    excerpt = " ".join(found.longest_text.split())
    if len(excerpt) > _EXCERPT:
        excerpt = f"{excerpt[:_EXCERPT]}…"
    text = (
        f"in {found.characters:,} characters that it wrote, the longest run that the corpus has "
        f"word for word is {found.longest:,} characters: “{excerpt}”"
    )
    if found.novel_name_share is not None:
        return f"{text}. {found.novel_name_share:.0%} of its names are not in the list"
    if found.novel_line_share is not None:
        return f"{text}. {found.novel_line_share:.0%} of its lines are not lines of the corpus"
    return text
