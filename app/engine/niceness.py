"""Which of the server's threads come first where there are more than cores, on Linux.

The event loop has the server's own niceness: while it begins texts and sends them, decoders that
have the cores keep everybody waiting. Knows no thread's work.
"""

import os
import sys
import threading

WRITING, READING, SEARCHING = 4, 8, 19
"""Niceness of the threads that write texts, read one, and search cells. Training has 10."""


def give_way(niceness: int) -> None:
    """Lowers the priority of this thread and of those that it starts, where a thread has one."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        now = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, max(now, niceness))
