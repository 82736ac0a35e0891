"""Which threads of the server come first."""

import asyncio
import os
import sys
import threading

import pytest

from app.engine.niceness import READING, SEARCHING, WRITING
from app.engine.streams import Streams
from worker.settings import NICENESS

LANES = 2


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness elsewhere")
def test_decoders_give_way_to_the_event_loop_and_others_to_them() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)

    def decoders() -> list[int]:
        threads = [one for one in threading.enumerate() if one.name.startswith("lane-")]
        return [os.getpriority(os.PRIO_PROCESS, one.native_id or 0) for one in threads]

    async def check() -> None:
        streams = Streams(limit=1, lanes=LANES)
        try:
            async with asyncio.timeout(20):
                while decoders() != [max(own, WRITING)] * LANES:
                    await asyncio.sleep(0)
            assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own
        finally:
            streams.stop()

    asyncio.run(check())
    assert 0 < WRITING < READING < NICENESS < SEARCHING
