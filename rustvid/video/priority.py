"""No encoder runs before everything else on the machine.

SVT-AV1, where it may (as root, so in most containers), gives its own threads and the one that opens
it the highest real-time priority: ahead of the camera's reader, of the network and of every other
program. Nobody asked for that, and threads begun later inherit it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_THREADS = Path("/proc/self/task")


@contextmanager
def unchanged() -> Iterator[None]:
    """This thread, and all threads that begin inside, are scheduled as this one was before."""
    if sys.platform != "linux" or not _THREADS.is_dir():  # there it cannot be seen
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    before = _threads()
    try:
        yield
    finally:
        for thread in {threading.get_native_id(), *(_threads() - before)}:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                if os.sched_getscheduler(thread) != policy:  # not all may ask for a change
                    os.sched_setscheduler(thread, policy, parameters)


def _threads() -> set[int]:
    return {int(path.name) for path in _THREADS.iterdir()}
