"""A core of its own for what is measured, worker and script alike.

A process that is moved between cores, or put off one by its neighbours, finds cold caches, and its CPU time says more
about them than about itself: on two cores the same worker was seen to cost up to a quarter more, by turns.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def core_apart() -> Iterator[int | None]:
    """Keep this process, and all that it starts meanwhile, off one core.

    Answers its number; None where there is only one, or where the system has no such request.
    """
    if sys.platform != "linux" or len(usable := sorted(os.sched_getaffinity(0))) < 2:
        yield None
        return
    os.sched_setaffinity(0, usable[:-1])
    try:
        yield usable[-1]
    finally:
        os.sched_setaffinity(0, usable)


def move(pid: int, core: int | None) -> None:
    """Let a process that has just been started run on this core alone."""
    if sys.platform == "linux" and core is not None:
        os.sched_setaffinity(pid, (core,))
