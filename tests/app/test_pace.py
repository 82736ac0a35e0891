"""How long the ticks of a batch are."""

from types import SimpleNamespace
from typing import cast

import pytest

from app.engine import streams as streams_module
from app.engine.streams import FIRST_STEPS, MAX_STEPS, StreamReader
from models.arrays import Floats, Ids
from models.decoding.decoder import Decoder
from models.decoding.rows import Choices, Rows
from models.decoding.sampling import SampleOptions
from models.decoding.stream import Stream
from tests.streaming import stream_of
from tests.toys import ALPHABET, toy_checkpoint


class Clockwork(Decoder):
    """A decoder whose steps take the time that it is told, on a clock of its own."""

    def __init__(self) -> None:
        checkpoint = toy_checkpoint()
        super().__init__(checkpoint.config, checkpoint.weights)
        self.now = 0.0
        self.step_seconds = 0.0
        self.steps: list[int] = []

    def perf_counter(self) -> float:
        return self.now

    def advance(
        self, rows: Rows, forced: Ids, uniforms: Floats, choices: Choices
    ) -> tuple[Ids, Floats, Rows]:
        self.steps.append(len(forced))
        self.now += self.step_seconds * len(forced)
        return super().advance(rows, forced, uniforms, choices)


def test_a_tick_has_as_many_steps_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured by the tick before, of which a slow one counts by half."""
    clockwork = Clockwork()
    monkeypatch.setattr(streams_module, "time", clockwork)
    batch = streams_module._LiveBatch(clockwork)
    rows = [SimpleNamespace(stream=stream_of(seed, 1_000_000)) for seed in range(4)]

    def steps_after(step_seconds: float, count: int = 1) -> int:
        clockwork.step_seconds = step_seconds
        batch.tick(cast(list[StreamReader], rows[:count]))
        return clockwork.steps[-1]

    assert steps_after(0.002) == FIRST_STEPS
    # 20.4 ms for a row, of 2 ms a step.
    assert steps_after(0.02) == 10
    # Half way from 2 ms to 20 ms is 11 ms.
    assert steps_after(1e-6) == 1
    assert steps_after(1e-6) > 1
    for _ in range(20):
        steps_after(1e-6)
    assert steps_after(0.002) == MAX_STEPS
    steps_after(0.002)
    for _ in range(40):
        steps_after(0.002)
    # 21.6 ms for four rows, each step of which may take four times as long.
    assert steps_after(0.002, 4) == 2
    # The others begin.
    assert steps_after(0.002, 4) == FIRST_STEPS
    assert steps_after(0.002, 4) == 10


def test_a_tick_ends_soon_after_a_text_begins() -> None:
    """Whoever waits for its first characters does not wait for a whole tick of all the others."""
    clockwork = Clockwork()
    batch = streams_module._LiveBatch(clockwork)
    prime = ALPHABET.encode("ab" * MAX_STEPS)
    first, second, reading = (
        SimpleNamespace(stream=stream)
        for stream in (
            stream_of(1, 1_000_000),
            stream_of(2, 1_000_000),
            Stream(ALPHABET, prime, SampleOptions(3, 1.0, 1_000_000)),
        )
    )

    def steps_of(*rows: SimpleNamespace) -> int:
        batch.tick(cast(list[StreamReader], list(rows)))
        return clockwork.steps[-1]

    steps_of(first)
    batch._step_seconds = 1e-9
    assert steps_of(first) == MAX_STEPS
    assert steps_of(first, second) == 2 + FIRST_STEPS
    batch._step_seconds = 1e-9
    assert steps_of(first, second) == MAX_STEPS
    batch._step_seconds = 1e-9
    assert steps_of(first, second, reading) == MAX_STEPS
