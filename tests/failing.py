"""Networks that fail in the middle of a text, as those do whose numbers overflow."""

import pytest

from app.routes.texts import derived_seed
from models.arrays import Floats, Ids
from models.decoding.characters import Piece
from models.decoding.stream import Stream


def fail_after(monkeypatch: pytest.MonkeyPatch, characters: int, *, seed: int, draw: int) -> None:
    """Each text fails once it is so long; of a search for names by this seed one draw does."""
    take = Stream.take

    def fails(stream: Stream, ids: Ids, logits: Floats) -> Piece:
        piece = take(stream, ids, logits)
        if stream.characters > characters or stream.options.seed == derived_seed(seed, draw):
            stream.finish_reason = "error"
        return piece

    monkeypatch.setattr(Stream, "take", fails)
