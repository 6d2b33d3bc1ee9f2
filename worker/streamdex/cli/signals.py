"""How a long-running command is stopped."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT call `stop`, each time. To be used in an event loop of the main thread."""
    loop = asyncio.get_running_loop()
    for number in STOPS:
        loop.add_signal_handler(number, stop)
    yield
    for number in STOPS:  # all is done: one more signal must not change the exit code
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
