"""Continuous batching: the streams of one model share a decoder, tick by tick.

A tick advances some streams together by some characters and returns each one's text. The text of a
stream depends neither on other streams nor on the length of ticks. Knows no thread, no clock and no
client.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from models.arrays import Floats, Ids
from models.decoding.decoder import Choices, RowDecoder, Rows
from models.decoding.graph import NOT_FINITE
from models.decoding.sampling import SampleOptions, uniforms
from models.text.vocab import TextDecoder, Vocabulary

FinishReason = Literal["length", "stop", "error", "shutdown"]


@dataclass(frozen=True, slots=True)
class Character:
    """One character of a text: its probability, and the likeliest characters in its place.

    Probabilities are the model's own, at temperature 1. In a bytes model a character's is the
    product of its bytes', and ``top`` belongs to its first byte.
    """

    char: str
    probability: float
    top: list[tuple[str, float]]


@dataclass(slots=True)
class Piece:
    """The text of one stream in a tick, with ``characters`` if probabilities were requested."""

    text: str = ""
    characters: list[Character] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StreamState:
    """The position at which a text stopped, to continue from exactly there.

    ``position`` is the number of ids chosen so far, ``pending`` contains the bytes of an incomplete
    character, ``unsaid`` is text that was chosen but not returned yet.
    """

    rows: Rows
    position: int
    seed: int
    pending: bytes = b""
    unsaid: str = ""


@dataclass(slots=True)
class _Anchor:
    """A position to replay from, and what has happened since."""

    rows: Rows
    position: int
    pending: bytes
    unsaid: str
    characters: int
    primed: int = 0
    ids: list[Ids] = field(default_factory=list)


class Stream:
    """A text being written.

    Args:
        vocabulary: of the model.
        prime: ids to read first, [length].
        options: what decides the text.
        probabilities: number of alternatives to return for each character; 0 turns probabilities
            off.
        keep_state: whether ``end_state`` will be needed.
        begin: the position at which an earlier text stopped; None is the zero state.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        prime: Ids,
        options: SampleOptions,
        *,
        probabilities: int = 0,
        keep_state: bool = False,
        begin: StreamState | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.options = options
        self.probabilities = probabilities
        self.keep_state = keep_state
        self.characters = 0
        self.finish_reason: FinishReason | None = None
        self.end_state: StreamState | None = None
        # The stream's position while it is not among the rows of the last tick.
        self.rows = begin.rows if begin else None
        self._prime = prime
        self._read = 0
        self._chosen = begin.position if begin else 0
        self._decoder = TextDecoder(vocabulary, begin.pending if begin else b"")
        # Text is held back while it may be the beginning of a stop string.
        self._held = Piece(begin.unsaid if begin else "")
        self._likelihoods: list[tuple[float, list[tuple[str, float]]]] = []
        self._anchor: _Anchor | None = None

    @property
    def position(self) -> int:
        """The position of the next id in the stream's random numbers; less while priming."""
        return self._chosen - self._unread

    @property
    def _unread(self) -> int:
        return len(self._prime) - self._read

    @property
    def steps_left(self) -> int:
        """The number of steps after which the text may be complete; at least 1."""
        missing = self.options.length - self.characters - len(self._held.text)
        return self._unread + max(1, missing)

    def forced(self, steps: int) -> Ids:
        """Returns the rest of the prime, then −1, [steps]."""
        row = np.full(steps, -1, dtype=np.int64)
        rest = self._prime[self._read : self._read + steps]
        row[: len(rest)] = rest
        return row

    def mark(self, rows: Rows) -> None:
        """Remembers this stream's rows before a tick if the end may be replayed from there."""
        if self._anchor is None or not self._held.text:
            self._anchor = _Anchor(
                rows, self._chosen, self._decoder.pending, self._held.text, self.characters
            )

    def take(self, ids: Ids, logits: Floats) -> Piece:
        """Returns the text of a tick; sets ``finish_reason`` if it is the last.

        Args:
            ids: those taken, [steps].
            logits: those the ids were chosen from, [steps, vocabulary].
        """
        primed = min(len(ids), self._unread)
        self._read += primed
        if self._anchor:
            self._anchor.primed += primed
            self._anchor.ids.append(ids)
        ids, logits = ids[primed:], logits[primed:]
        broken = np.flatnonzero(ids == NOT_FINITE)
        if len(broken):
            ids, logits = ids[: broken[0]], logits[: broken[0]]
        self._chosen += len(ids)
        if self.probabilities:
            self._take_characters(ids, logits)
        else:
            self._held.text += self._decoder.decode(ids)
        piece = self._say()
        if len(broken) and self.finish_reason is None:
            self.finish_reason = "error"
        return piece

    def _take_characters(self, ids: Ids, logits: Floats) -> None:
        for id_, (probability, top) in zip(
            ids, likelihoods(self.vocabulary, ids, logits, self.probabilities), strict=True
        ):
            self._likelihoods.append((probability, top))
            text = self._decoder.decode(np.array([id_]))
            if not text:
                continue
            # Bytes that are not UTF-8 may come out together with the character that revealed it:
            # the first character gets the probability of them all.
            product = float(np.prod([p for p, _ in self._likelihoods]))
            self._held.text += text
            self._held.characters.append(Character(text[0], product, self._likelihoods[0][1]))
            self._held.characters += [Character(char, probability, top) for char in text[1:]]
            self._likelihoods.clear()

    def _say(self) -> Piece:
        """Takes out of the held text what can be returned now."""
        text = self._held.text
        left = self.options.length - self.characters
        found = [at for stop in self.options.stop if (at := text.find(stop)) >= 0]
        if found and min(found) <= left:
            end = min(found)
            self.finish_reason = "stop"
        elif len(text) >= left:
            end = left
            self.finish_reason = "length"
        else:
            end = len(text) - self._suspicious(text)
        self.characters += end
        said = Piece(text[:end], self._held.characters[:end])
        self._held = Piece(text[end:], self._held.characters[end:])
        return said

    def _suspicious(self, text: str) -> int:
        """Returns the number of characters at the end that may begin a stop string."""
        longest = max((len(stop) - 1 for stop in self.options.stop), default=0)
        for size in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-size:]) for stop in self.options.stop):
                return size
        return 0

    def replay(self, decoder: RowDecoder) -> StreamState | None:
        """Returns the position at which the text stopped, replayed from the last mark."""
        anchor = self._anchor
        if anchor is None or self.finish_reason == "error":
            return None
        ids = np.concatenate(anchor.ids)
        said = self.characters - anchor.characters
        whole = TextDecoder(self.vocabulary, anchor.pending)
        text, count = anchor.unsaid, anchor.primed
        while len(text) < said:
            text += whole.decode(ids[count : count + 1])
            count += 1
        rows = anchor.rows
        if count:
            nothing = np.zeros((count, 1), np.float32)
            choices = Choices(np.zeros(1, np.float32), np.zeros(1, np.int64), nothing[0])
            _, _, rows = decoder.advance(rows, ids[:count, None], nothing, choices)
        position = anchor.position + count - anchor.primed
        return StreamState(rows, position, self.options.seed, whole.pending, text[said:])


def likelihoods(
    vocabulary: Vocabulary, ids: Ids, logits: Floats, count: int
) -> list[tuple[float, list[tuple[str, float]]]]:
    """Returns each id's probability and the likeliest alternatives, best first.

    Args:
        ids: [steps].
        logits: [steps, vocabulary].
        count: number of alternatives.
    """
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = weights / weights.sum(axis=1, keepdims=True)
    best = np.argsort(-shares, axis=1, kind="stable")[:, :count]
    return [
        (float(row[id_]), [(vocabulary.name(i), float(row[i])) for i in order.tolist()])
        for id_, row, order in zip(ids.tolist(), shares, best, strict=True)
    ]


class Batch:
    """A decoder and the rows that it advanced last."""

    def __init__(self, decoder: RowDecoder) -> None:
        self.decoder = decoder
        self._gathered: list[Stream] = []
        self._rows: Rows | None = None

    def tick(self, streams: list[Stream], steps: int) -> tuple[list[Piece], int]:
        """Advances streams together; streams may join and leave between ticks.

        Args:
            streams: unfinished ones, in any order.
            steps: maximum number of characters to advance.

        Returns:
            The text of each stream, and the number of steps taken.
        """
        rows = self._gather(streams)
        steps = min(steps, max(stream.steps_left for stream in streams))
        for index, stream in enumerate(streams):
            if stream.keep_state:
                stream.mark(_row(rows, index))
        # Counters wrap around: at a negative position the id is forced, not drawn.
        positions = np.array([stream.position for stream in streams]).astype(np.uint64)
        options = [stream.options for stream in streams]
        seeds = np.array([option.seed for option in options], dtype=np.uint64)
        chosen, logits, self._rows = self.decoder.advance(
            rows,
            np.stack([stream.forced(steps) for stream in streams], axis=1),
            uniforms(seeds, positions, steps),
            Choices(
                np.array([option.temperature for option in options], dtype=np.float32),
                np.array([option.top_k for option in options], dtype=np.int64),
                np.array([option.top_p for option in options], dtype=np.float32),
            ),
        )
        pieces = []
        for index, stream in enumerate(streams):
            pieces.append(stream.take(chosen[:, index], logits[:, index]))
            if stream.keep_state and stream.finish_reason:
                stream.end_state = stream.replay(self.decoder)
        return pieces, steps

    def _gather(self, streams: list[Stream]) -> Rows:
        """Returns the rows of streams side by side; copies nothing if they are as before."""
        if self._rows is not None:
            if self._gathered == streams:
                return self._rows
            for index, stream in enumerate(self._gathered):
                if stream.finish_reason is None:
                    stream.rows = _row(self._rows, index)
        for stream in streams:
            if stream.rows is None:
                stream.rows = self.decoder.start(np.array([stream.vocabulary.start_id]))
        self._gathered = list(streams)
        return _side_by_side([stream.rows for stream in streams if stream.rows is not None])


def _side_by_side(rows: list[Rows]) -> Rows:
    parts = zip(*(row.state for row in rows), strict=True)
    return Rows(
        np.concatenate([row.ids for row in rows]),
        tuple(np.concatenate(part, axis=1) for part in parts),
    )


def _row(rows: Rows, index: int) -> Rows:
    cut = slice(index, index + 1)
    return Rows(rows.ids[cut].copy(), tuple(part[:, cut].copy() for part in rows.state))
