"""Ends the processes that tests started once the test run is gone, however it went: a killed run cleans nothing up.

A process of its own holds the list and waits for the end of its input, which comes when this process ends.
"""

import atexit
import functools
import subprocess
import sys
from typing import IO

_WAITS = """
import os, signal, sys
watched = set()
for line in sys.stdin:
    (watched.add if line[0] == "+" else watched.discard)(int(line[1:]))
for pid in watched:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


def watch(pid: int) -> None:
    """Kill this process when the test run ends without having said `forget`."""
    _tell(f"+{pid}\n")


def forget(pid: int) -> None:
    """This process has ended; its id may soon be another's."""
    _tell(f"-{pid}\n")


def _tell(line: str) -> None:
    _guardian().write(line)
    _guardian().flush()


@functools.cache
def _guardian() -> IO[str]:
    """The guardian's input. In a session of its own, so that a Ctrl-C does not end it before what it watches."""
    command = [sys.executable, "-c", _WAITS]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)  # noqa: S603 - ours
    atexit.register(process.communicate)  # ends its input, and waits for it
    if process.stdin is None:
        raise RuntimeError("a pipe was asked for")
    return process.stdin
