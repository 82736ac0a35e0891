"""A check that hangs is run once, whoever asks, and takes no thread of other work."""

import asyncio
import threading

import pytest

from app.routes.probes import Probe


def test_all_who_ask_share_one_check() -> None:
    gate, runs = threading.Event(), []

    def check() -> int:
        runs.append(threading.current_thread())
        gate.wait(20)
        return len(runs)

    async def ask() -> None:
        probe = Probe(check)
        # More than there are threads.
        assert await asyncio.gather(*(probe.ask(0.05) for _ in range(100))) == [None] * 100
        waiting = [asyncio.create_task(probe.ask(20)) for _ in range(100)]
        await asyncio.sleep(0)
        gate.set()
        assert await asyncio.gather(*waiting) == [1] * 100
        # Who asks later gets a new answer.
        assert await probe.ask(20) == 2

    asyncio.run(ask())
    assert len(runs) == 2


def test_what_a_check_raises_is_raised() -> None:
    def check() -> int:
        raise ZeroDivisionError

    async def ask() -> None:
        probe = Probe(check)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await probe.ask(20)

    asyncio.run(ask())


def test_a_check_that_hangs_keeps_nobody_from_leaving() -> None:
    gate = threading.Event()

    async def ask() -> None:
        assert await Probe(gate.wait).ask(0.01) is None

    # Ends although the check does not.
    asyncio.run(ask())
    gate.set()
