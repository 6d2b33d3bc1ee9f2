"""Runs a streamdex command under a sampler: where does the main thread's CPU time go?

    python -m bench.sampled OUTPUT run …

SIGUSR1 starts the sampling, a second one ends it and writes OUTPUT. The process' CPU timer interrupts every
millisecond of CPU spent by any of its threads; a sample weighs as much as the main thread has spent since the last one.
So time of other threads (gRPC's) is not laid at the main thread's door, but counted apart. Python acts on a signal
between two of its instructions: time in C counts for the line that called it. Garbage collection strikes anywhere, so
it is timed on its own.
"""

import gc
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

import orjson

from streamdex.cli import main

INTERVAL_S = 0.001
Stack = tuple[str, ...]


class Sampler:
    """Counts CPU seconds by stack; a stack is its frames from the inside out, each `file:line:function`."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._seconds: defaultdict[Stack, float] = defaultdict(float)
        self._running = False
        self._last_s = 0.0
        self._last_collected_s = 0.0
        self._began_s = (0.0, 0.0)
        self._collecting_since_s: float | None = None
        self._collected_s = 0.0

    def toggle(self, _number: int, _frame: FrameType | None) -> None:
        """Start, or stop and write."""
        self._running = not self._running
        if self._running:
            self._last_s = time.thread_time()
            self._began_s = (self._last_s, time.process_time())
            gc.callbacks.append(self.collecting)
            signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)
            return
        signal.setitimer(signal.ITIMER_PROF, 0)
        gc.callbacks.remove(self.collecting)
        thread_s = time.thread_time() - self._began_s[0]
        process_s = time.process_time() - self._began_s[1]
        samples = {
            "other_threads_s": process_s - thread_s,
            "collected_s": self._collected_s,
            "stacks": [[stack, seconds] for stack, seconds in self._seconds.items()],
        }
        unfinished = self._output.with_suffix(".part")
        unfinished.write_bytes(orjson.dumps(samples))
        unfinished.rename(self._output)  # whole when it appears

    def collecting(self, phase: str, _info: dict[str, Any]) -> None:
        """Time the cyclic garbage collection."""
        if phase == "start":
            self._collecting_since_s = time.thread_time()
        elif self._collecting_since_s is not None:
            self._collected_s += time.thread_time() - self._collecting_since_s
            self._collecting_since_s = None

    def sample(self, _number: int, frame: FrameType | None) -> None:
        """Note where the main thread is."""
        if self._collecting_since_s is not None:
            return  # finalizers and our own callback: `collecting` has it
        stack = []
        while frame is not None:
            code = frame.f_code
            stack.append(f"{code.co_filename}:{frame.f_lineno}:{code.co_qualname}")
            frame = frame.f_back
        now_s = time.thread_time()
        self._seconds[tuple(stack)] += now_s - self._last_s - (self._collected_s - self._last_collected_s)
        self._last_s, self._last_collected_s = now_s, self._collected_s


if __name__ == "__main__":
    sampler = Sampler(Path(sys.argv.pop(1)))
    signal.signal(signal.SIGUSR1, sampler.toggle)
    signal.signal(signal.SIGPROF, sampler.sample)
    main()
