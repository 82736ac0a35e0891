"""Checks that may hang, shared by all who ask for them. Knows no endpoint and no check."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio
from anyio.to_thread import run_sync

Found = TypeVar("Found")

PROBE_SECONDS = 2.0
"""After which what has not answered counts as away."""


class Probe(Generic[Found]):
    """A blocking check in a thread of its own, of which one runs at a time.

    Requests without a key may ask for it: none of them may take a thread that others need.
    """

    def __init__(self, check: Callable[[], Found]) -> None:
        self._check = check
        self._limiter = anyio.CapacityLimiter(1)
        self._running: asyncio.Task[Found] | None = None

    async def ask(self, seconds: float) -> Found | None:
        """What the check finds, for all who wait for it; None if it takes longer.

        Raises:
            Exception: the check did.
        """
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        running = self._running
        done, _ = await asyncio.wait({running}, timeout=seconds)
        return running.result() if done else None

    async def _run(self) -> Found:
        # Given up when the server stops, however long the check hangs.
        return await run_sync(self._check, abandon_on_cancel=True, limiter=self._limiter)
