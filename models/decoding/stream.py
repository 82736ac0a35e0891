"""A text being written: what is read first, what has been chosen, and where it ends.

Knows the ids that a decoder took for it; no decoder, no other stream, no clock and no client.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.arrays import Floats, Ids
from models.config import MAX_VOCABULARY
from models.decoding.characters import Piece, Reading
from models.decoding.copy_guard import CopyGuard, Detour
from models.decoding.graph import NOT_FINITE
from models.decoding.priming import Priming
from models.decoding.rows import Rows
from models.decoding.sampling import MAX_SEED, SampleOptions, check_range
from models.decoding.stops import Stops
from models.decoding.trail import Replay, Trail
from models.text.copies import Runs
from models.text.vocab import Vocabulary

FinishReason = Literal["length", "stop", "copied", "error", "shutdown"]
"""``copied``: every id that could follow would copy the corpus."""

_LEAST_GAP, _FIRST_GAP = 8, 1024
"""Steps between two detours, as far as that is estimated."""

MAX_POSITION = (1 << 63) - 1
MAX_PENDING, MAX_UNSAID = 3, 16
"""Most bytes of an incomplete character, and of characters that one id can complete: UTF-8 has
sequences of 4 bytes, and 3 broken ones at once become at most as many characters."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """The position at which a text stopped, to continue from exactly there.

    ``position`` is the number of ids chosen so far, ``pending`` contains the bytes of an incomplete
    character, ``unsaid`` is text that was chosen but not returned yet. Of a text that was broken
    off, ``begun`` are the characters and the ids that it has: what continues it is the rest of it.
    ``before`` are its latest ids, if they say what must not be copied next.

    Raises:
        ValueError: no text can have stopped there.
    """

    rows: Rows
    position: int
    seed: int
    pending: bytes = b""
    unsaid: str = ""
    begun: tuple[int, int] = (0, 0)
    before: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_range("position", self.position, MAX_POSITION)
        check_range("seed", self.seed, MAX_SEED)
        for begun in self.begun:
            check_range("begun", begun, MAX_POSITION >> 8)
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
        tell_prime: whether the characters of the prime get probabilities too.
        keep_state: whether ``end_state`` will be needed.
        begin: the position at which an earlier text stopped; None is the zero state.
        uncopied: runs of a corpus that the text must not have.
        priming: what is known of the prime; only where the text begins in the zero state.

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
        tell_prime: bool = False,
        keep_state: bool = False,
        begin: StreamState | None = None,
        uncopied: Runs | None = None,
        priming: Priming | None = None,
    ) -> None:
        _check_ids("prime", prime, vocabulary)
        if begin:
            _check_ids("begin", np.array([*begin.rows.ids, *begin.before]), vocabulary)
        check_range("probabilities", probabilities, MAX_VOCABULARY)
        self.vocabulary = vocabulary
        self.options = options
        self.probabilities = min(probabilities, len(vocabulary))
        self.keep_state = keep_state
        self.tells_prime = tell_prime
        self.is_guarded = uncopied is not None
        self.characters = 0
        self.finish_reason: FinishReason | None = None
        self.error: Exception | None = None
        self.end_state: StreamState | None = None
        # Complete once the prime has been read.
        self.told_prime = Piece()
        # The stream's position while it is not among the rows of the last tick.
        self.rows = begin.rows if begin else None
        self._begin = begin
        self._priming = priming
        # What is read before an id is chosen: the prime, later what was taken before a detour.
        self.ahead = prime
        self._primed = len(prime)
        self._is_primed = False
        # Of the last tick: what was taken for the first time, and whether the rows are beyond it.
        self._fresh: Ids = prime[:0]
        self.backed_up = False
        before = begin.before if begin else ()
        self._guard = CopyGuard(uncopied, vocabulary, options, before) if uncopied else None
        self._detours: list[int] = []
        self._gap = _FIRST_GAP
        self._chosen = begin.position if begin else 0
        self._stops = Stops(options.stop)
        self._reading = Reading(vocabulary, self.probabilities, begin.pending if begin else b"")
        self._prime_reading = Reading(vocabulary, self.probabilities) if tell_prime else None
        # Text is held back while it may be the beginning of a stop string.
        self._held = Piece(begin.unsaid if begin else "")
        self._trail: Trail | None = None
        self._ending: FinishReason | None = None
        self._replay: Replay | None = None
        if priming and priming.rows and not tell_prime:
            self.skip(priming.count, priming.rows)

    @property
    def is_writing(self) -> bool:
        return self.finish_reason is None and self._ending is None

    @property
    def is_settling(self) -> bool:
        return self.finish_reason is None and self._ending is not None

    @property
    def position(self) -> int:
        """The position of the next id in the stream's random numbers; less while priming."""
        return self._chosen - len(self.ahead)

    @property
    def reads(self) -> Priming | None:
        """What the prime is known by, while it is being read."""
        return self._priming if len(self.ahead) and not self._is_primed else None

    @property
    def may_skip(self) -> bool:
        """Whether another stream may read the prime for this one."""
        return len(self.ahead) == self._primed and not self.tells_prime

    def skip(self, count: int, rows: Rows) -> None:
        """Begins with a row that has read so many ids of the prime."""
        if self._guard:
            self._guard.read(self.ahead[:count])
        self.rows, self.ahead = rows, self.ahead[count:]
        self._primed = len(self.ahead)

    @property
    def stride(self) -> int:
        """The number of steps in which a guarded text probably has to take a detour."""
        return len(self.ahead) + self._gap

    @property
    def detours(self) -> int:
        """How often another id was taken, so that nothing is copied."""
        return sum(place <= self.characters for place in self._detours)

    @property
    def steps_left(self) -> int:
        """The number of steps after which the text may be complete; at least 1."""
        missing = self.options.length - self.characters - len(self._held.text)
        return len(self.ahead) + max(1, missing)

    def forced(self, steps: int) -> Ids:
        """Returns what is to be read yet, then −1, [steps]."""
        row = np.full(steps, -1, dtype=np.int64)
        row[: len(self.ahead)] = self.ahead[:steps]
        return row

    def temperatures(self, steps: int, position: int | None = None) -> Floats:
        """Returns the temperatures of ids, [steps], from the next one on or from a position."""
        begin = self._begin
        characters, ids = begin.begun if begin else (0, 0)
        first = self.position if position is None else position
        first += ids - (begin.position if begin else 0)
        places = np.arange(first, first + steps)
        return self.options.temperatures_at(places, characters + self.options.length)

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
        if self._trail is None or not self._is_primed:
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
        count = min(len(ids), len(self.ahead))
        read, self.ahead = ids[:count], self.ahead[count:]
        self._fresh = read[:0] if self._is_primed else read
        if not self._is_primed:
            self._read_prime(read, logits[:count])
        ids, logits = ids[count:], logits[count:]
        broken = np.flatnonzero(ids == NOT_FINITE)
        if len(broken):
            ids, logits = ids[: broken[0]], logits[: broken[0]]
        detour = self._detour(ids, logits)
        if detour:
            ids, logits = detour.ids, logits[: len(detour.ids)]
            self.ahead = np.concatenate([read, ids])
        self.backed_up = detour is not None
        self._fresh = np.concatenate([self._fresh, ids])
        self._chosen += len(ids)
        self._reading.read(self._held, ids, logits)
        # Where detours are frequent, most of a long tick is lost.
        self._gap = min(_FIRST_GAP, 2 * (max(_LEAST_GAP, len(ids)) if detour else self._gap))
        if detour and not detour.is_end:
            self._detours.append(self._produced + bool(self._reading.pending))
        # What a state left unsaid waits for the prime too: the state after it may be asked for.
        piece = self._say(detour is not None and detour.is_end) if self._is_primed else Piece()
        if len(broken) and self._ending is None and not detour:
            self.fail(FloatingPointError("the network's output is not finite"))
        elif not self.keep_state:
            self.finish_reason = self._ending
        return piece

    def _read_prime(self, ids: Ids, logits: Floats) -> None:
        if self._prime_reading:
            self._prime_reading.read(self.told_prime, ids, logits)
        if self._guard:
            self._guard.read(ids)
        self._is_primed = not len(self.ahead)

    def _detour(self, ids: Ids, logits: Floats) -> Detour | None:
        if self._guard is None:
            return None
        temperatures = self.temperatures(len(ids), self._chosen)
        return self._guard.take(ids, logits, temperatures, self._chosen)

    @property
    def _produced(self) -> int:
        """Number of characters that were decoded, said or held back."""
        return self.characters + len(self._held.text)

    def mark(self, rows: Callable[[], Rows]) -> None:
        """Remembers a tick that was taken, for the state at the end.

        Args:
            rows: returns the row after it.
        """
        if self._trail is None:
            # In the first tick, of which the rows are not kept yet.
            assert self.rows is not None
            begin = self._begin
            pending, unsaid = (begin.pending, begin.unsaid) if begin else (b"", "")
            self._trail = Trail(self.vocabulary, self.rows, self._primed, pending, unsaid)
        is_behind = self._is_primed and len(self.ahead) > 0
        self._trail.extend(
            self._fresh,
            None if is_behind else rows,
            pending=self._reading.pending,
            produced=self._produced,
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
            position = replay.position + (self._begin.position if self._begin else 0)
            self.end_state = StreamState(
                replay.rows,
                position,
                self.options.seed,
                replay.pending,
                replay.unsaid,
                self._begun(replay.position),
                self._before(self._chosen - position),
            )
            self.finish_reason = self._ending

    def _begun(self, ids: int) -> tuple[int, int]:
        """What the state says that the text has, if how it continues depends on that."""
        if self._ending != "shutdown" or len(self.options.temperatures) == 1:
            return 0, 0
        before = self._begin.begun if self._begin else (0, 0)
        return before[0] + self.characters, before[1] + ids

    def _before(self, later: int) -> tuple[int, ...]:
        return self._guard.last(later) if self._guard else ()

    def _say(self, is_end: bool) -> Piece:
        """Takes out of the held text what can be returned now; all of it if nothing follows."""
        left = self.options.length - self.characters
        # Only within the length: how much is known beyond depends on where the tick ended.
        stop, held = self._stops.look(self._held.text[:left])
        if stop is not None:
            end = stop
            self._ending = "stop"
        elif len(self._held.text) >= left:
            end = left
            self._ending = "length"
        elif is_end:
            end = len(self._held.text)
            self._ending = "copied"
        else:
            end = len(self._held.text) - held
        self.characters += end
        return self._held.cut(end)


def _check_ids(name: str, ids: Ids, vocabulary: Vocabulary) -> None:
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{name} must be a row of ids")
    if len(ids) and not 0 <= ids.min() <= ids.max() < len(vocabulary):
        raise ValueError(f"{name} must have ids from 0 to {len(vocabulary) - 1}")
