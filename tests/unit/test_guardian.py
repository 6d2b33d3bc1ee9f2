"""The guardian ends what a killed test run left behind, and nothing else."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

TESTS = Path(__file__).resolve().parent.parent
# A run that starts two processes, is done with the second one, and is then killed.
RUN = """
import subprocess, sys, time
from harness import guardian
left, done = (subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) for _ in range(2))
guardian.watch(left.pid)
guardian.watch(done.pid)
guardian.forget(done.pid)
print(left.pid, done.pid, flush=True)
time.sleep(600)
"""


def test_a_killed_run_leaves_nothing_that_was_watched() -> None:
    command = [sys.executable, "-c", RUN]
    with subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True) as run:  # noqa: S603 - our own words
        assert run.stdout is not None
        left, done = map(int, run.stdout.readline().split())
        run.kill()
    try:
        deadline = time.monotonic() + 30
        while _runs(left) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not _runs(left)
        assert _runs(done)  # it was forgotten: its id might belong to anybody by now
    finally:
        os.kill(done, signal.SIGKILL)


def _runs(pid: int) -> bool:
    """Whether the process lives; an ended one that nobody has waited for does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
