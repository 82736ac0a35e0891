"""Continuous batching: the streams of one model share a decoder, tick by tick.

A tick advances some streams together by some characters and returns each one's text. The text of a
stream depends neither on other streams nor on the length of ticks. Knows no thread, no clock and no
client.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from models.arrays import Floats, Ids
from models.config import MAX_VOCABULARY
from models.decoding.decoder import Choices, RowDecoder, Rows
from models.decoding.graph import NOT_FINITE
from models.decoding.sampling import MAX_SEED, SampleOptions, check_range, uniforms
from models.decoding.stops import first_stop, held_back
from models.decoding.trail import Replay, Trail
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


MAX_POSITION = (1 << 63) - 1
MAX_PENDING, MAX_UNSAID = 3, 16
"""Most bytes of an incomplete character, and of characters that one id can complete: UTF-8 has
sequences of 4 bytes, and 3 broken ones at once become at most as many characters."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """The position at which a text stopped, to continue from exactly there.

    ``position`` is the number of ids chosen so far, ``pending`` contains the bytes of an incomplete
    character, ``unsaid`` is text that was chosen but not returned yet.

    Raises:
        ValueError: no text can have stopped there.
    """

    rows: Rows
    position: int
    seed: int
    pending: bytes = b""
    unsaid: str = ""

    def __post_init__(self) -> None:
        check_range("position", self.position, MAX_POSITION)
        check_range("seed", self.seed, MAX_SEED)
        check_range("the number of pending bytes", len(self.pending), MAX_PENDING)
        check_range("the number of unsaid characters", len(self.unsaid), MAX_UNSAID)
        if len(self.rows.ids) != 1:
            raise ValueError("a state must have one row")
        if not all(np.isfinite(part).all() for part in self.rows.state):
            raise ValueError("a state must be finite")


class Stream:
    """A text being written.

    It is *writing* until its text ends, then *settling* where a state is kept: until its rows have
    been replayed to where the text stopped. Only then has it a ``finish_reason``.

    Args:
        vocabulary: of the model.
        prime: ids to read first, [length].
        options: what decides the text.
        probabilities: number of alternatives to return for each character; 0 turns probabilities
            off.
        keep_state: whether ``end_state`` will be needed.
        begin: the position at which an earlier text stopped; None is the zero state.

    Raises:
        ValueError: the prime or the beginning is not of this vocabulary.
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
        _check_ids("prime", prime, vocabulary)
        if begin:
            _check_ids("begin", begin.rows.ids, vocabulary)
        check_range("probabilities", probabilities, MAX_VOCABULARY)
        self.vocabulary = vocabulary
        self.options = options
        self.probabilities = min(probabilities, len(vocabulary))
        self.keep_state = keep_state
        self.characters = 0
        self.finish_reason: FinishReason | None = None
        self.error: Exception | None = None
        self.end_state: StreamState | None = None
        # The stream's position while it is not among the rows of the last tick.
        self.rows = begin.rows if begin else None
        self._begin = begin
        self._prime = prime
        self._read = 0
        self._chosen = begin.position if begin else 0
        self._decoder = TextDecoder(vocabulary, begin.pending if begin else b"")
        # Text is held back while it may be the beginning of a stop string.
        self._held = Piece(begin.unsaid if begin else "")
        self._likelihoods: list[tuple[float, list[tuple[str, float]]]] = []
        self._trail: Trail | None = None
        self._ending: FinishReason | None = None
        self._replay: Replay | None = None

    @property
    def is_writing(self) -> bool:
        return self.finish_reason is None and self._ending is None

    @property
    def is_settling(self) -> bool:
        return self.finish_reason is None and self._ending is not None

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

    def fail(self, error: Exception) -> None:
        """Ends the text with an error."""
        self.finish_reason, self.error = "error", error
        self.end_state = self._replay = self._trail = None

    def break_off(self, reason: FinishReason) -> None:
        """Ends the text after what was returned of it; a text that is ending ends as it would have.

        A state that is kept is that of this place; before the prime has been read there is none.
        """
        if not self.is_writing:
            return
        if self._trail is None or self._unread:
            self.finish_reason = reason
        else:
            self._ending = reason
            self._turn_back(self._trail)

    def take(self, ids: Ids, logits: Floats) -> Piece:
        """Returns the text of a tick, which may be the last.

        Args:
            ids: those taken, [steps].
            logits: those the ids were chosen from, [steps, vocabulary].
        """
        primed = min(len(ids), self._unread)
        self._read += primed
        ids, logits = ids[primed:], logits[primed:]
        broken = np.flatnonzero(ids == NOT_FINITE)
        if len(broken):
            ids, logits = ids[: broken[0]], logits[: broken[0]]
        self._chosen += len(ids)
        if self.probabilities:
            self._take_characters(ids, logits)
        else:
            self._held.text += self._decoder.decode(ids)
        # What a state left unsaid waits for the prime too: the state after it may be asked for.
        piece = Piece() if self._unread else self._say()
        if len(broken) and self._ending is None:
            self.fail(FloatingPointError("the network's output is not finite"))
        elif not self.keep_state:
            self.finish_reason = self._ending
        return piece

    def mark(self, ids: Ids, rows: Callable[[], Rows]) -> None:
        """Remembers a tick that was taken, for the state at the end.

        Args:
            ids: those taken, [steps].
            rows: returns the row after them.
        """
        if self._trail is None:
            # In the first tick, of which the rows are not kept yet.
            assert self.rows is not None
            begin = self._begin
            pending, unsaid = (begin.pending, begin.unsaid) if begin else (b"", "")
            self._trail = Trail(self.vocabulary, self.rows, len(self._prime), pending, unsaid)
        self._trail.extend(
            ids,
            rows,
            pending=self._decoder.pending,
            produced=self.characters + len(self._held.text),
            said=self.characters,
            ended=self._ending is not None,
        )
        if self._ending:
            self._turn_back(self._trail)

    def _turn_back(self, trail: Trail) -> None:
        """Prepares to go from the trail to where the text ends."""
        self._replay = trail.replay(self.characters)
        self._trail = None
        self._settle()

    @property
    def replay(self) -> Replay:
        """What a settling stream has yet to read."""
        assert self._replay is not None
        return self._replay

    def replayed(self, steps: int, row: Rows) -> None:
        """Takes a part of the replay: the row after so many more ids."""
        self.replay.rows, self.replay.ids = row, self.replay.ids[steps:]
        self._settle()

    def _settle(self) -> None:
        """Ends the text if its row is where it stopped."""
        replay = self.replay
        if not len(replay.ids):
            begun = self._begin.position if self._begin else 0
            position = begun + replay.position
            self.end_state = StreamState(
                replay.rows, position, self.options.seed, replay.pending, replay.unsaid
            )
            self.finish_reason = self._ending

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
        stop = first_stop(text, self.options.stop)
        if stop is not None and stop <= left:
            end = stop
            self._ending = "stop"
        elif len(text) >= left:
            end = left
            self._ending = "length"
        else:
            end = len(text) - held_back(text, self.options.stop)
        self.characters += end
        said = Piece(text[:end], self._held.characters[:end])
        self._held = Piece(text[end:], self._held.characters[end:])
        return said


def _check_ids(name: str, ids: Ids, vocabulary: Vocabulary) -> None:
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{name} must be a row of ids")
    if len(ids) and not 0 <= ids.min() <= ids.max() < len(vocabulary):
        raise ValueError(f"{name} must have ids from 0 to {len(vocabulary) - 1}")


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


@dataclass(frozen=True, slots=True)
class _Advance:
    """Streams that advanced together: the ids they took, the logits, and their rows now."""

    streams: list[Stream]
    ids: Ids
    logits: Floats
    rows: Rows


class Batch:
    """A decoder and the rows that it advanced last.

    What one row causes ends that row only. A tick computes first and changes streams after, so a
    part that failed is repeated without the rows that made it fail, with the same result.
    """

    def __init__(self, decoder: RowDecoder) -> None:
        self.decoder = decoder
        self._gathered: list[Stream] = []
        self._rows: Rows | None = None

    def tick(self, streams: list[Stream], steps: int) -> tuple[list[Piece], int]:
        """Advances streams together; streams may join and leave between ticks.

        Texts that have ended are replayed to where they stopped, by as many steps at most, so a
        tick takes at most twice as long because of them.

        Args:
            streams: unfinished ones, in any order.
            steps: maximum number of characters to advance.

        Returns:
            The text of each stream, and the number of steps taken.
        """
        pieces = {stream: Piece() for stream in streams}
        writing = [stream for stream in streams if stream.is_writing]
        advances = self._apart(writing, steps, self._advance)
        for advance in advances:
            pieces |= self._take(advance)
        self._keep(advances)
        self._settle([stream for stream in streams if stream.is_settling], steps)
        taken = max((len(advance.ids) for advance in advances), default=steps)
        return list(pieces.values()), taken

    def _apart(
        self,
        streams: list[Stream],
        steps: int,
        advance: Callable[[list[Stream], int], _Advance],
    ) -> list[_Advance]:
        """Advances streams together, or in parts if that fails; one that fails alone ends."""
        if not streams:
            return []
        try:
            return [advance(streams, steps)]
        except Exception as error:
            if len(streams) == 1:
                streams[0].fail(error)
                return []
        middle = len(streams) // 2
        halves = streams[:middle], streams[middle:]
        return [one for half in halves for one in self._apart(half, steps, advance)]

    def _advance(self, streams: list[Stream], steps: int) -> _Advance:
        """Computes a tick of writing streams, and leaves them as they are."""
        rows = self._gather(streams)
        steps = max(1, min(steps, max(stream.steps_left for stream in streams)))
        # Counters wrap around: at a negative position the id is forced, not drawn.
        positions = [stream.position % (1 << 64) for stream in streams]
        options = [stream.options for stream in streams]
        forced = np.stack([stream.forced(steps) for stream in streams], axis=1)
        seeds = np.array([option.seed for option in options], dtype=np.uint64)
        choices = Choices(
            np.array([option.temperature for option in options], dtype=np.float32),
            np.array([option.top_k for option in options], dtype=np.int64),
            np.array([option.top_p for option in options], dtype=np.float32),
        )
        draws = uniforms(seeds, np.array(positions, dtype=np.uint64), steps)
        return self._computed(streams, rows, forced, draws, choices)

    def _computed(
        self, streams: list[Stream], rows: Rows, forced: Ids, draws: Floats, choices: Choices
    ) -> _Advance:
        ids, logits, after = self.decoder.advance(rows, forced, draws, choices)
        if ids.shape != forced.shape or logits.shape[:2] != ids.shape:
            raise ValueError("the decoder advanced another number of rows")
        return _Advance(streams, ids, logits, after)

    def _keep(self, advances: list[_Advance]) -> None:
        """Remembers rows: together where all advanced together, otherwise in each stream."""
        if len(advances) == 1:
            self._gathered, self._rows = advances[0].streams, advances[0].rows
            return
        for advance in advances:
            self._gathered, self._rows = [], None
            for index, stream in enumerate(advance.streams):
                try:
                    if stream.is_writing:
                        stream.rows = _row(advance.rows, index)
                except Exception as error:
                    stream.fail(error)

    def _take(self, advance: _Advance) -> dict[Stream, Piece]:
        pieces = {}
        for index, stream in enumerate(advance.streams):
            ids = advance.ids[:, index]
            try:
                pieces[stream] = stream.take(ids, advance.logits[:, index])
                if stream.keep_state and stream.finish_reason is None:
                    stream.mark(ids, functools.partial(_row, advance.rows, index))
            except Exception as error:
                stream.fail(error)
        return pieces

    def _settle(self, streams: list[Stream], steps: int) -> None:
        """Replays texts that have ended, together, until each is where it stopped."""
        while streams and steps > 0:
            step = min(steps, min(len(stream.replay.ids) for stream in streams))
            for advance in self._apart(streams, step, self._replay):
                for index, stream in enumerate(advance.streams):
                    try:
                        stream.replayed(step, _row(advance.rows, index))
                    except Exception as error:
                        stream.fail(error)
            steps -= step
            streams = [stream for stream in streams if stream.is_settling]

    def _replay(self, streams: list[Stream], steps: int) -> _Advance:
        """Computes a part of the replay of ended texts, and leaves them as they are."""
        replays = [stream.replay for stream in streams]
        count = len(replays)
        forced = np.stack([replay.ids[:steps] for replay in replays], axis=1)
        nothing = np.zeros(count, np.float32)
        choices = Choices(nothing, np.zeros(count, np.int64), nothing)
        rows = _side_by_side([replay.rows for replay in replays])
        return self._computed(streams, rows, forced, np.zeros(forced.shape, np.float32), choices)

    def _gather(self, streams: list[Stream]) -> Rows:
        """Returns the rows of streams side by side; copies nothing if they are as before."""
        if self._rows is not None:
            if self._gathered == streams:
                return self._rows
            for index, stream in enumerate(self._gathered):
                if stream.is_writing:
                    stream.rows = _row(self._rows, index)
            self._gathered, self._rows = [], None
        for stream in streams:
            if stream.rows is None:
                stream.rows = self.decoder.start(np.array([stream.vocabulary.start_id]))
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
